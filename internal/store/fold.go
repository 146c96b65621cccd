package store

import (
	"context"
	"errors"
	"math/bits"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// mergeAt is how many pages of about one size are merged into one, and foldRecords how many sums one transaction takes.
const (
	mergeAt     = 8
	foldRecords = 1 << 18
)

// part is the pages that one transaction wrote for one stretch of time.
type part struct {
	bucket, part int64
	pages        int64
	records      int64
}

// MergeSums merges the pages that were recorded and are not folded yet, so that a report has few to read. It does nothing until this
// process has recorded enough, so it may be called often. Several nodes may merge and fold at once: a page is taken by one of them.
func (db *DB) MergeSums(ctx context.Context) error {
	if db.recordedSums.Load() < mergeAt {
		return nil
	}
	db.recordedSums.Store(0)
	return db.eachSumOrganization(ctx, func(organization string) error {
		return db.tidy(ctx, organization, minuteMillis, true, 0, endOfTime)
	})
}

// FoldSums makes hours of the minutes that were recorded since it was last called, and days of those hours. It need not wait for an hour
// or a day to be over, since what comes later becomes a page more. A crash at any moment and another node that folds too leave every
// sum as it is.
func (db *DB) FoldSums(ctx context.Context) error {
	return db.eachSumOrganization(ctx, func(organization string) error {
		if err := db.fold(ctx, organization, minuteMillis, hourMillis); err != nil {
			return err
		}
		return db.fold(ctx, organization, hourMillis, dayMillis)
	})
}

// eachSumOrganization calls fn with every organization that has sums.
func (db *DB) eachSumOrganization(ctx context.Context, fn func(organization string) error) error {
	const first = `SELECT organization FROM rollup_pages WHERE organization >= $1 ORDER BY organization LIMIT 1`
	const next = `SELECT organization FROM rollup_pages WHERE organization > $1 ORDER BY organization LIMIT 1`
	query, after := first, ""
	for {
		var organization string
		err := db.View(ctx, func(tx *Tx) error {
			o, err := one(tx, "organization of sums", "", func(r row, s *string) error { return r.Scan(s) }, query, after)
			if err == nil {
				organization = *o
			}
			return err
		})
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			return nil
		case err != nil:
			return err
		}
		if err := fn(organization); err != nil {
			return err
		}
		query, after = next, organization
	}
}

// parts returns what there is of an organization's sums of one width, in the order of time, without what is in it.
func (tx *Tx) parts(organization string, width int64, open bool, from, until int64) ([]part, error) {
	const query = `SELECT bucket, part, records FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = 0 AND open = $3 AND bucket >= $4 AND bucket < $5
		ORDER BY bucket, part`
	var list []part
	scan := func(r row, p *part) error { return r.Scan(&p.bucket, &p.part, &p.records) }
	err := each(tx, "parts of sums", scan, func(p *part) error {
		if n := len(list); n > 0 && list[n-1].bucket == p.bucket && list[n-1].part == p.part {
			list[n-1].pages++
			list[n-1].records += p.records
			return nil
		}
		p.pages = 1
		list = append(list, *p)
		return nil
	}, query, organization, width, truth(open), from, until)
	return list, err
}

// endOfTime is after every bucket.
const endOfTime = 1<<63 - 1

