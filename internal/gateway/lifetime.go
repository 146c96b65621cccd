package gateway

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/internal/gateway/ending"
)

// lifetime is the context of one exchange. It ends when the caller leaves, when the exchange is cancelled, and with the exchange. It is
// not used again, for what was given it may ask for its end at any time.
//
// Err says why it ended, in more words than Canceled where there are any, and so does context.Cause.
type lifetime struct {
	ending.End
	parent context.Context
	hook   ending.Hook // on the parent's list, where that is a context of our own server
	leave  func() bool // takes it off the list of any other
}

func newLifetime(parent context.Context) *lifetime {
	l := &lifetime{parent: parent}
	l.leave = ending.Link(parent, &l.hook, (*departure)(l))
	return l
}

// departure ends a lifetime because its parent has ended.
type departure lifetime

// Tell implements ending.Teller.
func (d *departure) Tell() { (*lifetime)(d).Cut(context.Cause(d.parent)) }

// end ends it, together with the exchange.
func (l *lifetime) end() {
	if l.leave != nil {
		l.leave()
	} else {
		l.hook.Off()
	}
	l.Cut(context.Canceled)
}

// Deadline implements context.Context. The exchange's own time is kept by a timer.
func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (l *lifetime) Value(key any) any {
	if _, own := key.(*int); own {
		return nil // the context package asks for the parent's insides, to take its end for ours
	}
	return l.parent.Value(key)
}

// overtime ends a lifetime that lasts too long. It is one timer for many exchanges, one after the other.
type overtime struct {
	running *strike // nil until the first exchange, and after one whose time was over
}

// strike is a timer and the lifetime it ends; nil between two exchanges.
type strike struct {
	timer *time.Timer
	of    atomic.Pointer[lifetime]
}

func (o *overtime) begin(of *lifetime, after time.Duration) {
	if s := o.running; s != nil {
		s.of.Store(of)
		s.timer.Reset(after)
		return
	}
	s := &strike{}
	s.of.Store(of)
	s.timer = time.AfterFunc(after, s.run)
	o.running = s
}

func (o *overtime) end() {
	s := o.running
	if !s.timer.Stop() {
		o.running = nil // it runs now, perhaps: it must not meet the next exchange
	}
	s.of.Store(nil)
}

func (s *strike) run() {
	if of := s.of.Load(); of != nil {
		of.Cut(context.DeadlineExceeded)
	}
}

// control reaches the connection behind a ResponseWriter, as http.ResponseController does, without being allocated.
type control struct{ w http.ResponseWriter }

// Flush sends what is buffered.
func (c control) Flush() error {
	if w, ok := c.w.(interface{ FlushError() error }); ok {
		return w.FlushError()
	}
	return http.NewResponseController(c.w).Flush()
}

// SetReadDeadline bounds the reading of the request's body.
func (c control) SetReadDeadline(t time.Time) error {
	if w, ok := c.w.(interface{ SetReadDeadline(time.Time) error }); ok {
		return w.SetReadDeadline(t)
	}
	return http.NewResponseController(c.w).SetReadDeadline(t)
}

// SetWriteDeadline bounds the writing of the answer.
func (c control) SetWriteDeadline(t time.Time) error {
	if w, ok := c.w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return w.SetWriteDeadline(t)
	}
	return http.NewResponseController(c.w).SetWriteDeadline(t)
}
