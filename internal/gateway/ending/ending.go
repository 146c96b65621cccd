// Package ending is what the contexts of a request and of its exchange have in common: they end once, and tell those who asked. The
// standard library's would do the same at the cost of several allocations for each request.
package ending

import (
	"context"
	"sync"
)

// Teller is told of an end.
type Teller interface {
	// Tell runs on the goroutine that brought the end about, after it: it must not block.
	Tell()
}

// Hook is a Teller's place on the list of an End. Who waits for an end has the hook as a part of itself, so that waiting costs no
// allocation. The zero Hook is on no list, and one whose Off returned true may be hung again.
type Hook struct {
	of         *End // nil: on no list and never was
	t          Teller
	prev, next *Hook // guarded by of.mu
}

// End is the part of a context.Context that ends. Its zero value has begun; it must not be copied.
type End struct {
	mu    sync.Mutex
	cause error         // guarded by mu, as are the rest; nil while it lasts
	done  chan struct{} // nil until somebody asked for it
	hooks Hook          // the list's head
}

// ended is the channel of every End that was over before somebody asked.
var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done implements context.Context.
func (e *End) Done() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		if e.cause != nil {
			return ended
		}
		e.done = make(chan struct{})
	}
	return e.done
}

// Err implements context.Context: the cause.
func (e *End) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// Begin makes an End that is over ready for another time. also runs under the lock of CutIf.
func (e *End) Begin(also func()) {
	e.mu.Lock()
	also()
	e.done, e.cause = nil, nil
	e.mu.Unlock()
}

// Cut ends it, if nothing has before, and tells whoever asked, the last one first.
func (e *End) Cut(cause error) { e.CutIf(cause, nil) }

// CutIf is Cut where only says so, which runs under the lock; nil always does.
func (e *End) CutIf(cause error, only func() bool) {
	e.mu.Lock()
	if only != nil && !only() || e.cause != nil {
		e.mu.Unlock()
		return
	}
	e.cause = cause
	if e.done != nil {
		close(e.done)
	}
	first := e.hooks.next
	e.hooks.next = nil
	for h := first; h != nil; h = h.next {
		h.prev = nil
	}
	e.mu.Unlock()
	for h := first; h != nil; {
		next := h.next // it may be gone as soon as it was told
		h.t.Tell()
		h = next
	}
}

// Hang puts a hook that is on no list on this one: t is told of the end unless Off comes first. It returns false, and t is never told,
// where the end has been already.
func (e *End) Hang(h *Hook, t Teller) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil {
		return false
	}
	*h = Hook{of: e, t: t, prev: &e.hooks, next: e.hooks.next}
	if h.next != nil {
		h.next.prev = h
	}
	e.hooks.next = h
	return true
}

// Off takes a hook off its list. It returns false where it is on none: its Teller was told, or is being told now.
func (h *Hook) Off() bool {
	if h.of == nil {
		return false
	}
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.prev == nil {
		return false
	}
	h.prev.next = h.next
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
	return true
}

// function is a Teller that somebody gave as a function.
type function struct {
	hook Hook
	f    func()
}

// Tell implements Teller.
func (f *function) Tell() { f.f() }

// AfterFunc runs f when it ends unless stop is called first, as [context.AfterFunc] does; that looks for this method, so that a derived
// context needs no goroutine. f must not block: but after the end it has a goroutine of its own, for the caller may hold what f needs.
func (e *End) AfterFunc(f func()) (stop func() bool) {
	t := &function{f: f}
	if !e.Hang(&t.hook, t) {
		go f() // ends with f
		return func() bool { return false }
	}
	return t.hook.Off
}

// Hanger is a context that a Hook can hang on: an End has the method.
type Hanger interface {
	Hang(h *Hook, t Teller) bool
}

// Link makes the end of a context end what t stands for: t is told of it, perhaps at once and on this goroutine. The function it
// returns ends the link; nil: h.Off does. Only with contexts of others than this package's it costs allocations.
func Link(ctx context.Context, h *Hook, t Teller) (leave func() bool) {
	own, ok := ctx.(Hanger)
	if !ok {
		return context.AfterFunc(ctx, t.Tell)
	}
	if !own.Hang(h, t) {
		t.Tell()
	}
	return nil
}
