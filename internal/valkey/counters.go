package valkey

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/internal/limit"
)

//go:embed take.lua
var takeSource string

//go:embed correct.lua
var correctSource string

var (
	takeScript    = redis.NewScript(takeSource)
	correctScript = redis.NewScript(correctSource)
)

const (
	// takeTimeout is the longest that a request waits for the server, connecting included.
	takeTimeout = 50 * time.Millisecond
	// lostCalls is how many calls in a row may go without an answer before nobody asks any more.
	lostCalls = 3
	// slowCall is what counts as slow, and slowCalls how many of them in a row are too many: a request has better things to wait for.
	slowCall  = 20 * time.Millisecond
	slowCalls = 8
	// probeEvery is how often a server that is left alone is tried, and probes how many answers in a row, none slow, end that.
	probeEvery = 250 * time.Millisecond
	probes     = 3
	// correctEvery is how long corrections are gathered.
	correctEvery   = 50 * time.Millisecond
	correctTimeout = time.Second
	// correctKeys is how many counters one call corrects.
	correctKeys = 128
	// poolSize bounds connections, and with them how many requests wait for a server that stopped answering.
	poolSize = 32
)

// Counters are counters that nodes share: every Take is one call of a script that is all or nothing, by the server's clock, so that
// nodes' clocks do not matter. They are what limit.Memory is, on every node the same.
//
// When the server is away, or slow, requests do not wait for it: after a few calls without an answer in time, or with slow ones, the node
// counts for itself until the server answers again, as it does for each single request that gets no answer. It begins from what it last heard, and lets through its share: one of so many parts of each
// counter as there are nodes. So together the nodes let through what the counter allows, and beyond that at most what other nodes had
// taken since this one last heard of the counter, and for each node one charge, which fits where its share is smaller. When the server is back
// it is told what was let through meanwhile. A server that lost its data (flushed, or restarted without persistence) is told with each
// call what the calling node last heard, and goes on from there.
type Counters struct {
	client *redis.Client
	logger *slog.Logger
	local  *limit.Memory
	nodes  func() int
	clock  func() int64 // milliseconds, in place of the server's clock; nil but in tests
	// timeout and slowAfter are takeTimeout and slowCall, but in tests.
	timeout, slowAfter time.Duration

	away  atomic.Bool
	mute  atomic.Int64  // calls in a row without an answer
	slow  atomic.Int64  // slow answers in a row
	probe chan struct{} // somebody found the server away
	due   chan struct{} // there are corrections, or something is owed
	owing atomic.Bool   // the server was not told of everything that this node decided alone
	calls sync.Pool     // *takeCall

	settling sync.Mutex // held while the server is told of what is owed

	mu      sync.Mutex // guards what follows
	pending map[string]limit.Charge

	taken, failed, alone atomic.Int64

	stop context.CancelFunc
	done sync.WaitGroup
}

// CountersConfig is what Counters are opened with.
type CountersConfig struct {
	URL    string           // as Open takes it
	Nodes  func() int       // how many nodes count, this one included; nil: one
	Now    func() time.Time // the node's clock; nil: time.Now
	Logger *slog.Logger
}

