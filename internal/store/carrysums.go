package store

import (
	"context"
	"database/sql"
	"fmt"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// carrySums moves the rows of rollups into pages. Each width has its own rows of all usage, so its pages are closed from the beginning.
func carrySums(ctx context.Context, tx *sql.Tx) error {
	const stretches = `SELECT DISTINCT organization, width, bucket FROM rollups ORDER BY organization, width, bucket`
	var list []pageKey
	rows, err := tx.QueryContext(ctx, stretches)
	if err != nil {
		return fmt.Errorf("carry sums: %w", err)
	}
	for rows.Next() {
		var k pageKey
		if err := rows.Scan(&k.organization, &k.width, &k.bucket); err != nil {
			_ = rows.Close() // the first error is the one to show
			return fmt.Errorf("carry sums: %w", err)
		}
		k.bucket = floor(k.bucket, max(k.width, hourMillis))
		if n := len(list); n == 0 || list[n-1] != k {
			list = append(list, k)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("carry sums: %w", err)
	}
	for i := range list {
		if err := carryStretch(ctx, tx, list[i]); err != nil {
			return fmt.Errorf("carry sums of %s at %d: %w", list[i].organization, list[i].bucket, err)
		}
	}
	return nil
}

// carryStretch makes pages of the rows of one stretch of time.
func carryStretch(ctx context.Context, tx *sql.Tx, k pageKey) error {
	const query = `SELECT product, project, key_id, user_id, service_account, model, service_tier, batch, bucket, requests, unpriced, cost,
		input, cached, cache_write, input_text, input_audio, input_image, cached_audio, cached_image, output, reasoning,
		output_text, output_audio, output_image, images, characters, audio_milliseconds, video_milliseconds, trained
		FROM rollups WHERE organization = $1 AND width = $2 AND bucket >= $3 AND bucket < $4`
	const insert = `INSERT INTO rollup_pages (organization, width, keyless, open, bucket, part, page, records, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	rows, err := tx.QueryContext(ctx, query, k.organization, k.width, k.bucket, k.bucket+max(k.width, hourMillis))
	if err != nil {
		return err
	}
	var b sums.Builder
	for rows.Next() {
		var u gatehouse.Usage
		var s Sums
		var bucket int64
		n := &s.Units
		err := rows.Scan(&u.Product, &u.Project, &u.Key, &u.User, &u.ServiceAccount, &u.Model, &u.ServiceTier, &u.Batch, &bucket, &s.Requests, &s.Unpriced, (*int64)(&s.Cost),
			&n.Input, &n.Cached, &n.CacheWrite, &n.InputText, &n.InputAudio, &n.InputImage, &n.CachedAudio, &n.CachedImage, &n.Output, &n.Reasoning,
			&n.OutputText, &n.OutputAudio, &n.OutputImage, &n.Images, &n.Characters, &n.Milliseconds, &n.VideoMilliseconds, &n.Trained)
		if err != nil {
			_ = rows.Close() // the first error is the one to show
			return err
		}
		b.AddSums(sums.Of(&u), int((bucket-k.bucket)/minuteMillis), &s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	pages := b.Pages()
	k.part = newPart()
	write := func(pages []sums.Page) error {
		for i := range pages {
			k.page = int64(i)
			if _, err := tx.ExecContext(ctx, insert, appendPage(nil, &k, &pages[i])...); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(pages); err != nil || k.width == minuteMillis {
		return err
	}
	bodies := make([][]byte, len(pages))
	for i := range pages {
		bodies[i] = pages[i].Body
	}
	keyless, err := sums.Merge(bodies, sums.Keep{})
	if err != nil {
		return err
	}
	k.keyless = true
	return write(keyless[0])
}
