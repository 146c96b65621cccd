package ledger

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
)

// kind is what a record of the journal says. The numbers are on disk: never reuse one.
type kind byte

const (
	kindHeld       kind = 1 // a request may be about to cost something
	kindSettled    kind = 2 // what it cost, and the decision behind it
	kindDecision   kind = 3 // the decision behind a request that was never held
	kindOwn        kind = 4 // an object and the project it belongs to
	kindDisown     kind = 5 // the object is gone
	kindCheckpoint kind = 6 // everything before this position is in the database
	kindBatchInput kind = 7 // what was read of a batch's input file
	kindChain      kind = 8 // what a number stands for in the records of this segment that follow

	lastKind = kindChain
)

// A record on disk:
//
//	0  2  magic 0x47 0xA7
//	2  1  kind
//	3  1  version of the payload's encoding
//	4  4  length of the payload, little-endian
//	8  4  CRC-32C of bytes 2 to 8 and the payload
//	12    payload
//
// The magic exists only to find the next record behind damaged bytes.
const (
	magic0      = 0x47
	magic1      = 0xA7
	frameHeader = 12
	// payloadVersion is what this program writes. A journal with a higher one is refused when it is opened. 2 added the length of
	// videos and trained tokens to the units, the length of videos to a charge, and the work to a decision;
	// 3 added what made it to an object; 4 added calls of hosted tools to the units, and size, quality and priced-as to a charge;
	// 5 added the source of images, labels, the bound and the windows of budgets to a charge, labels to a refusal, what is kept to a
	// settlement, and what its lines may use at most to a model of a batch's input; 6 has the number of a chain in place of
	// the windows, only the units there are, and does not repeat what is the same as another text.
	payloadVersion = 6
	// maxPayload bounds one record, and with it what a damaged length can make a reader load.
	maxPayload = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends an empty header to b and returns b and where the header starts; endFrame completes it.
func beginFrame(b []byte, k kind) ([]byte, int) {
	start := len(b)
	return append(b, magic0, magic1, byte(k), payloadVersion, 0, 0, 0, 0, 0, 0, 0, 0), start
}

// endFrame fills in the header at start for the payload that follows it to the end of b.
func endFrame(b []byte, start int) []byte {
	h := b[start:]
	payload := h[frameHeader:]
	binary.LittleEndian.PutUint32(h[4:8], uint32(len(payload)))
	binary.LittleEndian.PutUint32(h[8:12], frameSum(h[2:8], payload))
	return b
}

func frameSum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, head), castagnoli, payload)
}

// frame is one intact record. payload aliases the buffer it was read from.
type frame struct {
	kind    kind
	version byte
	payload []byte
	size    int // bytes it takes on disk
}

// parseFrame reads the record at the start of b. need > 0 asks for at least that many bytes before it can tell; ok is false for
// bytes that are no record.
func parseFrame(b []byte) (f frame, need int, ok bool) {
	if len(b) > 0 && b[0] != magic0 || len(b) > 1 && b[1] != magic1 {
		return frame{}, 0, false
	}
	if len(b) < frameHeader {
		return frame{}, frameHeader, false
	}
	n := binary.LittleEndian.Uint32(b[4:8])
	if n > maxPayload {
		return frame{}, 0, false
	}
	size := frameHeader + int(n)
	if len(b) < size {
		return frame{}, size, false
	}
	payload := b[frameHeader:size]
	if frameSum(b[2:8], payload) != binary.LittleEndian.Uint32(b[8:12]) {
		return frame{}, 0, false
	}
	return frame{kind: kind(b[2]), version: b[3], payload: payload, size: size}, 0, true
}

// reader walks the records of one segment from off up to end. It passes over bytes that are no record: damaged counts those
// that an intact record follows, torn those at the very end, where a write was cut. Zeros behind everything else are neither: they are
// room that nothing was written to.
type reader struct {
	f        io.ReaderAt
	off      int64 // where the next record begins
	end      int64
	damaged  int64
	torn     int64
	buf      []byte
	have     int   // valid bytes of buf
	at       int   // where off is in buf
	lastGood int64 // end of the last intact record
	junk     int64 // end of the last byte passed over that is not zero
}

// open points the reader at a segment, keeping its buffer.
func (r *reader) open(f io.ReaderAt, off, end int64) {
	*r = reader{f: f, off: off, end: end, lastGood: off, buf: r.buf}
	if r.buf == nil {
		r.buf = make([]byte, 256<<10)
	}
}

// next returns the next intact record, io.EOF after the last. Its payload is valid until the next call.
func (r *reader) next() (frame, error) {
	skipped := int64(0)
	for {
		f, need, ok := parseFrame(r.buf[r.at:r.have])
		if ok {
			r.damaged += skipped
			r.at += f.size
			r.off += int64(f.size)
			r.lastGood = r.off
			return f, nil
		}
		if need > 0 {
			more, err := r.fill(need)
			if err != nil {
				return frame{}, err
			}
			if more {
				continue
			}
			if r.at == r.have {
				r.torn = max(0, r.junk-r.lastGood)
				return frame{}, io.EOF
			}
		}
		if r.buf[r.at] != 0 {
			r.junk = r.off + 1
		}
		r.at++
		r.off++
		skipped++
	}
}

// fill makes at least need bytes available from off on and reports whether it could; at the segment's end it cannot.
func (r *reader) fill(need int) (bool, error) {
	left := r.end - r.off
	if int64(need) > left {
		// Whatever is left is still looked at byte by byte, for a record that starts inside a torn one.
		need = int(min(left, math.MaxInt32))
		if r.have-r.at >= need {
			return false, nil
		}
	}
	if r.at > 0 {
		copy(r.buf, r.buf[r.at:r.have])
		r.have -= r.at
		r.at = 0
	}
	if need > len(r.buf) {
		grown := make([]byte, need)
		copy(grown, r.buf[:r.have])
		r.buf = grown
	}
	want := int(min(left, int64(len(r.buf))))
	n, err := r.f.ReadAt(r.buf[r.have:want], r.off+int64(r.have))
	r.have += n
	if r.have >= need {
		return true, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return false, err
}
