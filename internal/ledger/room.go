package ledger

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// roomBytes is how much of a segment is made ready at a time.
const roomBytes = 256 << 10

// room is the part of the active segment that is there before it is written, as memory of the process. What is copied into it is the
// file's at once, as with write(2): a process that is killed a moment later loses nothing of it, and fsync brings it to the disk. It
// costs a fraction of the call (BenchmarkReserveSettle), and nothing that the scheduler must be told of. Behind the last record the file has zeros until the
// segment is retired, or the next start cuts them off.
type room struct {
	b  []byte
	at int64 // where it begins in the file
}

var pageSize = int64(os.Getpagesize())

// place makes sure that n bytes fit at an offset of the file. On a disk that is nearly full it takes less at a time, and at last none: then
// what there was is given up too, so that a full disk is full for every record, and not only for those that do not fit any more.
func (r *room) place(f *os.File, offset int64, n int) error {
	if r.b != nil && offset+int64(n) <= r.at+int64(len(r.b)) {
		return nil
	}
	r.drop()
	at := offset - offset%pageSize
	need := (offset - at + int64(n) + pageSize - 1) / pageSize * pageSize
	b, err := mapRoom(f, at, int(max(roomBytes, need)))
	if isFull(err) {
		b, err = mapRoom(f, at, int(max(probeBytes, need)))
	}
	if err == nil {
		r.b, r.at = b, at
	}
	return err
}

// isFull reports whether there is no space left on a disk, or of a quota.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// put copies a record to its place. Memory behind which there is no file any more, because somebody cut it or its disk is gone, is an
// error and not the end of the process.
func (r *room) put(offset int64, record []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			fault, ok := reason.(interface {
				runtime.Error
				Addr() uintptr
			})
			if !ok {
				panic(reason)
			}
			err = fmt.Errorf("the file behind the journal's memory is gone: %w", fault)
		}
	}()
	copy(r.b[offset-r.at:], record)
	return nil
}

// drop forgets the room; what was written stays in the file.
func (r *room) drop() {
	if r.b != nil {
		unmapRoom(r.b)
		r.b = nil
	}
}
