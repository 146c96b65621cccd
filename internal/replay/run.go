package replay

import (
	"context"
	"time"
)

// Run syncs the files until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	every := w.cfg.Sync
	if every == 0 || every > rowsSync {
		every = rowsSync
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	synced := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			rows := now.Sub(synced) >= rowsSync
			if rows {
				synced = now
			}
			w.Flush(rows)
		}
	}
}
