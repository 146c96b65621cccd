package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	case errors.Is(err, syscall.EACCES) && isListen(err):
		return hint(err, "Ports below 1024 need a privilege. Choose a higher one.")
	case errors.Is(err, syscall.ENOSPC):
		return hint(err, "The disk that holds %s is full.", data)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return hint(err, "%s must be a folder that this user may write.", data)
	}
	return err
}

// isListen reports whether err came from binding an address rather than from a file.
func isListen(err error) bool {
	var call interface{ Timeout() bool }
	_, file := errors.AsType[*fs.PathError](err)
	return !file && errors.As(err, &call)
}
