package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
)

const (
	segmentBytes  = 16 << 20
	segmentSuffix = ".seg"
	damagedSuffix = ".damaged" // a segment with unreadable bytes is kept under this name once the rest is recorded
	// wakeRecords is how many unrecorded requests wake the drainer before its time.
	wakeRecords = 4096
	// carryBytes bounds one write of held records that move to the newest segment, and so how long it keeps others waiting.
	carryBytes = 64 << 10
	// probeBytes is what must be writable before a journal that could not be written is said to be: room for some requests.
	probeBytes = 64 << 10
)

// journal is the files: numbered segments that records are appended to, each copied into the segment's room, or with one write(2)
// where there is none. Only the last is written. A segment
// is deleted when everything before its end is in the database; requests it holds that are still open are first written again
// into the newest, so one long stream keeps neither old files nor their order from going. Each segment can be read without any other: what
// its records name by a number stands before them in it (chains).
//
// The list of open holds is guarded by the same mutex as the append, so a hold is carried to a new segment either before its
// settlement is written or not at all: whoever reads the journal from its beginning meets every settlement after its hold.
type journal struct {
	dir          string
	segmentBytes int64
	write2       func(*os.File, []byte) (int, error)
	roomy        bool // segments have rooms
	fsync        func(*os.File) error
	now          func() time.Time
	logger       *slog.Logger
	wake         chan struct{} // to the drainer: there is enough to record
	lock         *os.File

	mu         sync.Mutex
	closed     bool
	active     *os.File   // the last segment's file; nil: the next append makes a new segment
	room       room       // of active
	cramped    bool       // active has no room, and gets none
	segments   []*segment // oldest first
	number     uint64     // of the newest segment ever
	retired    []*os.File // full segments that sync has yet to sync and close
	written    int64      // bytes appended since open
	unrecorded int        // requests appended since the drainer last looked
	oldest     gatehouse.Millis
	first      *Hold
	last       *Hold
	holds      int
	unwritten  int // holds with a settlement that could not be written
	failures   int64
	failing    bool      // the last write failed
	complained time.Time // when a failure was last logged
	carry      []byte
	joined     []byte // records behind the chains they are the first to name
	damage     int64

	syncing    sync.Mutex // held while syncing; taken before mu
	synced     int64      // written, as of the last sync
	lostFrom   int64      // what lies in (lostFrom, lostTo] was written and could not be synced
	lostTo     int64
	syncFailed error
}

// segment is one file. size is the end of its last whole record, or the file's size when it was found at open.
type segment struct {
	number  uint64
	path    string
	size    int64
	damaged int64 // bytes that could not be read
}

var errClosed = errors.New("the journal is closed")

func (j *journal) open(cfg *Config, write func(*os.File, []byte) (int, error)) error {
	j.dir = filepath.Join(cfg.Dir, "journal")
	if j.segmentBytes == 0 {
		j.segmentBytes = segmentBytes
	}
	j.write2, j.fsync, j.now, j.logger = write, (*os.File).Sync, cfg.Now, cfg.Logger
	if write == nil {
		j.write2, j.roomy = (*os.File).Write, true
	}
	j.wake = make(chan struct{}, 1)
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	var err error
	if j.lock, err = lockFile(filepath.Join(j.dir, "lock")); err != nil {
		return fmt.Errorf("open journal %s: another process may have it: %w", j.dir, err)
	}
	entries, err := os.ReadDir(j.dir) // in the order of names, which is that of numbers
	if err != nil {
		j.close()
		return fmt.Errorf("open journal: %w", err)
	}
	for _, e := range entries {
		number, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), segmentSuffix), 10, 64)
		if err != nil || e.Name() != segmentName(number) {
			continue // the lock, damaged segments, rejected records
		}
		info, err := e.Info()
		if err != nil {
			j.close()
			return fmt.Errorf("open journal: %w", err)
		}
		j.segments = append(j.segments, &segment{number: number, path: filepath.Join(j.dir, e.Name()), size: info.Size()})
		j.number = number
		if info.Size() > 0 {
			j.oldest = gatehouse.MillisOf(j.now()) // older than this, but nobody knows by how much
		}
	}
	return nil
}

