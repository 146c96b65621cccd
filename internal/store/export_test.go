package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// SumLine is the last line of a backup whose other lines are text.
func SumLine(text string) string {
	sum := sha256.Sum256([]byte(text))
	return `{"sha256":"` + hex.EncodeToString(sum[:]) + "\"}\n"
}

// AddSums stores pages of sums as Record and FoldSums do: minutes and hours open, days closed, hours and days without keys as well.
func (db *DB) AddSums(ctx context.Context, organization, width string, bucket gatehouse.Millis, pages []sums.Page) error {
	stmts, err := db.stmts.prepare(ctx, db.record, db.engine.placeholder)
	if err != nil {
		return err
	}
	tx, err := db.record.BeginTx(ctx, db.engine.writeTx)
	if err != nil {
		return err
	}
	defer rollback(tx)
	r := recorder{ctx: ctx, db: db, tx: tx, stmts: stmts}
	key := pageKey{organization: organization, width: widths[width], open: width != "1d", bucket: int64(bucket), part: newPart()}
	add := func(pages []sums.Page) error {
		return insertRollupPages.rows(&r, len(pages), func(args []any, i int) []any {
			key.page = int64(i)
			return appendPage(args, &key, &pages[i])
		}, nil)
	}
	if err := add(pages); err != nil {
		return err
	}
	if width != "1m" {
		bodies := make([][]byte, len(pages))
		for i := range pages {
			bodies[i] = pages[i].Body
		}
		keyless, err := sums.Merge(bodies, sums.Keep{})
		if err != nil {
			return err
		}
		key.keyless = true
		if err := add(keyless[0]); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// SumPages returns how many pages of sums there are of each width, open and closed.
func (db *DB) SumPages(ctx context.Context) (pages map[string]int, err error) {
	pages = map[string]int{}
	err = db.View(ctx, func(tx *Tx) error {
		return each(tx, "pages", func(r row, s *string) error {
			var width, open, keyless, n int64
			err := r.Scan(&width, &open, &keyless, &n)
			*s = fmt.Sprintf("%d/%d/%d", width/minuteMillis, open, keyless)
			pages[*s] = int(n)
			return err
		}, func(*string) error { return nil }, `SELECT width, open, keyless, COUNT(*) FROM rollup_pages GROUP BY width, open, keyless`)
	})
	return pages, err
}

// Exec runs a statement of a benchmark.
func (db *DB) Exec(ctx context.Context, query string, args ...any) error {
	_, err := db.write.ExecContext(ctx, query, args...)
	return err
}
