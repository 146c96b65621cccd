package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gatehouse"
)

// engine holds every difference between the two databases. Nothing outside this file asks which one it talks to.
type engine struct {
	name    string
	readTx  *sql.TxOptions // of View: one snapshot
	writeTx *sql.TxOptions // of Update and Record
	// serialize makes the changes of one organization follow one another. It is the first statement of a change.
	serialize func(ctx context.Context, tx *sql.Tx, organization string) error
	// lockSchema keeps other processes from migrating until tx ends.
	lockSchema func(ctx context.Context, tx *sql.Tx) error
	// tables describes the tables of the database, those of others among them, in the order of their names.
	tables func(ctx context.Context, tx *sql.Tx) ([]table, error)
	// ddl translates a migration.
	ddl func(string) string
	// placeholder is the n-th of a statement's values, counted from 1, where each is used once and in order.
	placeholder func(n int) string
	// clock reads the time of the database's machine in unix milliseconds; "": it is this process's own.
	clock string
	// classify says what an error of the driver means.
	classify func(error) fault
	// broken reports whether a connection that was there has broken, so that another may do better.
	broken func(error) bool
}

// fault is what an engine's error means to us.
type fault uint8

const (
	faultOther       fault = iota
	faultAgain             // the transaction lost against another and may be repeated
	faultDuplicate         // a unique constraint
	faultReference         // a foreign key
	faultCheck             // a CHECK or NOT NULL constraint
	faultUnavailable       // no connection, no space, no lock in time
)

// open connects to the database at url.
func (db *DB) open(ctx context.Context, url string, exclusive bool) error {
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		return db.openSQLite(ctx, strings.TrimPrefix(url, "sqlite:"), exclusive)
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		return db.openPostgres(ctx, url)
	}
	return gatehouse.Errorf(gatehouse.Invalid, "database must be sqlite:PATH or postgres://USER@HOST/NAME")
}

var sqliteEngine = engine{
	name:    "sqlite",
	readTx:  &sql.TxOptions{ReadOnly: true},
	writeTx: nil, // BEGIN IMMEDIATE, by _txlock: a change never finds at its end that another came between
	// There is one writer connection, so changes follow one another anyway.
	serialize:  func(context.Context, *sql.Tx, string) error { return nil },
	lockSchema: func(context.Context, *sql.Tx) error { return nil },
	tables:     tablesSQLite,
	// SQLite's own name for order by bytes; it has no collation "C". A table WITHOUT ROWID is one tree in place of two: for those that
	// are all key.
	ddl: strings.NewReplacer(`COLLATE "C"`, `COLLATE BINARY`, `/* WITHOUT ROWID */`, `WITHOUT ROWID`).Replace,
	// $N works as well, but SQLite takes it for a name and walks all names to find one: half the cost of an insert of many rows.
	placeholder: func(int) string { return "?" },
	classify:    classifySQLite,
	broken:      func(error) bool { return false },
}

// openSQLite opens the file at path: one connection that writes and a pool of readers, which in WAL mode neither wait for it nor
// make it wait. synchronous=FULL makes every commit durable against power loss, not only against kill -9.
func (db *DB) openSQLite(ctx context.Context, path string, exclusive bool) error {
	db.engine = sqliteEngine
	if path == "" || strings.HasPrefix(path, ":") {
		return gatehouse.Errorf(gatehouse.Invalid, "database sqlite:PATH needs the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	if exclusive {
		if db.lock, err = lockFile(path + ".lock"); err != nil {
			return err
		}
	}
	// Created here because SQLite would let every user of the host read it; its journals take the mode of the file.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "The database file cannot be opened.", Err: err}
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	source := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
	pragmas := "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=trusted_schema(0)"
	if db.write, err = sql.Open("sqlite", source+pragmas+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	db.write.SetMaxOpenConns(1)
	db.record = db.write
	// The writer goes first: it puts a new file into WAL mode.
	if err := db.write.PingContext(ctx); err != nil {
		return db.fail("open database "+path, err)
	}
	// A reader keeps a quarter of SQLite's usual cache, in KiB: behind it is the system's, and what all readers keep grows with the file
	// until they are full.
	if db.read, err = sql.Open("sqlite", source+pragmas+"&_pragma=query_only(1)&_pragma=cache_size(-512)"); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	db.read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	db.read.SetMaxIdleConns(maxIdle)
	return nil
}

func classifySQLite(err error) fault {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return classifyIO(err)
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return faultDuplicate
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return faultReference
	case sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		return faultCheck
	}
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return faultUnavailable
	}
	return faultOther
}

