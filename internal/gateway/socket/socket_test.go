//go:build linux

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a connection, the first with quick calls.
func pair(t testing.TB) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() }) // some tests have closed them
	c := New(a.(*net.TCPConn))
	if c == nil {
		t.Fatal("there are no quick calls")
	}
	return c, b.(*net.TCPConn)
}

// TestWhole writes more than any socket takes at once, to a peer that reads late, and reads it back in pieces.
func TestWhole(t *testing.T) {
	c, peer := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	echoed := make(chan error, 1)
	go func() { // ends when everything was echoed
		b, err := io.ReadAll(io.LimitReader(peer, int64(len(want))))
		if err == nil {
			_, err = peer.Write(b)
		}
		echoed <- err
	}()
	if n, err := c.Write(want); n != len(want) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes back that are not those written, %v", len(got), err)
	}
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
}

// TestEnds holds that the end of a connection, deadlines and a close look as with net's own calls.
func TestEnds(t *testing.T) {
	t.Run("the peer ends", func(t *testing.T) {
		c, peer := pair(t)
		peer.Close()
		if n, err := c.Read(make([]byte, 8)); n != 0 || err != io.EOF {
			t.Errorf("Read = %d, %v; want io.EOF", n, err)
		}
	})
	t.Run("the peer resets", func(t *testing.T) {
		c, peer := pair(t)
		peer.SetLinger(0)
		peer.Close()
		var op *net.OpError
		if _, err := c.Read(make([]byte, 8)); !errors.As(err, &op) || op.Op != "read" || op.Timeout() {
			t.Errorf("Read = %v; want an OpError", err)
		}
		if _, err := c.Write([]byte("x")); !errors.As(err, &op) || op.Op != "write" {
			t.Errorf("Write = %v; want an OpError", err)
		}
	})
	t.Run("deadlines", func(t *testing.T) {
		c, _ := pair(t)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v; want a deadline", err)
		}
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := c.Write(make([]byte, 64<<20)) // the peer does not read
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 64<<20 {
			t.Errorf("Write = %d, %v; want what fitted, and a deadline", n, err)
		}
	})
	t.Run("closed while it waits", func(t *testing.T) {
		c, _ := pair(t)
		done := make(chan error, 1)
		go func() { // ends with the connection
			_, err := c.Read(make([]byte, 8))
			done <- err
		}()
		c.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read = %v; want net.ErrClosed", err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		c, _ := pair(t)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("Read of nothing = %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("Write of nothing = %d, %v", n, err)
		}
	})
}

func TestQuiet(t *testing.T) {
	c, peer := pair(t)
	if !c.Quiet() {
		t.Error("a connection on which nobody spoke is not quiet")
	}
	if _, err := peer.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	var n int
	var err error
	if werr := c.Await(func(fd uintptr) bool { // it has arrived once this returns
		n, err = TryRead(fd, b[:1])
		return err != ErrNothing
	}); werr != nil || n != 1 || err != nil {
		t.Fatalf("Await = %v; read %d, %v", werr, n, err)
	}
	if c.Quiet() {
		t.Error("a connection with three more bytes is quiet")
	}
	if _, err := io.ReadFull(c, b[:3]); err != nil {
		t.Fatal(err)
	}
	if !c.Quiet() {
		t.Error("a connection whose bytes were read is not quiet")
	}
	peer.Close()
	if _, err := c.Read(b); err != io.EOF {
		t.Fatal(err)
	}
	if c.Quiet() {
		t.Error("a connection that has ended is quiet")
	}
}

func TestNoMemory(t *testing.T) {
	c, peer := pair(t)
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
}

// BenchmarkEcho is a round trip with net's calls on one side, and these.
func BenchmarkEcho(b *testing.B) {
	c, peer := pair(b)
	go func() { // ends with the connection
		_, _ = io.Copy(peer, peer)
	}()
	buf := make([]byte, 512)
	for _, side := range []struct {
		name string
		rw   io.ReadWriter
	}{{"net", c.TCPConn}, {"quick", c}} {
		b.Run(side.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := side.rw.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(side.rw, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
