package inbound

import (
	"context"
	"net/http"
	"time"

	"gatehouse/internal/gateway/ending"
)

// requestContext is the context of the requests of one connection, one after the other. It costs nothing until somebody asks it
// for its end, and ends when the caller leaves or the handler returns.
type requestContext struct {
	ending.End
	c *conn
}

// newRequestContext returns the context of a connection without a request.
func newRequestContext(c *conn) *requestContext {
	x := &requestContext{c: c}
	x.Cut(context.Canceled)
	return x
}

// Deadline implements context.Context: there is none.
func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context: the address the caller reached, under net/http's key.
func (x *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return x.c.raw.LocalAddr()
	}
	return nil
}

// cancel ends the context of the request with this serial number, if it is still being served.
func (x *requestContext) cancel(serial uint64) {
	x.CutIf(context.Canceled, func() bool { return x.c.serial.Load() == serial })
}

// begin makes the context ready for the next request.
func (x *requestContext) begin() {
	x.Begin(func() { x.c.serial.Add(1) })
}

// end ends the request: what was derived from its context ends with it.
func (x *requestContext) end() {
	x.CutIf(context.Canceled, func() bool {
		x.c.serial.Add(1)
		return true
	})
}
