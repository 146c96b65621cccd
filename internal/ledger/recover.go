package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"gatehouse"
)

// openHold is a held record that no settled one has followed yet.
type openHold struct {
	payload []byte
	version byte
	segment uint64
	chains  chains // of the segment
}

// recover reads the whole journal, cuts its torn end, and settles what was held and never settled. It leaves the drainer where
// the last checkpoint says that recording may begin.
func (l *Ledger) recover() error {
	j := &l.journal
	open := map[string]openHold{}
	var from position
	var rd reader
	for i, s := range j.segments {
		if err := l.scan(&rd, s, open, &from); err != nil {
			return fmt.Errorf("read journal %s: %w", s.path, err)
		}
		if rd.lastGood < s.size && (i == len(j.segments)-1 || rd.torn == 0) {
			// A process that was killed left room behind its last record, and may have been writing one: its request was told nothing.
			if rd.torn > 0 {
				l.cfg.Logger.Warn("journal ends in a torn record, which is cut", "path", s.path, "bytes", rd.torn)
			}
			s.size = rd.lastGood
			if err := os.Truncate(s.path, s.size); err != nil {
				l.cfg.Logger.Warn("what is behind the last record stays in the file; it is passed over", "path", s.path, "error", err)
			}
			rd.torn = 0
		}
		if s.damaged = rd.damaged + rd.torn; s.damaged > 0 {
			j.damage += s.damaged
			l.cfg.Logger.Error("journal has bytes that cannot be read: settlements may be lost; the rest is kept and the file stays for inspection", "path", s.path, "bytes", s.damaged)
		}
	}
	l.drainer.start(from)
	err := l.settleOpen(open)
	// What comes after is this process's own, and its accounts know of it.
	j.mu.Lock()
	l.drainer.own = j.endLocked()
	j.mu.Unlock()
	return err
}

// scan reads one segment into open and from.
func (l *Ledger) scan(rd *reader, s *segment, open map[string]openHold, from *position) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	rd.open(f, 0, s.size)
	known := chains{}
	for {
		rec, err := rd.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.version > payloadVersion || rec.kind < kindHeld || rec.kind > lastKind {
			return errors.New("it holds records of a newer Gatehouse; start that version once, with its database, so that it can record them")
		}
		var id []byte
		switch rec.kind {
		case kindHeld:
			if id, err = heldID(rec.payload); err == nil {
				open[string(id)] = openHold{payload: slices.Clone(rec.payload), version: rec.version, segment: s.number, chains: known}
			}
		case kindSettled:
			if id, err = settledID(rec.payload); err == nil {
				delete(open, string(id))
			}
		case kindChain:
			err = known.define(rec.payload)
		case kindCheckpoint:
			if p, perr := decodeCheckpoint(rec.payload); perr == nil && from.before(p) {
				*from = p
			}
		}
		if err != nil {
			l.cfg.Logger.Error("journal record does not decode", "path", s.path, "offset", rd.off-int64(rec.size), "error", err)
		}
	}
}

// settleOpen settles every hold in open at its reserved amount, oldest segment first.
func (l *Ledger) settleOpen(open map[string]openHold) error {
	holds := make([]openHold, 0, len(open))
	for _, o := range open {
		holds = append(holds, o)
	}
	slices.SortFunc(holds, func(a, b openHold) int { return int(a.segment) - int(b.segment) })
	j := &l.journal
	for _, o := range holds {
		c, err := decodeCharge(o.payload, o.version, o.chains)
		if err != nil {
			l.cfg.Logger.Error("held record does not decode and cannot be settled", "segment", o.segment, "error", err)
			continue
		}
		h := &Hold{}
		j.mu.Lock()
		h.ledger, h.charge, h.open = l, c, true
		j.link(h)
		h.segment = o.segment // the list stays in order: these are the first
		j.mu.Unlock()
		s := Settlement{
			Units:      gatehouse.Units{Input: c.Input, Output: c.Output, VideoMilliseconds: c.VideoMilliseconds},
			Confidence: gatehouse.Recovered,
			Bound:      true,
			Request: &gatehouse.Request{
				Model:  c.Model,
				Rule:   RuleRecovered,
				Detail: "the node ended before this request settled; the reserved amount stands",
			},
		}
		if err := h.Settle(&s); err != nil {
			l.cfg.Logger.Warn("recovered settlement waits for a journal that can be written", "request_id", c.RequestID, "error", err)
		}
		l.recovered++
	}
	if l.recovered > 0 {
		l.cfg.Logger.Warn("requests that were open when this node ended are settled at their reserved amounts", "count", l.recovered)
	}
	return nil
}
