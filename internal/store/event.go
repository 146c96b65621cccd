package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gatehouse"
)

// canonicalEvent is an event's bytes as they are stored, exported and hashed: one line of JSON with the members in this order,
// absent when empty, no insignificant space, no escapes beyond those JSON requires. A member may be added at the end, never
// changed: the bytes of an old event stay what they are because they are stored, not made again.
type canonicalEvent struct {
	Seq          int64                 `json:"seq"`
	ID           string                `json:"id"`
	Type         string                `json:"type"`
	At           gatehouse.Millis      `json:"at"`
	Organization string                `json:"organization,omitempty"`
	Project      string                `json:"project,omitempty"`
	Actor        gatehouse.Actor       `json:"actor"`
	RequestID    string                `json:"request_id,omitempty"`
	Subject      gatehouse.SubjectKind `json:"subject,omitempty"`
	SubjectID    string                `json:"subject_id,omitempty"`
	Change       json.RawMessage       `json:"change,omitempty"`
}

// begin makes ev the transaction's primary event.
func (tx *Tx) begin(ev gatehouse.Event) {
	ev.ID, ev.At = gatehouse.NewID(gatehouse.PrefixEvent), tx.Now
	tx.events = []*gatehouse.Event{&ev}
	tx.organization = ev.Organization
}

// Event returns the change's primary event, for the function of Update to complete: it may learn only inside the transaction what
// it is about. It is nil in a View.
func (tx *Tx) Event() *gatehouse.Event {
	if len(tx.events) == 0 {
		return nil
	}
	return tx.events[0]
}

// Emit adds another event of the same change. Its id and time are filled in, and what it leaves empty of Organization, Actor and
// RequestID is the primary event's.
func (tx *Tx) Emit(ev gatehouse.Event) {
	ev.ID, ev.At = gatehouse.NewID(gatehouse.PrefixEvent), tx.Now
	tx.events = append(tx.events, &ev)
}

// ToFirstOrganization gives the change's primary event, where it names no organization, to the installation's first one, whose people
// run it.
func (tx *Tx) ToFirstOrganization() error {
	ev := tx.Event()
	if ev.Organization != "" {
		return nil
	}
	list, err := tx.Organizations()
	if err == nil && len(list) > 0 {
		ev.Organization = list[0].ID
	}
	return err
}

// writeEvents numbers the events and writes them. The counter's row is taken here, last of all: whoever holds it commits before
// anyone else gets a number, so that numbers are dense and in the order of commits.
func (tx *Tx) writeEvents() (last int64, err error) {
	const count = `UPDATE counters SET value = value + $1 WHERE name = 'event' RETURNING value`
	const insert = `INSERT INTO events (seq, id, type, at, organization, project, actor_kind, actor_key, actor_user,
		actor_service_account, request_id, subject, subject_id, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

	bodies := make([]canonicalEvent, len(tx.events))
	for i, ev := range tx.events {
		if ev.Type == "" {
			return 0, errors.New("change with an event without a type")
		}
		if i > 0 {
			inherit(ev, tx.events[0])
		}
		if len(ev.Change) > 0 && !json.Valid(ev.Change) {
			return 0, fmt.Errorf("event %s: its change is not JSON", ev.Type)
		}
		bodies[i] = canonicalEvent{ID: ev.ID, Type: ev.Type, At: ev.At, Organization: ev.Organization, Project: ev.Project, Actor: ev.Actor,
			RequestID: ev.RequestID, Subject: ev.Subject, SubjectID: ev.SubjectID, Change: ev.Change}
	}
	if last, err = tx.number("number an event", count, len(bodies)); err != nil {
		return 0, err
	}
	for i := range bodies {
		e := &bodies[i]
		e.Seq = last - int64(len(bodies)-1-i)
		tx.events[i].Seq = e.Seq
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e); err != nil {
			return 0, fmt.Errorf("event %s: %w", e.Type, err)
		}
		if _, err := tx.exec("write event "+e.ID, insert, e.Seq, e.ID, e.Type, int64(e.At), clean(e.Organization), clean(e.Project),
			string(e.Actor.Kind), clean(e.Actor.Key), clean(e.Actor.User), clean(e.Actor.ServiceAccount), clean(e.RequestID),
			string(e.Subject), clean(e.SubjectID), strings.TrimSuffix(body.String(), "\n")); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func inherit(ev, from *gatehouse.Event) {
	if ev.Organization == "" {
		ev.Organization = from.Organization
	}
	if ev.Actor == (gatehouse.Actor{}) {
		ev.Actor = from.Actor
	}
	if ev.RequestID == "" {
		ev.RequestID = from.RequestID
	}
}

// clean returns s as both engines can store it: what came from a caller unchecked may be no text at all, and a refusal, or a
// measurement, must be recorded all the same.
func clean(s string) string {
	if !utf8.ValidString(s) { // nearly every text is; asking first is a fraction of the work
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// LastSeq returns the number of the last event, 0 before the first.
func (tx *Tx) LastSeq() (int64, error) {
	return tx.number("read the last event's number", `SELECT value FROM counters WHERE name = 'event'`)
}

// EventsAfter returns up to limit events with numbers above seq, in order.
func (tx *Tx) EventsAfter(seq int64, limit int) ([]gatehouse.Event, error) {
	const query = `SELECT body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2`
	return all(tx, "events", scanEvent, query, seq, limit)
}

// EventBytes returns the canonical bytes of the event with a number, or NotFound.
func (tx *Tx) EventBytes(seq int64) ([]byte, error) {
	const query = `SELECT body FROM events WHERE seq = $1`
	body, err := one(tx, "event", fmt.Sprint(seq), func(r row, b *[]byte) error { return r.Scan(b) }, query, seq)
	if err != nil {
		return nil, err
	}
	return *body, nil
}

func scanEvent(r row, ev *gatehouse.Event) error {
	var body []byte
	if err := r.Scan(&body); err != nil {
		return err
	}
	var e canonicalEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	*ev = gatehouse.Event(e)
	return nil
}
