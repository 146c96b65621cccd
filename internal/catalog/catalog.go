// Package catalog is the node's replica, in memory, of what decides a request: organizations, projects, users, memberships,
// service accounts, resources, keys, upstreams, deployments, budgets, rate limits and prices. It follows the event feed, which is the audit log: every
// committed change has the next sequence number, the node reads the events after the last it applied, re-reads each subject and swaps it in.
//
// It owns the tables and their lookups, the sequence applied, the node's lease (may this node still serve from memory?) and the
// question whether every node has applied a change (Settle). It does not own SQL (store), what a key may do (authn), secrets, or
// what was spent or used.
package catalog

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// Catalog is a node's replica. Its lookups, Fresh and Settle may be called from any goroutine; Run, once, keeps it current.
type Catalog struct {
	db      *store.DB
	logger  *slog.Logger
	waker   Waker
	single  bool
	pepper  func() int
	replica *replica
	applied atomic.Int64
	lease   leaseholder
	lag     lag
	nodes   nodes
	keeper  *Keeper

	advancing sync.Mutex    // guards advanced
	advanced  chan struct{} // closed when more is applied

	mu       sync.Mutex // guards onChange, and is held while they are called: never two at a time
	onChange []func()

	onPrices func(*prices.Table) // set before Run

	// The rest is the follower's own.
	epoch   int64  // of the database that is in memory
	lastID  string // id of the last event applied
	failing bool   // the database did not answer the last time
	batch   int    // how many events to read at once
}

// Applied returns the sequence number up to which every change is in memory.
func (c *Catalog) Applied() int64 { return c.applied.Load() }

// OnChange registers a function that is called after a change that may have narrowed what somebody is allowed, which is any row
// in the place of another, and when the lease runs out. Calls never overlap. A change is acknowledged to other nodes only after
// the calls returned, so f starts what takes long and does not wait for it. Register before Run; f must not register.
func (c *Catalog) OnChange(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = append(c.onChange, f)
}

func (c *Catalog) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.onChange {
		f()
	}
}
