package valkey_test

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/valkey"
)

var _ catalog.Waker = (*valkey.Waker)(nil)

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, address string) (*valkey.Waker, *lines) {
	t.Helper()
	log := &lines{}
	w, err := valkey.Open(t.Context(), "redis://"+address, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w, log
}

// woken waits for a wake-up.
func woken(t *testing.T, w *valkey.Waker, what string) {
	t.Helper()
	select {
	case <-w.Wakes():
	case <-time.After(20 * time.Second):
		t.Fatalf("no wake-up: %s", what)
	}
}

func TestNewsReachesOtherNodes(t *testing.T) {
	address := storetest.Redis(t)
	a, aLog := open(t, address)
	b, bLog := open(t, address)
	woken(t, a, "a has subscribed")
	woken(t, b, "b has subscribed")
	for seq := range int64(50) {
		a.Wake(seq)
		woken(t, a, "a itself")
		woken(t, b, "b hears of a's commit")
	}
	b.Wake(100)
	woken(t, b, "b itself")
	woken(t, a, "a hears of b's commit")
	if got := aLog.String() + bLog.String(); got != "" {
		t.Errorf("a healthy server is logged:\n%s", got)
	}
}

// TestServerAway has a server come only later, go and come back: the node is woken by its own commits all the time, each change of
// state is logged once, and news flows again.
func TestServerAway(t *testing.T) {
	server := storetest.Redis(t)
	gate := newGate(t, server)
	gate.cut()
	a, log := open(t, gate.address())
	b, _ := open(t, server)
	woken(t, b, "b has subscribed")
	for range 20 {
		a.Wake(1)
		woken(t, a, "a itself, without a server")
	}
	waitFor(t, log, "operation=subscribe error", 1)
	waitFor(t, log, "operation=publish error", 1)

	gate.join()
	woken(t, a, "a subscribes once the server is there")
	waitFor(t, log, "is back\" operation=subscribe", 1)
	b.Wake(2)
	woken(t, b, "b itself")
	woken(t, a, "a hears of b's commit")
	a.Wake(3)
	woken(t, b, "b hears of a's commit")
	waitFor(t, log, "is back\" operation=publish", 1)

	gate.cut()
	waitFor(t, log, "operation=subscribe error", 2)
	gate.join()
	waitFor(t, log, "is back\" operation=subscribe", 2)
}

// TestSilentServer has the server stay connected and say nothing any more.
func TestSilentServer(t *testing.T) {
	gate := newGate(t, storetest.Redis(t))
	a, log := open(t, gate.address())
	woken(t, a, "a has subscribed")
	gate.freeze()
	waitFor(t, log, "operation=subscribe error", 1)
}

func TestAddresses(t *testing.T) {
	for _, url := range []string{"redis://127.0.0.1:1/2", "valkey://user:secret@127.0.0.1:1", "rediss://127.0.0.1:1", "valkeys://127.0.0.1:1", "unix:///nowhere"} {
		w, err := valkey.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("Open(%s): %v", url, err)
			continue
		}
		if err := w.Close(); err != nil {
			t.Errorf("Close of %s: %v", url, err)
		}
	}
	for _, url := range []string{"", "127.0.0.1:6379", "http://h", "redis://user:secret@host:port", "redis://:secret@h/notanumber"} {
		w, err := valkey.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("Open(%q) = %v, want Invalid", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) tells the password: %v", url, err)
		}
		if w != nil {
			_ = w.Close()
		}
	}
}

// waitFor waits until a log holds a text n times, and fails when it holds it more often.
func waitFor(t *testing.T, log *lines, text string, n int) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for strings.Count(log.String(), text) < n {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %q, %d times, in:\n%s", text, n, log)
		}
	}
	if got := strings.Count(log.String(), text); got != n {
		t.Errorf("%q is logged %d times, want %d:\n%s", text, got, n, log)
	}
}

// gate passes connections on to a server, refuses them, or holds their bytes back.
type gate struct {
	listener net.Listener
	target   string

	mu     sync.Mutex // guards the rest
	down   bool
	frozen bool
	delay  time.Duration // of what the server answers
	conns  []net.Conn
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, target: target}
	var done sync.WaitGroup
	done.Go(func() { // ends when the listener closes
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			g.pass(&done, in)
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop above
		g.cut()
		done.Wait()
	})
	return g
}

func (g *gate) address() string { return g.listener.Addr().String() }

func (g *gate) pass(done *sync.WaitGroup, in net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out, err := net.Dial("tcp", g.target)
	if err != nil || g.down {
		_ = in.Close() // refused
		if err == nil {
			_ = out.Close()
		}
		return
	}
	g.conns = append(g.conns, in, out)
	forward := func(to, from net.Conn, answers bool) { // ends with either connection
		defer func() { _, _ = to.Close(), from.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			g.mu.Lock()
			frozen, delay := g.frozen, g.delay
			g.mu.Unlock()
			if frozen {
				continue
			}
			if delay > 0 && answers {
				<-time.After(delay)
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	done.Go(func() { forward(in, out, true) })
	done.Go(func() { forward(out, in, false) })
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = true
	for _, c := range g.conns {
		_ = c.Close() // the other side notices
	}
	g.conns = nil
}

func (g *gate) join() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = false
}

func (g *gate) slowDown(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = true
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
