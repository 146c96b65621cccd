package system_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attack is one row: bytes on a connection of their own, or something to do, and what must become of it.
type attack struct {
	name     string
	raw      string // {key} stands for a key that may call models
	do       func(*arena) outcome
	http2    bool    // only where there is HTTP/2
	want     verdict // over the node's own server
	standard verdict // over net/http's, where it differs
}

// verdict is what must become of an attack, and the bodies that must have come to the upstream, in order.
type verdict struct {
	means  meaning
	bodies []string
}

// meaning is what the caller sees.
type meaning int

const (
	_       meaning = iota
	refused         // answers of 400 and above, and nothing else
	closed          // the connection ends, perhaps after a refusal
	served          // 200 for each of the bodies, and then at most refusals
	silent          // anything: what counts is the upstream and the memory
)

var (
	isRefused = verdict{means: refused}
	isClosed  = verdict{means: closed}
	isServed  = verdict{means: served, bodies: []string{good}}
	isSilent  = verdict{means: silent}
)

const (
	good = `{"model":"echo","messages":[]}`
	line = "POST /v1/chat/completions HTTP/1.1\r\n"
	// fields are what a request needs beside its framing.
	fields = "Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
	evil   = `{"model":"smuggled","messages":[]}`
)

// post is a request with more fields and a body.
func post(more, body string) string { return line + fields + more + "\r\n" + body }

// sized is a request whose framing nobody doubts.
func sized(more, body string) string {
	return post("Content-Length: "+strconv.Itoa(len(body))+"\r\n"+more, body)
}

