package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/gateway"
	"gatehouse/internal/ledger"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

const streamBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true}`

func delta(text string) string {
	return `data: {"id":"chatcmpl-1","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}]}` + "\n\n"
}

const (
	usageChunk = `data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}}` + "\n\n"
	doneEvent  = "data: [DONE]\n\n"
)

// sequence runs actions one after another.
func sequence(actions ...gatehousetest.Action) gatehousetest.Action {
	return func(x *gatehousetest.Exchange) error {
		for _, a := range actions {
			if err := a(x); err != nil {
				return err
			}
		}
		return nil
	}
}

// streaming sends the head of a stream and then its pieces, each a chunk.
func streaming(pieces ...gatehousetest.Action) gatehousetest.Action {
	return sequence(append([]gatehousetest.Action{gatehousetest.ChunkedHead(200, "text/event-stream")}, pieces...)...)
}

// open starts a streaming request and returns its answer's reader.
func (g *gate) open(body string, headers ...string) (*http.Response, *bufio.Reader) {
	g.tb.Helper()
	resp, err := g.client.Do(g.request("POST", "/v1/chat/completions", body, headers...))
	must(g.tb, err)
	g.tb.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

// event reads one event of a stream.
func event(tb testing.TB, r *bufio.Reader) string {
	tb.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			tb.Fatalf("after %q: %v", b.String(), err)
		}
		if line == "\n" {
			return b.String()
		}
	}
}

// TestEventsPassAtOnce sees an event arrive while the upstream waits with the next one, and the last not before its settlement is
// on record.
func TestEventsPassAtOnce(t *testing.T) {
	g, up := newChat(t)
	more, end := make(chan struct{}), make(chan struct{})
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Hold(more), gatehousetest.Chunk(delta("two")+usageChunk), gatehousetest.Hold(end),
		gatehousetest.Chunk(doneEvent), gatehousetest.LastChunk()))
	resp, r := g.open(streamBody)
	if got := event(t, r); got != delta("one") {
		t.Fatalf("got %q", got)
	}
	close(more)
	if got := event(t, r); got != delta("two") {
		t.Fatalf("got %q", got)
	}
	if n := g.ledger.Stats().Holds; n != 1 {
		t.Errorf("%d holds while the stream runs, want 1", n)
	}
	if m := g.metrics(); m["gatehouse_body_memory_bytes"] != 0 || m["gatehouse_open_requests"] != 1 {
		t.Errorf("%v bytes of a request are kept while its answer runs", m["gatehouse_body_memory_bytes"])
	}
	close(end)
	if got := event(t, r); got != doneEvent {
		t.Fatalf("got %q", got)
	}
	// The final event is here, so its settlement must be: nothing else is waited for.
	if n := g.ledger.Stats().Holds; n != 0 {
		t.Errorf("%d holds after [DONE] was read", n)
	}
	id := resp.Header.Get("X-Request-Id")
	if u := g.usage(id); u == nil || u.Units != (gatehouse.Units{Input: 9, Output: 4, Cached: 3}) || u.Confidence != gatehouse.Reported || u.UpstreamModel != "gpt-4o-2024-08-06" {
		t.Errorf("usage %+v", u)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	rec := g.explain(id)
	if want := int64(len(delta("one") + delta("two") + doneEvent)); rec.BytesOut != want || !rec.Stream || rec.Status != 200 || rec.Rule != "served" {
		t.Errorf("record %+v, want %d bytes", rec, want)
	}
}

