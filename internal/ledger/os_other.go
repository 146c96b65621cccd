//go:build !unix

package ledger

import "os"

// lockFile opens path. There is no portable lock outside Unix that ends with the process: there, two processes with one data
// directory are the operator's to avoid.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// syncDir does nothing: outside Unix a directory cannot be synced.
func syncDir(string) error { return nil }