// inChunks is a body in one chunk.
func inChunks(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

// smuggled is a request in the body of another.
var smuggled = sized("", evil)

// hidden is a chunked body of nothing with a request behind it, as the length of both has it.
var hidden = "0\r\n\r\n" + smuggled

const chunkedField = "Transfer-Encoding: chunked\r\n"

func lengthField(n int) string { return "Content-Length: " + strconv.Itoa(n) + "\r\n" }

// attacks are what is tried. net/http serves lines that end in a bare LF and lines that are folded, and what frames its body twice by
// the chunks: what follows those is a request of its own, with its own credential, and nothing of it was judged as part of another.
// The node's own server refuses all three.
var attacks = []attack{
	// Two framings.
	{name: "length and chunks", raw: post(lengthField(len(hidden)+30)+chunkedField, hidden), want: isRefused, standard: verdict{means: silent, bodies: []string{evil}}},
	{name: "chunks and length", raw: post(chunkedField+lengthField(4), inChunks(good)), want: isRefused, standard: isServed},
	{name: "chunks and length, a request behind", raw: post(chunkedField+lengthField(5), inChunks(good)+smuggled), want: isRefused, standard: verdict{served, []string{good, evil}}},
	{name: "two lengths that differ", raw: post(lengthField(len(good))+lengthField(len(good)+len(smuggled)), good+smuggled), want: isRefused},
	{name: "two lengths that agree", raw: post(lengthField(len(good))+lengthField(len(good)), good), want: isServed},
	{name: "length with a plus", raw: post("Content-Length: +30\r\n", good), want: isRefused},
	{name: "length with a minus", raw: post("Content-Length: -30\r\n", good), want: isRefused},
	{name: "length with a space in it", raw: post("Content-Length: 3 0\r\n", good), want: isRefused},
	{name: "length in hexadecimal", raw: post("Content-Length: 0x1e\r\n", good), want: isRefused},
	{name: "a list of lengths", raw: post("Content-Length: 30, 30\r\n", good), want: isRefused},
	{name: "length that overflows", raw: post("Content-Length: 18446744073709551646\r\n", good), want: isRefused},
	{name: "length beyond the limit", raw: post("Content-Length: 999999999999999999\r\n", good), want: isRefused},
	{name: "empty length", raw: post("Content-Length: \r\n", good), want: isRefused},
	{name: "length with leading zeros", raw: post("Content-Length: 0000000030\r\n", good), want: isServed},
	{name: "length under an underscore", raw: post("Content_Length: 5\r\n"+lengthField(len(good)), good), want: isServed},
	{name: "length shorter than the body", raw: post(lengthField(len(good)), good+"GARBAGE\r\n\r\n"), want: isServed},
	{name: "pipelined requests", raw: sized("", good) + sized("", good), want: verdict{served, []string{good, good}}},
	{name: "no framing, a body all the same", raw: post("", smuggled), want: verdict{means: silent, bodies: []string{evil}}}, // a request without a body, and another one
	// Codings.
	{name: "two codings", raw: post("Transfer-Encoding: gzip, chunked\r\n", inChunks(good)), want: isRefused},
	{name: "chunked twice in a list", raw: post("Transfer-Encoding: chunked, chunked\r\n", inChunks(good)), want: isRefused},
	{name: "chunked twice", raw: post(chunkedField+chunkedField, inChunks(good)), want: isRefused},
	{name: "identity", raw: post("Transfer-Encoding: identity\r\n"+lengthField(len(good)), good), want: isRefused},
	{name: "chunked with a vertical tab", raw: post("Transfer-Encoding: \vchunked\r\n"+lengthField(4), hidden), want: isRefused},
	{name: "chunked in quotes", raw: post("Transfer-Encoding: \"chunked\"\r\n"+lengthField(4), hidden), want: isRefused},
	{name: "chunked with a parameter", raw: post("Transfer-Encoding: chunked;q=1\r\n", hidden), want: isRefused},
	{name: "space before the colon", raw: post("Transfer-Encoding : chunked\r\n"+lengthField(4), hidden), want: isRefused},
	{name: "coding on a folded line", raw: post("Transfer-Encoding:\r\n chunked\r\n"+lengthField(len(good)), inChunks(good)), want: isRefused, standard: verdict{means: silent, bodies: []string{good}}},
	{name: "a field that folds into a coding", raw: post("X-A: b\r\n\tTransfer-Encoding: chunked\r\n"+lengthField(len(good)), good), want: isRefused, standard: isServed},
	{name: "a coding behind a bare LF", raw: post("X-A: b\nTransfer-Encoding: chunked\r\n", inChunks(good)), want: isRefused, standard: isServed},
	{name: "a coding behind a bare CR", raw: post("X-A: b\rTransfer-Encoding: chunked\r\n"+lengthField(len(good)), good), want: isRefused},
	{name: "a coding in other letters", raw: post("tRANSFER-eNCODING: CHUNKED\r\n", inChunks(good)), want: isServed},
	// Lines and bytes of a head.
	{name: "bare LFs", raw: strings.ReplaceAll(sized("", good), "\r\n", "\n"), want: isRefused, standard: isServed},
	{name: "bare CRs", raw: strings.ReplaceAll(sized("", good), "\r\n", "\r"), do: func(a *arena) outcome { return a.sendAndEnd(strings.ReplaceAll(sized("", good), "\r\n", "\r")) }, want: isSilent},
	{name: "NUL in a name", raw: sized("X\x00A: b\r\n", good), want: isRefused},
	{name: "NUL in a value", raw: sized("X-A: b\x00c\r\n", good), want: isRefused},
	{name: "bell in a value", raw: sized("User-Agent: b\ac\r\n", good), want: isRefused},
	{name: "DEL in a value", raw: sized("User-Agent: b\x7fc\r\n", good), want: isRefused},
	{name: "no name", raw: sized(": b\r\n", good), want: isRefused},
	{name: "no colon", raw: sized("X-A b\r\n", good), want: isRefused},
	{name: "a first field that is folded", raw: line + " X-A: b\r\n" + fields + lengthField(len(good)) + "\r\n" + good, want: isRefused},
	{name: "space in a name", raw: sized("X A: b\r\n", good), want: isRefused},
	// Chunks.
	{name: "extension with quotes", raw: post(chunkedField, "1e;a=\"x;y\"\r\n"+good+"\r\n0\r\n\r\n"), want: isServed},
	{name: "extension with a line end in quotes", raw: post(chunkedField, "1e;a=\"\r\n"+good+"\r\n0\r\n\r\n"), want: isServed},
	{name: "extension with a bare LF", raw: post(chunkedField, "1e;a=\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "extension with a bare CR", raw: post(chunkedField, "1e;a=\rb\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "huge extension", raw: post(chunkedField, "1e;"+strings.Repeat("a", 1<<20)+"\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "many extensions", raw: post(chunkedField, strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\n \r\n", 1000)+"0\r\n\r\n"), want: isRefused},
	{name: "size that overflows", raw: post(chunkedField, "1000000000000001e\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "negative size", raw: post(chunkedField, "-1e\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "size with 0x", raw: post(chunkedField, "0x1e\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "size with leading zeros", raw: post(chunkedField, "0000001e\r\n"+good+"\r\n000\r\n\r\n"), want: isServed},
	{name: "huge size", raw: post(chunkedField, "7fffffffffffff\r\n"+good+"\r\n0\r\n\r\n"), do: starving(post(chunkedField, "7fffffffffffff\r\n"+good)), want: isSilent},
	{name: "empty size", raw: post(chunkedField, "\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "chunk longer than its size", raw: post(chunkedField, "1d\r\n"+good+"\r\n0\r\n\r\n"), want: isRefused},
	{name: "chunk without its line end", raw: post(chunkedField, "1e\r\n"+good+"0\r\n\r\n"), want: isRefused},
	{name: "no end behind the last chunk", do: starving(post(chunkedField, "1e\r\n"+good+"\r\n0\r\n")), want: isSilent},
	{name: "trailer that sets a length", raw: post(chunkedField, "1e\r\n"+good+"\r\n0\r\nContent-Length: 3\r\nAuthorization: Bearer other\r\nX-Admin: 1\r\n\r\n"), want: isServed},
	{name: "announced trailer", raw: post(chunkedField+"Trailer: Authorization\r\n", "1e\r\n"+good+"\r\n0\r\nAuthorization: Bearer other\r\n\r\n"), want: isServed},
	{name: "another announced trailer", raw: post(chunkedField+"Trailer: X-Admin\r\n", "1e\r\n"+good+"\r\n0\r\nX-Admin: 1\r\n\r\n"), want: isServed},
	{name: "a request behind the last chunk", raw: post(chunkedField, inChunks(good)+smuggled), want: verdict{served, []string{good, evil}}}, // it is one, with its own key
	{name: "endless trailers", raw: post(chunkedField, "1e\r\n"+good+"\r\n0\r\n"+strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 1000)+"\r\n"), want: isRefused},
	{name: "endless chunks", do: func(a *arena) outcome {
		return a.endless(post(chunkedField, ""), "400\r\n"+strings.Repeat(" ", 1024)+"\r\n", 64<<20)
	}, want: isRefused},
	{name: "endless chunks of a byte", do: func(a *arena) outcome {
		return a.endless(post(chunkedField, ""), strings.Repeat("1\r\n \r\n", 1000), 64<<20)
	}, want: isRefused},
	// 100 Continue.
	{name: "100-continue, not waited for", raw: sized("Expect: 100-continue\r\n", good), want: isServed},
	{name: "100-continue without a body", raw: line + fields + "Expect: 100-continue\r\n\r\n" + smuggled, want: verdict{means: silent, bodies: []string{evil}}},
	{name: "100-continue, refused, and a request for a body", raw: strings.Replace(sized("Expect: 100-continue\r\n", smuggled), "{key}", "wrong", 1), want: isRefused},
	{name: "another expectation", raw: sized("Expect: 200-ok\r\n", good), want: isRefused},
	// Versions.
	{name: "0.9", raw: "POST /v1/chat/completions\r\n", want: isRefused},
	{name: "1.0, keep-alive", raw: strings.Replace(sized("Connection: keep-alive\r\n", good), "1.1", "1.0", 1) + smuggled, want: verdict{served, []string{good, evil}}},
	{name: "1.0 in chunks", raw: strings.Replace(post(chunkedField, inChunks(good)), "1.1", "1.0", 1), want: isRefused},
	{name: "1.2", raw: strings.Replace(sized("", good), "1.1", "1.2", 1), want: verdict{means: silent, bodies: []string{good}}},
	{name: "2.0", raw: strings.Replace(sized("", good), "1.1", "2.0", 1), want: isRefused},
	{name: "preface of HTTP/2", raw: http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", want: isClosed},
	{name: "upgrade to h2c", raw: sized("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", good), want: isServed},
	{name: "upgrade to a WebSocket", raw: sized("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n", good), want: isRefused},
	// Targets and hosts.
	{name: "absolute form", raw: strings.Replace(sized("", good), "/v1", "http://elsewhere.example.com/v1", 1), want: isServed},
	{name: "absolute form with a user", raw: strings.Replace(sized("", good), "/v1", "http://u:p@127.0.0.1/v1", 1), want: isServed},
	{name: "target with a second host", raw: strings.Replace(sized("", good), "/v1", "//elsewhere.example.com/v1", 1), want: isRefused},
	{name: "CONNECT", raw: "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\nAuthorization: Bearer {key}\r\n\r\n", want: isRefused},
	{name: "asterisk", raw: "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", want: verdict{means: silent}},
	{name: "two hosts", raw: sized("Host: elsewhere.example.com\r\n", good), want: isRefused},
	{name: "no host", raw: strings.Replace(sized("", good), "Host: x\r\n", "", 1), want: isRefused},
	{name: "host with a port", raw: strings.Replace(sized("", good), "Host: x", "Host: elsewhere.example.com:99", 1), want: isServed},
	{name: "host with a user", raw: strings.Replace(sized("", good), "Host: x", "Host: u@elsewhere.example.com", 1), want: isRefused},
	{name: "host with a path", raw: strings.Replace(sized("", good), "Host: x", "Host: elsewhere.example.com/..", 1), want: isRefused},
	{name: "forwarded host", raw: sized("X-Forwarded-Host: elsewhere.example.com\r\nForwarded: host=elsewhere.example.com\r\nX-Original-URL: /v1/files\r\nX-HTTP-Method-Override: DELETE\r\n", good), want: isServed},
	{name: "encoded dots", raw: strings.Replace(sized("", good), "/chat/", "/%2e%2e/v1/chat/", 1), want: isRefused},
	{name: "dots", raw: strings.Replace(sized("", good), "/chat/", "/../v1/chat/", 1), want: isRefused},
	{name: "encoded slash", raw: strings.Replace(sized("", good), "/chat/", "/chat%2f", 1), want: isRefused},
	{name: "encoded slashes and dots behind", raw: strings.Replace(sized("", good), "completions", "completions%2f..%2f..%2ffiles", 1), want: isRefused},
	{name: "two slashes", raw: strings.Replace(sized("", good), "/chat/", "//chat//", 1), want: isRefused},
	{name: "backslash", raw: strings.Replace(sized("", good), "/chat/", "/chat\\", 1), want: isRefused},
	{name: "semicolon", raw: strings.Replace(sized("", good), "/chat/", "/chat;a=b/", 1), want: isRefused},
	{name: "encoded NUL", raw: strings.Replace(sized("", good), "completions", "completions%00", 1), want: isRefused},
	{name: "encoded line end", raw: strings.Replace(sized("", good), "completions", "completions%0d%0aX-A:%20b", 1), want: isRefused},
	{name: "an admin path in other letters", raw: strings.Replace(sized("", good), "chat/completions", "organization%2fprojects", 1), want: isRefused},
	{name: "another method", raw: strings.Replace(sized("", good), "POST", "PURGE", 1), want: isRefused},
	{name: "a method in small letters", raw: strings.Replace(sized("", good), "POST", "post", 1), want: isRefused},
	{name: "a space more in the first line", raw: strings.Replace(sized("", good), "POST ", "POST  ", 1), want: isRefused},
	{name: "something behind the version", raw: strings.Replace(sized("", good), "1.1", "1.1 X", 1), want: isRefused},
	// What we forward.
	{name: "bare LF in a forwarded field", raw: sized("User-Agent: a\nX-Smuggled: 1\r\n", good), want: isRefused, standard: isServed},
	{name: "bare CR in a forwarded field", raw: sized("User-Agent: a\rX-Smuggled: 1\r\n", good), want: isRefused},
	{name: "folded forwarded field", raw: sized("OpenAI-Beta: a\r\n X-Smuggled: 1\r\n", good), want: isRefused, standard: isServed},
	{name: "line ends in other letters", raw: sized("Idempotency-Key: a\xc4\x8d\xc4\x8aX-Smuggled: 1\r\nX-Client-Request-Id: b\xe5\x98\x8a\xe5\x98\x8dX-Smuggled: 1\r\n", good), want: isServed},
	{name: "fields named by Connection", raw: sized("Connection: close, Authorization, Content-Type\r\n", good), want: isServed},
	{name: "two credentials", raw: sized("Authorization: Bearer other\r\n", good), want: verdict{means: silent}},
	{name: "a cookie and a proxy's credential", raw: sized("Cookie: a=b\r\nProxy-Authorization: Basic eDp5\r\n", good), want: isServed},
	{name: "another credential that counts more", raw: sized("Api-Key: other\r\n", good), want: isRefused},
	{name: "unusual, length and chunks", raw: post("Connection: x\r\n"+chunkedField+lengthField(5), inChunks(good)+smuggled), want: isRefused, standard: verdict{served, []string{good, evil}}},
	// Sizes and times.
	{name: "a large field", raw: sized("X-A: "+strings.Repeat("a", 1<<20)+"\r\n", good), want: isRefused},
	{name: "many fields", raw: sized(strings.Repeat("X-A: b\r\n", 20000), good), want: isRefused},
	{name: "a long target", raw: strings.Replace(sized("", good), "completions", "completions?"+strings.Repeat("a", 1<<20), 1), want: isRefused},
	{name: "endless head", do: func(a *arena) outcome {
		return a.endless(line+fields, "X-A: "+strings.Repeat("b", 1000)+"\r\n", 64<<20)
	}, want: isRefused},
	{name: "endless first line", do: func(a *arena) outcome { return a.endless("POST /", strings.Repeat("b", 1000), 64<<20) }, want: isRefused},
	{name: "300 slow heads", do: crowd(300, line+fields), want: isSilent},
	{name: "300 slow bodies", do: crowd(300, post("Content-Length: 1000000\r\n", `{"model":`)), want: isSilent},
	{name: "300 slow bodies without a key", do: crowd(300, strings.Replace(post("Content-Length: 1000\r\n", `{"model":`), "{key}", "wrong", 1)), want: isSilent},
	{name: "a slow head ends", do: func(a *arena) outcome { return a.slowly(line + fields) }, want: isClosed},
	{name: "a thousand pipelined requests, unread", do: pipelined, want: isSilent},
	{name: "a body beyond the limit", raw: post(lengthField(2<<20), strings.Repeat(" ", 2<<20)), want: isRefused},
	{name: "a bomb in gzip", raw: sized("Content-Encoding: gzip\r\n", zipped()), want: isRefused},
	{name: "deep JSON", raw: sized("", `{"model":"echo","messages":`+strings.Repeat("[", 400000)+"}"), want: isRefused},
	{name: "an answer that is a bomb", raw: sized("", `{"model":"bomb","messages":[]}`), want: verdict{means: silent, bodies: []string{`{"model":"bomb","messages":[]}`}}},
	// HTTP/2, which goes on as HTTP/1.1.
	{name: "h2: a line end in a value", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("user-agent", "a\r\nx-smuggled: 1")), want: isRefused},
	{name: "h2: a line end in a name", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("user-agent: a\r\nx-smuggled", "1")), want: isRefused},
	{name: "h2: a line end in the path", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions HTTP/1.1\r\nx-smuggled: 1")), want: isRefused},
	{name: "h2: a space in the method", http2: true, do: h2(f(":method", "POST /v1/files HTTP/1.1\r\n"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions")), want: isRefused},
	{name: "h2: chunked", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("transfer-encoding", "chunked")), want: isRefused},
	{name: "h2: connection", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("connection", "transfer-encoding")), want: isRefused},
	{name: "h2: a length that is too small", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("content-length", "4")), want: isRefused},
	{name: "h2: a length that is too large", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("content-length", "400")), want: isRefused},
	{name: "h2: two lengths", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("content-length", "30"), f("content-length", "31")), want: verdict{means: silent, bodies: []string{good}}},
	{name: "h2: two paths", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/models"), f(":path", "/v1/chat/completions")), want: isRefused},
	{name: "h2: no path", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x")), want: isRefused},
	{name: "h2: a pseudo-header behind", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f("a", "b"), f(":path", "/v1/chat/completions")), want: isRefused},
	{name: "h2: an unknown pseudo-header", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f(":smuggled", "1")), want: isRefused},
	{name: "h2: large letters", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("X-Smuggled", "1")), want: isRefused},
	{name: "h2: absolute path", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "http://elsewhere.example.com/v1/chat/completions")), want: isServed},
	{name: "h2: authority and host", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("host", "elsewhere.example.com")), want: isServed},
	{name: "h2: a good request", http2: true, do: h2(f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("content-length", "30"), f("cookie", "a=b"), f("te", "trailers")), want: isServed},
	{name: "h2: a header list of a megabyte", http2: true, do: func(a *arena) outcome { return a.flood(bigHeaders) }, want: isClosed},
	{name: "h2: endless CONTINUATION", http2: true, do: func(a *arena) outcome { return a.flood(continuations) }, want: isClosed},
	{name: "h2: 20,000 streams", http2: true, do: func(a *arena) outcome { return a.flood(manyStreams) }, want: isSilent},
	{name: "h2: rapid reset", http2: true, do: func(a *arena) outcome { return a.flood(rapidReset) }, want: isSilent},
	{name: "h2: 20,000 PINGs, unread", http2: true, do: func(a *arena) outcome { return a.flood(pings) }, want: isSilent},
	{name: "h2: 20,000 SETTINGS, unread", http2: true, do: func(a *arena) outcome { return a.flood(settings) }, want: isSilent},
}