func segmentName(number uint64) string { return fmt.Sprintf("%016d%s", number, segmentSuffix) }

// write appends one record, which names chain unless that is nil, and returns where it ends in bytes since open.
func (j *journal) write(b []byte, chain *budget.Chain) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(b, chain); err != nil {
		return 0, unavailable(err)
	}
	return j.written, nil
}

// append writes whole records at once, or leaves the journal as it was. used are the chains that they name; nil is none. The caller
// holds mu.
func (j *journal) append(b []byte, used ...*budget.Chain) error {
	if j.closed {
		return errClosed
	}
	var all []byte // b, and what it needs of the segment before it
	if j.active != nil {
		all = j.chained(b, used)
		if j.segments[len(j.segments)-1].size+int64(len(all)) > j.segmentBytes {
			j.retire()
		}
	}
	if j.active == nil {
		if err := j.create(); err != nil {
			return j.failed("create", err)
		}
		all = j.chained(b, used)
	}
	s := j.segments[len(j.segments)-1]
	if err := j.put(s, all); err != nil {
		forget(used)
		j.cut(s, err)
		return j.failed("write", err)
	}
	if j.failing {
		j.failing = false
		j.logger.Info("journal is written again", "dir", j.dir, "failures", j.failures)
	}
	s.size += int64(len(all))
	j.written += int64(len(all))
	if j.oldest == 0 {
		j.oldest = gatehouse.MillisOf(j.now())
	}
	if k := kind(b[2]); k == kindSettled || k == kindDecision {
		j.unrecorded++
		if j.unrecorded == wakeRecords {
			select {
			case j.wake <- struct{}{}:
			default: // it is awake
			}
		}
	}
	return nil
}

// put writes records behind the last one of the active segment.
func (j *journal) put(s *segment, b []byte) error {
	if !j.cramped {
		err := j.room.place(j.active, s.size, len(b))
		if err == nil {
			return j.room.put(s.size, b)
		}
		if isFull(err) {
			return err
		}
		j.cramped = true // its file system knows no rooms
		if err := j.active.Truncate(s.size); err != nil {
			return err
		}
	}
	n, err := j.write2(j.active, b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("short write of %d of %d bytes", n, len(b))
	}
	return err
}

// cut removes what a failed write left behind its segment's last whole record. A full disk keeps its segment; anything else,
// and a file that cannot be cut, is left for a new segment.
func (j *journal) cut(s *segment, cause error) {
	j.room.drop()
	err := j.active.Truncate(s.size)
	if err == nil && isFull(cause) {
		return
	}
	j.retire()
	if s.size == 0 {
		// Nothing is in it: without this a disk that refuses every write would be given a file for each attempt.
		j.segments = j.segments[:len(j.segments)-1]
		_ = os.Remove(s.path) // an empty segment that stays is harmless
	}
}

// retire ends the active segment; sync closes its file.
func (j *journal) retire() {
	if j.room.b != nil {
		j.room.drop()
		_ = j.active.Truncate(j.segments[len(j.segments)-1].size) // zeros that stay are passed over
	}
	j.retired = append(j.retired, j.active)
	j.active = nil
}

// create makes a new segment the active one.
func (j *journal) create() error {
	j.number++ // never used twice, whether this works or not
	number := j.number
	path := filepath.Join(j.dir, segmentName(number))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(j.dir); err != nil {
		_ = f.Close() // nothing was written
		_ = os.Remove(path)
		return err
	}
	j.active, j.cramped = f, !j.roomy
	j.segments = append(j.segments, &segment{number: number, path: path})
	return nil
}

