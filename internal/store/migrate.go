package store

import (
	"context"
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

func (db *DB) migrate(ctx context.Context, steps []migration) error {
	const create = `CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`
	const current = `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`
	const done = `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`

	tx, err := db.write.BeginTx(ctx, db.engine.writeTx)
	if err != nil {
		return db.fail("begin a migration", err)
	}
	defer rollback(tx)
	if err := db.engine.lockSchema(ctx, tx); err != nil {
		return db.fail("lock the schema", err)
	}
	if _, err := tx.ExecContext(ctx, create); err != nil {
		return db.fail("create table schema_migrations", err)
	}
	var have int64
	if err := tx.QueryRowContext(ctx, current).Scan(&have); err != nil {
		return db.fail("read the schema's version", err)
	}
	if known := int64(len(steps)); have > known {
		return gatehouse.Errorf(gatehouse.Conflict, "the database has schema version %d and this binary knows up to %d: run the newer gatehouse, or restore a backup from before it", have, known)
	}
	for _, step := range steps[have:] {
		if _, err := tx.ExecContext(ctx, db.engine.ddl(step.script)); err != nil {
			return db.fail("migration "+step.name, err)
		}
		if _, err := tx.ExecContext(ctx, done, step.version, step.name, db.now().UnixMilli()); err != nil {
			return db.fail("migration "+step.name, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return db.fail("commit the migration", err)
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