// sendAndEnd sends bytes and ends our side, for what a server waits for more of.
func (a *arena) sendAndEnd(raw string) outcome {
	a.t.Helper()
	nc := a.dial("http/1.1")
	_, _ = io.WriteString(nc, strings.ReplaceAll(raw, "{key}", a.key)) // it may have been refused
	if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		a.t.Log(err)
	}
	return a.answers(nc)
}

// starving sends a request that does not come to its end, looks for an answer for a moment, and leaves.
func starving(raw string) func(*arena) outcome {
	return func(a *arena) outcome {
		a.t.Helper()
		nc := a.dial("http/1.1")
		_, err := io.WriteString(nc, strings.ReplaceAll(raw, "{key}", a.key))
		if err != nil {
			a.t.Fatal(err)
		}
		if err := nc.SetReadDeadline(time.Now().Add(2 * quiet)); err != nil {
			a.t.Fatal(err)
		}
		o := a.answers(nc)
		nc.Close()
		if len(o.statuses) > 0 && o.statuses[0] < 400 {
			a.t.Errorf("a request that had not ended was answered with %s", o)
		}
		return o
	}
}

// endless sends a beginning and then the same again and again until the node ends it, at most limit bytes.
func (a *arena) endless(begin, again string, limit int) outcome {
	a.t.Helper()
	nc := a.dial("http/1.1")
	wrote := make(chan int, 1)
	go func() { // ends when the node ends the connection, or at the limit
		_, err := io.WriteString(nc, strings.ReplaceAll(begin, "{key}", a.key))
		n := 0
		for ; err == nil && n < limit; n += len(again) {
			_, err = io.WriteString(nc, again)
		}
		wrote <- n
	}()
	o := a.answers(nc)
	nc.Close()
	if n := <-wrote; n >= limit {
		a.t.Errorf("%d bytes were taken", n)
	}
	return o
}

