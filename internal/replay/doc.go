// Package replay owns the append-only files under data/replay: what a node knows that its newest backup does not. A restore reads
// them, so that a revocation does not come undone and usage does not disappear because a backup is older than they are.
//
// Two things are kept: every event the node has applied, with what the event's subject was allowed from then on; and what the node
// has recorded in the database and no upstream could tell again: usage, the owners of objects, open work.
//
// It does not own what is done with either: admin makes narrowing changes again, store counts usage once by its id.
package replay

import (
	"encoding/json"

	"gatehouse"
)

// Change is an event as a node has applied it.
type Change struct {
	Seq          int64                 `json:"seq"`
	Type         string                `json:"type"`
	At           gatehouse.Millis      `json:"at"`
	Organization string                `json:"organization,omitempty"`
	Project      string                `json:"project,omitempty"`
	Subject      gatehouse.SubjectKind `json:"subject,omitempty"`
	SubjectID    string                `json:"subject_id,omitempty"`
	// State is what the subject was allowed when the node read it, in admin's words; null: there was no such row.
	State json.RawMessage `json:"state,omitempty"`
	// Detail is the event's own detail, where a restore needs it.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Gap is an interval of which a folder does not hold everything.
type Gap struct {
	From  gatehouse.Millis `json:"from"`
	To    gatehouse.Millis `json:"to"`   // 0: nobody knows; until the end
	Rows  int64            `json:"rows"` // how many rows of usage are missing, as far as that is known
	Cause string           `json:"cause"`
}

// A folder's segments are named NUMBER-TIME-SEQ.replay: the number counts from 1 without a gap, the time is that of its first frame
// in unix milliseconds, and SEQ is the last event of the segments before.
//
// A segment is a sequence of frames:
//
//	0  4  length of the payload, little-endian
//	4  4  CRC-32C of the payload
//	8     payload: the version of its encoding (1), its kind, its time as a uvarint, its body
//
// A frame is one write(2). What does not parse ends the segment: the rest of it, up to the next segment, is a gap.
const (
	payloadVersion = 1
	frameHeader    = 8
	maxPayload     = 64 << 20
	suffix         = ".replay"
)

// The kinds of frames. The numbers are on disk: never reuse one.
const (
	kindHead    = 1 // of a segment, in JSON: whose it is
	kindApplied = 2 // events, in JSON
	kindRows    = 3 // what was recorded: see encodeBatch
	kindGap     = 4 // a Gap, in JSON: what could not be written
)

// head is the first frame of a segment.
type head struct {
	Folder  string `json:"folder"`
	Node    string `json:"node"`
	Install string `json:"install"`
}

// applied is the body of kindApplied: every event from From to To, of which Changes has those with a subject.
type applied struct {
	Epoch   int64    `json:"epoch"`
	From    int64    `json:"from"`
	To      int64    `json:"to"`
	Changes []Change `json:"changes,omitempty"`
}

// state is the file "folder": who this folder is, and what of it was dropped, always the oldest.
type state struct {
	Folder  string           `json:"folder"`
	Created gatehouse.Millis `json:"created"`
	// Dropped is the number of the last segment that was dropped, DroppedTo when it ended, DroppedRows how many rows of usage the
	// dropped ones held.
	Dropped     uint64           `json:"dropped,omitempty"`
	DroppedTo   gatehouse.Millis `json:"dropped_to,omitempty"`
	DroppedRows int64            `json:"dropped_rows,omitempty"`
	Cause       string           `json:"cause,omitempty"`
	// Epoch is the epoch of the database in which everything that is kept here was recorded again, after a restore.
	Epoch int64 `json:"epoch,omitempty"`
}

const stateName = "folder"