var postgresEngine = engine{
	name:        "postgres",
	readTx:      &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
	writeTx:     &sql.TxOptions{Isolation: sql.LevelReadCommitted},
	serialize:   serializePostgres,
	lockSchema:  lockSchemaPostgres,
	tables:      tablesPostgres,
	ddl:         func(script string) string { return script },
	placeholder: func(n int) string { return "$" + strconv.Itoa(n) },
	clock:       `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`,
	classify:    classifyPostgres,
	broken:      brokenPostgres,
}

// The first halves of our advisory locks' names ("gths" and "gthm" in ASCII): they keep other users of the database apart.
const (
	advisoryChange  = 0x67746873
	advisoryMigrate = 0x6774686d
)

// serializePostgres takes the organization's lock until the transaction ends. Two organizations may share a lock (the name is a
// hash); they then wait for each other and nothing else.
func serializePostgres(ctx context.Context, tx *sql.Tx, organization string) error {
	const query = `SELECT pg_advisory_xact_lock($1::int4, $2::int4)`
	h := fnv.New32a()
	_, _ = h.Write([]byte(organization)) // a hash never fails
	_, err := tx.ExecContext(ctx, query, int32(advisoryChange), int32(h.Sum32()))
	return err
}

func lockSchemaPostgres(ctx context.Context, tx *sql.Tx) error {
	const query = `SELECT pg_advisory_xact_lock($1::int4, 0)`
	_, err := tx.ExecContext(ctx, query, int32(advisoryMigrate))
	return err
}

func tablesSQLite(ctx context.Context, tx *sql.Tx) ([]table, error) {
	return describe(ctx, tx,
		`SELECT t.name, c.name, c.type FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid`,
		`SELECT t.name, k."table" FROM sqlite_master t JOIN pragma_foreign_key_list(t.name) k WHERE t.type = 'table' ORDER BY t.name, k.id, k.seq`)
}

func tablesPostgres(ctx context.Context, tx *sql.Tx) ([]table, error) {
	return describe(ctx, tx,
		`SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c JOIN information_schema.tables t
			ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
			WHERE c.table_schema = current_schema() ORDER BY c.table_name COLLATE "C", c.ordinal_position`,
		`SELECT t.relname, f.relname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
			JOIN pg_namespace n ON n.oid = t.relnamespace WHERE c.contype = 'f' AND n.nspname = current_schema()
			ORDER BY t.relname COLLATE "C", f.relname COLLATE "C"`)
}

// openPostgres connects with pgx, which understands every parameter of libpq's URLs.
func (db *DB) openPostgres(ctx context.Context, url string) error {
	db.engine = postgresEngine
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx hides the password in its text, and the text says which part is wrong.
		return &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The database URL is not valid.", Err: err}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "gatehouse"
	}
	pool := func(size int) *sql.DB {
		p := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(freeLocks))
		p.SetMaxOpenConns(size)
		p.SetMaxIdleConns(min(size, maxIdle))
		p.SetConnMaxIdleTime(5 * time.Minute)
		p.SetConnMaxLifetime(30 * time.Minute)
		return p
	}
	db.write, db.record, db.read = pool(8), pool(4), pool(8)
	if err := db.write.PingContext(ctx); err != nil {
		return db.fail("connect to the database", err)
	}
	return nil
}

// freeLocks makes the server end a transaction whose node was cut off in the middle, so that its locks stop nobody for longer.
func freeLocks(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET idle_in_transaction_session_timeout = '15s'`)
	return err
}

func classifyPostgres(err error) fault {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || pgconn.Timeout(err) || pgconn.SafeToRetry(err) {
			return faultUnavailable
		}
		return classifyIO(err)
	}
	switch e.Code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return faultAgain
	case "23505": // unique_violation
		return faultDuplicate
	case "23503": // foreign_key_violation
		return faultReference
	case "23514", "23502": // check_violation, not_null_violation
		return faultCheck
	case "25006", "25P03", "55P03": // read_only_sql_transaction (a standby), idle_in_transaction_session_timeout, lock_not_available
		return faultUnavailable
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "53", "57", "58": // connection, resources, operator intervention, system error
		return faultUnavailable
	}
	return faultOther
}

// brokenPostgres tells a connection that the server or the network ended from one that could not be made.
func brokenPostgres(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || pgconn.Timeout(err) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "57P01", "57P02", "57P05": // admin_shutdown, crash_shutdown, idle_session_timeout: what ends a session
			return true
		}
		return false
	}
	return classifyIO(err) == faultUnavailable
}

// classifyIO recognizes a broken connection and a failing disk, whichever driver met it.
func classifyIO(err error) fault {
	if _, ok := errors.AsType[net.Error](err); ok {
		return faultUnavailable
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return faultUnavailable
	}
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn, sql.ErrConnDone} {
		if errors.Is(err, gone) {
			return faultUnavailable
		}
	}
	return faultOther
}
