package gateway

import (
	"errors"
	"sync"
)

// errCut is the cause with which an open exchange is cancelled when its credential stops being accepted.
var errCut = errors.New("the credential of this request is no longer accepted")

const liveShards = 32

// live knows every exchange that is between authentication and its end, so that those whose credential was revoked can be cut.
// Registration is an insertion in a linked list under one of several locks: no allocation, and no lock all requests share.
type live struct {
	shards [liveShards]struct {
		mu    sync.Mutex
		first *exchange // guarded by mu, as are the exchanges' next and prev
		_     [40]byte  // keeps two shards off one cache line
	}
}

func (l *live) add(x *exchange) {
	s := &l.shards[x.serial%liveShards]
	s.mu.Lock()
	x.next, x.prev = s.first, nil
	if s.first != nil {
		s.first.prev = x
	}
	s.first = x
	s.mu.Unlock()
}

func (l *live) remove(x *exchange) {
	s := &l.shards[x.serial%liveShards]
	s.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		s.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.next, x.prev = nil, nil
	s.mu.Unlock()
}

// each calls fn for every open exchange. fn must not block: it runs under the shard's lock, which keeps the exchange from being
// reused meanwhile.
func (l *live) each(fn func(*exchange)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for x := s.first; x != nil; x = x.next {
			fn(x)
		}
		s.mu.Unlock()
	}
}
