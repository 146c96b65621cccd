package replay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	segmentBytes = 8 << 20
	segmentAge   = time.Hour // so that what a backup covers can go soon
	// rowsSync is how long recorded rows may wait for their fsync. They are in the database already: they are lost only when power
	// fails and the database is gone as well.
	rowsSync = time.Second
	maxKept  = 1 << 20 // bytes of an encoding whose memory is used again
)

// Config is what a Writer needs.
type Config struct {
	// Dir is the node's data directory; the files live in its sub-directory "replay". The caller sees to it that one process has it.
	Dir     string
	Node    string // the node's name, for messages
	Install string // the installation's tag, so that nobody takes another's files for its own
	// Sync is how long an applied event may wait for its fsync; 0: it does not.
	Sync    time.Duration
	MaxAge  time.Duration // files older than this are dropped
	MaxSize int64         // and the oldest, when all are larger than this
	Now     func() time.Time
	Logger  *slog.Logger
}

// Writer appends to a node's files. Its methods may be called from any goroutine. A file that cannot be written stops nothing: what
// is missing is remembered as a gap, which a restore names.
type Writer struct {
	cfg Config
	dir string

	mu       sync.Mutex // guards the rest
	state    state
	segments []segment // closed ones, oldest first
	active   *os.File  // nil: the next frame begins a segment
	current  segment
	number   uint64 // of the newest segment ever
	last     int64  // the last event
	lost     *Gap   // what could not be written since the last frame
	failing  bool
	encoder  encoder
	buf      []byte
	unsynced [2]bool // rows; events
	closed   bool
}

// segment is one file.
type segment struct {
	number uint64
	path   string
	began  gatehouse.Millis
	seq    int64 // the last event before it
	size   int64
}

func (s *segment) name() string {
	return fmt.Sprintf("%012d-%013d-%d%s", s.number, int64(s.began), s.seq, suffix)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open opens the folder of a node, and creates it on first use. It writes no segment: the first frame does.
func Open(cfg Config) (*Writer, error) {
	w := &Writer{cfg: cfg, dir: filepath.Join(cfg.Dir, "replay"), encoder: encoder{texts: map[string]uint64{}}}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open replay files: %w", err)
	}
	var err error
	if w.segments, err = list(w.dir); err != nil {
		return nil, fmt.Errorf("open replay files: %w", err)
	}
	if w.state, err = readState(w.dir); errors.Is(err, os.ErrNotExist) {
		w.state = state{Folder: gatehouse.RandomBase62(22), Created: w.now()}
		err = w.saveState()
	}
	if err != nil {
		return nil, fmt.Errorf("open replay files: %w", err)
	}
	w.number = w.state.Dropped
	if n := len(w.segments); n > 0 {
		newest := w.segments[n-1]
		w.number = max(w.number, newest.number)
		w.last = newest.seq
		if _, err := walk(newest.path, func(f frame) error {
			if f.applied != nil {
				w.last = max(w.last, f.applied.To)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("open replay files: %w", err)
		}
	}
	return w, nil
}

// Folder returns the id of the folder: it lives as long as its files.
func (w *Writer) Folder() string { return w.state.Folder }

// Last returns the number of the last event in the files, 0 while there is none.
func (w *Writer) Last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Begin says that the files go on after an event, where they do not hold the ones before it.
func (w *Writer) Begin(seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq > w.last {
		w.last = seq
		w.retire()
	}
}

// Applied keeps the events from the last one on up to a number: changes are those with a subject.
func (w *Writer) Applied(epoch, to int64, changes []Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to <= w.last {
		return
	}
	body, err := json.Marshal(applied{Epoch: epoch, From: w.last + 1, To: to, Changes: changes})
	if err != nil {
		panic("replay: " + err.Error()) // plain data, which always encodes
	}
	w.append(kindApplied, body, 0)
	w.last = to
	w.unsynced[1] = true
	if w.cfg.Sync == 0 {
		w.sync()
	}
}

// Recorded keeps what a batch that is in the database has of lasting value.
func (w *Writer) Recorded(b *store.Batch) {
	if !lasts(b) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	body := w.encoder.encodeBatch(w.encoder.body[:0], b)
	w.append(kindRows, body, int64(len(b.Usage)))
	if w.encoder.body = body; cap(body) > maxKept {
		w.encoder.body = nil
	}
	w.unsynced[0] = true
}

// append writes one frame, and before it whatever has to stand before it. The caller holds mu.
func (w *Writer) append(kind byte, body []byte, rows int64) {
	err := w.tryAppend(kind, body)
	now := w.now()
	if err == nil {
		if w.failing {
			w.failing = false
			w.cfg.Logger.Info("replay files are written again", "dir", w.dir)
		}
		return
	}
	if w.lost == nil {
		w.lost = &Gap{From: now, Cause: "could not be written"}
	}
	w.lost.To = now
	w.lost.Rows += rows
	if !w.failing {
		w.failing = true
		w.cfg.Logger.Error("replay files cannot be written; what is missing from them is missing from a restore", "dir", w.dir, "error", err)
	}
}

func (w *Writer) tryAppend(kind byte, body []byte) error {
	if w.closed {
		return errors.New("the files are closed")
	}
	if w.active != nil && (w.current.size+int64(len(body)) > segmentBytes || time.Duration(w.now()-w.current.began)*time.Millisecond > segmentAge) {
		w.retire()
	}
	if w.active == nil {
		if err := w.create(); err != nil {
			return err
		}
	}
	if w.lost != nil {
		gap, err := json.Marshal(w.lost)
		if err != nil {
			return err
		}
		if err := w.write(kindGap, gap); err != nil {
			return err
		}
		w.lost = nil
	}
	return w.write(kind, body)
}

// write appends one frame with one write(2), or leaves the file as it was.
func (w *Writer) write(kind byte, body []byte) error {
	b := append(w.buf[:0], make([]byte, frameHeader)...)
	b = append(b, payloadVersion, kind)
	b = binary.AppendUvarint(b, uint64(w.now()))
	b = append(b, body...)
	w.buf = b
	payload := b[frameHeader:]
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes", len(payload))
	}
	binary.LittleEndian.PutUint32(b[0:4], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[4:8], crc32.Checksum(payload, castagnoli))
	n, err := w.active.Write(b)
	if err != nil || n < len(b) {
		if terr := w.active.Truncate(w.current.size); terr != nil {
			w.retire()
		}
		return errors.Join(err, errShort)
	}
	w.current.size += int64(len(b))
	return nil
}

var errShort = errors.New("a frame was not written whole")

// create begins a segment.
func (w *Writer) create() error {
	s := segment{number: w.number + 1, began: w.now(), seq: w.last}
	s.path = filepath.Join(w.dir, s.name())
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	w.active, w.current = f, s
	whose, err := json.Marshal(head{w.state.Folder, w.cfg.Node, w.cfg.Install})
	if err == nil {
		err = w.write(kindHead, whose)
	}
	if err == nil {
		err = syncDir(w.dir)
	}
	if err != nil {
		// The number is used again: a number that is missing means a file that is gone.
		err = errors.Join(err, f.Close(), os.Remove(s.path))
		w.active = nil
		return err
	}
	w.number = s.number
	return nil
}

// retire ends the active segment.
func (w *Writer) retire() {
	if w.active == nil {
		return
	}
	if err := errors.Join(w.active.Sync(), w.active.Close()); err != nil {
		w.cfg.Logger.Warn("replay file may not be on disk", "path", w.current.path, "error", err)
	}
	w.active, w.unsynced = nil, [2]bool{}
	w.segments = append(w.segments, w.current)
}

// Flush makes events durable that were applied before it was called, and rows when rows says so.
func (w *Writer) Flush(rows bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsynced[1] || rows && w.unsynced[0] {
		w.sync()
	}
}

func (w *Writer) sync() {
	if w.active == nil {
		return
	}
	if err := w.active.Sync(); err != nil {
		w.cfg.Logger.Warn("replay file may not be on disk", "path", w.current.path, "error", err)
		w.retire()
		return
	}
	w.unsynced = [2]bool{}
}

// Trim drops the files that end before covered, which a backup holds (0: no backup is known), the ones older than the configured
// age, and the oldest while all are larger than the configured size. The file that is being written stays.
func (w *Writer) Trim(covered gatehouse.Millis) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.now() - gatehouse.Millis(w.cfg.MaxAge.Milliseconds())
	size := int64(0)
	if w.active != nil {
		size = w.current.size
	}
	for i := range w.segments {
		size += w.segments[i].size
	}
	for len(w.segments) > 0 {
		s, end := w.segments[0], w.current.began
		if len(w.segments) > 1 {
			end = w.segments[1].began
		} else if w.active == nil {
			return nil // when it ended is not known until the next begins
		}
		cause := ""
		switch {
		case end < covered:
			cause = "dropped because a newer backup covers them"
		case end < old:
			cause = "dropped because they were older than replay.max_age"
		case size > w.cfg.MaxSize:
			cause = "dropped because they were larger than replay.max_size"
		default:
			return nil
		}
		if err := w.drop(s, end, cause); err != nil {
			return err
		}
		size -= s.size
	}
	return nil
}

