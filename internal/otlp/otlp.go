// Package otlp sends traces to an OpenTelemetry collector over OTLP/HTTP: a span for each exchange and one below it for each
// attempt at an upstream, with the attributes of the GenAI conventions. Spans are made from the record of an exchange once its
// answer has ended, away from its request.
//
// It owns the encoding, the queue and the sending. It knows no request but what its record says, so a prompt, an answer or a
// secret cannot be in a trace.
package otlp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/secret"
)

const (
	queueLength = 4096        // exchanges that wait; beyond it they are dropped and counted
	batchLength = 256         // exchanges in one message
	batchEvery  = time.Second // how long one may wait for others
	maxTries    = 3           // attempts at sending one message
	headersAge  = time.Minute // how long the headers are used before their reference is read again
)

// Config is what an Exporter sends and where to. Endpoint is required.
type Config struct {
	// Endpoint is the collector's URL; without a path it is below /v1/traces.
	Endpoint string
	// Headers returns the headers of every message, one "Name: value" a line; nil: there are none.
	Headers func(ctx context.Context) (secret.Text, error)
	// Sample is the share of traces that begin here and are sent, 0 to 1. One that a caller began is sent if the caller sampled it.
	Sample  float64
	Timeout time.Duration // of one message; 0: 10 s
	Service string        // service.name
	Node    string        // service.instance.id
	Version string        // service.version
	Logger  *slog.Logger
}

// Exchange is what is known of an exchange when it has ended.
type Exchange struct {
	Request     gatehouse.Request
	Units       gatehouse.Units
	Dialect     gatehouse.Dialect // of the upstream that answered; "" when none did
	Traceparent string            // as the caller sent it
}

// Exporter sends what Add is given. Run must run meanwhile.
type Exporter struct {
	cfg      Config
	queue    chan Exchange
	client   *http.Client
	resource []byte
	// The threshold of random numbers up to which a trace that begins here is sent.
	threshold uint64

	headers  http.Header // the sender's own, as is resolved
	resolved time.Time

	sent, dropped atomic.Int64
}

// New returns an exporter.
func New(cfg Config) *Exporter {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if scheme, rest, _ := strings.Cut(cfg.Endpoint, "://"); !strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		cfg.Endpoint = scheme + "://" + strings.TrimSuffix(rest, "/") + "/v1/traces"
	}
	e := &Exporter{cfg: cfg, queue: make(chan Exchange, queueLength)}
	switch {
	case cfg.Sample >= 1:
		e.threshold = math.MaxUint64
	case cfg.Sample > 0:
		e.threshold = uint64(cfg.Sample * math.MaxUint64)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	e.client = &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	e.resource = appendResource(nil, &cfg)
	return e
}

// Add takes an exchange that has ended. It does not wait: when the queue is full the exchange is counted as dropped. It copies
// what it keeps.
func (e *Exporter) Add(x Exchange) {
	if !e.samples(x.Traceparent) {
		return
	}
	x.Request.Attempts = slices.Clone(x.Request.Attempts)
	x.Request.Units = nil // its owner's
	select {
	case e.queue <- x:
	default:
		e.dropped.Add(1)
	}
}

