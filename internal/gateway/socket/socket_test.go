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

// reader returns a step that reads into b.
func reader(b []byte) (step func(fd uintptr) bool, n *int, err *error) {
	n, err = new(int), new(error)
	return func(fd uintptr) bool {
		*n, *err = TryRead(fd, b)
		return *err != ErrNothing
	}, n, err
}

// TestAsk asks a peer that answers, one that spoke or left before it was asked, one that takes only a part, and ones that never answer.
func TestAsk(t *testing.T) {
	b := make([]byte, 64)
	t.Run("answered", func(t *testing.T) {
		c, peer := pair(t)
		over := make(chan struct{})
		go func() { // ends with the connection
			defer close(over)
			_, _ = io.Copy(peer, peer)
		}()
		for range 1000 { // an answer that comes before anybody waits for it is not lost
			step, n, err := reader(b)
			asked, aerr := c.Ask([]byte("question"), step)
			if asked != 8 || aerr != nil || *n != 8 || *err != nil {
				t.Fatalf("Ask = %d, %v; read %d, %v", asked, aerr, *n, *err)
			}
		}
		c.Close()
		<-over
	})
	t.Run("spoken", func(t *testing.T) {
		c, peer := pair(t)
		if _, err := peer.Write([]byte("bye")); err != nil {
			t.Fatal(err)
		}
		if err := c.Await(func(fd uintptr) bool { return !nothingToRead(fd) }); err != nil {
			t.Fatal(err)
		}
		step, n, _ := reader(b)
		if asked, err := c.Ask([]byte("question"), step); asked != 0 || err != ErrSpoken || *n != 0 {
			t.Errorf("Ask = %d, %v; want ErrSpoken", asked, err)
		}
		if got, err := c.Read(b); string(b[:got]) != "bye" || err != nil {
			t.Errorf("then Read = %q, %v", b[:got], err)
		}
	})
	for name, leave := range map[string]func(*net.TCPConn){
		"left":  func(peer *net.TCPConn) { peer.Close() },
		"reset": func(peer *net.TCPConn) { peer.SetLinger(0); peer.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := pair(t)
			leave(peer)
			if err := c.Await(func(fd uintptr) bool { return !nothingToRead(fd) }); err != nil {
				t.Fatal(err)
			}
			step, _, _ := reader(b)
			if asked, err := c.Ask([]byte("question"), step); asked != 0 || err != ErrSpoken {
				t.Errorf("Ask = %d, %v; want ErrSpoken", asked, err)
			}
		})
	}
	t.Run("leaves", func(t *testing.T) {
		c, peer := pair(t)
		go func() { // ends with the question
			_, _ = io.ReadFull(peer, make([]byte, 8))
			peer.Close()
		}()
		step, n, err := reader(b)
		if asked, aerr := c.Ask([]byte("question"), step); asked != 8 || aerr != nil || *n != 0 || *err != nil {
			t.Errorf("Ask = %d, %v; read %d, %v; want the end", asked, aerr, *n, *err)
		}
	})
	t.Run("a part", func(t *testing.T) {
		c, _ := pair(t)
		step, _, _ := reader(b)
		long := make([]byte, 64<<20) // the peer does not read
		if asked, err := c.Ask(long, step); asked == 0 || asked == len(long) || err != nil {
			t.Errorf("Ask = %d, %v; want a part", asked, err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		c, _ := pair(t)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		step, _, _ := reader(b)
		if asked, err := c.Ask([]byte("question"), step); asked != 8 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Ask = %d, %v; want a deadline", asked, err)
		}
	})
	t.Run("closed while it waits", func(t *testing.T) {
		c, peer := pair(t)
		go func() { // ends with the question
			_, _ = io.ReadFull(peer, make([]byte, 8))
			c.Close()
		}()
		step, _, _ := reader(b)
		if asked, err := c.Ask([]byte("question"), step); asked != 8 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Ask = %d, %v; want net.ErrClosed", asked, err)
		}
		if asked, err := c.Ask([]byte("question"), step); asked != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Ask of a closed one = %d, %v; want net.ErrClosed", asked, err)
		}
	})
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
