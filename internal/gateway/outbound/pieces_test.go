package outbound_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/gateway/outbound"
)

const streamHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

// TestPiecesTogether checks that what came together is handed on together, and nothing waits for more.
func TestPiecesTogether(t *testing.T) {
	for kind, serve := range map[string]func(testing.TB, func(*peer)) *rawServer{"plain": serveRaw, "tls": serveRawTLS} {
		t.Run(kind, func(t *testing.T) {
			next := make(chan struct{})
			s := serve(t, func(p *peer) {
				_, _, _ = p.request()
				p.say(streamHead + "3\r\none\r\n3\r\ntwo\r\n5\r\nth")
				<-next
				p.say("ree\r\n1")
				<-next
				p.say("\r\n!\r\n0\r\n\r\n")
			})
			resp, err := endpoint(t, s).Do(t.Context(), get("/"), generous)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Close()
			var got []string
			for p, err := range resp.Body.Pieces() {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, string(p)); len(got) < 3 {
					next <- struct{}{}
				}
			}
			if want := "[onetwoth ree !]"; fmt.Sprint(got) != want {
				t.Fatalf("got %q, want %s", got, want)
			}
		})
	}
}

// TestPiecesOfAnySize has chunks and reads cut each other in every way.
func TestPiecesOfAnySize(t *testing.T) {
	var all, raw strings.Builder
	for n := range 300 {
		chunk := strings.Repeat(string(rune('a'+n%26)), 1+n*n%9_001)
		all.WriteString(chunk)
		fmt.Fprintf(&raw, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	s := serveRaw(t, func(p *peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.say(streamHead)
			for n, rest := 0, raw.String()+"0\r\n\r\n"; rest != ""; n++ {
				k := min(1+n*7_919%20_011, len(rest))
				p.say(rest[:k])
				rest = rest[k:]
			}
		}
	})
	e := endpoint(t, s)
	for range 3 {
		if status, body, err := fetchPieces(e, get("/")); err != nil || status != 200 || body != all.String() {
			t.Fatalf("got %d, %d bytes, %v, want 200 and %d", status, len(body), err, all.Len())
		}
	}
	if n := s.connections(); n != 1 {
		t.Fatalf("used %d connections, want 1", n)
	}
}

// TestPiecesOfASilentStream has the upstream fall silent for longer than a pump doubts, and for longer than it may.
func TestPiecesOfASilentStream(t *testing.T) {
	const idle = 400 * time.Millisecond
	s := serveRaw(t, func(p *peer) {
		_, _, _ = p.request()
		p.say(streamHead + "3\r\none\r\n")
		for _, rest := range []string{"3\r\ntwo\r\n", "5\r\nthr"} {
			said := make(chan struct{})
			timer := time.AfterFunc(idle*5/8, func() {
				p.say(rest)
				close(said)
			})
			defer timer.Stop()
			<-said
		}
		p.untilClosed()
	})
	resp, err := endpoint(t, s).Do(t.Context(), get("/"), outbound.Timeouts{FirstByte: patience, Idle: idle})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	body, err := pieces(resp)
	if oe := wantError(t, err, outbound.OpRead); !oe.Timeout || body != "onetwothr" {
		t.Fatalf("got %q, %+v, want all three and then a timeout", body, oe)
	}
	s.waitGone(t, 1)
}

// TestEnoughPieces leaves a stream in the middle, by itself and by a panic, at what came with the head and at what came later: it can
// be closed then, and the upstream sees that.
func TestEnoughPieces(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces int
		panics bool
	}{{"at once", 1, false}, {"later", 2, false}, {"at once, by a panic", 1, true}, {"later, by a panic", 2, true}} {
		t.Run(c.name, func(t *testing.T) {
			next := make(chan struct{}, 1)
			s := serveRaw(t, func(p *peer) {
				_, _, _ = p.request()
				p.say(streamHead + "3\r\none\r\n")
				<-next
				p.say("3\r\ntwo\r\n")
				p.untilClosed()
			})
			resp, err := endpoint(t, s).Do(t.Context(), get("/"), generous)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			func() {
				defer resp.Close()
				defer func() {
					if reason := recover(); (reason != nil) != c.panics {
						t.Errorf("the loop panicked with %v", reason)
					}
				}()
				for _, err := range resp.Body.Pieces() {
					if err != nil {
						t.Error(err)
					}
					next <- struct{}{}
					if got++; got < c.pieces {
						continue
					}
					if c.panics {
						panic("enough")
					}
					break
				}
			}()
			if got != c.pieces {
				t.Errorf("got %d pieces, want %d", got, c.pieces)
			}
			s.waitGone(t, 1)
		})
	}
}

// TestCancelBetweenPieces cancels a stream whose reader is busy with a piece: whoever cancels does not wait for it, the upstream sees
// the end at once, and the reader gets nothing more, though more had come.
func TestCancelBetweenPieces(t *testing.T) {
	said := make(chan struct{})
	s := serveRaw(t, func(p *peer) {
		_, _, _ = p.request()
		p.say(streamHead + "3\r\none\r\n")
		<-said
		p.say("3\r\ntwo\r\n")
		said <- struct{}{}
		p.untilClosed()
	})
	x := &exchange{Context: t.Context()}
	resp, err := endpoint(t, s).Do(x, get("/"), generous)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	why := errors.New("the credential was revoked")
	var got []string
	for p, err := range resp.Body.Pieces() {
		if err != nil {
			oe := wantError(t, err, outbound.OpRead)
			if !errors.Is(oe, why) || fmt.Sprint(got) != "[one]" {
				t.Fatalf("got %q and then %v, want the first piece and the cause", got, err)
			}
			return
		}
		got = append(got, string(p))
		said <- struct{}{}
		<-said
		x.Cut(why)
		s.waitGone(t, 1)
	}
	t.Fatalf("got %q and no error", got)
}
