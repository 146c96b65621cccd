// Package parquet writes Apache Parquet files: flat tables of text, whole numbers, exact decimals and points in time, a group of rows
// at a time, so that a file of any size takes the memory of one group.
//
// It owns the format, as far as a table of usage needs it (docs/adr: Parquet by hand): one data page for each column of a group,
// PLAIN encoding, GZIP, no dictionaries, no nesting, no statistics but the number of nulls. The same rows always make the same bytes.
// It does not own what the columns mean.
package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Kind is what a column holds.
type Kind int

// The kinds of columns.
const (
	String    Kind = iota // UTF-8
	Int64                 // signed
	Decimal               // a whole number of 10^-Scale, at most 18 digits
	Timestamp             // unix milliseconds, UTC
)

// Column describes one column. A Required one has no nulls.
type Column struct {
	Name     string
	Kind     Kind
	Scale    int // of Decimal
	Required bool
}

// GroupRows is how many rows are kept in memory and written as one group.
const GroupRows = 8192

// decimalDigits is the precision of a decimal that is kept in 64 bits.
const decimalDigits = 18

const magic = "PAR1"

// What the format calls things.
const (
	physicalInt64, physicalBytes       = 2, 6
	required, optional                 = 0, 1
	convertedUTF8, convertedDecimal    = 0, 5
	convertedMillis, convertedInt64    = 9, 18
	encodingPlain, encodingRLE         = 0, 3
	codecGzip                          = 2
	logicalString, logicalDecimal      = 1, 5
	logicalTimestamp, logicalInt, page = 8, 10, 0
)

// Writer writes one file. It is for one goroutine. After an error it writes nothing more and returns that error again.
type Writer struct {
	w       io.Writer
	columns []Column
	values  []buffer // one for each column
	next    int      // the column that is set next
	rows    int      // in the open group
	total   int64
	offset  int64
	groups  []group
	meta    [][2]string
	packer  *gzip.Writer
	packed  bytes.Buffer
	err     error
}

// buffer holds the values of one column of the open group.
type buffer struct {
	plain []byte
	nulls int
	// runs are lengths of runs of values and of nulls, in turn, values first.
	runs []int
}

type group struct {
	rows   int
	chunks []chunk
}

type chunk struct {
	offset           int64
	plain, packed    int64 // bytes, with the page's header
	nulls, numValues int64
}

// NewWriter begins a file. Meta are names and values that stand in its footer.
func NewWriter(w io.Writer, columns []Column, meta [][2]string) *Writer {
	packer, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	p := &Writer{w: w, columns: columns, values: make([]buffer, len(columns)), meta: meta, packer: packer, err: err}
	p.write([]byte(magic))
	return p
}

// String sets the next column of the row.
func (p *Writer) String(v string) {
	if b := p.column(String); b != nil {
		b.run(false)
		b.plain = binary.LittleEndian.AppendUint32(b.plain, uint32(len(v)))
		b.plain = append(b.plain, v...)
	}
}

// Int64 sets the next column of the row: a whole number, the units of a Decimal, or unix milliseconds of a Timestamp.
func (p *Writer) Int64(v int64) {
	if b := p.column(Int64); b != nil {
		b.run(false)
		b.plain = binary.LittleEndian.AppendUint64(b.plain, uint64(v))
	}
}

// Null leaves the next column of the row without a value.
func (p *Writer) Null() {
	if p.err == nil && p.next < len(p.columns) && p.columns[p.next].Required {
		p.err = fmt.Errorf("parquet: column %s has no nulls", p.columns[p.next].Name)
	}
	if p.err == nil && p.next < len(p.columns) {
		b := &p.values[p.next]
		p.next++
		b.run(true)
		b.nulls++
	}
}

// column returns where the next value goes.
func (p *Writer) column(kind Kind) *buffer {
	if p.err != nil {
		return nil
	}
	if p.next == len(p.columns) {
		p.err = errors.New("parquet: the row has more values than columns")
		return nil
	}
	if (kind == String) != (p.columns[p.next].Kind == String) {
		p.err = fmt.Errorf("parquet: a value of another kind for column %s", p.columns[p.next].Name)
		return nil
	}
	p.next++
	return &p.values[p.next-1]
}

// run counts one more value or null.
func (b *buffer) run(null bool) {
	if inNulls := len(b.runs)%2 == 0 && len(b.runs) > 0; len(b.runs) == 0 || inNulls != null {
		if len(b.runs) == 0 && null {
			b.runs = append(b.runs, 0) // no values before the first null
		}
		b.runs = append(b.runs, 0)
	}
	b.runs[len(b.runs)-1]++
}

// EndRow ends a row, of which every column must have been set, and writes the group when it is full.
func (p *Writer) EndRow() error {
	if p.err == nil && p.next != len(p.columns) {
		p.err = fmt.Errorf("parquet: the row has %d values for %d columns", p.next, len(p.columns))
	}
	if p.err != nil {
		return p.err
	}
	p.next = 0
	p.rows++
	p.total++
	if p.rows == GroupRows {
		p.flush()
	}
	return p.err
}

// Close writes what is left and the footer. It does not close what it writes to.
func (p *Writer) Close() error {
	if p.rows > 0 {
		p.flush()
	}
	if p.err == nil && p.next != 0 {
		p.err = errors.New("parquet: the last row was not ended")
	}
	if p.err != nil {
		return p.err
	}
	footer := p.footer()
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	p.write(append(footer, magic...))
	return p.err
}

