package store

import "gatehouse"

// Usage returns one settled request as it was recorded.
func (tx *Tx) Usage(id string) (*gatehouse.Usage, error) {
	const query = `SELECT at, organization, project, key_id, user_id, service_account, product, model, upstream_model, upstream, service_tier,
		batch, confidence, cost_known, cost, input, cached, cache_write, input_text, input_audio, input_image, cached_audio, cached_image,
		output, reasoning, output_text, output_audio, output_image, images, characters, audio_milliseconds, video_milliseconds, trained FROM usage WHERE id = $1`
	return one(tx, "usage", id, func(r row, u *gatehouse.Usage) error {
		u.ID = id
		dest := []any{(*int64)(&u.At), &u.Organization, &u.Project, &u.Key, &u.User, &u.ServiceAccount, &u.Product, &u.Model, &u.UpstreamModel,
			&u.Upstream, &u.ServiceTier, &u.Batch, (*string)(&u.Confidence), &u.CostKnown, (*int64)(&u.Cost)}
		for _, unit := range unitFields(&u.Units) {
			dest = append(dest, unit)
		}
		return r.Scan(dest...)
	}, query, ident(id))
}

// CountUsage returns how many settled requests are recorded. It reads the whole table: for tests and repair.
func (tx *Tx) CountUsage() (int64, error) {
	return tx.number("count usage", `SELECT COUNT(*) FROM usage`)
}
