package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"gatehouse"
)

// Restoration is how a backup is put back.
type Restoration struct {
	// Replace allows that the database holds something, which is then gone.
	Replace bool
	// Seen is the highest event number that anybody is known to have seen; the next number is above it, and above the ones in the
	// backup and in the database.
	Seen int64
	// Margin is how far above.
	Margin int64
}

// ErrHoldsData is the cause of a restore's refusal where the database holds something that may not go.
var ErrHoldsData = errors.New("the database holds data")

// Restored is what Restore made.
type Restored struct {
	Backup *Backup
	Epoch  int64 // the new one
	Seq    int64 // the next event's number is higher
}

// revJump is added to the revision of every row that is restored, so that a row which changes again never has a revision that
// somebody has seen with another content.
const revJump = 1 << 32

// Restore puts a backup into the database: the schema of its version, its rows, then the migrations since, in one transaction. The
// file is read once before anything is written, and again while it is written.
//
// A new epoch begins. The nodes' rows of the backup and of the database before stay: a node of which nobody knows that it stopped
// counts as one that may serve, until its lease must have run out. Until EndRestore commits, Restoring says that the database is
// not to be used.
func (db *DB) Restore(ctx context.Context, file io.ReadSeeker, how Restoration) (*Restored, error) {
	if _, err := ReadBackup(file); err != nil {
		return nil, err
	}
	var out *Restored
	err := db.retry(ctx, func() error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		sqlTx, err := db.begin(ctx, db.write, db.engine.writeTx)
		if err != nil {
			return db.fail("begin a restore", err)
		}
		defer rollback(sqlTx)
		r := restorer{ctx: ctx, db: db, tx: sqlTx, how: how}
		if out, err = r.run(file); err != nil {
			return err
		}
		if err := sqlTx.Commit(); err != nil {
			return db.fail("commit the restore", err)
		}
		return nil
	})
	return out, err
}

// EndRestore makes a restored database one that may be used, together with the event that says so.
func (db *DB) EndRestore(ctx context.Context, ev gatehouse.Event) (int64, error) {
	return db.Update(ctx, ev, func(tx *Tx) error {
		_, err := tx.exec("end the restore", `DELETE FROM meta WHERE name = '`+metaRestoring+`'`)
		return err
	})
}

// restorer is one restore.
type restorer struct {
	ctx   context.Context // of the call of Restore, which it does not outlive
	db    *DB
	tx    *sql.Tx
	how   Restoration
	epoch int64 // of the database before, as are the next two
	seq   int64
	nodes []kept
}

// kept is a row of before, by column.
type kept map[string]any

func (r *restorer) exec(op, query string, args ...any) error {
	r.db.traced(query)
	if _, err := r.tx.ExecContext(r.ctx, query, args...); err != nil {
		return r.db.fail(op, err)
	}
	return nil
}

func (r *restorer) number(op, query string) (n int64, err error) {
	r.db.traced(query)
	if err := r.tx.QueryRowContext(r.ctx, query).Scan(&n); err != nil {
		return 0, r.db.fail(op, err)
	}
	return n, nil
}

func (r *restorer) run(file io.Reader) (*Restored, error) {
	steps, err := migrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	if err := r.db.engine.lockSchema(r.ctx, r.tx); err != nil {
		return nil, r.db.fail("lock the schema", err)
	}
	if err := r.clear(); err != nil {
		return nil, err
	}
	var tables []table
	var load *loader
	b, err := readBackup(file, func(b *Backup) error {
		if _, err := r.db.schemaVersion(r.ctx, r.tx); err != nil {
			return err
		}
		if err := r.db.apply(r.ctx, r.tx, steps[:b.Schema]); err != nil {
			return err
		}
		if tables, err = r.db.ownTables(r.ctx, r.tx); err != nil {
			return err
		}
		return r.empty(tables) // what migrations wrote is in the backup as well, as it was then
	}, func(head *tableLine, values []json.RawMessage) error {
		if load == nil || load.head.Table != head.Table {
			if err := load.end(); err != nil {
				return err
			}
			i := slices.IndexFunc(tables, func(t table) bool { return t.name == head.Table })
			if i < 0 || !slices.Equal(tables[i].names(), head.Columns) {
				return errBackup("its table "+head.Table+" is not the one of its schema", nil)
			}
			load = &loader{restorer: r, head: *head}
		}
		return load.add(values)
	})
	if err != nil {
		return nil, err
	}
	if err := load.end(); err != nil {
		return nil, err
	}
	if err := r.db.apply(r.ctx, r.tx, steps[b.Schema:]); err != nil {
		return nil, err
	}
	return r.begin(b)
}

