package inbound

import (
	"errors"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestWaiting holds that what is measured by looks is never taken for longer than it is, and found out within three looks.
func TestWaiting(t *testing.T) {
	const span = 10
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	for name, test := range map[string]struct {
		what []uint64 // at each look, which are a second apart
		over int      // the first look that says so; -1: none
	}{
		"it goes on":          {[]uint64{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 11}, // begun before the first look, and so ten seconds before the twelfth
		"nothing":             {[]uint64{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, -1},
		"always something":    {[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, -1},
		"another in between":  {[]uint64{7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8}, -1},
		"nothing in between":  {[]uint64{7, 7, 7, 7, 7, 0, 7, 7, 7, 7, 7, 7, 7}, -1},
		"something after all": {[]uint64{0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 13},
	} {
		var w waiting
		over := -1
		for i, what := range test.what {
			if w.over(what, at(int64(i)), span*time.Second) && over < 0 {
				over = i
			}
		}
		if over != test.over {
			t.Errorf("%s: over at look %d, want %d", name, over, test.over)
		}
	}
}

// TestWriteTimeout ends the answer to a caller that does not read, and that one alone.
func TestWriteTimeout(t *testing.T) {
	const patient = 300 * time.Millisecond
	type outcome struct {
		err  error
		took time.Duration
	}
	failed := make(chan outcome, 1)
	_, address := serving(t, Config{WriteTimeout: patient, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		_, err := w.Write(make([]byte, 64<<20))
		failed <- outcome{err, time.Since(began)}
	})})
	c := dial(t, address)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := <-failed; !errors.Is(got.err, os.ErrDeadlineExceeded) || got.took < patient {
		t.Errorf("the write ended after %v with %v", got.took, got.err)
	}
}

// TestIdleTimeout waits at least as long as it says.
func TestIdleTimeout(t *testing.T) {
	const patient = 300 * time.Millisecond
	_, address := serving(t, Config{Handler: http.HandlerFunc(echo), IdleTimeout: patient})
	c := dial(t, address)
	var began time.Time
	for range 2 {
		began = time.Now()
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		c.answer("GET")
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if took := time.Since(began); took < patient {
		t.Errorf("ended after %v", took)
	}
}
