package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/catalog"
	"gatehouse/internal/replay"
	"gatehouse/internal/store"
)

const (
	// seenEvery is how often a node says in the database that it writes replay files.
	seenEvery = 5 * time.Minute
	// trimEvery is how often files are looked at that a backup or the bounds let go.
	trimEvery = time.Minute
	// trimMargin is how much longer than the newest backup needs them files stay: for clocks that disagree.
	trimMargin = time.Hour
	// replayMargin is how much earlier than a backup was made a restore begins to look, for the same reason. What it records again
	// that was recorded already changes nothing.
	replayMargin = 5 * time.Minute
)

// eventJoined is the type of the event that names a node's replay files, so that every other node's files tell of them.
const eventJoined = "node.joined"

// joined is the detail of eventJoined.
type joined struct {
	Folder string `json:"folder"`
	Node   string `json:"node"`
}

// openReplay opens this node's replay files and has everything kept in them that is recorded from now on.
func (s *Server) openReplay() (err error) {
	s.replay, err = replay.Open(replay.Config{Dir: s.cfg.Data, Node: s.cfg.Node, Install: s.install, Sync: time.Duration(*s.cfg.JournalSync),
		MaxAge: time.Duration(s.cfg.Replay.MaxAge), MaxSize: int64(s.cfg.Replay.MaxSize), Now: s.opts.Now, Logger: s.log})
	if err != nil {
		return err
	}
	s.db.OnRecord(s.replay.Recorded)
	return nil
}

// keeper has the catalog's events kept, each subject with what it is allowed.
func (s *Server) keeper() *catalog.Keeper {
	return &catalog.Keeper{Last: s.replay.Last, Begin: s.replay.Begin, Read: func(tx *store.Tx, epoch, last int64, events []gatehouse.Event) (func(), error) {
		changes, err := changesOf(tx, events)
		return func() { s.replay.Applied(epoch, last, changes) }, err
	}}
}

// changesOf returns the changes in events that a restore would have to make again: of each subject the last.
func changesOf(tx *store.Tx, events []gatehouse.Event) ([]replay.Change, error) {
	type subject struct {
		kind gatehouse.SubjectKind
		id   string
	}
	at := map[subject]int{}
	var out []replay.Change
	for i := range events {
		e := &events[i]
		c := replay.Change{Seq: e.Seq, Type: e.Type, At: e.At, Organization: e.Organization, Project: e.Project, Subject: e.Subject, SubjectID: e.SubjectID}
		switch e.Subject {
		case gatehouse.SubjectNone:
			if e.Type == eventJoined {
				c.Detail = e.Change
				out = append(out, c)
			}
			continue
		case gatehouse.SubjectOrganization:
			continue
		}
		key := subject{e.Subject, e.SubjectID}
		if j, ok := at[key]; ok {
			c.State = out[j].State
			out[j] = c
			continue
		}
		var err error
		if c.State, err = admin.Standing(tx, e.Subject, e.SubjectID); err != nil {
			return nil, err
		}
		at[key] = len(out)
		out = append(out, c)
	}
	return out, nil
}

// joinReplay sees to it that the database, and through the feed every other node, knows of this node's replay files.
func (s *Server) joinReplay(ctx context.Context) error {
	var known *store.ReplayFolder
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		known, err = tx.ReplayFolder(s.replay.Folder())
		return err
	})
	if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
		return err
	}
	now := gatehouse.MillisOf(s.opts.Now())
	if err != nil || now-known.SeenAt > gatehouse.Millis(2*seenEvery/time.Millisecond) {
		detail, err := json.Marshal(joined{s.replay.Folder(), s.cfg.Node})
		if err != nil {
			return err
		}
		ev := gatehouse.Event{Type: eventJoined, Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Change: detail}
		if _, err := s.db.Update(ctx, ev, func(*store.Tx) error { return nil }); err != nil {
			return err
		}
	}
	return s.seen(ctx)
}

func (s *Server) seen(ctx context.Context) error {
	return s.db.Record(ctx, store.Batch{Folder: &store.ReplayFolder{ID: s.replay.Folder(), Node: s.cfg.Node, SeenAt: gatehouse.MillisOf(s.opts.Now())}})
}

// keepReplay syncs this node's replay files, lets go of what a backup covers, and records again what a restore has lost. It ends
// with ctx.
func (s *Server) keepReplay(ctx context.Context) {
	defer s.duties.Done()
	done := make(chan struct{})
	go func() { // the syncer: ends with ctx
		defer close(done)
		s.replay.Run(ctx)
	}()
	defer func() { <-done }()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	said := time.Now()
	for {
		if err := s.tendReplay(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("replay files could not be looked after; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case now := <-trim.C:
			if now.Sub(said) < seenEvery {
				continue
			}
			said = now
			if err := s.seen(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("the database does not know that this node writes replay files; it is told again", "error", err)
			}
		}
	}
}

func (s *Server) tendReplay(ctx context.Context) error {
	var covered, restored gatehouse.Millis
	var epoch int64
	err := s.db.View(ctx, func(tx *store.Tx) error {
		b, err := tx.NewestBackup()
		switch {
		case err == nil:
			covered = b.At - gatehouse.Millis(trimMargin.Milliseconds())
		case gatehouse.KindOf(err) != gatehouse.NotFound:
			return err
		}
		if epoch, err = tx.Epoch(); err != nil {
			return err
		}
		if err := tx.Restoring(); err != nil {
			return err
		}
		restored, err = tx.RestoredAt()
		return err
	})
	if err != nil {
		return err
	}
	if epoch != s.replay.Epoch() {
		// What this node recorded between the backup and the restore, while the restore read its files, may be in them only.
		if err := replay.Recorded(s.cfg.Data, restored-gatehouse.Millis(replayMargin.Milliseconds()), func(b *store.Batch) error {
			b.Again = true
			return s.db.Record(ctx, *b)
		}); err != nil {
			return errors.Join(errors.New("record again what was recorded before the restore"), err)
		}
		if err := s.replay.SetEpoch(epoch); err != nil {
			return err
		}
	}
	return s.replay.Trim(covered)
}
