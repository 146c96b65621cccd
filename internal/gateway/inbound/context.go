package inbound

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// requestContext is the context of the requests of one connection, one after the other. It costs nothing until somebody asks it
// for its end, and ends when the caller leaves or the handler returns.
type requestContext struct {
	c *conn

	mu    sync.Mutex
	done  chan struct{} // guarded by mu, as are the rest; nil until somebody asked for it
	err   error
	hooks hook // the list's ends
}

// hook is a function that runs at the end of a context.
type hook struct {
	f          func()
	prev, next *hook
}

// Deadline implements context.Context: there is none.
func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	return x.done
}

// Err implements context.Context.
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Value implements context.Context: the address the caller reached, under net/http's key.
func (x *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return x.c.raw.LocalAddr()
	}
	return nil
}

// AfterFunc runs f when the context ends, unless stop is called first. The context package looks for this method: with it a derived
// context needs no goroutine.
func (x *requestContext) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		go f() // ends with f, which is what AfterFunc promises; who calls may hold what f needs
		return func() bool { return false }
	}
	h := &hook{f: f, next: x.hooks.next, prev: &x.hooks}
	if h.next != nil {
		h.next.prev = h
	}
	x.hooks.next = h
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		if h.prev == nil {
			return false
		}
		h.prev.next = h.next
		if h.next != nil {
			h.next.prev = h.prev
		}
		h.prev = nil
		return true
	}
}

// cancel ends the context of the request with this serial number, if it is still being served.
func (x *requestContext) cancel(serial uint64) {
	x.mu.Lock()
	if x.c.serial.Load() != serial || x.err != nil {
		x.mu.Unlock()
		return
	}
	first := x.cut()
	x.mu.Unlock()
	run(first)
}

// cut marks the context as ended and takes its hooks off; mu is held.
func (x *requestContext) cut() *hook {
	x.err = context.Canceled
	if x.done != nil {
		close(x.done)
	}
	first := x.hooks.next
	x.hooks.next = nil
	for h := first; h != nil; h = h.next {
		h.prev = nil
	}
	return first
}

// begin makes the context ready for the next request.
func (x *requestContext) begin() {
	x.mu.Lock()
	x.c.serial.Add(1)
	x.done, x.err = nil, nil
	x.mu.Unlock()
}

// end ends the request: what was derived from its context ends with it.
func (x *requestContext) end() {
	x.mu.Lock()
	x.c.serial.Add(1)
	var first *hook
	if x.err == nil {
		first = x.cut()
	}
	x.mu.Unlock()
	run(first)
}

func run(h *hook) {
	for h != nil {
		next := h.next
		h.f()
		h = next
	}
}