// failed counts a failure and logs it, at most once in 10 s.
func (j *journal) failed(what string, err error) error {
	j.failures++
	j.failing = true
	if now := j.now(); now.Sub(j.complained) >= 10*time.Second {
		j.complained = now
		j.logger.Error("journal cannot be written; metered requests are refused", "operation", what, "dir", j.dir, "failures", j.failures, "error", err)
	}
	return fmt.Errorf("%s journal: %w", what, err)
}

// probe finds out whether a journal that could not be written can be again. Nobody asks a node that says it is not ready, so
// that it cannot wait for the next request to try.
func (j *journal) probe() {
	j.mu.Lock()
	failing := j.failing && !j.closed
	j.mu.Unlock()
	if !failing {
		return
	}
	path := filepath.Join(j.dir, "probe")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, err = j.write2(f, make([]byte, probeBytes))
	err = errors.Join(err, j.fsync(f), f.Close(), os.Remove(path))
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failing = false
	j.logger.Info("journal can be written again", "dir", j.dir, "failures", j.failures)
}

// syncTo returns when everything up to end is on disk. Callers that wait together share one fsync.
func (j *journal) syncTo(end int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced < end {
		// Its error may be about later bytes only; what became of ours is asked below.
		_ = j.syncLocked()
	}
	if j.lostFrom < end && end <= j.lostTo {
		return unavailable(j.syncFailed)
	}
	return nil
}

// sync makes everything written so far durable.
func (j *journal) sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	return j.syncLocked()
}

func (j *journal) syncLocked() error {
	j.mu.Lock()
	retired, active, target := j.retired, j.active, j.written
	j.retired = nil
	j.mu.Unlock()
	var err error
	for _, f := range retired {
		err = errors.Join(err, j.fsync(f), f.Close())
	}
	if active != nil && target > j.synced {
		if serr := j.fsync(active); serr != nil {
			var cerr error
			target, cerr = j.distrust(active)
			err = errors.Join(err, serr, cerr)
		}
	}
	if err != nil {
		if j.lostTo != j.synced {
			j.lostFrom = j.synced
		}
		j.lostTo, j.syncFailed = target, err
		j.mu.Lock()
		err = j.failed("sync", err)
		j.mu.Unlock()
	}
	j.synced = target
	return err
}

// distrust closes a file whose fsync failed: the kernel may have dropped what it could not write, and would not say so again.
// The next record begins a new segment. It returns the end of what may be in the file.
func (j *journal) distrust(f *os.File) (int64, error) {
	j.mu.Lock()
	if j.active == f {
		j.room.drop()
		j.active = nil
	}
	j.retired = slices.DeleteFunc(j.retired, func(r *os.File) bool { return r == f })
	end := j.written
	j.mu.Unlock()
	return end, f.Close()
}

// endLocked returns the position behind the last record. The caller holds mu.
func (j *journal) endLocked() position {
	if len(j.segments) == 0 {
		return position{}
	}
	s := j.segments[len(j.segments)-1]
	return position{segment: s.number, offset: s.size}
}

// snapshot returns the segments as they are now and forgets how many requests are unrecorded.
func (j *journal) snapshot() []segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unrecorded = 0
	out := make([]segment, len(j.segments))
	for i, s := range j.segments {
		out[i] = *s
	}
	return out
}

// recordedTo notes that everything before at is in the database, as of a look at the journal at since.
func (j *journal) recordedTo(at position, since gatehouse.Millis) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if at == j.endLocked() {
		j.oldest = 0
		return
	}
	j.oldest = max(j.oldest, since)
}

// release deletes the segments that end before at, after carrying their open holds to the newest one.
func (j *journal) release(at position) error {
	for {
		j.mu.Lock()
		if len(j.segments) < 2 || j.segments[0].number >= at.segment {
			j.mu.Unlock()
			return nil
		}
		s := j.segments[0]
		carried, more, err := j.carryFrom(s.number)
		if err == nil && !more && !carried {
			j.segments = j.segments[1:]
		}
		j.mu.Unlock()
		switch {
		case err != nil:
			return err
		case more:
			continue
		case carried:
			// A hold that was durable must not become less so.
			if err := j.sync(); err != nil {
				return err
			}
			continue
		}
		if err := j.remove(s); err != nil {
			return err
		}
	}
}

