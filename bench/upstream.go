package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	pace = 5 * time.Millisecond // between two chunks of a stream
	// answerBody is 0.8 KB of a chat completion.
	answerHead = `{"id":"chatcmpl-C3q9fN0bE1xK2mPz7vLw8RtYsUoAd","object":"chat.completion","created":1767225600,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"`
	answerTail = `","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":482,"completion_tokens":64,"total_tokens":546,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_50cad350e4"}`
)

// streamChunk is one event of a chat stream.
var streamChunk = []byte(`data: {"id":"chatcmpl-C3q9fN0bE1xK2mPz7vLw8RtYsUoAd","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_50cad350e4","choices":[{"index":0,"delta":{"content":" gate"},"logprobs":null,"finish_reason":null}]}` + "\n\n")

// origin is the upstream: it answers every request with the same bytes, without thinking. A body with `"stream":true` gets a
// stream of chunks, one each 5 ms; one with `"hold":true` besides gets three and then silence, until its caller leaves.
type origin struct {
	answer  []byte
	streams atomic.Int64 // open now
}

func upstream(args []string) error {
	f := flag.NewFlagSet("upstream", flag.ExitOnError)
	plain := f.String("plain", "", "address for HTTP")
	secure := f.String("tls", "", "address for HTTPS")
	control := f.String("control", "", "address that says how many streams are open")
	cert := f.String("cert", "", "certificate in PEM")
	key := f.String("key", "", "its key")
	if err := f.Parse(args); err != nil {
		return err
	}
	o := &origin{}
	body := answerHead
	for len(body)+len(answerTail) < 800 {
		body += "The gate stands open. "
	}
	body += answerTail
	o.answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-request-id: req_8e0f3a5b7c9d1e2f4a6b8c0d2e4f6a8b\r\nopenai-processing-ms: 212\r\nopenai-version: 2020-10-01\r\n\r\n%s", len(body), body)
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	listen := func(address string, wrap func(net.Listener) net.Listener, serve func(net.Conn)) {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			failed <- err
			return
		}
		if wrap != nil {
			ln = wrap(ln)
		}
		go func() { // ends with the process
			for {
				c, err := ln.Accept()
				if err != nil {
					failed <- err
					return
				}
				go serve(c) // ends with the connection
			}
		}()
	}
	listen(*plain, nil, o.serve)
	listen(*secure, func(ln net.Listener) net.Listener {
		return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}, o.serve)
	listen(*control, nil, func(c net.Conn) {
		fmt.Fprintf(c, "%d\n", o.streams.Load()) // the driver asks again if it missed the answer
		_ = c.Close()
	})
	go func() { // ends the process when the driver has ended
		_, _ = os.Stdin.Read(make([]byte, 1))
		failed <- errors.New("the driver ended")
	}()
	return <-failed
}

// serve answers the requests of one connection. It reads heads in lines and bodies by their length or in chunks.
func (o *origin) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReaderSize(c, 16<<10)
	start := make([]byte, 0, 256) // the beginning of a body says what to answer
	for {
		length, chunked := 0, false
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			name, value, _ := bytes.Cut(line, []byte(":"))
			switch {
			case bytes.EqualFold(name, []byte("content-length")):
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value))) // a proxy wrote it
			case bytes.EqualFold(name, []byte("transfer-encoding")):
				chunked = true
			}
		}
		if chunked {
			return // no proxy here sends one
		}
		n := min(length, cap(start))
		head, err := r.Peek(n)
		if err != nil {
			return
		}
		start = append(start[:0], head...)
		if _, err := r.Discard(length); err != nil {
			return
		}
		if bytes.Contains(start, []byte(`"stream":true`)) {
			o.stream(c, bytes.Contains(start, []byte(`"hold":true`)))
			return
		}
		if _, err := c.Write(o.answer); err != nil {
			return
		}
	}
}

func (o *origin) stream(c net.Conn, hold bool) {
	o.streams.Add(1)
	defer o.streams.Add(-1)
	if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nCache-Control: no-cache\r\n\r\n")); err != nil {
		return
	}
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(streamChunk), streamChunk)
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if hold && n == 3 {
			_, _ = c.Read(make([]byte, 1)) // returns when the proxy leaves
			return
		}
		if _, err := c.Write(chunk); err != nil {
			return
		}
		<-ticker.C
	}
}
