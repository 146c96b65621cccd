// Package outbound owns the way to an upstream: which addresses may be dialled, the pool of connections, one request and its
// answer over them, and the rule that a credential leaves only for the origin it is bound to.
//
// It does not own which upstream is called, what stands in the request, whether a failed attempt is tried again on another route,
// or what an answer means: that is the gateway's.
//
// # How an exchange runs
//
// [Endpoint.Do] takes an idle connection or dials one, writes head and body with one system call where it can, and reads the
// answer's head, all on the caller's goroutine. The caller then reads the body straight from the connection, or ranges over its pieces. There is no
// goroutine per connection and, unless the body is large or a stream, none per request; that and the deadlines that are moved
// only when they must be make it several times cheaper than http.Transport, which serves the endpoints that speak HTTP/2.
//
// # Deadlines
//
// A time limit d of [Timeouts] strikes between d and 5/4 d after the last byte: a deadline that is far enough away is left alone
// from one read, and from one exchange, to the next, because setting it costs more than reading what is there. The end of the
// context strikes at once: it closes the connection under whoever reads or writes it, so that the upstream sees it too. That an upstream
// died with its last bytes may be noticed a second later: see [Body.Pieces].
//
// # What is refused
//
// Answers are parsed strictly, because a connection serves many callers and a disagreement about where an answer ends hands one
// caller's answer to another: a bare LF, a folded line, Content-Length beside Transfer-Encoding, Content-Lengths that differ,
// any coding but chunked, bad chunk sizes and heads over 64 KiB are errors, and a connection that has bytes left after an answer
// is closed. Redirects are never followed: a 3xx is an answer like any other. Proxies of the environment are never used.
package outbound
