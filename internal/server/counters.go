package server

import (
	"context"
	"fmt"

	"gatehouse/internal/gateway"
	"gatehouse/internal/limit"
	"gatehouse/internal/valkey"
)

// counters count what requests take of rate limits: together with other nodes through Valkey, or each node its part.
type counters struct {
	gateway.Counters
	peek   func(ctx context.Context, charges []limit.Charge)
	shared *valkey.Counters // nil without Valkey
}

// openCounters opens the counters. A Valkey that is away is no error.
func (s *Server) openCounters(ctx context.Context) error {
	if s.cfg.Valkey == "" {
		memory := limit.Divided{Memory: limit.NewMemory(s.opts.Now), Nodes: s.catalog.LiveNodes}
		s.counters = counters{Counters: memory, peek: memory.Peek}
		return nil
	}
	address, err := s.valkey(ctx)
	if err != nil {
		return err
	}
	shared, err := valkey.OpenCounters(ctx, valkey.CountersConfig{URL: address, Nodes: s.catalog.LiveNodes, Now: s.opts.Now, Logger: s.log})
	if err != nil {
		return fmt.Errorf("valkey: %w", err)
	}
	s.counters = counters{Counters: shared, peek: shared.Peek, shared: shared}
	return nil
}

// valkey returns the address of Valkey.
func (s *Server) valkey(ctx context.Context) (string, error) {
	return s.cfg.reference(ctx, "valkey", s.cfg.Valkey, "redis://", "rediss://", "valkey://", "valkeys://")
}

// use returns what is used of an organization's limits now: a charge of nothing for each counter.
func (s *Server) use(ctx context.Context, organization string) []limit.Charge {
	list := s.catalog.Counters(organization)
	charges := make([]limit.Charge, len(list))
	for i, c := range list {
		charges[i].Counter = c
	}
	s.counters.peek(ctx, charges)
	return charges
}

// close tells the other nodes what they do not know yet.
func (c *counters) close() error {
	if c.shared == nil {
		return nil
	}
	return c.shared.Close()
}
