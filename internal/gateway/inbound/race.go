//go:build race

package inbound

// lateUseIsFatal makes a handler that keeps what it was given fail: every request has objects of its own, and those of an ended
// one panic when they are used.
const lateUseIsFatal = true
