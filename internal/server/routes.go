package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	// healthEvery is the least time between two reports of what this node knows of its routes, healthIdle the time between two when
	// no route changes its state.
	healthEvery = time.Second
	healthIdle  = 10 * time.Second
)

// reportHealth records what this node knows of its routes, so that any node can show it: at once when a route changes its state,
// and now and then for the numbers. It ends with ctx.
func (s *Server) reportHealth(ctx context.Context) {
	defer s.duties.Done()
	idle := time.NewTicker(healthIdle)
	defer idle.Stop()
	var last []gatehouse.RouteHealth
	for first := true; ; first = false {
		if h := s.health(); first || !slices.Equal(h.Routes, last) {
			switch err := s.db.Record(ctx, store.Batch{Health: h}); {
			case err == nil:
				last = h.Routes
			case !errors.Is(err, context.Canceled):
				s.log.Warn("the state of routes cannot be recorded", "error", err)
			}
		}
		if !pause(ctx, healthEvery) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
		case <-s.gateway.HealthChanged():
		}
	}
}

// health is what this node knows of its routes at this moment.
func (s *Server) health() *gatehouse.NodeHealth {
	return &gatehouse.NodeHealth{Node: s.cfg.Node, Process: s.catalog.Process(), At: gatehouse.MillisOf(s.opts.Now()), Routes: s.gateway.Health()}
}

// pause waits, unless ctx ends first, which it reports with false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
