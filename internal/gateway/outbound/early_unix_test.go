//go:build unix

package outbound_test

import (
	"io"
	"net"
	"syscall"
	"testing"

	"gatehouse/internal/gateway/outbound"
)

// TestAnswerAfterBrokenWrite has a server with a small receive buffer that answers and resets the connection in the middle of a
// body that is written in one go: the write fails, and the answer is delivered all the same.
func TestAnswerAfterBrokenWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sys, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big")
			c.Close() // with bytes unread: the kernel resets the connection
		}
	}()
	defer func() { ln.Close(); <-done }()
	e := newEndpoint(t, outbound.Config{BaseURL: "http://" + ln.Addr().String(), AllowPrivate: true})
	for range 10 {
		mustFetch(t, e, post(long(200<<10)), 413, "too big")
	}
}