// carryFrom writes open holds of a segment again into the newest, some at a time. The caller holds mu.
func (j *journal) carryFrom(number uint64) (carried, more bool, err error) {
	b, n := j.carry[:0], 0
	var used []*budget.Chain
	for h := j.first; h != nil && h.segment == number; h = h.next {
		if len(b) > carryBytes {
			more = true
			break
		}
		var start int
		b, start = beginFrame(b, kindHeld)
		// endFrame takes the rest of b for the payload, so each record is finished before the next begins.
		b = endFrame(appendCharge(b, &h.charge), start)
		used = append(used, h.charge.chain)
		n++
	}
	j.carry = b
	if n == 0 {
		return false, false, nil
	}
	if err := j.append(b, used...); err != nil {
		return false, false, err
	}
	for ; n > 0; n-- {
		h := j.first
		j.unlink(h)
		j.link(h)
	}
	return true, more, nil
}

func (j *journal) remove(s *segment) error {
	if s.damaged > 0 {
		// The time keeps a later segment of the same number from replacing it.
		return os.Rename(s.path, fmt.Sprintf("%s.%d%s", s.path, j.now().UnixMilli(), damagedSuffix))
	}
	return os.Remove(s.path)
}

// addDamage notes that n more bytes of a segment cannot be read.
func (j *journal) addDamage(number uint64, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.damage += n
	for _, s := range j.segments {
		if s.number == number {
			s.damaged += n
			j.logger.Error("journal has bytes that cannot be read: settlements may be lost; the rest is kept and the file stays for inspection", "path", s.path, "bytes", n)
		}
	}
}

// setAside appends a record of a segment, as it stands, to the file of rejected records, behind the record of the chain that it names.
func (j *journal) setAside(number uint64, offset int64, size int, chain []byte) error {
	b := make([]byte, size)
	from, err := os.Open(filepath.Join(j.dir, segmentName(number)))
	if err != nil {
		return err
	}
	_, err = from.ReadAt(b, offset)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	to, err := os.OpenFile(filepath.Join(j.dir, rejectedName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = to.Write(append(chain, b...))
	return errors.Join(err, to.Sync(), to.Close())
}

// finish closes the journal and, when everything is recorded and nothing is held, removes its segments.
func (j *journal) finish(recorded position) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	if recorded == j.endLocked() && j.holds == 0 {
		for _, s := range j.segments {
			if err := j.remove(s); err != nil {
				j.logger.Warn("recorded segment cannot be removed", "path", s.path, "error", err)
				break // the older ones must go first
			}
		}
	}
	if j.active != nil {
		j.retire()
	}
	j.closed = true
	j.close()
}

// close closes every file.
func (j *journal) close() {
	j.room.drop()
	files := append(j.retired, j.lock)
	if j.active != nil {
		files = append(files, j.active)
	}
	for _, f := range files {
		_ = f.Close() // synced where it matters, and the process is done with it
	}
	j.retired, j.active = nil, nil
}

func (j *journal) stats(recorded position, now gatehouse.Millis) Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{Holds: j.holds, Segments: len(j.segments), Unwritten: j.unwritten, WriteErrors: j.failures, Failing: j.failing, DamagedBytes: j.damage}
	for _, seg := range j.segments {
		switch {
		case seg.number > recorded.segment:
			s.PendingBytes += seg.size
		case seg.number == recorded.segment:
			s.PendingBytes += seg.size - recorded.offset
		}
	}
	if j.oldest != 0 {
		s.LagMillis = max(0, int64(now-j.oldest))
	}
	return s
}
