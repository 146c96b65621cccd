package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	poll       = 100 * time.Millisecond // how often a node looks for events without being woken
	pollSingle = time.Second            // a single node is woken by its own commits; polling is only the safety net
	batchSize  = 256                    // events applied at once, at most
	lastPause  = time.Second            // between attempts while the database is away
)

// errDiverged is a database whose history is not the one this node has applied: it was restored from a copy, or a standby that
// lacked commits took over. Nothing in memory can be trusted.
var errDiverged = errors.New("the database's event history is not the one this node has applied; restart the node to load it anew")

// errRestored is a database that begins a new epoch: a backup was put in its place. What is in memory is of another history.
var errRestored = errors.New("the database was restored from a backup since this node read it")

// Run follows the event feed and keeps the lease until ctx ends, then gives the lease up and takes the node off the list, so that
// nobody waits for it. End it last: without it nothing may be served. It rides out a database that is away, and one that is restored
// from a backup: it gives the lease up and loads everything again. It returns an error only when the database came back with
// another history that no restore explains; and a single node always does, since nobody can have restored its database under it.
func (c *Catalog) Run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // the lease watch; ends with Run
		defer close(done)
		c.watch(watch)
	}()
	defer func() {
		stop()
		<-done
		c.leave(ctx)
	}()

	timer := time.NewTimer(0)
	defer timer.Stop()
	wakes := c.waker.Wakes()
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wakes:
		case <-timer.C:
		}
		more, err := c.bounded(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errRestored) && !c.single {
			err = c.reload(ctx)
			more = err == nil
		}
		if errors.Is(err, errDiverged) || errors.Is(err, errRestored) {
			return err
		}
		c.report(err)
		wait := poll
		switch {
		case err != nil:
			pause = min(max(2*pause, poll), lastPause)
			wait, wakes = pause, nil // news cannot help now
		case more:
			wait = 0
		case c.single:
			wait = pollSingle
		}
		if err == nil {
			pause, wakes = 0, c.waker.Wakes()
		}
		timer.Reset(wait)
	}
}

// bounded is a pass that a database which does not answer cannot hold up for long.
func (c *Catalog) bounded(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(max(c.lease.length/2, 500*time.Millisecond), 5*time.Second))
	defer cancel()
	more, err = c.pass(ctx)
	// A slow database may not answer for a whole batch in time; a smaller one gets on.
	if err != nil {
		c.batch = max(c.batch/4, 1)
	} else {
		c.batch = min(2*c.batch, batchSize)
	}
	return more, err
}

// report logs when following begins to fail and when it works again, once each.
func (c *Catalog) report(err error) {
	switch {
	case err != nil && !c.failing:
		c.failing = true
		c.logger.Warn("cannot follow the database; serving from memory while the lease lasts", "error", err, "applied_seq", c.Applied())
	case err == nil && c.failing:
		c.failing = false
		c.logger.Info("following the database again", "applied_seq", c.Applied())
	}
}

// pass applies the next events and renews the lease when it is time, or when there is something to acknowledge. More says that
// there is more to apply at once.
func (c *Catalog) pass(ctx context.Context) (more bool, err error) {
	b, err := c.read(ctx)
	if err != nil {
		return false, err
	}
	narrowed := false
	for _, put := range b.puts {
		narrowed = put(c.replica) == replaced || narrowed
	}
	c.replica.compile()
	if c.replica.stalePrices {
		c.publishPrices()
	}
	if b.keep != nil {
		b.keep()
	}
	if b.last > c.Applied() {
		c.advance(b)
	}
	c.lease.grant(c.Applied())
	if narrowed {
		c.changed() // before the acknowledgement: when Settle returns, whoever must act has been told
	}
	if c.single || len(b.puts) == 0 && !b.moved && !c.renewalDue() {
		return b.full, nil
	}
	last, err := c.renew(ctx)
	if err != nil {
		return false, err
	}
	return b.full || last > c.Applied(), nil
}

// advance publishes what a batch has applied.
func (c *Catalog) advance(b batch) {
	c.lastID = b.lastID
	c.applied.Store(b.last)
	c.lag.apply(b.last)
	c.advancing.Lock()
	close(c.advanced)
	c.advanced = make(chan struct{})
	c.advancing.Unlock()
}

// batch is what a pass read: how to apply the subjects of some events, each subject once, as it is now.
type batch struct {
	puts   []func(*replica) outcome
	last   int64 // the sequence of the last event
	lastID string
	moved  bool   // there were events
	full   bool   // there may be more
	keep   func() // nil: there is nothing to keep
}

// read reads the next events and their subjects. It also reads the last applied event again, to see that the history goes on
// where this node left it.
func (c *Catalog) read(ctx context.Context) (b batch, err error) {
	from := c.Applied()
	err = c.db.View(ctx, func(tx *store.Tx) error {
		b = batch{last: from, lastID: c.lastID}
		if err := c.sameEpoch(tx); err != nil {
			return err
		}
		events, err := tx.EventsAfter(max(from-1, 0), c.batch+1)
		if err != nil {
			return err
		}
		if len(events) > 0 && events[0].Seq == from {
			if c.lastID != "" && events[0].ID != c.lastID {
				return errDiverged
			}
			b.lastID = events[0].ID
			events = events[1:]
		} else if len(events) == 0 && from > 0 {
			last, err := tx.LastSeq()
			if err != nil {
				return err
			}
			if last < from {
				return errDiverged
			}
		}
		b.full = len(events) >= c.batch
		type subject struct {
			kind gatehouse.SubjectKind
			id   string
		}
		seen := make(map[subject]bool, len(events))
		for i := range events {
			e := &events[i]
			if e.Seq != b.last+1 {
				return fmt.Errorf("event %d follows event %d: the feed has a gap", e.Seq, b.last)
			}
			b.last, b.lastID, b.moved = e.Seq, e.ID, true
			s := subject{e.Subject, e.SubjectID}
			if seen[s] {
				continue
			}
			seen[s] = true
			put, err := readSubject(tx, s.kind, s.id)
			if err != nil {
				return fmt.Errorf("read %s %s of event %d: %w", s.kind, s.id, e.Seq, err)
			}
			if put != nil {
				b.puts = append(b.puts, put)
			}
		}
		if c.keeper != nil && b.moved {
			b.keep, err = c.keeper.Read(tx, c.epoch, b.last, events)
		}
		return err
	})
	return b, err
}