// clear looks at what is there, remembers what must outlive it, and drops it.
func (r *restorer) clear() error {
	tables, err := r.db.ownTables(r.ctx, r.tx)
	if err != nil || len(tables) == 0 {
		return err
	}
	for i := range tables {
		switch t := &tables[i]; t.name {
		case "organizations", "events":
			n, err := r.number("look for rows", "SELECT COUNT(*) FROM "+t.name)
			if err != nil {
				return err
			}
			if n > 0 && !r.how.Replace {
				return &gatehouse.Error{Kind: gatehouse.Conflict, Message: "The database holds data; a backup is restored into an empty one unless that may go.", Err: ErrHoldsData}
			}
		case "counters":
			if r.epoch, err = r.number("read the epoch", `SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'epoch'`); err != nil {
				return err
			}
			if r.seq, err = r.number("read the last event's number", `SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'event'`); err != nil {
				return err
			}
		case "nodes":
			if err := r.db.eachRow(r.ctx, r.tx, t, func(values []any) error {
				row := kept{}
				for j, c := range t.columns {
					row[c.name] = values[j]
				}
				r.nodes = append(r.nodes, row)
				return nil
			}); err != nil {
				return err
			}
		}
	}
	for _, t := range slices.Backward(tables) {
		if err := r.exec("drop table "+t.name, "DROP TABLE "+quoted([]string{t.name})); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) empty(tables []table) error {
	for _, t := range slices.Backward(tables) {
		if t.name == schemaTable {
			continue
		}
		if err := r.exec("empty table "+t.name, "DELETE FROM "+quoted([]string{t.name})); err != nil {
			return err
		}
	}
	return nil
}

// begin starts the new epoch over the rows of a backup.
func (r *restorer) begin(b *Backup) (*Restored, error) {
	const setCounter = `INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	const setMeta = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	out := &Restored{Backup: b}
	out.Epoch = max(r.db.now().UnixMilli(), r.epoch+1, b.Epoch+1)
	out.Seq = max(r.seq, b.Seq, r.how.Seen) + r.how.Margin
	for name, value := range map[string]int64{"epoch": out.Epoch, "event": out.Seq, "restored_at": int64(b.At)} {
		if err := r.exec("set the "+name+" counter", setCounter, name, value); err != nil {
			return nil, err
		}
	}
	if err := r.exec("mark the restore", setMeta, metaRestoring, "begun"); err != nil {
		return nil, err
	}
	// What is recorded again counts in no slice: whoever looks at a window next counts what was spent outside of slices anew.
	if err := r.exec("let budgets be counted anew", "UPDATE budget_windows SET seeded_at = 0, created_at = $1", r.db.now().UnixMilli()); err != nil {
		return nil, err
	}
	tables, err := r.db.ownTables(r.ctx, r.tx)
	if err != nil {
		return nil, err
	}
	for i := range tables {
		t := &tables[i]
		if t.has("rev") {
			if err := r.exec("raise the revisions of "+t.name, "UPDATE "+quoted([]string{t.name})+" SET rev = rev + $1", int64(revJump)); err != nil {
				return nil, err
			}
		}
		if t.name == "nodes" {
			if err := r.keepNodes(t); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// keepNodes puts the rows of nodes of before beside those of the backup, or in their place.
func (r *restorer) keepNodes(t *table) error {
	for _, row := range r.nodes {
		if err := r.exec("forget a node", "DELETE FROM nodes WHERE id = $1", row["id"]); err != nil {
			return err
		}
		var names []string
		var args []any
		for _, c := range t.columns {
			if v, ok := row[c.name]; ok {
				names, args = append(names, c.name), append(args, v)
			}
		}
		if err := r.exec("keep a node", insertInto(r.db.engine.placeholder, t.name, names, 1), args...); err != nil {
			return err
		}
	}
	return nil
}

// insertInto is an insert of rows into a table.
func insertInto(placeholder func(int) string, table string, columns []string, rows int) string {
	i := insert{head: "INSERT INTO " + quoted([]string{table}) + " (" + quoted(columns) + ") VALUES ", columns: len(columns)}
	return i.query(rows, placeholder)
}

// loader inserts the rows of one table, many at once.
type loader struct {
	*restorer
	head tableLine
	args []any
	stmt *sql.Stmt // inserts loadRows rows; nil until it is needed
}

// loadRows is how many rows go out at once: with the widest table still far below the number of values an engine takes.
const loadRows = 64

func (l *loader) add(values []json.RawMessage) error {
	for i, raw := range values {
		v, err := l.head.Kinds[i].value(raw)
		if err != nil {
			return errBackup("a row of table "+l.head.Table+" cannot be read", err)
		}
		if s, ok := v.(string); ok && strings.IndexByte(s, 0) >= 0 {
			return errBackup("a row of table "+l.head.Table+" holds the character U+0000", nil)
		}
		l.args = append(l.args, v)
	}
	if len(l.args) < loadRows*len(values) {
		return nil
	}
	if l.stmt == nil {
		var err error
		if l.stmt, err = l.tx.PrepareContext(l.ctx, insertInto(l.db.engine.placeholder, l.head.Table, l.head.Columns, loadRows)); err != nil {
			return l.db.fail("load table "+l.head.Table, err)
		}
	}
	_, err := l.stmt.ExecContext(l.ctx, l.args...)
	l.args = l.args[:0]
	if err != nil {
		return l.db.fail("load table "+l.head.Table, err)
	}
	return nil
}

// end inserts what is left. A nil loader has nothing.
func (l *loader) end() error {
	if l == nil {
		return nil
	}
	var err error
	if l.stmt != nil {
		err = l.stmt.Close()
	}
	if len(l.args) == 0 {
		return err
	}
	rows := len(l.args) / len(l.head.Columns)
	return errors.Join(err, l.exec("load table "+l.head.Table, insertInto(l.db.engine.placeholder, l.head.Table, l.head.Columns, rows), l.args...))
}
