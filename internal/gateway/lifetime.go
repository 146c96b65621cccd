package gateway

import (
	"context"
	"time"

	"gatehouse/internal/gateway/ending"
)

// lifetime is the context of one exchange. It ends when the caller leaves, when the exchange is cancelled, and with the exchange. It is
// not used again, for what was given it may ask for its end at any time.
//
// Err says why it ended, in more words than Canceled where there are any, and so does context.Cause.
type lifetime struct {
	ending.End
	parent context.Context
	hook   ending.Hook // on the parent's list, where that is a context of our own server
	leave  func() bool // takes it off the list of any other
}

func newLifetime(parent context.Context) *lifetime {
	l := &lifetime{parent: parent}
	l.leave = ending.Link(parent, &l.hook, (*departure)(l))
	return l
}

// departure ends a lifetime because its parent has ended.
type departure lifetime

// Tell implements ending.Teller.
func (d *departure) Tell() { (*lifetime)(d).Cut(context.Cause(d.parent)) }

// end ends it, together with the exchange.
func (l *lifetime) end() {
	if l.leave != nil {
		l.leave()
	} else {
		l.hook.Off()
	}
	l.Cut(context.Canceled)
}

// Deadline implements context.Context. The exchange's own time is kept by a timer.
func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (l *lifetime) Value(key any) any {
	if _, own := key.(*int); own {
		return nil // the context package asks for the parent's insides, to take its end for ours
	}
	return l.parent.Value(key)
}

// watchTime ends exchanges that last longer than Timeouts.Total, until the gateway is closed. A timer for each would cost every one of
// them what next to none needs. None is ended before its time, and none later than a second after it, or a sixteenth of it.
func (g *Gateway) watchTime() {
	defer g.watching.Done()
	ticker := time.NewTicker(max(min(time.Second, g.cfg.Timeouts.Total/16), time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-g.closed:
			return
		}
		now := g.cfg.Now()
		g.live.each(func(x *exchange) {
			if now.Sub(x.started) > g.cfg.Timeouts.Total {
				x.ctx.Cut(context.DeadlineExceeded)
			}
		})
	}
}
