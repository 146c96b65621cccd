package outbound_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
)

// twelve is a request header as an SDK's call leaves the gateway.
var twelve = []outbound.Field{
	{Name: "Content-Type", Value: "application/json"}, {Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "identity"},
	{Name: "User-Agent", Value: "OpenAI/Python 2.8.1"}, {Name: "X-Stainless-Lang", Value: "python"}, {Name: "X-Stainless-Package-Version", Value: "2.8.1"},
	{Name: "X-Stainless-Os", Value: "Linux"}, {Name: "X-Stainless-Arch", Value: "x64"}, {Name: "X-Stainless-Runtime", Value: "CPython"},
	{Name: "X-Stainless-Runtime-Version", Value: "3.12.3"}, {Name: "X-Client-Request-Id", Value: "req_0123456789abcdefghijklmn"},
}

// fixed is a server that answers each request of a known length with the same bytes and allocates nothing, so that what a
// benchmark shows is the client's.
func fixed(requestBody int, answer []byte) func(*peer) {
	return func(p *peer) {
		buf := make([]byte, 64<<10)
		end := []byte("\r\n\r\n")
		n := 0
		for {
			m, err := p.Conn.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
			i := bytes.Index(buf[:n], end)
			if i < 0 || n < i+len(end)+requestBody {
				continue
			}
			n = 0
			if _, err := p.Conn.Write(answer); err != nil {
				return
			}
		}
	}
}

var jsonAnswer = []byte("HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nX-Request-Id: req_0123456789\r\nOpenai-Processing-Ms: 12\r\n" +
	"Openai-Version: 2020-10-01\r\nX-Ratelimit-Limit-Requests: 10000\r\nX-Ratelimit-Remaining-Requests: 9999\r\nContent-Length: 800\r\n\r\n" + strings.Repeat("x", 800))

// BenchmarkExchange sends 2 KB and gets 0.8 KB, over this package's client and over http.Transport, against the same server.
func BenchmarkExchange(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 2<<10)
	for _, kind := range []string{"plain", "tls"} {
		handle := fixed(len(body), jsonAnswer)
		s := serveRaw(b, handle)
		if kind == "tls" {
			s = serveRawTLS(b, handle)
		}
		b.Run(kind+"/ours", func(b *testing.B) { benchOurs(b, endpoint(b, s), body) })
		b.Run(kind+"/http.Transport", func(b *testing.B) { benchTransport(b, s.url, s.roots, body) })
	}
}

// BenchmarkBody100K sends 100 KB.
func BenchmarkBody100K(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 100<<10)
	s := serveRaw(b, func(p *peer) {
		buf := make([]byte, 64<<10)
		for {
			n, err := p.Conn.Read(buf)
			if err != nil {
				return
			}
			left := len(body) - (n - bytes.Index(buf[:n], []byte("\r\n\r\n")) - 4)
			for left > 0 {
				n, err := p.Conn.Read(buf)
				if err != nil {
					return
				}
				left -= n
			}
			_, _ = p.Conn.Write(jsonAnswer)
		}
	})
	b.Run("ours", func(b *testing.B) { benchOurs(b, endpoint(b, s), body) })
	b.Run("http.Transport", func(b *testing.B) { benchTransport(b, s.url, nil, body) })
}

func benchOurs(b *testing.B, e *outbound.Endpoint, body []byte) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	buf := make([]byte, 32<<10)
	req := outbound.Request{Method: "POST", URI: "/v1/chat/completions", Header: twelve, Body: [][]byte{body},
		Credential: outbound.Credential{Name: "Authorization", Value: secret.NewText("Bearer sk-proj-0123456789"), Origin: e.Origin()}}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := e.Do(ctx, &req, generous)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := drain(resp.Body, buf); err != nil || n != 800 {
			b.Fatal(n, err)
		}
		resp.Close()
	}
}

func benchTransport(b *testing.B, base string, roots *x509.CertPool, body []byte) {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 512}
	if roots != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	defer tr.CloseIdleConnections()
	u, err := url.Parse(base + "/v1/chat/completions")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		h := make(http.Header, len(twelve)+1)
		for _, f := range twelve {
			h[f.Name] = []string{f.Value}
		}
		h["Authorization"] = []string{"Bearer sk-proj-0123456789"}
		r := (&http.Request{Method: "POST", URL: u, Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}).WithContext(ctx)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := drain(resp.Body, buf); err != nil || n != 800 {
			b.Fatal(n, err)
		}
		resp.Body.Close()
	}
}

func drain(r io.Reader, buf []byte) (total int, err error) {
	for {
		n, err := r.Read(buf)
		total += n
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// BenchmarkChunk reads a stream of events, each of which the server sends only after the one before was read: one operation is
// one event that had to be waited for.
func BenchmarkChunk(b *testing.B) {
	event := "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n"
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", len(event), event))
	turn := make(chan struct{}, 1)
	s := serveRaw(b, func(p *peer) {
		if _, _, err := p.request(); err != nil {
			return
		}
		p.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range turn {
			if _, err := p.Conn.Write(chunk); err != nil {
				return
			}
		}
	})
	read := func(b *testing.B, r io.Reader) {
		buf := make([]byte, 32<<10)
		b.ReportAllocs()
		for b.Loop() {
			turn <- struct{}{}
			n, err := r.Read(buf)
			if err != nil || n != len(event) {
				b.Fatal(n, err)
			}
		}
	}
	b.Run("ours", func(b *testing.B) {
		resp, err := endpoint(b, s).Do(b.Context(), get("/"), generous)
		if err != nil {
			b.Fatal(err)
		}
		read(b, resp.Body)
		resp.Close()
		turn <- struct{}{} // the server's next write fails
		turn <- struct{}{}
	})
	b.Run("http.Transport", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true}
		defer tr.CloseIdleConnections()
		r, err := http.NewRequestWithContext(b.Context(), "GET", s.url, nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		read(b, resp.Body)
		resp.Body.Close()
	})
	close(turn)
}
