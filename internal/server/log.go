package server

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// level returns the configured level of the log.
func (c *Config) level() (slog.Level, error) {
	switch c.Log.Level {
	case "", "info":
		return slog.LevelInfo, nil
	case "debug":
		return slog.LevelDebug, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log.level: %q is not debug, info, warn or error", c.Log.Level)
}

// accessFlush is how long a line of the access log may wait. The log tells what happened; what must not be lost is in the journal.
const accessFlush = 200 * time.Millisecond

// lineBuffer collects the lines of the access log, so that a request does not pay for a system call. It is flushed by its own
// goroutine, which ends with close.
type lineBuffer struct {
	mu   sync.Mutex
	w    *bufio.Writer // guarded by mu
	done chan struct{}
	over sync.WaitGroup
}

func newLineBuffer(w io.Writer) *lineBuffer {
	b := &lineBuffer{w: bufio.NewWriterSize(w, 64<<10), done: make(chan struct{})}
	b.over.Add(1)
	go b.run()
	return b
}

// Write adds one line. A full buffer is written at once: lines are never dropped, a slow reader of stderr slows requests down.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.w.Available() < len(line) {
		if err := b.w.Flush(); err != nil {
			return 0, err
		}
	}
	return b.w.Write(line)
}

func (b *lineBuffer) run() {
	defer b.over.Done()
	ticker := time.NewTicker(accessFlush)
	defer ticker.Stop()
	for {
		select {
		case <-b.done:
			b.flush()
			return
		case <-ticker.C:
			b.flush()
		}
	}
}

func (b *lineBuffer) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.w.Flush() // stderr that cannot be written has nowhere to be reported
}

func (b *lineBuffer) close() {
	close(b.done)
	b.over.Wait()
}
