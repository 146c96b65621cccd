package adminapi

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"time"

	"gatehouse"
)

// file is an answer that is written as it is made, and never held whole.
type file struct {
	contentType, name string
	header            map[string]string
	write             func(ctx context.Context, w io.Writer) error
}

const (
	// fileTime is how long a file may take to be made and fetched.
	fileTime = 30 * time.Minute
	// fileBuffer is how much of a file is held back: what goes wrong before that much is made is an answer like any other.
	fileBuffer = 64 << 10
)

// send writes a file. It returns an error while none of it was sent; after that the connection is cut, so that nobody takes a part
// for the whole.
func (a *API) send(w http.ResponseWriter, r *http.Request, record *gatehouse.Request, f *file) error {
	ctx, stop := context.WithTimeout(r.Context(), fileTime)
	defer stop()
	late := &lateWriter{w: w, file: f}
	buffer := bufio.NewWriterSize(late, fileBuffer)
	err := f.write(ctx, buffer)
	if err == nil {
		err = buffer.Flush()
	}
	record.BytesOut = late.sent
	switch {
	case err == nil && !late.begun:
		late.begin()
		return nil
	case err == nil || !late.begun:
		return err
	}
	a.cfg.Logger.Warn("a file was not sent to its end", "request_id", record.ID, "error", err)
	record.Status, record.ClientLeft = http.StatusOK, r.Context().Err() != nil
	a.cfg.Ledger.Decide(record)
	panic(http.ErrAbortHandler)
}

// lateWriter writes the head of the answer with the first bytes of the file.
type lateWriter struct {
	w     http.ResponseWriter
	file  *file
	begun bool
	sent  int64
}

func (l *lateWriter) begin() {
	l.begun = true
	h := l.w.Header()
	h.Set("Content-Type", l.file.contentType)
	h.Set("Content-Disposition", `attachment; filename="`+l.file.name+`"`)
	for name, value := range l.file.header {
		h.Set(name, value)
	}
	l.w.WriteHeader(http.StatusOK)
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if !l.begun {
		l.begin()
	}
	n, err := l.w.Write(p)
	l.sent += int64(n)
	return n, err
}
