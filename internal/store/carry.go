package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"gatehouse"
)

// carries are the steps of the schema that SQL alone cannot take, by the name of the migration they follow.
var carries = map[string]func(context.Context, *sql.Tx) error{"0006_pages.sql": carryPages, "0016_rollup_pages.sql": carrySums}

// carriedRows is how many rows a page gets when rows are carried over.
const carriedRows = 512

// carryPages moves what usage and requests hold into pages.
func carryPages(ctx context.Context, tx *sql.Tx) error {
	const usage = `SELECT id, at, organization, project, key_id, user_id, service_account, product, model, upstream_model, upstream, service_tier,
		batch, confidence, cost_known, cost, input, cached, cache_write, input_text, input_audio, input_image, cached_audio, cached_image,
		output, reasoning, output_text, output_audio, output_image, images, characters, audio_milliseconds, video_milliseconds, trained
		FROM usage WHERE id > $1 ORDER BY id LIMIT $2`
	err := carry(ctx, tx, usage, `INSERT INTO usage_ids (id, page) VALUES ($1, $2)`, `INSERT INTO usage_pages (page, body) VALUES ($1, $2)`,
		func(rows *sql.Rows, p *packer) (string, gatehouse.Millis, func() error, error) {
			var u gatehouse.Usage
			dest := []any{&u.ID, (*int64)(&u.At), &u.Organization, &u.Project, &u.Key, &u.User, &u.ServiceAccount, &u.Product, &u.Model, &u.UpstreamModel,
				&u.Upstream, &u.ServiceTier, &u.Batch, (*string)(&u.Confidence), &u.CostKnown, (*int64)(&u.Cost), &u.Units.Input, &u.Units.Cached, &u.Units.CacheWrite,
				&u.Units.InputText, &u.Units.InputAudio, &u.Units.InputImage, &u.Units.CachedAudio, &u.Units.CachedImage, &u.Units.Output, &u.Units.Reasoning,
				&u.Units.OutputText, &u.Units.OutputAudio, &u.Units.OutputImage, &u.Units.Images, &u.Units.Characters, &u.Units.Milliseconds,
				&u.Units.VideoMilliseconds, &u.Units.Trained}
			if err := rows.Scan(dest...); err != nil {
				return "", 0, nil, err
			}
			p.record(func() { p.usage(&u) })
			return u.ID, u.At, nil, nil
		})
	if err != nil {
		return fmt.Errorf("carry usage: %w", err)
	}
	const requests = `SELECT id, body FROM requests WHERE id > $1 ORDER BY id LIMIT $2`
	const name = `INSERT INTO request_names (organization, name, at, id) VALUES ($1, $2, $3, $4) ON CONFLICT (organization, name, at, id) DO NOTHING`
	err = carry(ctx, tx, requests, `INSERT INTO request_ids (id, page) VALUES ($1, $2)`, `INSERT INTO request_pages (page, body) VALUES ($1, $2)`,
		func(rows *sql.Rows, p *packer) (string, gatehouse.Millis, func() error, error) {
			var id string
			var body []byte
			if err := rows.Scan(&id, &body); err != nil {
				return "", 0, nil, err
			}
			var q gatehouse.Request
			if err := json.Unmarshal(body, &q); err != nil {
				return "", 0, nil, fmt.Errorf("%s: %w", id, err)
			}
			own := true
			p.record(func() { p.request(&q, &own) })
			if q.ClientRequestID == "" {
				return id, q.At, nil, nil
			}
			return id, q.At, func() error {
				_, err := tx.ExecContext(ctx, name, label(q.Organization), ident(q.ClientRequestID), int64(q.At), id)
				return err
			}, nil
		})
	if err != nil {
		return fmt.Errorf("carry requests: %w", err)
	}
	return nil
}

// carry reads all rows of a query by id, some at a time, and writes a page of them each time. Pack reads a row, writes its record
// and returns its id, its age, and what else there is to write once the rows are read.
func carry(ctx context.Context, tx *sql.Tx, query, insertID, insertPage string, pack func(*sql.Rows, *packer) (string, gatehouse.Millis, func() error, error)) error {
	for after := ""; ; {
		rows, err := tx.QueryContext(ctx, query, after, carriedRows)
		if err != nil {
			return err
		}
		p := newPacker()
		var newest gatehouse.Millis
		var ids []string
		var more []func() error
		for rows.Next() {
			id, at, then, err := pack(rows, p)
			if err != nil {
				_ = rows.Close() // the first error is the one to show
				return err
			}
			ids, newest = append(ids, id), max(newest, at)
			if then != nil {
				more = append(more, then)
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		after = ids[len(ids)-1]
		page := pageNumber(newest)
		if _, err := tx.ExecContext(ctx, insertPage, page, p.body()); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, insertID, id, page); err != nil {
				return err
			}
		}
		for _, then := range more {
			if err := then(); err != nil {
				return err
			}
		}
	}
}
