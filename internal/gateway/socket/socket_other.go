//go:build !linux

package socket

import (
	"errors"
	"net"
)

// Conn is not there.
type Conn struct{ *net.TCPConn }

// New returns nil: calls are made as usual.
func New(*net.TCPConn) *Conn { return nil }

// ErrNothing says that there is nothing to read at the moment.
var ErrNothing = errors.New("nothing to read")

// TryRead finds nothing; there is no Conn to call it with.
func TryRead(uintptr, []byte) (int, error) { return 0, ErrNothing }

// Await is never called.
func (c *Conn) Await(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// ErrSpoken says that a connection had something to read before it was asked.
var ErrSpoken = errors.New("there was something to read before anything was asked")

// Ask is never called.
func (c *Conn) Ask([]byte, func(fd uintptr) bool) (int, error) { return 0, errors.ErrUnsupported }

// Quiet is never called.
func (c *Conn) Quiet() bool { return true }
