package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gatehouse"
)

// table is what a dump knows of a table: that is all it needs, so a table that a migration adds is in the next backup.
type table struct {
	name    string
	columns []column
	parents []string // the tables its foreign keys point at
}

type column struct {
	name string
	kind columnKind
}

// columnKind is how a column's values are written. The portable subset has three types and no other.
type columnKind string

const (
	kindNumber columnKind = "number" // BIGINT
	kindText   columnKind = "text"   // TEXT
	kindBytes  columnKind = "bytes"  // BYTEA
)

// describe reads tables with two queries: one of (table, column, type) and one of (table, parent), both in the order of tables.
func describe(ctx context.Context, tx *sql.Tx, columns, parents string) ([]table, error) {
	var tables []table
	err := pairs(ctx, tx, columns, 3, func(v []string) error {
		if len(tables) == 0 || tables[len(tables)-1].name != v[0] {
			tables = append(tables, table{name: v[0]})
		}
		t := &tables[len(tables)-1]
		t.columns = append(t.columns, column{v[1], columnKind(strings.ToLower(v[2]))})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tables, pairs(ctx, tx, parents, 2, func(v []string) error {
		for i := range tables {
			if t := &tables[i]; t.name == v[0] && !slices.Contains(t.parents, v[1]) && v[1] != v[0] {
				t.parents = append(t.parents, v[1])
			}
		}
		return nil
	})
}

// pairs calls fn with the rows of a query that has n texts in each.
func pairs(ctx context.Context, tx *sql.Tx, query string, n int, fn func([]string) error) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	values := make([]string, n)
	dest := make([]any, n)
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if err := fn(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

const schemaTable = "schema_migrations"

// created finds the tables that a migration makes.
var created = regexp.MustCompile(`(?i)\bCREATE TABLE (?:IF NOT EXISTS )?(\w+)|\bALTER TABLE \w+ RENAME TO (\w+)`)

// ownTables returns the tables of the database that a migration made, the ones foreign keys point at before the ones that have
// them. What else lives in the database is not ours to copy or to drop.
func (db *DB) ownTables(ctx context.Context, tx *sql.Tx) ([]table, error) {
	steps, err := migrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{schemaTable: true}
	for _, step := range steps {
		for _, m := range created.FindAllStringSubmatch(step.script, -1) {
			own[m[1]+m[2]] = true
		}
	}
	all, err := db.engine.tables(ctx, tx)
	if err != nil {
		return nil, db.fail("list tables", err)
	}
	all = slices.DeleteFunc(all, func(t table) bool { return !own[t.name] })
	for i := range all {
		for j := range all[i].columns {
			c := &all[i].columns[j]
			switch c.kind {
			case "bigint":
				c.kind = kindNumber
			case "text":
				c.kind = kindText
			case "bytea":
				c.kind = kindBytes
			default:
				return nil, fmt.Errorf("table %s: column %s has type %s, which no backup can hold", all[i].name, c.name, c.kind)
			}
		}
	}
	return parentsFirst(all)
}

// parentsFirst orders tables so that rows can be inserted table by table.
func parentsFirst(tables []table) ([]table, error) {
	out := make([]table, 0, len(tables))
	done := map[string]bool{}
	for len(out) < len(tables) {
		before := len(out)
		for _, t := range tables {
			if !done[t.name] && !slices.ContainsFunc(t.parents, func(p string) bool { return !done[p] }) {
				done[t.name] = true
				out = append(out, t)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("the foreign keys of the tables go in a circle")
		}
	}
	return out, nil
}

func (t *table) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

func (t *table) has(column string) bool { return slices.Contains(t.names(), column) }

// row returns destinations for a row's values and a function that returns the values as they were last scanned.
func (t *table) row() (dest []any, values func() []any) {
	dest = make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case kindNumber:
			dest[i] = new(sql.NullInt64)
		case kindText:
			dest[i] = new(sql.NullString)
		case kindBytes:
			dest[i] = new([]byte)
		}
	}
	return dest, func() []any {
		out := make([]any, len(dest))
		for i := range dest {
			switch d := dest[i].(type) {
			case *sql.NullInt64:
				if d.Valid {
					out[i] = d.Int64
				}
			case *sql.NullString:
				if d.Valid {
					out[i] = d.String
				}
			case *[]byte:
				if *d != nil {
					out[i] = slices.Clone(*d)
				}
			}
		}
		return out
	}
}

// eachRow calls fn with every row of a table, in no order.
func (db *DB) eachRow(ctx context.Context, tx *sql.Tx, t *table, fn func([]any) error) error {
	query := "SELECT " + quoted(t.names()) + " FROM " + quoted([]string{t.name})
	db.traced(query)
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return db.fail("read table "+t.name, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	dest, values := t.row()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return db.fail("read table "+t.name, err)
		}
		if err := fn(values()); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return db.fail("read table "+t.name, err)
	}
	return nil
}

// quoted lists names of our own schema.
func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// EachRow calls fn with every row of every table of ours, for tests that compare databases: tables and columns in a fixed order,
// rows in none. A value is an int64, a string, a []byte or nil.
func (tx *Tx) EachRow(fn func(table string, columns []string, values []any) error) error {
	tables, err := tx.db.ownTables(tx.ctx, tx.tx)
	if err != nil {
		return err
	}
	for i := range tables {
		t := &tables[i]
		if err := tx.db.eachRow(tx.ctx, tx.tx, t, func(values []any) error { return fn(t.name, t.names(), values) }); err != nil {
			return err
		}
	}
	return nil
}

// Epoch returns which life of the database this is: 0 until it is restored for the first time, and a new, higher number after
// each restore. Sequence numbers rise within and across epochs; what was committed after the backup is in no later epoch, so
// whoever keeps what it read in one epoch reads it again in the next.
//
// It fails where there is no counter of events either: a snapshot from before a restore finds its tables, and nothing in them.
func (tx *Tx) Epoch() (int64, error) {
	return tx.number("read the epoch", `SELECT COALESCE((SELECT value FROM counters WHERE name = 'epoch'), 0) FROM counters WHERE name = 'event'`)
}

// errRestoring is a database whose restore has begun and not ended.
func errRestoring() error {
	return gatehouse.Errorf(gatehouse.Unavailable, "the database is being restored, or its restore was interrupted: run gatehouse restore to its end")
}

// Restoring returns an error of kind Unavailable while a restore has begun and not ended: nothing may be decided by what is there
// so far.
func (tx *Tx) Restoring() error {
	n, err := tx.number("read the state of a restore", `SELECT COUNT(*) FROM meta WHERE name = '`+metaRestoring+`'`)
	if err == nil && n > 0 {
		return errRestoring()
	}
	return err
}

const metaRestoring = "restoring"
