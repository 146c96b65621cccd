package gateway

import (
	"errors"
	"io"
	"os"

	"gatehouse"
	"gatehouse/internal/dialect/form"
)

// spoolMemory is how much of a form is kept in memory before the rest goes to a file.
const spoolMemory = 1 << 20

// spool holds a form whose route depends on a field that may come last: its beginning in memory, the rest in a file that is
// unlinked as soon as it is open, so that nothing of it stays behind whatever happens to the process.
type spool struct {
	dir     string
	scanner *form.Scanner
	head    []byte
	file    *os.File
	size    int64
}

// Write adds bytes of the body. Its error is shown to the caller: the disk is full, or the folder cannot be written.
func (s *spool) Write(p []byte) (int, error) {
	n := len(p)
	if room := spoolMemory - len(s.head); room > 0 {
		take := min(room, len(p))
		s.head = append(s.head, p[:take]...)
		p = p[take:]
	}
	if len(p) > 0 {
		if s.file == nil {
			if err := s.open(); err != nil {
				return 0, err
			}
		}
		if _, err := s.file.Write(p); err != nil {
			return 0, spoolError(err)
		}
	}
	s.size += int64(n)
	return n, nil
}

func (s *spool) open() error {
	f, err := os.CreateTemp(s.dir, "body-*")
	if err != nil {
		return spoolError(err)
	}
	if err := errors.Join(f.Chmod(0o600), os.Remove(f.Name())); err != nil {
		return errors.Join(spoolError(err), f.Close())
	}
	s.file = f
	return nil
}

func spoolError(err error) error {
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "spool_unavailable", RetryAfterMillis: 1000,
		Message: "The gateway cannot hold this upload right now. Try again; the operator should check the disk of `data`.", Err: err}
}

// ReadAt reads from the whole body.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	n := 0
	if off < int64(len(s.head)) {
		n = copy(p, s.head[off:])
		off += int64(n)
	}
	if n < len(p) && s.file != nil {
		m, err := s.file.ReadAt(p[n:], off-int64(len(s.head)))
		return n + m, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // it is unlinked: nothing that could be lost
	}
}
