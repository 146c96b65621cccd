package gateway

import (
	"net/http"
	"time"

	"gatehouse/internal/gateway/http1"
)

// ownWriter is the ResponseWriter of our own server: see package inbound. It bounds each write for which no deadline is set.
type ownWriter interface {
	http.ResponseWriter
	RequestFields() (names, values []string)
	WriteHead(status int, fields []http1.Field)
	FlushError() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// control reaches the connection behind a ResponseWriter, as http.ResponseController does, without being allocated.
type control struct {
	w   http.ResponseWriter
	own ownWriter // w, where it is one; else nil
}

func newControl(w http.ResponseWriter) control {
	own, _ := w.(ownWriter)
	return control{w, own}
}

// Flush sends what is buffered.
func (c control) Flush() error {
	if c.own != nil {
		return c.own.FlushError()
	}
	return http.NewResponseController(c.w).Flush()
}

// SetReadDeadline bounds the reading of the request's body.
func (c control) SetReadDeadline(t time.Time) error {
	if c.own != nil {
		return c.own.SetReadDeadline(t)
	}
	return http.NewResponseController(c.w).SetReadDeadline(t)
}

// SetWriteDeadline bounds the writing of the answer.
func (c control) SetWriteDeadline(t time.Time) error {
	if c.own != nil {
		return c.own.SetWriteDeadline(t)
	}
	return http.NewResponseController(c.w).SetWriteDeadline(t)
}