// OpenCounters returns counters shared through the server at cfg.URL, which need not be there. Only a url that cannot be understood is
// an error. Close ends it.
func OpenCounters(ctx context.Context, cfg CountersConfig) (*Counters, error) {
	options, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = correctTimeout, correctTimeout, correctTimeout, time.Minute // a call's own deadline is shorter
	options.PoolSize, options.MinIdleConns = poolSize, 2
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Nodes == nil {
		cfg.Nodes = func() int { return 1 }
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Counters{client: redis.NewClient(options), logger: cfg.Logger, local: limit.NewMemory(cfg.Now), nodes: cfg.Nodes, timeout: takeTimeout, slowAfter: slowCall,
		probe: make(chan struct{}, 1), due: make(chan struct{}, 1), pending: map[string]limit.Charge{}, stop: stop}
	c.calls.New = func() any { return new(takeCall) }
	c.done.Go(func() { c.runProbes(ctx) })
	c.done.Go(func() { c.runCorrections(ctx) })
	return c, nil
}

// Close sends the corrections that wait, where the server answers, and waits until everything that was started has ended.
func (c *Counters) Close() error {
	c.stop()
	c.done.Wait()
	c.flush(context.Background())
	return c.client.Close()
}

// CounterStats says how Counters have counted since they were opened.
type CounterStats struct {
	Shared int64 // calls that the server answered
	Failed int64 // calls that it did not answer in time
	Alone  int64 // requests that this node decided by itself
	Away   bool  // it does so now
}

// Stats returns the numbers so far.
func (c *Counters) Stats() CounterStats {
	return CounterStats{Shared: c.taken.Load(), Failed: c.failed.Load(), Alone: c.alone.Load(), Away: c.away.Load()}
}

// takeCall is the memory of one call.
type takeCall struct {
	keys []string
	args []any
}

// Take counts every charge or none, as limit.Memory.Take does. It waits for the server at most 50 ms, whatever becomes of ctx: what
// a caller that leaves has taken is corrected like anything else.
func (c *Counters) Take(_ context.Context, charges []limit.Charge) bool {
	if len(charges) == 0 {
		return true
	}
	if !c.away.Load() {
		ok, err := c.ask("take", charges)
		if err == nil {
			return ok
		}
		c.lost(err)
	}
	c.alone.Add(1)
	ok := c.local.TakeShare(charges, c.nodes())
	c.owe()
	return ok
}

// owe has the server told, when it answers, of what this node counted by itself.
func (c *Counters) owe() {
	if !c.owing.Load() {
		c.owing.Store(true)
	}
	if !c.away.Load() {
		ready(c.due)
	}
}

// Peek sets each charge's Level, as limit.Memory.Peek does.
func (c *Counters) Peek(_ context.Context, charges []limit.Charge) {
	for len(charges) > 0 {
		n := 1
		for n < min(len(charges), correctKeys) && charges[n].Counter.Organization == charges[0].Counter.Organization {
			n++
		}
		if c.away.Load() {
			c.local.Peek(context.Background(), charges[:n])
		} else if _, err := c.ask("peek", charges[:n]); err != nil {
			c.lost(err)
			c.local.Peek(context.Background(), charges[:n])
		}
		charges = charges[n:]
	}
}

// Correct adds amounts afterwards, as limit.Memory.Correct does. It does not wait: the server is told soon, of many at once.
func (c *Counters) Correct(charges []limit.Charge) {
	if len(charges) == 0 {
		return
	}
	if c.away.Load() {
		c.local.CorrectShare(charges, c.nodes())
		c.owe()
		return
	}
	c.local.Correct(charges)
	c.mu.Lock()
	for i := range charges {
		p := c.pending[charges[i].Counter.Key]
		p.Counter, p.Amount = charges[i].Counter, p.Amount+charges[i].Amount
		c.pending[p.Counter.Key] = p
	}
	c.mu.Unlock()
	ready(c.due)
}

// ask calls the script.
func (c *Counters) ask(mode string, charges []limit.Charge) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	c.local.Peek(ctx, charges)
	call := c.calls.Get().(*takeCall)
	defer c.calls.Put(call)
	call.keys, call.args = call.keys[:0], append(call.args[:0], mode, c.now())
	for i := range charges {
		charge := &charges[i]
		call.keys = append(call.keys, charge.Counter.Key)
		call.args = append(call.args, min(max(charge.Amount, 0), limit.MaxAmount), charge.Counter.Limit, charge.Counter.Per(), charge.Level)
	}
	began := time.Now()
	reply, err := takeScript.Run(ctx, c.client, call.keys, call.args...).Int64Slice()
	if err == nil && len(reply) != len(charges)+1 {
		err = errors.New("valkey: the script answered something else")
	}
	if err != nil {
		return false, err
	}
	c.taken.Add(1)
	if c.mute.Load() != 0 {
		c.mute.Store(0)
	}
	c.time(time.Since(began))
	for i := range charges {
		charges[i].Level = reply[i+1]
	}
	c.local.Store(charges)
	return reply[0] == 1, nil
}

func (c *Counters) now() int64 {
	if c.clock == nil {
		return 0
	}
	return c.clock()
}

