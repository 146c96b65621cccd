package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gatehouse"
)

// widths are the bucket widths that are kept, in milliseconds, by their names in OpenAI's API. Buckets begin at multiples of
// their width since 1970 in UTC.
var widths = []width{{"1m", 60_000}, {"1h", 3_600_000}, {"1d", 86_400_000}}

type width struct {
	name   string
	millis int64
}

// rollupKey is what a sum is kept by.
type rollupKey struct {
	organization, product string
	width, bucket         int64
	project, key          string
	user, serviceAccount  string
	model, tier           string
	batch                 bool
}

// order is the order in which nodes take rows of rollups: that of the primary key.
func (k *rollupKey) order() string {
	var b strings.Builder
	for _, s := range []string{k.organization, k.product, fmt.Sprintf("%020d%020d", k.width, k.bucket), k.project, k.key, k.user, k.serviceAccount, k.model, k.tier} {
		b.WriteString(s)
		b.WriteByte(0) // in no text, see label
	}
	b.WriteString(strconv.FormatBool(k.batch))
	return b.String()
}

var insertRollups = insert{op: "record sums", columns: 32,
	head: `INSERT INTO rollups (organization, product, width, bucket, project, key_id, user_id, service_account, model, service_tier, batch, requests,
		unpriced, cost, input, cached, cache_write, input_text, input_audio, input_image, cached_audio, cached_image, output, reasoning,
		output_text, output_audio, output_image, images, characters, audio_milliseconds,
		video_milliseconds, trained) VALUES `,
	tail: ` ON CONFLICT (organization, product, width, bucket, project, key_id, user_id, service_account, model, service_tier, batch) DO UPDATE SET
		requests = rollups.requests + excluded.requests, unpriced = rollups.unpriced + excluded.unpriced, cost = rollups.cost + excluded.cost,
		input = rollups.input + excluded.input, cached = rollups.cached + excluded.cached, cache_write = rollups.cache_write + excluded.cache_write,
		input_text = rollups.input_text + excluded.input_text, input_audio = rollups.input_audio + excluded.input_audio,
		input_image = rollups.input_image + excluded.input_image, cached_audio = rollups.cached_audio + excluded.cached_audio,
		cached_image = rollups.cached_image + excluded.cached_image, output = rollups.output + excluded.output,
		reasoning = rollups.reasoning + excluded.reasoning, output_text = rollups.output_text + excluded.output_text,
		output_audio = rollups.output_audio + excluded.output_audio, output_image = rollups.output_image + excluded.output_image,
		images = rollups.images + excluded.images, characters = rollups.characters + excluded.characters,
		audio_milliseconds = rollups.audio_milliseconds + excluded.audio_milliseconds,
		video_milliseconds = rollups.video_milliseconds + excluded.video_milliseconds, trained = rollups.trained + excluded.trained`}

// rollup adds usage that was not counted before, as it is stored, to the sums.
func (r *recorder) rollup(fresh []*gatehouse.Usage) error {
	type sum struct {
		key rollupKey
		Sums
	}
	sums := map[rollupKey]*sum{}
	var before [3]*sum // most often the next request counts in the same sums
	for _, u := range fresh {
		for j, w := range widths {
			key := rollupKey{u.Organization, u.Product, w.millis, floor(int64(u.At), w.millis), u.Project, u.Key, u.User, u.ServiceAccount, u.Model, u.ServiceTier, u.Batch}
			s := before[j]
			if s == nil || s.key != key {
				if s = sums[key]; s == nil {
					s = &sum{key: key}
					sums[key] = s
				}
				before[j] = s
			}
			s.add(u)
		}
	}
	byOrder := make(map[string]*sum, len(sums))
	order := make([]string, 0, len(sums))
	for key, s := range sums {
		o := key.order()
		byOrder[o] = s
		order = append(order, o)
	}
	slices.Sort(order)
	return insertRollups.run(r, order, func(o string) []any {
		s := byOrder[o]
		args := make([]any, 0, insertRollups.columns)
		args = append(args, s.key.organization, s.key.product, s.key.width, s.key.bucket, s.key.project, s.key.key, s.key.user, s.key.serviceAccount,
			s.key.model, s.key.tier, truth(s.key.batch), s.Requests, s.Unpriced, int64(s.Cost))
		return appendUnits(args, &s.Units)
	}, nil)
}

// floor returns the largest multiple of width that is at most at.
func floor(at, width int64) int64 {
	rest := at % width
	if rest < 0 {
		rest += width
	}
	return at - rest
}

// Sums is usage added up.
type Sums struct {
	Requests int64
	Unpriced int64             // how many of the requests had no known price and are not in Cost
	Cost     gatehouse.NanoUSD // of the priced ones
	Units    gatehouse.Units
}

func (s *Sums) add(u *gatehouse.Usage) {
	s.Requests++
	if u.CostKnown {
		s.Cost += u.Cost
	} else {
		s.Unpriced++
	}
	to, from := unitFields(&s.Units), unitFields(&u.Units)
	for i := range to {
		*to[i] += *from[i]
	}
}

// The dimensions by which UsageBuckets can group, in OpenAI's words.
const (
	ByProject     = "project_id"
	ByUser        = "user_id"
	ByKey         = "api_key_id"
	ByModel       = "model"
	ByBatch       = "batch"
	ByServiceTier = "service_tier"
)

var dimensions = map[string]string{
	ByProject: "project", ByUser: "user_id", ByKey: "key_id", ByModel: "model", ByBatch: "batch", ByServiceTier: "service_tier",
}

