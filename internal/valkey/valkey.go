// Package valkey is what nodes share through Valkey or Redis. Waker carries news: a node that committed a change says so, and the
// others look at the database at once instead of at their next poll. Counters count what requests take of rate limits.
//
// It owns the Redis client and nothing else does. It does not own what is true: the database is. Losing Valkey costs milliseconds of
// delay in news, and of rate limits each node then counts its part.
package valkey

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"gatehouse"
)

const (
	// channel is the publish-subscribe channel. Channels belong to the server, not to one of its numbered databases: two
	// installations that share a server wake each other needlessly, and no harm is done.
	channel = "gatehouse:committed"

	dialTimeout = 2 * time.Second
	callTimeout = time.Second
	quiet       = 3 * time.Second // without a message for this long the subscription is pinged, and after twice this is given up
	firstPause  = 100 * time.Millisecond
	lastPause   = 5 * time.Second
)

// Waker carries the news of commits between nodes. It implements catalog.Waker.
type Waker struct {
	client *redis.Client
	logger *slog.Logger
	origin string // tells this node's own messages from others'
	wakes  chan struct{}

	latest atomic.Int64  // the sequence to publish
	out    chan struct{} // the publisher has something to do
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// Open starts carrying news through the server at url: redis://, rediss:// (TLS), unix://, or the same with valkey in place of
// redis; user, password and database number as usual. The server need not be there: the Waker connects when it can, says in the log
// when that changes, and until then wakes only its own node. Only a url that cannot be understood is an error. Close ends it.
func Open(ctx context.Context, url string, logger *slog.Logger) (*Waker, error) {
	options, err := parse(url)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Waker{
		client: redis.NewClient(options),
		logger: logger,
		origin: gatehouse.RandomBase62(8),
		wakes:  make(chan struct{}, 1),
		out:    make(chan struct{}, 1),
		stop:   stop,
	}
	w.done.Go(func() { w.publish(ctx) })
	w.done.Go(func() { w.subscribe(ctx) })
	return w, nil
}

// parse returns how to call the server at url.
func parse(url string) (*redis.Options, error) {
	if rest, ok := strings.CutPrefix(url, "valkey"); ok {
		url = "redis" + rest
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		// The cause quotes the address, and the address may hold a password.
		return nil, gatehouse.Errorf(gatehouse.Invalid, "valkey: the address must be a redis://, rediss://, valkey:// or unix:// URL")
	}
	logging.Disable() // the client's own log goes to stderr for every failed attempt; what matters is logged here
	options.DialTimeout = dialTimeout
	options.DialerRetries = 1
	options.MaxRetries = -1
	options.ReadTimeout, options.WriteTimeout = callTimeout, callTimeout
	options.ContextTimeoutEnabled = true
	options.PoolSize = 2 // the publisher's; the subscription has its own
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

// Ping asks the server at url, as Open takes it, for one answer.
func Ping(ctx context.Context, url string) error {
	options, err := parse(url)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	return errors.Join(client.Ping(ctx).Err(), client.Close())
}

// Close stops and waits until everything the Waker started has ended.
func (w *Waker) Close() error {
	w.stop()
	w.done.Wait()
	return w.client.Close()
}

// Wake implements catalog.Waker. While the server is slow or away, news is merged: the latest sequence stands for all before.
func (w *Waker) Wake(seq int64) {
	for {
		seen := w.latest.Load()
		if seq <= seen || w.latest.CompareAndSwap(seen, seq) {
			break
		}
	}
	ready(w.out)
	ready(w.wakes)
}

// Wakes implements catalog.Waker.
func (w *Waker) Wakes() <-chan struct{} { return w.wakes }

// ready leaves one signal in c.
func ready(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already and stands for this one too
	}
}

// publish is the goroutine that sends this node's news. What cannot be sent is dropped: the others poll.
func (w *Waker) publish(ctx context.Context) {
	link := link{logger: w.logger, name: "publish"}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.out:
		}
		err := w.client.Publish(ctx, channel, w.origin+":"+strconv.FormatInt(w.latest.Load(), 10)).Err()
		if ctx.Err() != nil {
			return
		}
		link.state(err)
	}
}

// subscribe is the goroutine that hears other nodes' news.
func (w *Waker) subscribe(ctx context.Context) {
	link := link{logger: w.logger, name: "subscribe"}
	pause := firstPause
	for ctx.Err() == nil {
		err := w.listen(ctx, func() {
			link.state(nil)
			pause = firstPause
			ready(w.wakes) // whatever was said while nobody listened
		})
		if ctx.Err() != nil {
			return
		}
		link.state(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// listen serves one subscription until it fails. It calls up once the server has confirmed it.
func (w *Waker) listen(ctx context.Context, up func()) error {
	sub := w.client.Subscribe(ctx, channel)
	// A receive does not end with its context, only with its connection. Closing is giving up: its error says nothing.
	defer func() { _ = sub.Close() }()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	pinged := false
	for {
		message, err := sub.ReceiveTimeout(ctx, quiet)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !pinged {
			pinged = true
			err = sub.Ping(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		pinged = false
		switch m := message.(type) {
		case *redis.Subscription:
			up()
		case *redis.Message:
			if origin, _, _ := strings.Cut(m.Payload, ":"); origin != w.origin {
				ready(w.wakes)
			}
		}
	}
}

// link logs when a connection begins to fail and when it works again, once each.
type link struct {
	logger *slog.Logger
	name   string
	down   bool
}

func (l *link) state(err error) {
	switch {
	case err != nil && !l.down:
		l.down = true
		l.logger.Warn("valkey is away; nodes hear of changes by polling", "operation", l.name, "error", err)
	case err == nil && l.down:
		l.down = false
		l.logger.Info("valkey is back", "operation", l.name)
	}
}
