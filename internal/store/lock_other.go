//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package store

import (
	"io"

	"gatehouse"
)

// lockFile refuses: without a lock that the system gives back when a process dies, two nodes could serve one file.
func lockFile(string) (io.Closer, error) {
	return nil, gatehouse.Errorf(gatehouse.Unavailable, "SQLite cannot be locked on this system: use PostgreSQL")
}
