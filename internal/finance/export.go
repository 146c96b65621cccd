package finance

import (
	"context"
	"io"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// Format is how a file is written.
type Format string

// The formats of exports.
const (
	CSV     Format = "csv"
	Parquet Format = "parquet"
)

// ExportQuery says what to export. What begins within a bucket begins with it.
type ExportQuery struct {
	Start, End gatehouse.Millis
	Hourly     bool // a line for each hour; else for each day
	Format     Format
	Filter
	// Zone is where months begin: the billing periods. The buckets themselves are UTC's, as in OpenAI's usage API.
	Zone *time.Location
}

// maxExport is how many buckets one export may span: ten years of days, a year of hours.
const maxExport = 10_000

// Check reports whether the query can be answered.
func (q *ExportQuery) Check() error {
	width := q.width()
	switch {
	case q.Format != CSV && q.Format != Parquet:
		return gatehouse.InvalidParam("format", "Invalid 'format': must be 'csv' or 'parquet'.")
	case q.End <= q.Start || q.Start < 0:
		return gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time'.")
	case (q.End-q.Start)/width >= maxExport:
		return gatehouse.InvalidParam("start_time", "Invalid 'start_time': at most %d days or hours can be exported at once.", maxExport)
	}
	return nil
}

func (q *ExportQuery) width() gatehouse.Millis {
	if q.Hourly {
		return hour
	}
	return day
}

// groups is everything an export keeps apart.
var groups = []string{store.ByProduct, store.ByProject, store.ByKey, store.ByUser, store.ByServiceAccount, store.ByModel, store.ByUpstream, store.ByUpstreamModel,
	store.ByServiceTier, store.ByBatch, store.ByConfidence}

// Export writes the charges of a stretch of time. It holds one bucket in memory, in one short view of the database each, so that a
// slow reader holds nothing open. The same sums make the same bytes: charges are ordered by time, then by group and meter.
func (b *Books) Export(ctx context.Context, w io.Writer, q *ExportQuery) error {
	if err := q.Check(); err != nil {
		return err
	}
	var out sink
	if q.Format == Parquet {
		out = newParquet(w)
	} else {
		var err error
		if out, err = newCSV(w); err != nil {
			return err
		}
	}
	width, span := q.width(), span{width: 0}
	if q.Hourly {
		span.width = 1
	}
	var org *gatehouse.Organization
	known := b.names()
	cells := make([]cell, len(columns))
	for at := q.Start / width * width; at < q.End; at += width {
		var lines []line
		err := b.DB.View(ctx, func(tx *store.Tx) (err error) {
			lines = lines[:0]
			if org, err = tx.Organization(b.Organization); err != nil {
				return err
			}
			span.start, span.end = at, at+width
			period, next := month(at, q.Zone)
			return b.read(tx, span, q.Filter, groups, func(r *Row) error {
				base := line{Row: r, org: org, period: period, next: next}
				if base.project, err = known.project(tx, r.Project); err != nil {
					return err
				}
				if base.key, err = known.key(tx, r.Key); err != nil {
					return err
				}
				if base.upstream, err = known.upstream(tx, r.Upstream); err != nil {
					return err
				}
				lines = b.charges(lines, base)
				return nil
			})
		})
		if err != nil {
			return err
		}
		for i := range lines {
			for j := range columns {
				cells[j] = columns[j].of(&lines[i])
			}
			if err := out.row(cells); err != nil {
				return err
			}
		}
	}
	return out.close()
}

// charges appends the charges of a row.
func (b *Books) charges(lines []line, base line) []line {
	base.provider = providerOf(base.upstream, base.Upstream)
	base.labels = labels(base.project, base.key)
	sku := base.Row.sku(base.upstream)
	if base.model = sku.Model; base.model == "" {
		base.model = sku.Deployment
	}
	for i, share := range b.split(base.Row, base.upstream) {
		l := base
		l.Share, l.first = share, i == 0
		lines = append(lines, l)
	}
	return lines
}

func (r *Row) sku(up *gatehouse.Upstream) Sku {
	return Sku{Upstream: up, Model: r.UpstreamModel, Deployment: r.Model, ServiceTier: r.ServiceTier, Batch: r.Batch, At: r.Start}
}

// split divides a row among the meters of what was used.
func (b *Books) split(r *Row, up *gatehouse.Upstream) []Share {
	sku, price := r.sku(up), b.Price
	if price == nil {
		price = func(*Sku, gatehouse.Units) (gatehouse.NanoUSD, bool) { return 0, false }
	}
	return Split(price, &sku, &r.Units, r.Requests, r.Sums.Cost)
}
