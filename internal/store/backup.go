package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"unicode/utf8"

	"gatehouse"
)

// BackupFormat is the version of the format that this binary writes and reads.
const BackupFormat = 1

// Backup is the first line of a backup file: what it is a copy of. A backup is one gzip stream of lines of JSON:
//
//	{"gatehouse_backup":1,...}                                this
//	{"table":"keys","columns":["id",...],"kinds":["text",...]}  each table, the ones foreign keys point at first
//	["key_...",...]                                           its rows, in no order: numbers, texts, base64 of bytes, null
//	{"end":{"keys":12,...}}                                   how many rows each table has
//	{"sha256":"..."}                                          of every byte before this line
//
// A file without its last line is no backup, and one that was changed anywhere is refused before anything is written.
type Backup struct {
	Format  int              `json:"gatehouse_backup"`
	Version string           `json:"version"` // of the binary that wrote it
	Schema  int64            `json:"schema"`
	Engine  string           `json:"engine"`
	Install string           `json:"install"` // the tag in the text of the installation's keys
	Epoch   int64            `json:"epoch"`
	Seq     int64            `json:"seq"` // the last event in it
	At      gatehouse.Millis `json:"at"`
	// Peppers and Keys are fingerprints of the secrets that go with the rows and are not in the file, by version.
	Peppers map[int]string `json:"peppers,omitempty"`
	Keys    map[int]string `json:"kek,omitempty"`
	// Folders are the replay files that nodes wrote when the backup was made.
	Folders []ReplayFolder `json:"replay_folders,omitempty"`
	// Rows is how many rows each table has. It is the file's end, not its beginning.
	Rows map[string]int64 `json:"-"`
}

// Total returns the number of rows.
func (b *Backup) Total() (n int64) {
	for _, rows := range b.Rows {
		n += rows
	}
	return n
}

// Dump writes a backup of one consistent snapshot to w, while others read and write. It keeps a row in memory at a time. From
// about it takes Version, Peppers and Keys, and it fills in the rest. The schema must be of this binary's version.
func (db *DB) Dump(ctx context.Context, w io.Writer, about *Backup) error {
	return db.View(ctx, func(tx *Tx) (err error) {
		about.Format, about.Engine, about.At, about.Rows = BackupFormat, db.engine.name, tx.Now, map[string]int64{}
		if err := tx.Restoring(); err != nil {
			return err
		}
		if about.Schema, err = tx.SchemaVersion(); err != nil {
			return err
		}
		if known := SchemaVersion(); about.Schema != known {
			return gatehouse.Errorf(gatehouse.Conflict, "the database has schema version %d and this binary's is %d: make the backup with the gatehouse that serves it", about.Schema, known)
		}
		if about.Epoch, err = tx.Epoch(); err != nil {
			return err
		}
		if about.Seq, err = tx.LastSeq(); err != nil {
			return err
		}
		if about.Install, err = tx.Meta("install"); err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
			return err
		}
		if about.Folders, err = tx.ReplayFolders(); err != nil {
			return err
		}
		tables, err := db.ownTables(ctx, tx.tx)
		if err != nil {
			return err
		}
		out := newDumper(w)
		out.line(about)
		for i := range tables {
			if t := &tables[i]; t.name != schemaTable {
				if err := out.table(ctx, db, tx, t, about.Rows); err != nil {
					return err
				}
			}
		}
		return out.end(about.Rows)
	})
}

// dumper writes the lines of a backup. Its first error stands.
type dumper struct {
	gz  *gzip.Writer
	w   *bufio.Writer
	sum hash.Hash
	buf []byte
	err error
}

func newDumper(w io.Writer) *dumper {
	gz, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one there is
	d := &dumper{gz: gz, sum: sha256.New()}
	d.w = bufio.NewWriterSize(io.MultiWriter(d.sum, gz), 256<<10)
	return d
}

func (d *dumper) write(line []byte) {
	if d.err == nil {
		_, d.err = d.w.Write(line)
	}
}

func (d *dumper) line(v any) {
	b, err := json.Marshal(v)
	if err != nil && d.err == nil {
		d.err = err
	}
	d.write(append(b, '\n'))
}

// tableLine begins the rows of a table.
type tableLine struct {
	Table   string       `json:"table"`
	Columns []string     `json:"columns"`
	Kinds   []columnKind `json:"kinds"`
}

func (d *dumper) table(ctx context.Context, db *DB, tx *Tx, t *table, rows map[string]int64) error {
	head := tableLine{Table: t.name, Columns: t.names()}
	for _, c := range t.columns {
		head.Kinds = append(head.Kinds, c.kind)
	}
	d.line(head)
	rows[t.name] = 0
	return db.eachRow(ctx, tx.tx, t, func(values []any) error {
		rows[t.name]++
		b := append(d.buf[:0], '[')
		for i, v := range values {
			if i > 0 {
				b = append(b, ',')
			}
			switch v := v.(type) {
			case nil:
				b = append(b, "null"...)
			case int64:
				b = strconv.AppendInt(b, v, 10)
			case []byte:
				b = append(base64.StdEncoding.AppendEncode(append(b, '"'), v), '"')
			case string:
				if !utf8.ValidString(v) {
					return fmt.Errorf("table %s: column %s holds text that is not UTF-8", t.name, t.columns[i].name)
				}
				text, err := json.Marshal(v)
				if err != nil {
					return err
				}
				b = append(b, text...)
			}
		}
		d.buf = append(b, ']', '\n')
		d.write(d.buf)
		return d.err
	})
}