// UsageQuery asks for sums. Organization and Product must be set; the lists select, and an empty one selects everything.
type UsageQuery struct {
	Organization string
	Product      string
	Start        gatehouse.Millis // the bucket it lies in is the first
	End          gatehouse.Millis // buckets that begin here or later are left out
	Width        string           // "1m", "1h" or "1d"
	Projects     []string
	Users        []string
	Keys         []string
	Models       []string
	Batch        *bool
	GroupBy      []string // of the By constants, any order
}

// UsageBucket is the sums of one stretch of time.
type UsageBucket struct {
	Start   gatehouse.Millis
	End     gatehouse.Millis
	Results []UsageResult // empty when nothing happened; one when nothing is grouped
}

// UsageResult is the sums of one group. A dimension that GroupBy does not name is empty; User is empty too for keys of service
// accounts.
type UsageResult struct {
	Project     string
	User        string
	Key         string
	Model       string
	Batch       bool
	ServiceTier string
	Sums
}

// MaxBuckets is how many buckets one query may span: more than a year of days and a week of minutes.
const MaxBuckets = 10_080

// maxValues is how many values one list of a UsageQuery may have: engines bound what a statement takes.
const maxValues = 1000

// UsageBuckets returns the buckets from Start to End in order, empty ones too, from the sums that Record keeps.
func (tx *Tx) UsageBuckets(q UsageQuery) ([]UsageBucket, error) {
	const sums = `, CAST(SUM(requests) AS BIGINT), CAST(SUM(unpriced) AS BIGINT), CAST(SUM(cost) AS BIGINT), CAST(SUM(input) AS BIGINT),
		CAST(SUM(cached) AS BIGINT), CAST(SUM(cache_write) AS BIGINT), CAST(SUM(input_text) AS BIGINT), CAST(SUM(input_audio) AS BIGINT),
		CAST(SUM(input_image) AS BIGINT), CAST(SUM(cached_audio) AS BIGINT), CAST(SUM(cached_image) AS BIGINT), CAST(SUM(output) AS BIGINT),
		CAST(SUM(reasoning) AS BIGINT), CAST(SUM(output_text) AS BIGINT), CAST(SUM(output_audio) AS BIGINT), CAST(SUM(output_image) AS BIGINT),
		CAST(SUM(images) AS BIGINT), CAST(SUM(characters) AS BIGINT), CAST(SUM(audio_milliseconds) AS BIGINT),
		CAST(SUM(video_milliseconds) AS BIGINT), CAST(SUM(trained) AS BIGINT) FROM rollups WHERE `

	w := slices.IndexFunc(widths, func(w width) bool { return w.name == q.Width })
	if w < 0 {
		return nil, gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': it must be 1m, 1h or 1d.")
	}
	width := widths[w].millis
	first := floor(int64(q.Start), width)
	if q.End <= q.Start {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': it must be after 'start_time'.")
	}
	span := int64(q.End) - first
	if q.Start < 0 || (span-1)/width >= MaxBuckets {
		return nil, gatehouse.InvalidParam("start_time", "Invalid 'start_time': at most %d buckets can be asked for at once.", MaxBuckets)
	}
	for param, values := range map[string][]string{"project_ids": q.Projects, "user_ids": q.Users, "api_key_ids": q.Keys, "models": q.Models} {
		if len(values) > maxValues {
			return nil, gatehouse.InvalidParam(param, "Invalid '%s': at most %d values are allowed.", param, maxValues)
		}
	}

	var result UsageResult // where rows are scanned
	var bucket int64
	dest := []any{&bucket}
	columns := "bucket"
	for _, by := range slices.Compact(slices.Sorted(slices.Values(q.GroupBy))) {
		column, ok := dimensions[by]
		if !ok {
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': '%s' is not one of project_id, user_id, api_key_id, model, batch, service_tier.", by)
		}
		columns += ", " + column
		dest = append(dest, result.dimension(by))
	}
	dest = append(dest, &result.Requests, &result.Unpriced, (*int64)(&result.Cost))
	for _, unit := range unitFields(&result.Units) {
		dest = append(dest, unit)
	}

	var sel selection
	sel.and("organization = ? AND product = ? AND width = ? AND bucket >= ? AND bucket < ?", q.Organization, q.Product, width, first, int64(q.End))
	sel.in("project", q.Projects)
	sel.in("user_id", q.Users)
	sel.in("key_id", q.Keys)
	sel.in("model", q.Models)
	if q.Batch != nil {
		sel.and("batch = ?", truth(*q.Batch))
	}
	query := "SELECT " + columns + sums + strings.Join(sel.where, " AND ") + " GROUP BY " + columns + " ORDER BY " + columns

	buckets := make([]UsageBucket, (span-1)/width+1)
	for i := range buckets {
		start := first + int64(i)*width
		buckets[i] = UsageBucket{Start: gatehouse.Millis(start), End: gatehouse.Millis(start + width)}
	}
	scan := func(r row, _ *struct{}) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		b := &buckets[(bucket-first)/width]
		b.Results = append(b.Results, result)
		return nil
	}
	err := each(tx, "usage", scan, func(*struct{}) error { return nil }, query, sel.args...)
	return buckets, err
}

// dimension returns where the column of a dimension goes.
func (u *UsageResult) dimension(by string) any {
	switch by {
	case ByProject:
		return &u.Project
	case ByUser:
		return &u.User
	case ByKey:
		return &u.Key
	case ByModel:
		return &u.Model
	case ByServiceTier:
		return &u.ServiceTier
	}
	return &u.Batch // database/sql reads 0 and 1
}