// readSubject reads what an event is about and returns how to apply it; nil: the catalog does not hold its kind.
func readSubject(tx *store.Tx, kind gatehouse.SubjectKind, id string) (func(*replica) outcome, error) {
	switch kind {
	case gatehouse.SubjectOrganization:
		o, err := tx.Organization(id)
		return applying(o, err, (*replica).putOrganization, func(r *replica) { r.organizations.remove(id) })
	case gatehouse.SubjectProject:
		p, err := tx.Project(id)
		return applying(p, err, (*replica).putProject, func(r *replica) { r.projects.remove(id) })
	case gatehouse.SubjectUser:
		u, err := tx.User(id)
		return applying(u, err, (*replica).putUser, func(r *replica) { r.users.remove(id) })
	case gatehouse.SubjectProjectUser:
		project, user, _ := strings.Cut(id, "/")
		m, err := tx.ProjectUser(project, user)
		return applying(m, err, (*replica).putMember, func(r *replica) { r.members.remove(memberID{project, user}) })
	case gatehouse.SubjectGroup:
		g, err := tx.Group(id)
		return applying(g, err, (*replica).putGroup, func(r *replica) { r.dropAccess(func(a *accessRows) { delete(a.groups, id) }) })
	case gatehouse.SubjectGroupUser:
		group, user, _ := strings.Cut(id, "/")
		m, err := tx.GroupUser(group, user)
		return applying(m, err, (*replica).putGroupUser, func(r *replica) { r.dropAccess(func(a *accessRows) { delete(a.users, groupUserID{group, user}) }) })
	case gatehouse.SubjectRole:
		v, err := tx.Role(id)
		return applying(v, err, (*replica).putRole, func(r *replica) { r.dropAccess(func(a *accessRows) { delete(a.roles, id) }) })
	case gatehouse.SubjectAssignment:
		a, err := tx.Assignment(id)
		return applying(a, err, (*replica).putAssignment, func(r *replica) { r.dropAccess(func(a *accessRows) { delete(a.assignments, id) }) })
	case gatehouse.SubjectServiceAccount:
		a, err := tx.ServiceAccount(id)
		return applying(a, err, (*replica).putAccount, func(r *replica) { r.accounts.remove(id) })
	case gatehouse.SubjectResource:
		v, err := tx.Resource(id)
		return applying(v, err, (*replica).putResource, func(r *replica) { r.resources.remove(id) })
	case gatehouse.SubjectCertificate:
		v, err := tx.Certificate(id)
		return applying(v, err, (*replica).putCertificate, func(r *replica) { r.certificates.remove(id) })
	case gatehouse.SubjectKey:
		k, err := tx.Key(id)
		return applying(k, err, (*replica).putKey, func(r *replica) { r.dropKey(id) })
	case gatehouse.SubjectUpstream:
		u, err := tx.Upstream(id)
		return applying(u, err, (*replica).putUpstream, func(r *replica) { r.dropUpstream(id) })
	case gatehouse.SubjectDeployment:
		d, err := tx.Deployment(id)
		return applying(d, err, (*replica).putDeployment, func(r *replica) { r.dropDeployment(id) })
	case gatehouse.SubjectBudget:
		b, err := tx.Budget(id)
		return applying(b, err, (*replica).putBudget, func(r *replica) { r.dropBudget(id) })
	case gatehouse.SubjectLimit:
		l, err := tx.Limit(id)
		return applying(l, err, (*replica).putLimit, func(r *replica) { r.dropLimit(id) })
	case gatehouse.SubjectPrice:
		p, err := tx.Price(id)
		return applying(p, err, (*replica).putPrice, func(r *replica) { r.dropPrice(id) })
	}
	return nil, nil
}

// applying returns how to apply a row that was read. Rows are marked as removed, not deleted; one that is not there all the same
// is taken out, since less authority is always safe, and a feed that stops at it would stop every node.
func applying[V any](row *V, err error, put func(*replica, *V) outcome, drop func(*replica)) (func(*replica) outcome, error) {
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return func(r *replica) outcome {
			drop(r)
			return replaced
		}, nil
	}
	if err != nil {
		return nil, err
	}
	return func(r *replica) outcome { return put(r, row) }, nil
}

// watch tells listeners when the lease has run out. It is a goroutine of its own because the follower may wait for the database
// just then, and it looks at the clock again and again instead of setting a timer, because timers stand still while a machine
// is suspended.
func (c *Catalog) watch(ctx context.Context) {
	ticker := time.NewTicker(min(max(c.lease.length/4, 10*time.Millisecond), 200*time.Millisecond))
	defer ticker.Stop()
	was := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		is := c.Fresh()
		switch {
		case was && !is:
			c.logger.Error("the lease ran out: nothing is accepted until the database answers", "max_staleness", c.lease.length)
			c.changed()
		case is && !was:
			c.logger.Info("the lease stands again")
		}
		was = is
	}
}