func (d *dumper) end(rows map[string]int64) error {
	d.line(map[string]any{"end": rows})
	if d.err == nil {
		d.err = d.w.Flush()
	}
	d.line(sumLine{hex.EncodeToString(d.sum.Sum(nil))})
	if d.err == nil {
		d.err = errors.Join(d.w.Flush(), d.gz.Close())
	}
	return d.err
}

type sumLine struct {
	SHA256 string `json:"sha256"`
}

// errBackup is the error for a file that is no whole backup.
func errBackup(why string, err error) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The file is not a whole Gatehouse backup: " + why + ". Nothing was changed. Use another copy.", Err: err}
}

// ReadBackup reads a whole backup file and returns what it is a copy of. Its error is Invalid for a file that was cut, damaged or
// is none, and Conflict for one of a newer Gatehouse.
func ReadBackup(r io.Reader) (*Backup, error) {
	return readBackup(r, func(*Backup) error { return nil }, func(*tableLine, []json.RawMessage) error { return nil })
}

// maxBackupLine bounds what one line can make a reader load.
const maxBackupLine = 64 << 20

// readBackup reads a backup and calls begin with its head, then row with each row. Only when it returns no error was the file
// whole, which it knows at its end: until then the rows may be anything.
func readBackup(r io.Reader, begin func(*Backup) error, row func(*tableLine, []json.RawMessage) error) (*Backup, error) {
	source := bufio.NewReaderSize(r, 256<<10)
	gz, err := gzip.NewReader(source)
	if err != nil {
		return nil, errBackup("it does not begin as one", err)
	}
	gz.Multistream(false)
	lines := &backupLines{r: bufio.NewReaderSize(gz, 256<<10), sum: sha256.New()}
	line, err := lines.next()
	if err != nil {
		return nil, err
	}
	b := &Backup{}
	if err := json.Unmarshal(line, b); err != nil || b.Format == 0 {
		return nil, errBackup("it does not begin as one", err)
	}
	if b.Format > BackupFormat || b.Schema > SchemaVersion() {
		return nil, gatehouse.Errorf(gatehouse.Conflict, "the backup has format %d and schema version %d, and this binary knows up to %d and %d: restore it with the gatehouse that wrote it (%s) or a newer one",
			b.Format, b.Schema, BackupFormat, SchemaVersion(), b.Version)
	}
	if err := begin(b); err != nil {
		return nil, err
	}
	if err := lines.tables(b, row); err != nil {
		return nil, err
	}
	if _, err := lines.r.ReadByte(); err != io.EOF {
		return nil, errBackup("something follows its end", err)
	}
	if _, err := source.ReadByte(); err != io.EOF {
		return nil, errBackup("something follows its end", err)
	}
	return b, nil
}

type backupLines struct {
	r    *bufio.Reader
	sum  hash.Hash
	line []byte
}

// next returns the next line, valid until the call after.
func (l *backupLines) next() ([]byte, error) {
	l.sum.Write(l.line) // the line before: the last one is not part of its own sum
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part...)
		if err == nil {
			return l.line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, errBackup("it is cut or damaged", err)
		}
		if len(l.line) > maxBackupLine {
			return nil, errBackup("a line of it is too long", nil)
		}
	}
}

// tables reads everything after the head.
func (l *backupLines) tables(b *Backup, row func(*tableLine, []json.RawMessage) error) error {
	var head *tableLine
	rows := map[string]int64{}
	for {
		line, err := l.next()
		if err != nil {
			return err
		}
		if line[0] == '[' {
			var values []json.RawMessage
			if err := json.Unmarshal(line, &values); err != nil || head == nil || len(values) != len(head.Columns) {
				return errBackup("a row of it cannot be read", err)
			}
			rows[head.Table]++
			if err := row(head, values); err != nil {
				return err
			}
			continue
		}
		var control struct {
			tableLine
			sumLine
			End map[string]int64 `json:"end"`
		}
		if err := json.Unmarshal(line, &control); err != nil {
			return errBackup("a line of it cannot be read", err)
		}
		switch {
		case control.Table != "" && len(control.Columns) == len(control.Kinds):
			head = &control.tableLine
			rows[head.Table] += 0
		case control.End != nil:
			b.Rows = control.End
		case control.SHA256 != "" && b.Rows != nil:
			if hex.EncodeToString(l.sum.Sum(nil)) != control.SHA256 {
				return errBackup("its checksum is wrong", nil)
			}
			if !sameCounts(rows, b.Rows) {
				return errBackup("rows are missing", nil)
			}
			return nil
		default:
			return errBackup("a line of it is unknown", nil)
		}
	}
}

func sameCounts(a, b map[string]int64) bool {
	for name, n := range a {
		if m, ok := b[name]; !ok || m != n {
			return false
		}
	}
	return len(a) == len(b)
}

// value reads a value of a row.
func (k columnKind) value(raw json.RawMessage) (any, error) {
	if bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	switch k {
	case kindNumber:
		return strconv.ParseInt(string(raw), 10, 64)
	case kindText:
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case kindBytes:
		b := []byte{}
		err := json.Unmarshal(raw, &b)
		return b, err
	}
	return nil, fmt.Errorf("unknown kind of column %q", k)
}