// crowd opens many connections that all send a beginning, and then nothing, while the node must go on serving.
func crowd(n int, raw string) func(*arena) outcome {
	return func(a *arena) outcome {
		a.t.Helper()
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = a.dial("http/1.1")
			if _, err := io.WriteString(conns[i], strings.ReplaceAll(raw, "{key}", a.key)); err != nil {
				a.t.Fatal(err)
			}
		}
		a.alive()
		for _, nc := range conns {
			nc.Close()
		}
		return outcome{closed: true}
	}
}

// slowly sends a head a byte at a time until the node has enough.
func (a *arena) slowly(raw string) (o outcome) {
	a.t.Helper()
	nc := a.dial("http/1.1")
	began := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := io.WriteString(nc, raw[i%len(raw):i%len(raw)+1]); err != nil {
			a.t.Logf("ended after %v", time.Since(began).Round(time.Second))
			return outcome{closed: true}
		}
		if time.Since(began) > patience*2/3 {
			a.t.Errorf("a head took %v", time.Since(began))
			return o
		}
		<-tick.C
	}
}

// pipelined sends a thousand requests without a key and reads nothing.
func pipelined(a *arena) outcome {
	a.t.Helper()
	nc := a.dial("http/1.1")
	if err := nc.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		a.t.Fatal(err)
	}
	_, err := io.WriteString(nc, strings.Repeat(strings.Replace(sized("", good), "{key}", "wrong", 1), 1000))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		a.t.Log(err)
	}
	a.alive()
	nc.Close()
	return outcome{closed: true}
}

