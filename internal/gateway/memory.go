package gateway

import (
	"sync"
	"sync/atomic"

	"gatehouse"
)

// memory is the one budget for request bodies held in memory, over all requests. Beyond it a request is refused with 503 rather
// than let the process grow until the kernel ends it.
type memory struct {
	limit int64
	used  atomic.Int64
}

func (m *memory) take(n int64) error {
	if m.used.Add(n) <= m.limit {
		return nil
	}
	m.used.Add(-n)
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "server_is_overloaded", RetryAfterMillis: 1000,
		Message: "The gateway's memory for request bodies is used up. Try again in a second; the operator can raise limits.memory."}
}

func (m *memory) give(n int64) { m.used.Add(-n) }

// smallBody is the size up to which body buffers are pooled: nearly all requests, and no pool entry that pins megabytes.
const smallBody = 64 << 10

var bodyPool = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}

// mediumBody is the size up to which larger bodies have a pool of their own: a long conversation is a hundred kilobytes, and making
// and collecting so much for each request costs more than to copy it does.
const mediumBody = 128 << 10

var mediumPool = sync.Pool{New: func() any { b := make([]byte, mediumBody); return &b }}

// copyBuffer is what answers are copied through.
const copyBuffer = 16 << 10

var copyPool = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}