// TestJournalBlocksTheEnd closes the journal under a running stream: what cannot be counted does not look complete.
func TestJournalBlocksTheEnd(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(context.Background(), "sqlite:"+dir+"/other.db", store.Config{})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	must(t, db.Migrate(context.Background()))
	doomed, err := ledger.Open(context.Background(), ledger.Config{Dir: dir, DB: db, Sync: time.Second})
	must(t, err)
	g, up := newChat(t, func(c *gateway.Config) { c.Ledger = doomed })
	end := make(chan struct{})
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Hold(end), gatehousetest.Chunk(doneEvent), gatehousetest.LastChunk()))
	_, r := g.open(streamBody)
	event(t, r)
	must(t, doomed.Close(context.Background()))
	close(end)
	rest, err := io.ReadAll(r)
	if err == nil || strings.Contains(string(rest), "[DONE]") {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	up.set(respond(200, "application/json", chatAnswer))
	got := g.do("POST", "/v1/chat/completions", chatBody)
	if got.status != 503 || !strings.Contains(got.body, "accounting_unavailable") {
		t.Errorf("a new request: %d %s", got.status, got.body)
	}
}

// TestClientLeaves takes the upstream's connection along, and pays for what passed.
func TestClientLeaves(t *testing.T) {
	t.Run("mid-stream", func(t *testing.T) {
		g, up := newChat(t)
		up.set(streaming(gatehousetest.Chunk(delta("a first piece of text")), gatehousetest.Stall()))
		resp, r := g.open(streamBody, "X-Client-Request-Id", "left")
		event(t, r)
		resp.Body.Close()
		must(t, up.Closed(deadline(t)))
		rec := g.settled("left")
		if !rec.ClientLeft || rec.Rule != "client_left" || rec.Status != 200 {
			t.Errorf("record %+v", rec)
		}
		u := g.usage(rec.ID)
		if u == nil || u.Confidence != gatehouse.Estimated || u.Units.Input == 0 || u.Units.Output == 0 {
			t.Errorf("usage %+v", u)
		}
	})
	t.Run("before the answer", func(t *testing.T) {
		g, up := newChat(t)
		reached := make(chan struct{})
		up.set(sequence(gatehousetest.Reached(reached), gatehousetest.Stall()))
		ctx, leave := context.WithCancel(context.Background())
		req := g.request("POST", "/v1/chat/completions", chatBody, "X-Client-Request-Id", "left early").WithContext(ctx)
		done := make(chan *answer, 1)
		go func() { done <- g.try(req) }()
		<-reached
		leave()
		<-done
		must(t, up.Closed(deadline(t)))
		rec := g.settled("left early")
		if !rec.ClientLeft || rec.Rule != "client_left" || rec.Status != gateway.StatusClientClosed {
			t.Errorf("record %+v", rec)
		}
		if u := g.usage(rec.ID); u == nil || u.Confidence != gatehouse.Estimated {
			t.Errorf("the upstream had the whole request: usage %+v", u)
		}
		if strings.Contains(g.log.String(), "level=ERROR") {
			t.Errorf("a caller that leaves is no error of ours: %s", g.log)
		}
	})
	t.Run("in a large answer", func(t *testing.T) {
		g, up := newChat(t)
		up.set(sequence(gatehousetest.ChunkedHead(200, "application/json"), gatehousetest.Chunk(strings.Repeat(" ", 1<<20)), gatehousetest.Stall()))
		resp, r := g.open(chatBody, "X-Client-Request-Id", "left large")
		if _, err := r.ReadByte(); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		must(t, up.Closed(deadline(t)))
		if rec := g.settled("left large"); !rec.ClientLeft {
			t.Errorf("record %+v", rec)
		}
	})
}

