package inbound

import "time"

// watchEvery is how often exchanges that take longer are looked at: a caller that leaves is noticed after one to two times that.
const watchEvery = 200 * time.Millisecond

// watch cancels the requests of callers that have left, until the service ends.
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
		open = s.lasting(open[:0])
		for _, c := range open {
			if c.callerLeft() {
				c.ctx.cancel(c.watched)
			}
		}
		clear(open)
	}
}

// lasting appends the connections that were serving the same request at the last look. Short exchanges never cost a system call.
func (s *Server) lasting(open []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		serial := c.serial.Load()
		if serial%2 == 1 && serial == c.watched {
			open = append(open, c)
		}
		c.watched = serial
	}
	return open
}
