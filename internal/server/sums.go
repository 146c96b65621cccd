package server

import (
	"context"
	"errors"
	"time"
)

const (
	mergeEvery = 2 * time.Second
	foldEvery  = 10 * time.Minute
)

// keepSums merges the pages of sums that are recorded, every two seconds, and folds them into hours and days when it begins and every
// ten minutes. Nothing is wrong while it does not run: reports then read more pages. It ends with ctx.
func (s *Server) keepSums(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(mergeEvery)
	defer ticker.Stop()
	var folded time.Time
	for {
		err := s.db.MergeSums(ctx)
		if now := s.opts.Now(); err == nil && (now.Sub(folded) >= foldEvery || now.Before(folded)) {
			folded = now
			err = s.db.FoldSums(ctx)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("sums of usage cannot be folded; they stay right, and reports read more", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
