package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// hint adds to err what to do about it.
func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

func asHint(err error) (*hinted, bool) { return errors.AsType[*hinted](err) }

// explainError adds a hint to an error that has none, where one can be given.
func explainError(ctx context.Context, err error, to *remote) error {
	if _, ok := asHint(err); ok {
		return err
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return to.explain(err)
}

// explainHost adds a hint to what stops a node from starting.
func explainHost(err error, data string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(err, "Another program, perhaps another gatehouse, listens there. Stop it, or choose another address (port 0 takes a free one).")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint(err, "This host has no such address. 127.0.0.1 is for this host only, 0.0.0.0 for every interface.")
	case errors.Is(err, syscall.ENOSPC):
		return hint(err, "The disk that holds %s is full.", data)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && errors.Is(err, syscall.EACCES) {
		return hint(err, "Ports below 1024 need a privilege. Choose a higher one.")
	}
	file, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return err
	case file.Path == data || strings.HasPrefix(file.Path, data+string(filepath.Separator)) || file.Op == "mkdir":
		return hint(err, "%s must be a folder that this user may write.", data)
	case errors.Is(err, fs.ErrPermission):
		return hint(err, "The user who runs this must be allowed to use %s.", file.Path)
	}
	return err
}