// zipped is a body of gzip: it is refused by its coding, whatever is in it.
func zipped() string {
	return "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + strings.Repeat("\x00", 1000)
}

func f(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }

// h2 sends a request of these fields over HTTP/2, with the key and the good body, past all checks of a client.
func h2(list ...hpack.HeaderField) func(*arena) outcome {
	return func(a *arena) outcome {
		a.t.Helper()
		nc := a.dial("h2")
		defer nc.Close()
		if p := nc.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "h2" {
			a.t.Fatalf("the node speaks %q", p)
		}
		if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
			a.t.Fatal(err)
		}
		framer := http2.NewFramer(nc, nc)
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, field := range append(list, f("authorization", "Bearer "+a.key), f("content-type", "application/json")) {
			if err := encoder.WriteField(field); err != nil {
				a.t.Fatal(err)
			}
		}
		err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}), framer.WriteData(1, true, []byte(good)))
		if err != nil {
			a.t.Log(err) // it may have been refused by then
		}
		return readStream(framer)
	}
}

// readStream reads what becomes of stream 1. A stream that is reset, or a connection that is ended, is a refusal.
func readStream(framer *http2.Framer) (o outcome) {
	decoder := hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return outcome{statuses: append(o.statuses, http.StatusBadRequest), closed: true}
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			list, err := decoder.DecodeFull(frame.HeaderBlockFragment())
			if err != nil || len(list) == 0 {
				return o
			}
			status, err := strconv.Atoi(list[0].Value)
			if err != nil {
				return o
			}
			if o.statuses = append(o.statuses, status); frame.StreamEnded() {
				return o
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return o
			}
		case *http2.RSTStreamFrame:
			if len(o.statuses) == 0 {
				o.statuses = append(o.statuses, http.StatusBadRequest)
			}
			return o
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return outcome{statuses: append(o.statuses, http.StatusBadRequest), closed: true}
			}
		}
	}
}

