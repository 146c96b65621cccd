// Package socket reads and writes TCP connections without a word to Go's scheduler. It owns those system calls, and nothing of what
// is said on a connection.
//
// The runtime expects of every system call that it may block: it leaves the thread's processor for others to take, and a thread of
// its own looks, as often as every 20 us, for calls that go on, takes their processors away and wakes other threads for them. The
// sockets of Go never block. A call on one takes a few microseconds, and goes on for longer only when the core was given to another
// process, where there is nothing to gain. So the calls here are made without that notice; docs/adr/0028-quiet-sockets.md has what it
// saves.
//
// Linux alone. Under the race detector, which learns from package syscall what happened before what, the ordinary calls are made.
package socket