// time leaves a server alone that answers slowly, again and again.
func (c *Counters) time(took time.Duration) {
	if took < c.slowAfter {
		if c.slow.Load() != 0 {
			c.slow.Store(0)
		}
		return
	}
	if c.slow.Add(1) >= slowCalls {
		c.leave("valkey is slow; rate limits are counted by each node for itself", nil)
	}
}

func (c *Counters) lost(err error) {
	c.failed.Add(1)
	if c.mute.Add(1) >= lostCalls {
		c.leave("valkey is away; rate limits are counted by each node for itself", err)
	}
}

func (c *Counters) leave(message string, err error) {
	if c.away.CompareAndSwap(false, true) {
		c.logger.Warn(message, "nodes", c.nodes(), "error", err)
		ready(c.probe)
	}
}

// runProbes is the goroutine that tries a server that was left alone, and ends that when it answers.
func (c *Counters) runProbes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.probe:
		}
		tick := time.NewTicker(probeEvery)
		for good := 0; good < probes; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			good++
			if !c.answers(ctx) {
				good = 0
			}
		}
		tick.Stop()
		c.settle(ctx) // before anybody asks the server, it knows what was let through
		c.slow.Store(0)
		c.mute.Store(0)
		c.away.Store(false)
		c.owe() // and what was let through meanwhile
		c.logger.Info("valkey is back; rate limits are counted together again")
	}
}

// answers reports whether the server does what Take needs of it, in time.
func (c *Counters) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, slowCall)
	defer cancel()
	return takeScript.Run(ctx, c.client, []string{"gatehouse:limit:probe"}, "peek", 0, 0, 1, 1, 0).Err() == nil
}

// settle tells the server what this node has counted by itself.
func (c *Counters) settle(ctx context.Context) {
	c.settling.Lock()
	defer c.settling.Unlock()
	if !c.owing.Swap(false) {
		return
	}
	c.local.Owed(func(d limit.Debt) bool {
		ctx, cancel := context.WithTimeout(ctx, correctTimeout)
		defer cancel()
		if err := correctScript.Run(ctx, c.client, []string{d.Key}, c.now(), d.Own, d.Limit, d.Per, d.Before).Err(); err != nil {
			c.owing.Store(true)
			return false
		}
		return true
	})
}

// runCorrections is the goroutine that tells the server what turned out to be used.
func (c *Counters) runCorrections(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(correctEvery):
		}
		c.flush(ctx)
		if !c.away.Load() {
			c.settle(ctx)
		}
	}
}

// flush sends what is pending, each organization's counters apart. What cannot be sent is owed until the server is back.
func (c *Counters) flush(ctx context.Context) {
	c.mu.Lock()
	pending := c.pending
	c.pending = make(map[string]limit.Charge, len(pending))
	c.mu.Unlock()
	byOrganization := map[string][]limit.Charge{}
	for _, charge := range pending {
		if charge.Amount != 0 {
			byOrganization[charge.Counter.Organization] = append(byOrganization[charge.Counter.Organization], charge)
		}
	}
	for _, charges := range byOrganization {
		for len(charges) > 0 {
			part := charges[:min(len(charges), correctKeys)]
			charges = charges[len(part):]
			if !c.away.Load() {
				err := c.send(ctx, part)
				if err == nil {
					continue
				}
				c.lost(err)
			}
			c.local.Owe(part, c.nodes())
			c.owe()
		}
	}
}

func (c *Counters) send(ctx context.Context, charges []limit.Charge) error {
	ctx, cancel := context.WithTimeout(ctx, correctTimeout)
	defer cancel()
	c.local.Peek(ctx, charges)
	keys, args := make([]string, 0, len(charges)), make([]any, 1, 1+4*len(charges))
	args[0] = c.now()
	for i := range charges {
		charge := &charges[i]
		keys = append(keys, charge.Counter.Key)
		scaled := charge.Counter.Scaled(charge.Amount)
		args = append(args, scaled, charge.Counter.Limit, charge.Counter.Per(), max(charge.Level-scaled, 0))
	}
	return correctScript.Run(ctx, c.client, keys, args...).Err()
}
