package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse"
)

// Tx is one transaction: what View and Update hand to their functions. It is not safe for concurrent use and ends with the
// function it was given to.
type Tx struct {
	// Now is the time of the transaction's start: everything it stamps has one time.
	Now gatehouse.Millis

	ctx      context.Context // of the call that made the transaction, as in sql.Tx; it ends with it
	db       *DB
	tx       *sql.Tx
	writable bool
	// organization is whose changes wait for this one; see serial.
	organization string
	failed       error // the first write that failed; PostgreSQL takes nothing more after it, so neither engine does
	events       []*gatehouse.Event
	undos        []func()
}

func (db *DB) newTx(ctx context.Context, tx *sql.Tx, writable bool) *Tx {
	return &Tx{Now: gatehouse.MillisOf(db.now()), ctx: ctx, db: db, tx: tx, writable: writable}
}

// undo takes back what the transaction did to its caller's structs.
func (tx *Tx) undo() {
	for _, f := range slices.Backward(tx.undos) {
		f()
	}
}

// setRev sets *rev, until the transaction fails.
func (tx *Tx) setRev(rev *int64, to int64) {
	was := *rev
	tx.undos = append(tx.undos, func() { *rev = was })
	*rev = to
}

// exec runs a statement that writes control tables and returns how many rows it touched.
func (tx *Tx) exec(op, query string, args ...any) (int64, error) {
	if !tx.writable {
		return 0, fmt.Errorf("%s: a view cannot write", op)
	}
	if tx.failed != nil {
		return 0, tx.failed
	}
	for _, arg := range args {
		// PostgreSQL stores neither; SQLite would store both.
		if s, ok := arg.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return 0, gatehouse.Errorf(gatehouse.Invalid, "Text must be valid UTF-8 without the character U+0000.")
		}
	}
	tx.db.traced(query)
	res, err := tx.tx.ExecContext(tx.ctx, query, args...)
	if err != nil {
		tx.failed = tx.db.fail(op, err)
		return 0, tx.failed
	}
	n, err := res.RowsAffected()
	if err != nil {
		tx.failed = tx.db.fail(op, err)
		return 0, tx.failed
	}
	return n, nil
}

// create inserts one row with rev 1.
func (tx *Tx) create(what, id string, rev *int64, query string, args ...any) error {
	if id == "" {
		return fmt.Errorf("create %s: no id", what)
	}
	if _, err := tx.exec("create "+what+" "+id, query, args...); err != nil {
		return err
	}
	tx.setRev(rev, 1)
	return nil
}

// stamp sets a time of creation that its caller left open.
func (tx *Tx) stamp(at *gatehouse.Millis) {
	if *at == 0 {
		*at = tx.Now
	}
}

// save updates one row where its rev is still the one that was read. The query's first two arguments are the row's id and that
// rev, and it sets rev to one more. exists is a query that finds the row by its id whatever its rev: it tells the reasons for
// which nothing was updated apart.
func (tx *Tx) save(what, id string, rev *int64, query, exists string, args ...any) error {
	n, err := tx.exec("save "+what+" "+id, query, append([]any{id, *rev}, args...)...)
	if err != nil {
		return err
	}
	if n == 1 {
		tx.setRev(rev, *rev+1)
		return nil
	}
	var have int64
	tx.db.traced(exists)
	switch err := tx.tx.QueryRowContext(tx.ctx, exists, id).Scan(&have); {
	case errors.Is(err, sql.ErrNoRows):
		return notFound(what, id)
	case err != nil:
		tx.failed = tx.db.fail("save "+what+" "+id, err)
		return tx.failed
	case have != *rev:
		return gatehouse.Errorf(gatehouse.Conflict, "The %s %s has changed since it was read. Read it again and repeat the change.", what, id)
	}
	return gatehouse.Errorf(gatehouse.Conflict, "The %s %s is in a state that nothing leads out of.", what, id)
}

// notFound is the error for an id that names nothing.
func notFound(what, id string) error {
	return gatehouse.Errorf(gatehouse.NotFound, "No %s with the id '%s' exists.", what, id)
}

// row is what a scan function reads from: one row of a result.
type row interface{ Scan(dest ...any) error }

// one returns the only row of a query, or NotFound.
func one[T any](tx *Tx, what, id string, scan func(row, *T) error, query string, args ...any) (*T, error) {
	tx.db.traced(query)
	v := new(T)
	switch err := scan(tx.tx.QueryRowContext(tx.ctx, query, searchable(args)...), v); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, notFound(what, id)
	case err != nil:
		return nil, tx.db.fail("read "+what+" "+id, err)
	}
	return v, nil
}

// each calls fn with every row of a query, in order. The value is fn's to keep.
func each[T any](tx *Tx, what string, scan func(row, *T) error, fn func(*T) error, query string, args ...any) error {
	tx.db.traced(query)
	rows, err := tx.tx.QueryContext(tx.ctx, query, searchable(args)...)
	if err != nil {
		return tx.db.fail("list "+what, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	for rows.Next() {
		v := new(T)
		if err := scan(rows, v); err != nil {
			return tx.db.fail("list "+what, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return tx.db.fail("list "+what, err)
	}
	return nil
}

// all returns every row of a query.
func all[T any](tx *Tx, what string, scan func(row, *T) error, query string, args ...any) ([]T, error) {
	var list []T
	err := each(tx, what, scan, func(v *T) error { list = append(list, *v); return nil }, query, args...)
	return list, err
}

// serial refuses to count what other changes may be changing: inside Update a count that decides something holds until commit only
// where the change's event names the organization, for only then do the organization's other changes wait.
func (tx *Tx) serial(what, organization string) error {
	if tx.writable && tx.organization != organization {
		return fmt.Errorf("%s of %s in a change whose event names organization %q", what, organization, tx.organization)
	}
	return nil
}

// number returns the only number of a query.
func (tx *Tx) number(what, query string, args ...any) (int64, error) {
	tx.db.traced(query)
	var n int64
	if err := tx.tx.QueryRowContext(tx.ctx, query, searchable(args)...).Scan(&n); err != nil {
		return 0, tx.db.fail(what, err)
	}
	return n, nil
}

// searchable returns args with every text made one that both engines accept: what cannot be stored is looked for and not found.
func searchable(args []any) []any {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = clean(s)
		}
	}
	return args
}

func (db *DB) traced(query string) {
	if db.trace != nil {
		db.trace(query)
	}
}

// text is a column that is NULL for the empty string: the target or the value of an optional foreign key.
type text string

func (t *text) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*t = ""
	case string:
		*t = text(v)
	case []byte:
		*t = text(v)
	default:
		return fmt.Errorf("column of type %T, want text", v)
	}
	return nil
}

// null returns s for an optional foreign key.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// asJSON returns the text of a list or map column: empty for an empty one.
func asJSON[T any](v T, n int) string {
	if n == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		// The columns hold strings, routes and prefixes; all of them marshal.
		panic(fmt.Sprintf("store: marshal %T: %v", v, err))
	}
	return string(b)
}

// fromJSON sets *v from the text of a list or map column: nil for an empty one.
func fromJSON[T any](column string, text []byte, v *T) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("column %s: %w", column, err)
	}
	return nil
}

// truth is how a bool is stored.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