// flood attacks a connection of HTTP/2 until the attack is over or the node ends the connection.
func (a *arena) flood(attack func(*http2.Framer, []byte) error) (o outcome) {
	a.t.Helper()
	nc := a.dial("h2")
	defer nc.Close()
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		a.t.Fatal(err)
	}
	if err := nc.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		a.t.Fatal(err)
	}
	framer := http2.NewFramer(nc, nc)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{f(":method", "POST"), f(":scheme", "https"), f(":authority", "x"), f(":path", "/v1/chat/completions"), f("authorization", "Bearer wrong")} {
		if err := encoder.WriteField(field); err != nil {
			a.t.Fatal(err)
		}
	}
	err := errors.Join(framer.WriteSettings(), attack(framer, block.Bytes()))
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return outcome{} // it reads no more: nothing is lost
	}
	if err != nil {
		return outcome{closed: true}
	}
	if err := nc.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		a.t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return outcome{closed: !errors.Is(err, os.ErrDeadlineExceeded)}
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok && away.ErrCode != http2.ErrCodeNo {
			return outcome{closed: true}
		}
	}
}

func bigHeaders(framer *http2.Framer, block []byte) error {
	large := append(bytes.Clone(block), literal("x-large", strings.Repeat("a", 15000))...)
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: large}); err != nil {
		return err
	}
	for range 66 {
		if err := framer.WriteContinuation(1, false, literal("x-large", strings.Repeat("a", 15000))); err != nil {
			return err
		}
	}
	return framer.WriteContinuation(1, true, nil)
}

// literal is a field that no table is asked for.
func literal(name, value string) []byte {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true}) // into memory
	return b.Bytes()
}

func continuations(framer *http2.Framer, block []byte) error {
	err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
	for i := 0; err == nil && i < 100000; i++ {
		err = framer.WriteContinuation(1, false, literal("x-a", "b"))
	}
	return err
}

func manyStreams(framer *http2.Framer, block []byte) (err error) {
	for i := 0; err == nil && i < 20000; i++ {
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndHeaders: true})
	}
	return err
}

func rapidReset(framer *http2.Framer, block []byte) (err error) {
	for i := 0; err == nil && i < 50000; i++ {
		id := uint32(2*i + 1)
		err = errors.Join(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}), framer.WriteRSTStream(id, http2.ErrCodeCancel))
	}
	return err
}

func pings(framer *http2.Framer, _ []byte) (err error) {
	for i := 0; err == nil && i < 20000; i++ {
		err = framer.WritePing(false, [8]byte{})
	}
	return err
}

func settings(framer *http2.Framer, _ []byte) (err error) {
	for i := 0; err == nil && i < 20000; i++ {
		err = framer.WriteSettings()
	}
	return err
}
