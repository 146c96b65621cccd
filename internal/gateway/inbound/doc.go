// Package inbound owns the caller's side of the wire: an HTTP/1.1 server that serves ordinary requests itself, on the goroutine of
// their connection and with objects it uses again, and hands everything else to net/http.
//
// It does not own what is served, certificates, or HTTP/2: handlers are http.Handlers, and net/http speaks HTTP/2.
//
// # What is ordinary
//
// A request of HTTP/1.1 whose head has no ambiguity in it: a method in common use, a target that is a path, one Host, names that are
// tokens, values without control characters, a body framed by one Content-Length or by chunked alone, no Expect, Upgrade or
// Trailer, no Connection option but close and keep-alive, and at most 64 fields. The first request that is anything else takes its
// connection to net/http for good, with every byte that was read of it, and net/http answers or refuses it. So what is served here
// is a subset of what net/http serves, and FuzzInbound holds that both understand the same by it: method, target, fields, body, and
// the byte at which the next request begins.
//
// Three things are refused here although net/http would serve them, because whoever stands in front of us may see another request in
// them: a line of a head that ends without CR, one that continues the line before it, and a body with both a Content-Length and a
// Transfer-Encoding.
//
// # How an exchange runs
//
// The connection's goroutine reads a head, calls the handler and writes the answer: a short one with one system call. Nothing
// reads while the handler runs; instead one goroutine per [Server] looks at the connections whose exchange has taken longer than
// a moment, asks the kernel whether the caller is still there, and cancels the request's context if not. Read and write buffers
// come from pools and are held only while there is something in them, so that an open stream costs its stack and its objects.
//
// # What a handler may rely on
//
// All of http.ResponseWriter, and through http.ResponseController deadlines, Flush and EnableFullDuplex; no Hijack. Trailers of
// requests and answers are dropped. The request, its header map and the writer belong to the next request once the handler has
// returned: nothing of them may be kept but strings. The header map is not the handler's to change. Builds with the race detector make
// the use of body and writer after that a panic, and a change of the map.
//
// # Deadlines
//
// A deadline costs a timer: one is set only when something is about to be waited for, and by default only for the first byte of a
// connection and for a head that comes in pieces. Connections that wait for a next request, and writes that nobody has set a deadline
// for, are measured by the goroutine that looks at the connections: it ends those that took d, never before and at most four looks
// after. A request that is served at once asks no clock here.
package inbound