// TestUpstreamBreaks never lets a caller take a piece for the whole.
func TestUpstreamBreaks(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer gatehousetest.Action
		stream bool
	}{
		{"chunked stream", streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Close()), true},
		{"inside a chunk", streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Write("fff\r\ndata: "), gatehousetest.Close()), true},
		{"garbage for a chunk", streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Write("zz\r\n"), gatehousetest.Close()), true},
		{"known length", gatehousetest.Write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"id\":\"c1\""), false},
		{"chunked body", sequence(gatehousetest.ChunkedHead(200, "application/json"), gatehousetest.Chunk(`{"id":"c1"`), gatehousetest.Close()), false},
		{"gzip", gatehousetest.Write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 60\r\n\r\n" + gzipped(strings.Repeat("x", 90))[:20]), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, up := newChat(t)
			up.set(sequence(c.answer, gatehousetest.Close()))
			got := g.try(g.request("POST", "/v1/chat/completions", streamBody, "X-Client-Request-Id", "broken"))
			if got.err == nil {
				t.Fatalf("the answer ended as if it were complete: %d %q", got.status, got.body)
			}
			if c.stream {
				last, ok := strings.CutPrefix(got.body, delta("one"))
				var e errorBody
				if !ok || json.Unmarshal([]byte(strings.TrimPrefix(strings.TrimSpace(last), "data: ")), &e) != nil || text(e.Error.Code) != "upstream_broke" {
					t.Errorf("got %q, want the event and then one with an error", got.body)
				}
			}
			if !c.stream && strings.Contains(got.body, "data:") {
				t.Errorf("an event in what is no stream: %q", got.body)
			}
			rec := g.settled("broken")
			if u := g.usage(rec.ID); u == nil || u.Confidence != gatehouse.Estimated {
				t.Errorf("usage %+v", u)
			}
			if rec.Rule == "served" || rec.ClientLeft {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// TestRevokedMidStream ends a stream within the second, whether its caller reads or not, and explains why.
func TestRevokedMidStream(t *testing.T) {
	t.Run("a caller that reads", func(t *testing.T) {
		g, up := newChat(t)
		up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Stall()))
		resp, r := g.open(streamBody)
		event(t, r)
		began := time.Now()
		_, err := g.admin.RevokeKey(context.Background(), g.who, g.project, g.key.Key.ID, gatehouse.ClassProject)
		must(t, err)
		rest, err := io.ReadAll(r)
		if took := time.Since(began); err == nil || took > time.Second {
			t.Errorf("the stream ended after %v with %v", took, err)
		}
		if !strings.Contains(string(rest), `"code":"credential_revoked"`) {
			t.Errorf("the last words were %q", rest)
		}
		must(t, up.Closed(deadline(t)))
		id := resp.Header.Get("X-Request-Id")
		if rec := g.settled(id); rec.Rule != "credential_revoked" || rec.ClientLeft {
			t.Errorf("record %+v", rec)
		}
		if u := g.usage(id); u == nil || u.Confidence != gatehouse.Estimated {
			t.Errorf("usage %+v", u)
		}
		if got := g.do("POST", "/v1/chat/completions", chatBody); got.status != 401 || !strings.Contains(got.body, "api_key_revoked") {
			t.Errorf("the next request: %d %s", got.status, got.body)
		}
	})
	t.Run("a caller that does not read", func(t *testing.T) {
		g, up := newChat(t)
		flood := func(x *gatehousetest.Exchange) error {
			for {
				if err := gatehousetest.Chunk(strings.Repeat(delta("flood"), 500))(x); err != nil {
					return err
				}
			}
		}
		up.set(streaming(flood))
		conn := g.dial(t)
		must(t, conn.SetReadBuffer(4<<10))
		conn.write(t, fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Client-Request-Id: deaf\r\nContent-Length: %d\r\n\r\n%s", g.key.Value.Reveal(), len(streamBody), streamBody))
		if _, err := conn.r.ReadByte(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := g.admin.RevokeKey(context.Background(), g.who, g.project, g.key.Key.ID, gatehouse.ClassProject)
		must(t, err)
		must(t, up.Closed(deadline(t)))
		if rec, took := g.settled("deaf"), time.Since(began); rec.Rule != "credential_revoked" || took > time.Second {
			t.Errorf("after %v: record %+v", took, rec)
		}
	})
	t.Run("before the answer", func(t *testing.T) {
		g, up := newChat(t)
		reached := make(chan struct{})
		up.set(sequence(gatehousetest.Reached(reached), gatehousetest.Stall()))
		req := g.request("POST", "/v1/chat/completions", chatBody)
		done := make(chan *answer, 1)
		go func() { done <- g.try(req) }()
		<-reached
		_, err := g.admin.RevokeKey(context.Background(), g.who, g.project, g.key.Key.ID, gatehouse.ClassProject)
		must(t, err)
		got := <-done
		g.wantError(t, got, 401, "api_key_revoked")
		must(t, up.Closed(deadline(t)))
	})
	t.Run("while it uploads", func(t *testing.T) {
		g, up := newChat(t)
		up.set(respond(200, "application/json", `{"id":"file-1"}`))
		conn := g.dial(t)
		conn.write(t, "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.key.Value.Reveal()+"\r\nX-Client-Request-Id: upload\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n--b\r\n"+field("purpose", "user_data")+"\r\n--b\r\n")
		ctx := deadline(t)
		for len(up.Requests()) == 0 { // the head goes upstream before the rest of the body comes
			must(t, ctx.Err())
			g.flush()
		}
		_, err := g.admin.RevokeKey(context.Background(), g.who, g.project, g.key.Key.ID, gatehouse.ClassProject)
		must(t, err)
		must(t, up.Closed(deadline(t)))
		if rec := g.settled("upload"); rec.Status != 401 {
			t.Errorf("record %+v", rec)
		}
	})
}

// TestDrain ends what is open when the gateway closes.
func TestDrain(t *testing.T) {
	g, up := newChat(t)
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Stall()))
	resp, r := g.open(streamBody)
	event(t, r)
	g.gateway.Close()
	rest, err := io.ReadAll(r)
	if err == nil || !strings.Contains(string(rest), `"code":"draining"`) {
		t.Errorf("got %q, %v", rest, err)
	}
	if rec := g.settled(resp.Header.Get("X-Request-Id")); rec.Rule != "draining" {
		t.Errorf("record %+v", rec)
	}
}

// TestTimeouts gives up on an upstream that falls silent.
func TestTimeouts(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) { c.Timeouts.FirstByte = 50 * time.Millisecond })
	up.set(gatehousetest.Stall())
	got := g.do("POST", "/v1/chat/completions", chatBody)
	g.wantError(t, got, 504, "upstream_timeout")
	if n := len(up.Requests()); n != 1 {
		t.Errorf("%d attempts: a request that may be at work was sent again", n)
	}
	g, up = newChat(t, func(c *gateway.Config) { c.Timeouts.Idle = 500 * time.Millisecond })
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Stall()))
	if got := g.do("POST", "/v1/chat/completions", streamBody); got.err == nil || !strings.Contains(got.body, "upstream_broke") {
		t.Errorf("got %q, %v", got.body, got.err)
	}
}

// TestCredentialIsReadAgain picks up a rotated upstream secret after a refusal.
func TestCredentialIsReadAgain(t *testing.T) {
	reads := make(chan struct{}, 16)
	secrets := make(chan string, 2)
	secrets <- "first"
	secrets <- "second"
	g, up := newChat(t, func(c *gateway.Config) {
		c.Resolve = func(context.Context, string, string) (secret.Text, error) {
			defer func() { reads <- struct{}{} }()
			return secret.NewText(<-secrets), nil
		}
	})
	up.set(func(x *gatehousetest.Exchange) error {
		if x.Request.Header.Get("Authorization") == "Bearer first" {
			return x.Write([]byte(rawAnswer(401, "", "")))
		}
		return x.Write([]byte(rawAnswer(200, "application/json", chatAnswer)))
	})
	g.wantError(t, g.do("POST", "/v1/chat/completions", chatBody), 502, "upstream_credential_refused")
	<-reads
	ctx := deadline(t)
	for {
		got := g.do("POST", "/v1/chat/completions", chatBody)
		if got.status == 200 {
			return
		}
		must(t, ctx.Err())
	}
}