// drop forgets the oldest segment: what is gone is on disk before it is gone.
func (w *Writer) drop(s segment, end gatehouse.Millis, cause string) error {
	rows := int64(0)
	if _, err := walk(s.path, func(f frame) error {
		if f.batch != nil {
			rows += int64(len(f.batch.Usage))
		}
		return nil
	}); err != nil {
		return err
	}
	w.state.Dropped, w.state.DroppedTo, w.state.Cause = s.number, end, cause
	w.state.DroppedRows += rows
	if err := w.saveState(); err != nil {
		return err
	}
	w.segments = slices.Delete(w.segments, 0, 1)
	return os.Remove(s.path)
}

// Epoch returns the epoch of the database in which everything that is kept here was recorded again; SetEpoch sets it.
func (w *Writer) Epoch() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Epoch
}

// SetEpoch says that everything that is kept here is recorded in the database of an epoch.
func (w *Writer) SetEpoch(epoch int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Epoch = epoch
	return w.saveState()
}

// Close makes everything durable. What is written later is lost, and nobody remembers that: close it last.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retire()
	w.closed = true
}

func (w *Writer) now() gatehouse.Millis { return gatehouse.MillisOf(w.cfg.Now()) }

func (w *Writer) saveState() error {
	text, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	path := filepath.Join(w.dir, stateName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncDir(w.dir))
}

func readState(dir string) (s state, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil || s.Folder == "" {
		return s, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, stateName), errors.Join(err, errFrame))
	}
	return s, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// list returns the segments in a folder, oldest first.
func list(dir string) (out []segment, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		parts := strings.Split(strings.TrimSuffix(e.Name(), suffix), "-")
		if len(parts) != 3 {
			continue
		}
		number, err1 := strconv.ParseUint(parts[0], 10, 64)
		began, err2 := strconv.ParseInt(parts[1], 10, 64)
		seq, err3 := strconv.ParseInt(parts[2], 10, 64)
		s := segment{number: number, path: filepath.Join(dir, e.Name()), began: gatehouse.Millis(began), seq: seq}
		if errors.Join(err1, err2, err3) != nil || s.name() != e.Name() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s.size = info.Size()
		out = append(out, s)
	}
	return out, nil
}
