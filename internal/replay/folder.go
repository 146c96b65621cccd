package replay

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"gatehouse"
	"gatehouse/internal/store"
)

// frame is one frame that was read; one of the pointers is set.
type frame struct {
	at      gatehouse.Millis
	head    *head
	applied *applied
	batch   *store.Batch
	gap     *Gap
}

// walk calls fn with the frames of a segment, in order. It returns where the last whole one ends, in time: 0 when the segment is
// whole. An error is fn's, or one of the file.
func walk(path string, fn func(frame) error) (torn gatehouse.Millis, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it is only read
	r := bufio.NewReaderSize(file, 256<<10)
	last := gatehouse.Millis(1)
	for {
		f, err := readFrame(r)
		switch {
		case err == io.EOF:
			return 0, nil
		case errors.Is(err, errFrame):
			return last, nil
		case err != nil:
			return 0, err
		}
		last = f.at
		if err := fn(f); err != nil {
			return 0, err
		}
	}
}

// readFrame returns the next frame, io.EOF behind the last, and errFrame for what is none.
func readFrame(r *bufio.Reader) (f frame, err error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return f, cut(err)
	}
	n := binary.LittleEndian.Uint32(header[0:4])
	if n < 3 || n > maxPayload {
		return f, errFrame
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return f, cut(err)
	}
	at, size := binary.Uvarint(payload[2:])
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(header[4:8]) || size <= 0 {
		return f, errFrame
	}
	if payload[0] > payloadVersion {
		return f, errors.New("it was written by a newer Gatehouse; restore with that")
	}
	f.at = gatehouse.Millis(at)
	body := payload[2+size:]
	switch payload[1] {
	case kindHead:
		f.head, err = decodeJSON[head](body)
	case kindApplied:
		f.applied, err = decodeJSON[applied](body)
	case kindRows:
		f.batch, err = decodeBatch(body)
	case kindGap:
		f.gap, err = decodeJSON[Gap](body)
	default:
		err = errFrame
	}
	return f, err
}

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errFrame
	}
	return err
}

func decodeJSON[T any](body []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return nil, errFrame
	}
	return v, nil
}

// Range is event numbers from From to To.
type Range struct{ From, To int64 }

// Folder is the files of one node as a restore finds them.
type Folder struct {
	Path    string
	ID      string
	Node    string // "" when no file says it
	Install string
	Gaps    []Gap            // after Since
	Events  []Range          // which events it holds
	Seq     int64            // the last of them
	Rows    int64            // of usage, after Since
	From    gatehouse.Millis // of the first frame
	To      gatehouse.Millis // of the last
}

// Read looks through the files in a data directory for what happened since a moment. Of each change after an event it calls fn.
func Read(data string, since gatehouse.Millis, after int64, fn func(Change) error) (*Folder, error) {
	dir := filepath.Join(data, "replay")
	f := &Folder{Path: data}
	segments, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no replay files: %w", data, err)
	}
	if err != nil {
		return nil, err
	}
	st, err := readState(dir)
	switch {
	case err == nil:
		f.ID = st.Folder
	case len(segments) == 0:
		return nil, fmt.Errorf("%s has no replay files: %w", data, err)
	default:
		f.gap(since, Gap{From: since, To: segments[0].began, Cause: "nobody knows what was dropped: " + err.Error()})
	}
	if st.DroppedTo > since {
		f.gap(since, Gap{From: since, To: st.DroppedTo, Rows: st.DroppedRows, Cause: st.Cause})
	}
	next, ended := st.Dropped+1, max(st.DroppedTo, st.Created)
	for i := range segments {
		s := &segments[i]
		if s.number != next && st.Folder != "" {
			f.gap(since, Gap{From: ended, To: s.began, Cause: fmt.Sprintf("files %d to %d are missing", next, s.number-1)})
		}
		next = s.number + 1
		end := gatehouse.Millis(0)
		if i+1 < len(segments) {
			end = segments[i+1].began
		}
		if err := f.read(s, end, since, after, fn); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		ended = f.To
	}
	return f, nil
}

func (f *Folder) gap(since gatehouse.Millis, g Gap) {
	if g.To == 0 || g.To > since {
		g.From = max(g.From, since)
		f.Gaps = append(f.Gaps, g)
	}
}

func (f *Folder) read(s *segment, end, since gatehouse.Millis, after int64, fn func(Change) error) error {
	torn, err := walk(s.path, func(fr frame) error {
		if f.From == 0 {
			f.From = fr.at
		}
		f.To = max(f.To, fr.at)
		switch {
		case fr.head != nil:
			f.Node, f.Install = fr.head.Node, fr.head.Install
			if f.ID == "" {
				f.ID = fr.head.Folder
			}
		case fr.gap != nil:
			f.gap(since, *fr.gap)
		case fr.batch != nil && fr.at >= since:
			f.Rows += int64(len(fr.batch.Usage))
		case fr.applied != nil:
			return f.apply(fr.applied, after, fn)
		}
		return nil
	})
	if torn != 0 {
		f.gap(since, Gap{From: max(torn, s.began), To: end, Cause: "file " + filepath.Base(s.path) + " is cut or damaged"})
	}
	return err
}

func (f *Folder) apply(a *applied, after int64, fn func(Change) error) error {
	if n := len(f.Events); n > 0 && f.Events[n-1].To+1 == a.From {
		f.Events[n-1].To = a.To
	} else {
		f.Events = append(f.Events, Range{a.From, a.To})
	}
	f.Seq = max(f.Seq, a.To)
	for _, c := range a.Changes {
		if c.Seq > after {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Recorded calls fn with every batch that the node of a data directory has recorded since a moment, in order.
func Recorded(data string, since gatehouse.Millis, fn func(*store.Batch) error) error {
	segments, err := list(filepath.Join(data, "replay"))
	if err != nil {
		return err
	}
	for i := range segments {
		if i+1 < len(segments) && segments[i+1].began < since {
			continue
		}
		_, err := walk(segments[i].path, func(fr frame) error {
			if fr.batch == nil || fr.at < since {
				return nil
			}
			return fn(fr.batch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