// flush writes the open group: one page for each column.
func (p *Writer) flush() {
	g := group{rows: p.rows, chunks: make([]chunk, len(p.columns))}
	for i := range p.columns {
		b := &p.values[i]
		var levels []byte
		if !p.columns[i].Required {
			levels = b.levels()
		}
		size := len(levels) + len(b.plain)
		if size > math.MaxInt32 {
			p.err = fmt.Errorf("parquet: a page of column %s is larger than 2 GiB", p.columns[i].Name)
		}
		p.packed.Reset()
		p.packer.Reset(&p.packed)
		for _, part := range [][]byte{levels, b.plain} {
			if _, err := p.packer.Write(part); err != nil && p.err == nil {
				p.err = err
			}
		}
		if err := p.packer.Close(); err != nil && p.err == nil {
			p.err = err
		}
		header := pageHeader(p.rows, size, p.packed.Len())
		g.chunks[i] = chunk{offset: p.offset, plain: int64(len(header) + size), packed: int64(len(header) + p.packed.Len()), nulls: int64(b.nulls), numValues: int64(p.rows)}
		p.write(header)
		p.write(p.packed.Bytes())
		b.plain, b.nulls, b.runs = b.plain[:0], 0, b.runs[:0]
	}
	p.groups = append(p.groups, g)
	p.rows = 0
}

// levels returns which values are there, as runs: 1 for a value, 0 for a null.
func (b *buffer) levels() []byte {
	out := make([]byte, 4)
	for i, n := range b.runs {
		if n == 0 {
			continue
		}
		out = binary.AppendUvarint(out, uint64(n)<<1)
		out = append(out, byte(1-i%2))
	}
	binary.LittleEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func (p *Writer) write(b []byte) {
	if p.err != nil {
		return
	}
	n, err := p.w.Write(b)
	p.offset += int64(n)
	p.err = err
}

func pageHeader(values, plain, packed int) []byte {
	var t thrift
	t.open()
	t.int32(1, page)
	t.int32(2, int32(plain))
	t.int32(3, int32(packed))
	t.structure(5, func() {
		t.int32(1, int32(values))
		t.int32(2, encodingPlain)
		t.int32(3, encodingRLE)
		t.int32(4, encodingRLE)
	})
	t.close()
	return t.buf
}

func (p *Writer) footer() []byte {
	var t thrift
	t.open()
	t.int32(1, 1)
	t.list(2, typeStruct, len(p.columns)+1)
	t.open()
	t.string(4, "schema")
	t.int32(5, int32(len(p.columns)))
	t.close()
	for i := range p.columns {
		p.columns[i].schema(&t)
	}
	t.int64(3, p.total)
	t.list(4, typeStruct, len(p.groups))
	for i := range p.groups {
		p.groups[i].describe(&t, p.columns)
	}
	if len(p.meta) > 0 {
		t.list(5, typeStruct, len(p.meta))
		for _, m := range p.meta {
			t.open()
			t.string(1, m[0])
			t.string(2, m[1])
			t.close()
		}
	}
	t.string(6, "gatehouse")
	t.close()
	return t.buf
}

func (c *Column) physical() int32 {
	if c.Kind == String {
		return physicalBytes
	}
	return physicalInt64
}

func (c *Column) schema(t *thrift) {
	t.open()
	t.int32(1, c.physical())
	if c.Required {
		t.int32(3, required)
	} else {
		t.int32(3, optional)
	}
	t.string(4, c.Name)
	switch c.Kind {
	case String:
		t.int32(6, convertedUTF8)
		t.structure(10, func() { t.structure(logicalString, func() {}) })
	case Decimal:
		t.int32(6, convertedDecimal)
		t.int32(7, int32(c.Scale))
		t.int32(8, decimalDigits)
		t.structure(10, func() {
			t.structure(logicalDecimal, func() {
				t.int32(1, int32(c.Scale))
				t.int32(2, decimalDigits)
			})
		})
	case Timestamp:
		t.int32(6, convertedMillis)
		t.structure(10, func() {
			t.structure(logicalTimestamp, func() {
				t.bool(1, true)
				t.structure(2, func() { t.structure(1, func() {}) })
			})
		})
	default:
		t.int32(6, convertedInt64)
		t.structure(10, func() {
			t.structure(logicalInt, func() {
				t.byte(1, 64)
				t.bool(2, true)
			})
		})
	}
	t.close()
}

func (g *group) describe(t *thrift, columns []Column) {
	var plain, packed int64
	t.open()
	t.list(1, typeStruct, len(g.chunks))
	for i := range g.chunks {
		c := &g.chunks[i]
		plain, packed = plain+c.plain, packed+c.packed
		t.open()
		t.int64(2, c.offset)
		t.structure(3, func() {
			t.int32(1, columns[i].physical())
			t.list(2, typeInt32, 2)
			t.buf = binary.AppendVarint(t.buf, encodingPlain)
			t.buf = binary.AppendVarint(t.buf, encodingRLE)
			t.list(3, typeBinary, 1)
			t.text(columns[i].Name)
			t.int32(4, codecGzip)
			t.int64(5, c.numValues)
			t.int64(6, c.plain)
			t.int64(7, c.packed)
			t.int64(9, c.offset)
			t.structure(12, func() { t.int64(3, c.nulls) })
		})
		t.close()
	}
	t.int64(2, plain)
	t.int64(3, int64(g.rows))
	t.int64(5, g.chunks[0].offset)
	t.int64(6, packed)
	t.close()
}
