package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"gatehouse"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema. Steps go forward only: docs/adr/0004-forward-only-migrations.md.
type migration struct {
	version int64
	name    string
	script  string
}

// Migrate brings the schema to the version of this binary. All steps commit together or not at all, under a lock, so that nodes
// that start at once do it once. It refuses a database that a newer binary has migrated.
func (db *DB) Migrate(ctx context.Context) error {
	steps, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	return db.migrate(ctx, steps)
}

// MigrateTo is Migrate as the binary did it whose newest migration was version. It is for tests of upgrades.
func (db *DB) MigrateTo(ctx context.Context, version int) error {
	steps, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	return db.migrate(ctx, steps[:min(version, len(steps))])
}

// SchemaVersion returns the version of the newest migration that this binary knows.
func SchemaVersion() int64 {
	steps, err := migrations(migrationFiles)
	if err != nil {
		panic(err) // the files are part of the binary, and every test reads them
	}
	return int64(len(steps))
}

// SchemaVersion returns the version of the database's schema: SchemaVersion's, or a newer one that a newer binary made of it
// since it was opened. 0: there is no schema.
func (tx *Tx) SchemaVersion() (int64, error) {
	return tx.number("read the schema's version", `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`)
}

func (db *DB) migrate(ctx context.Context, steps []migration) error {
	tx, err := db.begin(ctx, db.write, db.engine.writeTx)
	if err != nil {
		return db.fail("begin a migration", err)
	}
	defer rollback(tx)
	if err := db.engine.lockSchema(ctx, tx); err != nil {
		return db.fail("lock the schema", err)
	}
	have, err := db.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if known := int64(len(steps)); have > known {
		return gatehouse.Errorf(gatehouse.Conflict, "the database has schema version %d and this binary knows up to %d: run the newer gatehouse, or restore a backup from before it", have, known)
	}
	if err := db.apply(ctx, tx, steps[have:]); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return db.fail("commit the migration", err)
	}
	return nil
}

// schemaVersion returns the version of the schema, 0 for an empty database, and creates the table that keeps it.
func (db *DB) schemaVersion(ctx context.Context, tx *sql.Tx) (have int64, err error) {
	const create = `CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`
	const current = `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`
	if _, err := tx.ExecContext(ctx, create); err != nil {
		return 0, db.fail("create table schema_migrations", err)
	}
	if err := tx.QueryRowContext(ctx, current).Scan(&have); err != nil {
		return 0, db.fail("read the schema's version", err)
	}
	return have, nil
}

// apply runs migrations.
func (db *DB) apply(ctx context.Context, tx *sql.Tx, steps []migration) error {
	const done = `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`
	for _, step := range steps {
		if _, err := tx.ExecContext(ctx, db.engine.ddl(step.script)); err != nil {
			return db.fail("migration "+step.name, err)
		}
		if carry := carries[step.name]; carry != nil {
			if err := carry(ctx, tx); err != nil {
				return db.fail("migration "+step.name, err)
			}
		}
		if _, err := tx.ExecContext(ctx, done, step.version, step.name, db.now().UnixMilli()); err != nil {
			return db.fail("migration "+step.name, err)
		}
	}
	return nil
}

// migrations reads the steps in order. Their file names begin with 0001_, 0002_, ... without a gap.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var steps []migration
	for i, name := range names {
		digits, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		steps = append(steps, migration{version: version, name: path.Base(name), script: string(script)})
	}
	return steps, nil
}
