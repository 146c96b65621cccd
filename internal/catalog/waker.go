package catalog

// Waker carries the news that something was committed, so that nodes look at once instead of at the next poll. It is an
// accelerator: it may lose, repeat or merge news, and nothing depends on it. There are two: Loopback for one process, and
// internal/valkey between nodes.
type Waker interface {
	// Wake says that everything up to seq is committed. It never blocks. The node's own Wakes becomes ready as well.
	Wake(seq int64)
	// Wakes is ready after news from this or another node.
	Wakes() <-chan struct{}
}

// Loopback is the Waker of one process: it wakes the node that committed.
type Loopback struct{ wakes chan struct{} }

// NewLoopback returns a Loopback.
func NewLoopback() *Loopback { return &Loopback{wakes: make(chan struct{}, 1)} }

// Wake implements Waker.
func (l *Loopback) Wake(int64) {
	select {
	case l.wakes <- struct{}{}:
	default: // news waits already; it stands for this one too
	}
}

// Wakes implements Waker.
func (l *Loopback) Wakes() <-chan struct{} { return l.wakes }
