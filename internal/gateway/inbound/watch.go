package inbound

import "time"

// watchEvery is how often exchanges that take longer are looked at: a caller that leaves is noticed after one to two times that.
const watchEvery = 200 * time.Millisecond

// waiting measures how long something goes on, by looking at it now and then: never longer than it did.
type waiting struct {
	what  uint64    // what went on at the last look; 0: nothing
	since time.Time // when a look began that came after one at which it went on already
}

// over reports whether what goes on has for span. now is when the look began.
func (w *waiting) over(what uint64, now time.Time, span time.Duration) bool {
	switch {
	case what == 0 || what != w.what:
		*w = waiting{what: what}
	case w.since.IsZero():
		w.since = now
	default:
		return now.Sub(w.since) >= span
	}
	return false
}

// watch cancels the requests of callers that have left, and ends what waits for a caller for too long, until the service ends. It also
// keeps the date.
func (s *Server) watch() {
	if !canWatch {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var open []*conn
	for {
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
		now := time.Now()
		s.keepDate(now)
		open = s.look(now, open[:0])
		for _, c := range open {
			if c.callerLeft() {
				c.ctx.cancel(c.watched)
			}
		}
		clear(open)
	}
}

// look ends what has waited for too long, and appends the connections that were serving the same request at the last look. Short exchanges
// never cost a system call.
func (s *Server) look(now time.Time, open []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		serial := c.serial.Load()
		if serial != c.watched {
			c.watched = serial
			continue
		}
		if serial%2 == 1 {
			open = append(open, c)
		}
		c.expireLate(serial, now)
	}
	return open
}

// expireLate ends a connection that waits for its next request for too long, or makes its write fail that does; serial is that of the
// look and of the one before.
func (c *conn) expireLate(serial uint64, now time.Time) {
	if c.state.Load() != stateIdle {
		c.writing.expire(&c.slow, now, c.srv.cfg.WriteTimeout, c.raw.SetWriteDeadline)
		serial = 0
	}
	if c.idle.over(serial, now, c.srv.cfg.IdleTimeout) { // before its first request it has a deadline
		c.expire()
	}
}
