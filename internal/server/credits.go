package server

import (
	"context"
	"time"
)

// creditsEvery is how long a grant may go on after its end, and a refill may take, at most: everything else is shorter.
const creditsEvery = 2 * time.Second

// keepCredits enters what was spent of prepaid credits, issues and ends grants when their time has come, and refills what has run low.
// Every node does: what is due is decided in the transaction that does it, so it is done once. It ends with ctx.
func (s *Server) keepCredits(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(creditsEvery)
	defer ticker.Stop()
	failing := false
	for {
		switch _, err := s.admin.KeepCredits(ctx); {
		case err != nil && ctx.Err() == nil && !failing:
			failing = true
			s.log.Warn("credits cannot be kept: grants do not start, end or refill until it is possible again", "error", err)
		case err == nil && failing:
			failing = false
			s.log.Info("credits are kept again")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
