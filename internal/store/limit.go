package store

import "gatehouse"

const limitSelect = `SELECT id, organization, scope, subject, model, requests_per_minute, tokens_per_minute, requests_per_day, images_per_minute,
	audio_megabytes_per_minute, batch_input_tokens_per_day, created_at, removed_at, rev FROM rate_limits`

func scanLimit(r row, l *gatehouse.Limit) error {
	return r.Scan(&l.ID, &l.Organization, (*string)(&l.Scope), &l.Subject, &l.Model, &l.Rates.RequestsPerMinute, &l.Rates.TokensPerMinute, &l.Rates.RequestsPerDay,
		&l.Rates.ImagesPerMinute, &l.Rates.AudioMegabytesPerMinute, &l.Rates.BatchInputTokensPerDay, (*int64)(&l.CreatedAt), (*int64)(&l.RemovedAt), &l.Rev)
}

// CreateLimit stores a new limit and sets its Rev, and CreatedAt where it is 0. A second live limit of the same scope, subject and
// model in the organization is a Conflict.
func (tx *Tx) CreateLimit(l *gatehouse.Limit) error {
	const query = `INSERT INTO rate_limits (id, organization, scope, subject, model, requests_per_minute, tokens_per_minute, requests_per_day, images_per_minute,
		audio_megabytes_per_minute, batch_input_tokens_per_day, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`
	tx.stamp(&l.CreatedAt)
	r := &l.Rates
	return tx.create("limit", l.ID, &l.Rev, query, l.ID, l.Organization, string(l.Scope), l.Subject, l.Model, r.RequestsPerMinute, r.TokensPerMinute, r.RequestsPerDay,
		r.ImagesPerMinute, r.AudioMegabytesPerMinute, r.BatchInputTokensPerDay, int64(l.CreatedAt), int64(l.RemovedAt))
}

// SaveLimit stores a changed limit: Rates and RemovedAt, which stays once set.
func (tx *Tx) SaveLimit(l *gatehouse.Limit) error {
	const query = `UPDATE rate_limits SET rev = rev + 1, requests_per_minute = $3, tokens_per_minute = $4, requests_per_day = $5, images_per_minute = $6,
		audio_megabytes_per_minute = $7, batch_input_tokens_per_day = $8, removed_at = $9
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $9)`
	const exists = `SELECT rev FROM rate_limits WHERE id = $1`
	r := &l.Rates
	return tx.save("limit", l.ID, &l.Rev, query, exists, r.RequestsPerMinute, r.TokensPerMinute, r.RequestsPerDay, r.ImagesPerMinute, r.AudioMegabytesPerMinute,
		r.BatchInputTokensPerDay, int64(l.RemovedAt))
}

// Limit returns a limit, removed or not.
func (tx *Tx) Limit(id string) (*gatehouse.Limit, error) {
	return one(tx, "limit", id, scanLimit, limitSelect+` WHERE id = $1`, id)
}

// LimitOf returns the live limit of a subject and a model, NotFound where there is none.
func (tx *Tx) LimitOf(organization string, scope gatehouse.Scope, subject, model string) (*gatehouse.Limit, error) {
	return one(tx, "limit", subject, scanLimit, limitSelect+` WHERE organization = $1 AND scope = $2 AND subject = $3 AND model = $4 AND removed_at = 0`,
		organization, string(scope), subject, model)
}

// Limits returns an organization's limits without removed ones, by scope, subject and model.
func (tx *Tx) Limits(organization string) ([]gatehouse.Limit, error) {
	return all(tx, "limits", scanLimit, limitSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY scope, subject, model`, organization)
}

// EachLimit calls fn with every limit, removed ones too, in no order.
func (tx *Tx) EachLimit(fn func(*gatehouse.Limit) error) error {
	return each(tx, "limits", scanLimit, fn, limitSelect)
}
