package adminapi

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"time"
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

// send writes a file. cut tells that something went wrong after a part of it was sent: the connection must be cut then, so that nobody
// takes the part for the whole. Without it an error is an answer like any other.
func (f *file) send(ctx context.Context, w http.ResponseWriter) (sent int64, cut bool, err error) {
	ctx, stop := context.WithTimeout(ctx, fileTime)
	defer stop()
	late := &lateWriter{w: w, file: f}
	buffer := bufio.NewWriterSize(late, fileBuffer)
	if err = f.write(ctx, buffer); err == nil {
		err = buffer.Flush()
	}
	if err == nil && !late.begun {
		late.begin() // it is empty
	}
	return late.sent, err != nil && late.begun, err
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
