package mock

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxStall ends a stalled answer whose caller never leaves, so that a server can stop.
const maxStall = 10 * time.Minute

// knobs is how the caller wants the mock to behave; see the package comment.
type knobs struct {
	latency    time.Duration
	chunkDelay time.Duration
	tokens     int // 0: the mock chooses
	cached     int
	status     int // 0: none
	ratePPM    int64
	hasRate    bool
	retryAfter int // milliseconds
	breakAfter int // -1: never
	stallAfter int // -1: never
	noUsage    bool
}

// parse reads the knobs out of a request's headers.
func (k *knobs) parse(h http.Header) error {
	*k = knobs{breakAfter: -1, stallAfter: -1, retryAfter: 1000}
	for name, values := range h {
		if !strings.HasPrefix(name, "X-Mock-") {
			continue
		}
		if err := k.set(name, values); err != nil {
			return err
		}
	}
	return nil
}

func (k *knobs) set(name string, values []string) error {
	param := strings.ToLower(name)
	if len(values) != 1 {
		return invalid(param, "the header must be sent once.")
	}
	value := values[0]
	var err error
	integer := func(low, high int) int {
		n, e := strconv.Atoi(value)
		if e != nil || n < low || n > high {
			err = invalid(param, "%q is not a whole number from %d to %d.", value, low, high)
		}
		return n
	}
	switch param {
	case "x-mock-latency-ms":
		k.latency = time.Duration(integer(0, 600_000)) * time.Millisecond
	case "x-mock-chunk-delay-ms":
		k.chunkDelay = time.Duration(integer(0, 60_000)) * time.Millisecond
	case "x-mock-tokens":
		k.tokens = integer(1, maxTokens)
	case "x-mock-cached-tokens":
		k.cached = integer(0, 1<<31-1)
	case "x-mock-status":
		k.status = integer(400, 599)
	case "x-mock-error-rate":
		ppm, ok := parsePPM(value)
		if !ok {
			err = invalid(param, "%q is not a number from 0 to 1 with at most six decimals.", value)
		}
		k.ratePPM, k.hasRate = ppm, true
	case "x-mock-retry-after-ms":
		k.retryAfter = integer(0, 3_600_000)
	case "x-mock-break-after":
		k.breakAfter = integer(0, 1<<31-1)
	case "x-mock-stall-after":
		k.stallAfter = integer(0, 1<<31-1)
	case "x-mock-no-usage":
		k.noUsage = integer(0, 1) == 1
	default:
		err = invalid(param, "the mock upstream has no such knob.")
	}
	return err
}

// parsePPM reads a decimal from 0 to 1 as parts per million, exactly: binary fractions would make "every tenth" drift.
func parsePPM(s string) (int64, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 6 || (whole != "0" && whole != "1" && (whole != "" || fraction == "")) {
		return 0, false
	}
	n, err := strconv.ParseUint("0"+whole+fraction+"000000"[len(fraction):], 10, 64)
	return int64(n), err == nil && n <= 1_000_000
}

// injected returns the error the knobs ask for, if this request is one that shall fail.
func (c *call) injected() error {
	status := c.knobs.status
	if c.knobs.hasRate {
		n := c.s.store.count(c.project)
		if n*c.knobs.ratePPM/1_000_000 == (n-1)*c.knobs.ratePPM/1_000_000 {
			return nil
		}
		if status == 0 {
			status = http.StatusServiceUnavailable
		}
	}
	if status == 0 {
		return nil
	}
	return fault(status)
}

// wait lets d pass, or returns errGone as soon as the caller has left.
func (c *call) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.r.Context().Done():
		return errGone
	}
}

// cut ends an answer of which sent events or bytes are out, as the knobs ask: at once, or after silence.
func (c *call) cut(sent int) error {
	if c.knobs.breakAfter == sent {
		return errCut
	}
	if err := c.wait(maxStall); err != nil {
		return err
	}
	return errCut
}

// events writes a stream of server-sent events, each flushed on its own, at the pace and up to the point the knobs say.
type events struct {
	c    *call
	sent int
	buf  []byte
}

func (c *call) stream() *events {
	h := c.w.Header()
	h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
	h["Cache-Control"] = []string{"no-cache"}
	h["Openai-Processing-Ms"] = []string{strconv.FormatInt(c.s.now().Sub(c.started).Milliseconds(), 10)}
	c.w.WriteHeader(http.StatusOK)
	return &events{c: c}
}

// send writes one event; name may be empty. data must be one line.
func (e *events) send(name string, data []byte) error {
	if e.sent == e.c.knobs.breakAfter || e.sent == e.c.knobs.stallAfter {
		if err := e.c.flush(); err != nil {
			return err
		}
		return e.c.cut(e.sent)
	}
	if e.sent > 0 {
		if err := e.c.wait(e.c.knobs.chunkDelay); err != nil {
			return err
		}
	}
	b := e.buf[:0]
	if name != "" {
		b = append(append(append(b, "event: "...), name...), '\n')
	}
	b = append(append(append(b, "data: "...), data...), "\n\n"...)
	e.buf = b
	if _, err := e.c.w.Write(b); err != nil {
		return errGone
	}
	e.sent++
	return e.c.flush()
}

// done ends a stream as chat streams end. It counts as an event.
func (e *events) done() error { return e.send("", []byte("[DONE]")) }
