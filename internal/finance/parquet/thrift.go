package parquet

import "encoding/binary"

// thrift writes Thrift's compact protocol: what Parquet's page headers and footer are made of. Fields must be written in ascending
// order of their numbers.
type thrift struct {
	buf  []byte
	last []int16 // the number of the last field of each open structure
}

// The compact protocol's types.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeInt32  = 5
	typeInt64  = 6
	typeBinary = 8
	typeList   = 9
	typeStruct = 12
)

func (t *thrift) open()  { t.last = append(t.last, 0) }
func (t *thrift) close() { t.buf, t.last = append(t.buf, 0), t.last[:len(t.last)-1] }

func (t *thrift) field(id int16, kind byte) {
	last := &t.last[len(t.last)-1]
	if delta := id - *last; delta > 0 && delta < 16 {
		t.buf = append(t.buf, byte(delta)<<4|kind)
	} else {
		t.buf = append(t.buf, kind)
		t.buf = binary.AppendVarint(t.buf, int64(id))
	}
	*last = id
}

func (t *thrift) int32(id int16, v int32) {
	t.field(id, typeInt32)
	t.buf = binary.AppendVarint(t.buf, int64(v))
}

func (t *thrift) int64(id int16, v int64) {
	t.field(id, typeInt64)
	t.buf = binary.AppendVarint(t.buf, v)
}

func (t *thrift) byte(id int16, v byte) {
	t.field(id, typeByte)
	t.buf = append(t.buf, v)
}

func (t *thrift) bool(id int16, v bool) {
	kind := byte(typeFalse)
	if v {
		kind = typeTrue
	}
	t.field(id, kind)
}

func (t *thrift) string(id int16, v string) {
	t.field(id, typeBinary)
	t.text(v)
}

func (t *thrift) text(v string) {
	t.buf = binary.AppendUvarint(t.buf, uint64(len(v)))
	t.buf = append(t.buf, v...)
}

// structure writes a field that is a structure; fields writes what is in it.
func (t *thrift) structure(id int16, fields func()) {
	t.field(id, typeStruct)
	t.open()
	fields()
	t.close()
}

// list begins a field that is a list of n elements of a kind.
func (t *thrift) list(id int16, kind byte, n int) {
	t.field(id, typeList)
	if n < 15 {
		t.buf = append(t.buf, byte(n)<<4|kind)
		return
	}
	t.buf = append(t.buf, 0xf0|kind)
	t.buf = binary.AppendUvarint(t.buf, uint64(n))
}