// fold makes sums of width to from the open ones of width from.
func (db *DB) fold(ctx context.Context, organization string, from, to int64) error {
	for {
		var list []part
		err := db.View(ctx, func(tx *Tx) (err error) {
			list, err = tx.parts(organization, from, true, 0, endOfTime)
			return err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		// One stretch of time in a transaction, or a piece of it.
		stretch := floor(list[0].bucket, to)
		records := int64(0)
		n := 0
		for n < len(list) && floor(list[n].bucket, to) == stretch && (n == 0 || records+list[n].records <= foldRecords) {
			records += list[n].records
			n++
		}
		err = db.rewrite(ctx, organization, from, true, list[:n], func(pages [][]byte) ([]rewritten, error) {
			if from == minuteMillis {
				out, err := sums.Merge(pages, sums.Keep{Minutes: true, Keys: true}, sums.Keep{Keys: true}, sums.Keep{})
				if err != nil {
					return nil, err
				}
				return []rewritten{{pageKey{width: from, bucket: stretch}, out[0]}, {pageKey{width: to, open: true, bucket: stretch}, out[1]},
					{pageKey{width: to, open: true, keyless: true, bucket: stretch}, out[2]}}, nil
			}
			out, err := sums.Merge(pages, sums.Keep{Keys: true}, sums.Keep{})
			if err != nil {
				return nil, err
			}
			return []rewritten{{pageKey{width: to, bucket: stretch}, out[0]}, {pageKey{width: to, keyless: true, bucket: stretch}, out[1]}}, nil
		})
		switch {
		case errors.Is(err, errTaken):
			return nil // another node folds: it goes on with the rest
		case err != nil:
			return err
		}
		if err := db.tidy(ctx, organization, from, false, stretch, stretch+to); err != nil {
			return err
		}
		if err := db.tidy(ctx, organization, to, to == hourMillis, stretch, stretch+1); err != nil {
			return err
		}
	}
}

// tidy merges pages of one width of an organization in the buckets from from to before until, where there are many. Pages of about one
// size are merged with each other, so that a sum is written again only as often as the sums around it have multiplied.
func (db *DB) tidy(ctx context.Context, organization string, width int64, open bool, from, until int64) error {
	var list []part
	err := db.View(ctx, func(tx *Tx) (err error) {
		list, err = tx.parts(organization, width, open, from, until)
		return err
	})
	if err != nil {
		return err
	}
	type class struct {
		bucket int64
		size   int
	}
	classes := map[class][]part{}
	var order []class
	for _, p := range list {
		c := class{p.bucket, bits.Len64(uint64(p.records)) / 3}
		if len(classes[c]) == 0 {
			order = append(order, c)
		}
		classes[c] = append(classes[c], p)
	}
	for _, c := range order {
		same := classes[c]
		for len(same) >= mergeAt {
			n, records := 0, int64(0)
			for n < len(same) && (n < 2 || records+same[n].records <= foldRecords) {
				records += same[n].records
				n++
			}
			err := db.rewrite(ctx, organization, width, open, same[:n], func(pages [][]byte) ([]rewritten, error) {
				keeps := []sums.Keep{{Minutes: width == minuteMillis, Keys: true}}
				if width > minuteMillis {
					keeps = append(keeps, sums.Keep{})
				}
				out, err := sums.Merge(pages, keeps...)
				if err != nil {
					return nil, err
				}
				all := []rewritten{{pageKey{width: width, open: open, bucket: c.bucket}, out[0]}}
				if len(out) > 1 {
					all = append(all, rewritten{pageKey{width: width, open: open, bucket: c.bucket, keyless: true}, out[1]})
				}
				return all, nil
			})
			if errors.Is(err, errTaken) {
				break // another node merges them
			}
			if err != nil {
				return err
			}
			same = same[n:]
		}
	}
	return nil
}

// rewritten is pages in the place of others.
type rewritten struct {
	pageKey // of all of them, but for organization, part and page
	pages   []sums.Page
}

// errTaken says that another transaction has taken one of the pages.
var errTaken = errors.New("the pages were taken")

// rewrite takes parts away and puts what make makes of them in their place, in one transaction. What it reads it reads before that: a
// page never changes, so that whoever takes its row away has all of it. Hours that become days are not taken away: they are closed.
func (db *DB) rewrite(ctx context.Context, organization string, width int64, open bool, parts []part, make func(pages [][]byte) ([]rewritten, error)) error {
	var bodies [][]byte
	err := db.View(ctx, func(tx *Tx) error {
		for _, p := range parts {
			if err := tx.partBodies(organization, width, open, p, &bodies); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := make(bodies)
	if err != nil {
		return db.fail("merge sums of "+organization, err)
	}
	closing := width == hourMillis && len(out) > 0 && out[0].width == dayMillis
	return db.retry(ctx, func() error {
		stmts, err := db.stmts.prepare(ctx, db.record, db.engine.placeholder)
		if err != nil {
			return db.fail("prepare to merge sums", err)
		}
		tx, err := db.begin(ctx, db.record, db.engine.writeTx)
		if err != nil {
			return db.fail("begin to merge sums", err)
		}
		defer rollback(tx)
		r := recorder{ctx: ctx, db: db, tx: tx, stmts: stmts}
		for _, p := range parts {
			if err := r.take(organization, width, open, p, closing); err != nil {
				return err
			}
		}
		number := newPart()
		for i := range out {
			o := &out[i]
			o.organization, o.part = organization, number
			err := insertRollupPages.rows(&r, len(o.pages), func(args []any, i int) []any {
				o.page = int64(i)
				return appendPage(args, &o.pageKey, &o.pages[i])
			}, nil)
			if err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return db.fail("commit merged sums", err)
		}
		return nil
	})
}

// partBodies appends the pages of a part.
func (tx *Tx) partBodies(organization string, width int64, open bool, p part, bodies *[][]byte) error {
	const query = `SELECT body FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = 0 AND open = $3 AND bucket = $4 AND part = $5 ORDER BY page`
	return each(tx, "sums", scanBody, func(b *[]byte) error { *bodies = append(*bodies, *b); return nil }, query, organization, width, truth(open), p.bucket, p.part)
}

// take takes a part away, or closes it; errTaken when another transaction was first.
func (r *recorder) take(organization string, width int64, open bool, p part, closing bool) error {
	const remove = `DELETE FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = $3 AND open = $4 AND bucket = $5 AND part = $6`
	const closes = `UPDATE rollup_pages SET open = 0 WHERE organization = $1 AND width = $2 AND keyless = $3 AND open = $4 AND bucket = $5 AND part = $6`
	query := remove
	if closing {
		query = closes
	}
	for _, keyless := range []bool{false, true} {
		if keyless && width == minuteMillis {
			continue
		}
		r.db.traced(query)
		result, err := r.tx.ExecContext(r.ctx, query, organization, width, truth(keyless), truth(open), p.bucket, p.part)
		if err != nil {
			return r.db.fail("take sums of "+organization, err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return r.db.fail("take sums of "+organization, err)
		}
		if !keyless && n != p.pages {
			return errTaken
		}
	}
	return nil
}
