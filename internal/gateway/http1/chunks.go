package http1

import (
	"bytes"
	"errors"
	"io"
)

// Chunks follows a chunked body from line to line. Its reader gives it the lines between the chunks' data, without their CRLF, and
// says how much data it took; Left is how much comes before the next line.
type Chunks struct {
	Left int64 // bytes of data that come next
	// MaxExtra bounds what the body may hold beside data: extensions and trailers, all of them together.
	MaxExtra int

	state chunkState
	extra int // bytes of extensions and trailers so far
}

// chunkState is what comes next, once Left is 0.
type chunkState uint8

const (
	chunkSize    chunkState = iota // a line with the next chunk's size
	chunkEnd                       // the line break after its data
	chunkTrailer                   // the lines after the last chunk
)

var (
	errLongChunk = errors.New("a chunk is longer than its size")
	errTrailer   = errors.New("a trailer is no field")
	errExtra     = errors.New("too much of a chunked body is not data")
)

// Line takes the next line. It returns io.EOF for the one that ends the body. Trailers are checked and dropped.
func (c *Chunks) Line(line []byte) error {
	switch c.state {
	case chunkEnd:
		if len(line) > 0 {
			return errLongChunk
		}
		c.state = chunkSize
	case chunkSize:
		size, extra, err := parseChunkSize(line)
		if err != nil {
			return err
		}
		c.Left, c.state = size, chunkEnd
		if size == 0 {
			c.state = chunkTrailer
		}
		return c.count(extra)
	case chunkTrailer:
		if len(line) == 0 {
			return io.EOF
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !IsToken(name) || !IsValue(value) {
			return errTrailer
		}
		return c.count(len(line))
	}
	return nil
}

func (c *Chunks) count(extra int) error {
	if c.extra += extra; c.extra > c.MaxExtra {
		return errExtra
	}
	return nil
}

// ErrBareLF is a line that does not end in CRLF.
var ErrBareLF = errors.New("a line does not end in CRLF")

// CutLine returns the first line of buf without its CRLF, and its length with it; 0: buf does not hold a whole line.
func CutLine(buf []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(buf, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	if i == 0 || buf[i-1] != '\r' {
		return nil, 0, ErrBareLF
	}
	return buf[:i-1], i + 1, nil
}

var (
	errSizeTooLarge = errors.New("a chunk size is too large")
	errNoSize       = errors.New("a chunk has no size")
	errNotNumber    = errors.New("a chunk size is not a number")
	errControl      = errors.New("a control character in a chunk's line")
)

// parseChunkSize reads the hexadecimal size at the beginning of a chunk's line, at most 15 digits of it. What follows, white space
// and extensions after a semicolon, is checked for control characters and ignored; extra is its length.
func parseChunkSize(line []byte) (size int64, extra int, err error) {
	i := 0
	for ; i < len(line); i++ {
		d := unhex(line[i])
		if d < 0 {
			break
		}
		if i == 15 {
			return 0, 0, errSizeTooLarge
		}
		size = size<<4 | int64(d)
	}
	if i == 0 {
		return 0, 0, errNoSize
	}
	rest := line[i:]
	if !IsValue(rest) {
		return 0, 0, errControl
	}
	for _, c := range rest {
		if c == ';' {
			break
		}
		if c != ' ' && c != '\t' {
			return 0, 0, errNotNumber
		}
	}
	return size, len(rest), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
