package store

import (
	"context"
	"database/sql"
	"strings"
	"sync"
)

// insert is an insert of many rows: head, then one group of placeholders per row, then tail.
type insert struct {
	op      string
	head    string
	tail    string
	columns int
	sizes   []int // the sizes in which rows go out, largest first and 1 last; nil: fewRows
}

// Few sizes, so that each statement is prepared once and used often: of rows with many columns, with few, and of rows that go alone.
var (
	fewRows  = []int{32, 4, 1}
	manyRows = []int{256, 32, 4, 1}
	oneRow   = []int{1}
)

// inserts lists every insert of many rows.
var inserts = [...]*insert{&insertUsageIDs, &insertUsagePages, &insertRollupPages, &insertRequestIDs, &insertRequestNames, &insertRequestPages,
	&insertLastUsed, &insertActivity, &insertNetworks, &insertObjects, &insertWork, &insertBatchInputs, &insertKeptHolds, &insertWindows, &insertSpending}

// run inserts one row per key: what row makes of it. It calls returned with each id that RETURNING gives; nil where the statement
// returns nothing.
func (i *insert) run(r *recorder, keys []string, row func(key string) []any, returned func(id string)) error {
	return i.rows(r, len(keys), func(args []any, k int) []any { return append(args, row(keys[k])...) }, returned)
}

// rows inserts n rows: what row appends for each. It calls returned as run does, and counts in r.inserted the rows that are new
// where the statement returns nothing.
func (i *insert) rows(r *recorder, n int, row func(args []any, k int) []any, returned func(id string)) error {
	args := r.args
	k := 0
	for _, size := range i.batches() {
		for ; n-k >= size; k += size {
			args = args[:0]
			for j := range size {
				args = row(args, k+j)
			}
			if err := i.send(r, size, args, returned); err != nil {
				return r.db.fail(i.op, err)
			}
		}
	}
	r.args = args
	return nil
}

func (i *insert) batches() []int {
	if i.sizes == nil {
		return fewRows
	}
	return i.sizes
}

func (i *insert) send(r *recorder, rows int, args []any, returned func(id string)) error {
	stmt := r.tx.StmtContext(r.ctx, r.stmts[statementKey{i, rows}])
	defer func() { _ = stmt.Close() }() // the transaction's own handle; the prepared statement stays
	if returned == nil {
		done, err := stmt.ExecContext(r.ctx, args...)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		r.inserted += n
		return err
	}
	result, err := stmt.QueryContext(r.ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = result.Close() }() // result.Err below reports what matters
	for result.Next() {
		var id string
		if err := result.Scan(&id); err != nil {
			return err
		}
		returned(id)
	}
	return result.Err()
}

func (i *insert) query(rows int, placeholder func(n int) string) string {
	var b strings.Builder
	b.WriteString(i.head)
	for n := range rows * i.columns {
		switch {
		case n == 0:
			b.WriteString("(")
		case n%i.columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString(placeholder(n + 1))
	}
	b.WriteString(")")
	b.WriteString(i.tail)
	return b.String()
}

type statementKey struct {
	insert *insert
	rows   int
}

// statements are the prepared inserts. They are prepared all at once before the first batch begins: inside a transaction there
// may be no connection left to prepare them on.
type statements struct {
	mu    sync.Mutex
	ready map[statementKey]*sql.Stmt // guarded by mu; not changed once it is there
}

func (s *statements) prepare(ctx context.Context, pool *sql.DB, placeholder func(n int) string) (map[statementKey]*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready != nil {
		return s.ready, nil
	}
	ready := map[statementKey]*sql.Stmt{}
	for _, i := range inserts {
		for _, rows := range i.batches() {
			stmt, err := pool.PrepareContext(ctx, i.query(rows, placeholder))
			if err != nil {
				closeAll(ready)
				return nil, err
			}
			ready[statementKey{i, rows}] = stmt
		}
	}
	s.ready = ready
	return ready, nil
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeAll(s.ready)
	s.ready = nil
}

func closeAll(stmts map[statementKey]*sql.Stmt) {
	for _, stmt := range stmts {
		_ = stmt.Close() // nothing depends on it any more
	}
}
