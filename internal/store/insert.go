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
}

// insertRows are the sizes in which rows go out, largest first. Few sizes, so that each statement is prepared once and used often.
var insertRows = [...]int{32, 4, 1}

// inserts lists every insert of many rows.
var inserts = [...]*insert{&insertUsage, &insertRollups, &insertRequests, &insertLastUsed, &insertObjects, &insertWork, &insertBatchInputs}

// run inserts one row per key: what row makes of it. It calls returned with each id that RETURNING gives; nil where the statement
// returns nothing.
func (i *insert) run(r *recorder, keys []string, row func(key string) []any, returned func(id string)) error {
	args := make([]any, 0, min(len(keys), insertRows[0])*i.columns)
	for _, size := range insertRows {
		for ; len(keys) >= size; keys = keys[size:] {
			args = args[:0]
			for _, key := range keys[:size] {
				args = append(args, row(key)...)
			}
			if err := i.send(r, size, args, returned); err != nil {
				return r.db.fail(i.op, err)
			}
		}
	}
	return nil
}

func (i *insert) send(r *recorder, rows int, args []any, returned func(id string)) error {
	stmt := r.tx.StmtContext(r.ctx, r.stmts[statementKey{i, rows}])
	defer func() { _ = stmt.Close() }() // the transaction's own handle; the prepared statement stays
	if returned == nil {
		_, err := stmt.ExecContext(r.ctx, args...)
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
		for _, rows := range insertRows {
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