// samples reports whether a trace is sent.
func (e *Exporter) samples(traceparent string) bool {
	if _, _, sampled, ok := parseTraceparent(traceparent); ok {
		return sampled
	}
	if e.threshold == 0 || e.threshold == math.MaxUint64 {
		return e.threshold != 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never returns an error
	return binary.LittleEndian.Uint64(b[:]) <= e.threshold
}

// Sent returns how many exchanges a collector has taken.
func (e *Exporter) Sent() int64 { return e.sent.Load() }

// Dropped returns how many were lost: the queue was full, or the collector did not take them.
func (e *Exporter) Dropped() int64 { return e.dropped.Load() }

// Run sends until ctx ends, and then, within one timeout, what still waits.
func (e *Exporter) Run(ctx context.Context) {
	ticker := time.NewTicker(batchEvery)
	defer ticker.Stop()
	var batch []Exchange
	failing := false
	send := func(ctx context.Context) {
		if len(batch) == 0 {
			return
		}
		err := e.send(ctx, batch)
		switch {
		case err == nil:
			e.sent.Add(int64(len(batch)))
			if failing {
				e.cfg.Logger.Info("traces are sent again", "dropped", e.dropped.Load())
			}
		default:
			e.dropped.Add(int64(len(batch)))
			if !failing && ctx.Err() == nil {
				e.cfg.Logger.Warn("traces are dropped: the collector does not take them", "endpoint", e.cfg.Endpoint, "error", err)
			}
		}
		failing = err != nil
		clear(batch)
		batch = batch[:0]
	}
	for {
		select {
		case <-ctx.Done():
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timeout)
			defer stop()
			for {
				select {
				case x := <-e.queue:
					if batch = append(batch, x); len(batch) < batchLength {
						continue
					}
					send(last)
					continue
				default:
				}
				send(last)
				e.client.CloseIdleConnections()
				return
			}
		case x := <-e.queue:
			if batch = append(batch, x); len(batch) >= batchLength {
				send(ctx)
			}
		case <-ticker.C:
			send(ctx)
		}
	}
}

// send sends one message, more than once where the collector says it may take it later.
func (e *Exporter) send(ctx context.Context, batch []Exchange) error {
	message := e.encode(batch)
	for try := 1; ; try++ {
		again, err := e.post(ctx, message)
		if err == nil || !again || try == maxTries {
			return err
		}
		timer := time.NewTimer(time.Duration(try) * time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func (e *Exporter) post(ctx context.Context, message []byte) (again bool, err error) {
	if err := e.resolve(ctx); err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.Endpoint, bytes.NewReader(message))
	if err != nil {
		return false, err
	}
	for name, values := range e.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "gatehouse/"+e.cfg.Version)
	resp, err := e.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	case http.StatusUnauthorized, http.StatusForbidden:
		e.resolved = time.Time{} // the headers may have been renewed
	}
	if resp.StatusCode/100 != 2 {
		return again, fmt.Errorf("the collector answered %s", resp.Status)
	}
	return false, nil
}

// resolve reads the headers when they have become old.
func (e *Exporter) resolve(ctx context.Context) error {
	if e.cfg.Headers == nil || time.Since(e.resolved) < headersAge {
		return nil
	}
	text, err := e.cfg.Headers(ctx)
	if err != nil {
		if e.headers != nil {
			return nil // the ones read last stay in use
		}
		return err
	}
	headers, err := ParseHeaders(text)
	if err != nil {
		return err
	}
	e.headers, e.resolved = headers, time.Now()
	return nil
}

// ParseHeaders reads headers, one "Name: value" a line. Its errors do not show them.
func ParseHeaders(text secret.Text) (http.Header, error) {
	h := http.Header{}
	for i, line := range strings.Split(text.Reveal(), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d is not of the form Name: value", i+1)
		}
		h.Set(name, strings.TrimSpace(value))
	}
	if len(h) == 0 {
		return nil, errors.New("there is no header in it; write one Name: value a line")
	}
	return h, nil
}

// parseTraceparent reads a W3C traceparent. Of later versions it reads what version 00 has.
func parseTraceparent(text string) (trace [16]byte, span [8]byte, sampled, ok bool) {
	if len(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || text[:2] == "ff" || len(text) > 55 && (text[:2] == "00" || text[55] != '-') {
		return trace, span, false, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		into []byte
		from string
	}{{version[:], text[:2]}, {trace[:], text[3:35]}, {span[:], text[36:52]}, {flags[:], text[53:55]}} {
		if _, err := hex.Decode(part.into, []byte(part.from)); err != nil || strings.ToLower(part.from) != part.from {
			return trace, span, false, false
		}
	}
	return trace, span, flags[0]&1 == 1, trace != [16]byte{} && span != [8]byte{}
}
