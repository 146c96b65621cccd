package server

import (
	"context"
	"time"

	"gatehouse/internal/custody"
	"gatehouse/internal/otlp"
	"gatehouse/internal/secret"
)

// newExporter returns what sends traces, nil where none are made.
func (s *Server) newExporter() *otlp.Exporter {
	o := s.cfg.OTLP
	if o == nil {
		return nil
	}
	cfg := otlp.Config{Endpoint: o.Endpoint, Sample: 1, Timeout: time.Duration(o.Timeout), Service: "gatehouse", Node: s.cfg.Node, Version: s.opts.Version, Logger: s.log}
	if o.Sample != nil {
		cfg.Sample = *o.Sample
	}
	if o.Headers != "" {
		operator := custody.New(custody.Config{Allow: custody.Unrestricted()})
		cfg.Headers = func(ctx context.Context) (secret.Text, error) { return operator.Resolve(ctx, o.Headers) }
	}
	return otlp.New(cfg)
}

// exportTraces sends traces until ctx ends, and then what still waits.
func (s *Server) exportTraces(ctx context.Context) {
	defer s.duties.Done()
	s.exporter.Run(ctx)
}
