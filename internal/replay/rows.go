package replay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"unsafe"

	"gatehouse"
	"gatehouse/internal/store"
)

// encodeBatch writes the parts of a batch that a restore needs. Each of usage, objects and deletions is a list of rows: the number
// of columns, each column's kind and name, the number of rows, then row by row its numbers as zig-zag varints and its texts. A text
// is a uvarint: 0 and the text itself, which the next number then stands for; so what the rows of a batch share is there once.
// Columns go by name, so a field that is added later is read by who knows it. The rest follows in JSON: it is rare.
func (e *encoder) encodeBatch(b []byte, batch *store.Batch) []byte {
	clear(e.texts)
	e.last = 0
	b = encodeRows(e, b, &usageColumns, batch.Usage)
	b = encodeRows(e, b, &objectColumns, batch.Objects)
	b = encodeRows(e, b, &deletedColumns, batch.Deleted)
	if len(batch.Work)+len(batch.WorkDone)+len(batch.BatchInputs) == 0 {
		return b
	}
	rest, err := json.Marshal(rareRows{batch.Work, batch.WorkDone, batch.BatchInputs})
	if err != nil {
		panic("replay: " + err.Error()) // plain data, which always encodes
	}
	return append(b, rest...)
}

// rareRows are the parts of a batch that are not written for every request.
type rareRows struct {
	Work        []gatehouse.Work       `json:"work,omitempty"`
	WorkDone    []string               `json:"work_done,omitempty"`
	BatchInputs []gatehouse.BatchInput `json:"batch_inputs,omitempty"`
}

// lasts reports whether a batch holds anything that is kept.
func lasts(b *store.Batch) bool {
	return len(b.Usage)+len(b.Objects)+len(b.Deleted)+len(b.Work)+len(b.WorkDone)+len(b.BatchInputs) > 0
}

func decodeBatch(body []byte) (*store.Batch, error) {
	d := decoder{b: body}
	b := &store.Batch{Usage: decodeRows[gatehouse.Usage](&d, &usageColumns), Objects: decodeRows[gatehouse.Object](&d, &objectColumns),
		Deleted: decodeRows[store.ObjectRef](&d, &deletedColumns)}
	if d.bad {
		return nil, errFrame
	}
	if len(d.b) > 0 {
		var rest rareRows
		if err := json.Unmarshal(d.b, &rest); err != nil {
			return nil, errFrame
		}
		b.Work, b.WorkDone, b.BatchInputs = rest.Work, rest.WorkDone, rest.BatchInputs
	}
	return b, nil
}

var errFrame = errors.New("frame does not decode")

// rowColumn is a field of a struct, or of a struct in it.
type rowColumn struct {
	name   string // its kind and its path: 's' for a text, 'n' for a whole number or a truth, 'j' for anything else, as a text of JSON
	index  []int
	kind   reflect.Kind
	offset uintptr // of the field in the row
	id     bool    // no two rows have the same
}

var (
	usageColumns   = columnsOf(reflect.TypeFor[gatehouse.Usage](), "", nil, 0)
	objectColumns  = columnsOf(reflect.TypeFor[gatehouse.Object](), "", nil, 0)
	deletedColumns = columnsOf(reflect.TypeFor[store.ObjectRef](), "", nil, 0)
)

// columnsOf lists the fields of a struct and of the structs in it.
func columnsOf(t reflect.Type, path string, index []int, offset uintptr) (out []rowColumn) {
	for i := range t.NumField() {
		f := t.Field(i)
		c := rowColumn{name: path + f.Name, index: append(append([]int{}, index...), i), kind: f.Type.Kind(), offset: offset + f.Offset}
		switch c.kind {
		case reflect.Struct:
			out = append(out, columnsOf(f.Type, c.name+".", c.index, c.offset)...)
			continue
		case reflect.String:
			c.id = c.name == "ID"
			c.name = "s" + c.name
		case reflect.Int64, reflect.Bool:
			c.name = "n" + c.name
		default:
			c.name = "j" + c.name
		}
		out = append(out, c)
	}
	return out
}

