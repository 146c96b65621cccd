// Package work knows the work that outlives its request: what each kind's object is called, when it has ended, and what it then
// says it used.
//
// It is pure. The steward fetches the objects; package usage finds the values in them.
package work

import (
	"bytes"
	"net/url"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

// kind is what is known of one kind of work.
type kind struct {
	path  string // of the object below /v1, without its id
	shape usage.Shape
	ended map[string]bool // the statuses from which nothing leads on
	bound time.Duration   // how long it is waited for
}

func statuses(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

var kinds = map[gatehouse.WorkKind]kind{
	// A background response is kept for as long as it takes; the longest known run for hours.
	gatehouse.WorkResponse: {"/responses/", usage.Responses, statuses("completed", "failed", "incomplete", "cancelled"), 26 * time.Hour},
	// A run expires ten minutes after it was made.
	gatehouse.WorkRun: {"/threads/", usage.Run, statuses("completed", "failed", "cancelled", "incomplete", "expired"), 130 * time.Minute},
	// The only completion window is 24 hours.
	gatehouse.WorkBatch:      {"/batches/", usage.Batch, statuses("completed", "failed", "expired", "cancelled"), 48 * time.Hour},
	gatehouse.WorkVideo:      {"/videos/", usage.None, statuses("completed", "failed"), 24 * time.Hour},
	gatehouse.WorkFineTuning: {"/fine_tuning/jobs/", usage.None, statuses("succeeded", "failed", "cancelled"), 30 * 24 * time.Hour},
}

// Kinds returns every kind of work.
func Kinds() []gatehouse.WorkKind {
	return []gatehouse.WorkKind{gatehouse.WorkResponse, gatehouse.WorkRun, gatehouse.WorkBatch, gatehouse.WorkVideo, gatehouse.WorkFineTuning}
}

// Ended reports whether a status of a kind is one from which nothing leads on.
func Ended(k gatehouse.WorkKind, status string) bool { return kinds[k].ended[status] }

// Bound returns how long work of a kind is waited for before its reserve is taken for what it used.
func Bound(k gatehouse.WorkKind) time.Duration { return kinds[k].bound }

// Path returns the path below /v1 at which the object is read; thread is the one of a run, and of no other kind. It returns "" where
// the path cannot be made.
func Path(k gatehouse.WorkKind, id, thread string) string {
	switch {
	case id == "" || kinds[k].path == "":
		return ""
	case k != gatehouse.WorkRun:
		return kinds[k].path + url.PathEscape(id)
	case thread == "":
		return ""
	}
	return kinds[k].path + url.PathEscape(thread) + "/runs/" + url.PathEscape(id)
}

// Header returns the header that reading the object needs beside its credential, "" for none.
func Header(k gatehouse.WorkKind) (name, value string) {
	if k == gatehouse.WorkRun {
		return "OpenAI-Beta", "assistants=v2"
	}
	return "", ""
}

// Report is what an object says of its work.
type Report struct {
	Ended       bool
	Status      string // as the object says it
	Units       gatehouse.Units
	Reported    bool // the object says what was used; otherwise Units is an estimate, or of a batch perhaps to be found in its files
	Model       string
	ServiceTier string
	Size        string // of a video
	InputFile   string // of a batch, as are the next
	OutputFile  string
	ErrorFile   string
}

// Read reads an object that went through c whole. It reports false when that is none of the kind: not whole, without a status, or
// another one's.
func Read(k gatehouse.WorkKind, id string, c *usage.Capture) (Report, bool) {
	status := c.Text(usage.Status)
	if !c.Complete() || status == "" || c.Text(usage.ID) != id {
		return Report{}, false
	}
	r := Report{Ended: Ended(k, status), Status: status, Model: c.Text(usage.Model), ServiceTier: c.Text(usage.ServiceTier),
		InputFile: c.Text(usage.InputFile), OutputFile: c.Text(usage.OutputFile), ErrorFile: c.Text(usage.ErrorFile)}
	if r.ServiceTier == "auto" {
		r.ServiceTier = ""
	}
	if !r.Ended {
		return r, true
	}
	switch k {
	case gatehouse.WorkVideo:
		if status != "completed" {
			r.Reported = true // nothing was made
			break
		}
		r.Size = c.Text(usage.Size)
		r.Units.VideoMilliseconds, r.Reported = usage.Milliseconds(bytes.Trim(c.Get(usage.Seconds), `"`))
	case gatehouse.WorkFineTuning:
		trained := c.Get(usage.Trained)
		if len(trained) == 0 || string(trained) == "null" {
			r.Reported = status != "succeeded" // a job that ended early trained nothing
			break
		}
		r.Units.Trained, r.Reported = usage.Whole(trained)
	default:
		r.Units, r.Reported = usage.Of(kinds[k].shape, c)
		if !r.Reported {
			r.Units.Output = usage.Estimate(c.TextBytes)
		}
	}
	return r, true
}
