//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"gatehouse"
)

// lockFile takes an exclusive lock on the file at path, which it creates. The kernel gives the lock back when the process ends,
// however it ends; the file itself stays, because removing it could take the lock of a process that has just opened it.
func lockFile(path string) (io.Closer, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(file, 32)) // only for the message
		_ = file.Close()                                  // nothing was written
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, gatehouse.Errorf(gatehouse.Conflict, "the database is in use by another gatehouse process (%s; lock file %s). "+
			"SQLite serves one process: stop the other, or use PostgreSQL.", strings.TrimSpace("pid "+string(holder)), path)
	}
	// The pid is only for the message above: a lock without it still holds.
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	return file, nil
}