// encoder keeps what one encoding after another uses.
type encoder struct {
	texts map[string]uint64 // the numbers of those that may come again
	last  uint64            // number given
	seen  []seenText
	body  []byte
}

// seenText is what a column's row before had: most often the next one has the same.
type seenText struct {
	s string
	n uint64
}

func (e *encoder) text(b []byte, s string) []byte {
	if n, ok := e.texts[s]; ok {
		return binary.AppendUvarint(b, n)
	}
	b = e.literal(b, s)
	e.texts[s] = e.last
	return b
}

// literal writes a text that was not written before.
func (e *encoder) literal(b []byte, s string) []byte {
	e.last++
	b = append(b, 0)
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func encodeRows[T any](e *encoder, b []byte, columns *[]rowColumn, rows []T) []byte {
	if len(rows) == 0 {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(*columns)))
	for i := range *columns {
		b = e.text(b, (*columns)[i].name)
	}
	b = binary.AppendUvarint(b, uint64(len(rows)))
	e.seen = append(e.seen[:0], make([]seenText, len(*columns))...)
	for i := range rows {
		row := unsafe.Pointer(&rows[i])
		for j := range *columns {
			c := &(*columns)[j]
			field := unsafe.Add(row, c.offset) // of the type that kind says: columnsOf read both off T
			switch c.kind {
			case reflect.String:
				s := *(*string)(field)
				if c.id {
					b = e.literal(b, s)
					continue
				}
				before := &e.seen[j]
				if before.n == 0 || before.s != s {
					b = e.text(b, s)
					*before = seenText{s, e.texts[s]}
					continue
				}
				b = binary.AppendUvarint(b, before.n)
			case reflect.Bool:
				n := byte(0)
				if *(*bool)(field) {
					n = 2 // as AppendVarint writes 1
				}
				b = append(b, n)
			case reflect.Int64:
				if n := *(*int64)(field); n != 0 {
					b = binary.AppendVarint(b, n)
				} else {
					b = append(b, 0)
				}
			default:
				text, err := json.Marshal(reflect.ValueOf(&rows[i]).Elem().FieldByIndex(c.index).Interface())
				if err != nil {
					panic("replay: " + err.Error()) // plain data, which always encodes
				}
				b = e.text(b, string(text))
			}
		}
	}
	return b
}

// decoder reads from the front of b. The first thing that is not there makes bad true.
type decoder struct {
	b     []byte
	texts []string
	bad   bool
}

func (d *decoder) count() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) number() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) text() string {
	n := d.count()
	if n > 0 {
		if n > uint64(len(d.texts)) {
			d.bad, d.b = true, nil
			return ""
		}
		return d.texts[n-1]
	}
	size := d.count()
	if size > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:size])
	d.b = d.b[size:]
	d.texts = append(d.texts, s)
	return s
}

func decodeRows[T any](d *decoder, columns *[]rowColumn) []T {
	n := d.count()
	if n == 0 || n > uint64(len(d.b)) {
		d.bad = d.bad || n > 0
		return nil
	}
	names := make([]string, n)
	fields := make([][]int, n)
	for i := range names {
		names[i] = d.text()
		for j := range *columns {
			if (*columns)[j].name == names[i] {
				fields[i] = (*columns)[j].index
			}
		}
	}
	rows := d.count()
	if rows > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	out := make([]T, rows)
	for i := range out {
		row := reflect.ValueOf(&out[i]).Elem()
		for j, name := range names {
			switch {
			case name == "" || d.bad:
				d.bad = true
				return nil
			case name[0] == 's':
				if s := d.text(); fields[j] != nil {
					row.FieldByIndex(fields[j]).SetString(s)
				}
			case name[0] == 'j':
				if s := d.text(); fields[j] != nil && json.Unmarshal([]byte(s), row.FieldByIndex(fields[j]).Addr().Interface()) != nil {
					d.bad = true
				}
			default:
				v := d.number()
				if fields[j] == nil {
					continue
				}
				if f := row.FieldByIndex(fields[j]); f.Kind() == reflect.Bool {
					f.SetBool(v != 0)
				} else {
					f.SetInt(v)
				}
			}
		}
	}
	return out
}
