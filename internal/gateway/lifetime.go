package gateway

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lifetime is the context of one exchange. It ends when the caller leaves, when the exchange is cancelled, and with the exchange.
// Three contexts of the standard library would do the same at the cost of ten allocations and two maps for each request; this is
// one. It is not used again, for what was given it may ask for its end at any time.
//
// Err says why it ended, in more words than Canceled where there are any, and so does context.Cause.
type lifetime struct {
	parent context.Context
	leave  func() bool // takes it off the parent's list

	mu    sync.Mutex
	cause error         // guarded by mu, as are the rest; nil while it lasts
	done  chan struct{} // nil until somebody asked for it
	hooks hook          // the list's head
	first hook          // so that one hook costs no allocation
}

// hook is a function that runs at the end of a lifetime.
type hook struct {
	of         *lifetime
	f          func()
	prev, next *hook
}

// afterFuncer is what lifetimes, the requests of our own server and nobody else have; see context.AfterFunc.
type afterFuncer interface {
	AfterFunc(f func()) (stop func() bool)
}

func newLifetime(parent context.Context) *lifetime {
	l := &lifetime{parent: parent}
	left := func() { l.cancel(context.Cause(parent)) }
	if p, ok := parent.(afterFuncer); ok {
		l.leave = p.AfterFunc(left)
	} else {
		l.leave = context.AfterFunc(parent, left)
	}
	return l
}

// end ends it, together with the exchange.
func (l *lifetime) end() {
	l.leave()
	l.cancel(context.Canceled)
}

// cancel ends it, if nothing has before, and runs the hooks.
func (l *lifetime) cancel(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	if l.done != nil {
		close(l.done)
	}
	first := l.hooks.next
	l.hooks.next = nil
	for h := first; h != nil; h = h.next {
		h.prev = nil
	}
	l.mu.Unlock()
	for h := first; h != nil; h = h.next {
		h.f()
	}
}

// Deadline implements context.Context. The exchange's own time is kept by a timer.
func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *lifetime) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.cause != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *lifetime) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Value implements context.Context.
func (l *lifetime) Value(key any) any {
	if _, own := key.(*int); own {
		return nil // the context package asks for the parent's insides, to take its end for ours
	}
	return l.parent.Value(key)
}

// AfterFunc runs f when the lifetime ends, on the goroutine that ends it, unless stop is called first. The context package looks for
// this method, so that what is derived needs no goroutine. f must not block.
func (l *lifetime) AfterFunc(f func()) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		go f() // ends with f; the caller may hold what f needs
		return func() bool { return false }
	}
	h := &l.first
	if h.f != nil {
		h = new(hook)
	}
	*h = hook{of: l, f: f, prev: &l.hooks, next: l.hooks.next}
	if h.next != nil {
		h.next.prev = h
	}
	l.hooks.next = h
	return h.stop
}

// stop takes the hook off the list and reports whether it was there.
func (h *hook) stop() bool {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.prev == nil {
		return false
	}
	h.prev.next = h.next
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.f, h.prev, h.next = nil, nil, nil
	return true
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
		of.cancel(context.DeadlineExceeded)
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
