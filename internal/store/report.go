package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// The dimensions by which UsageBuckets can group, in OpenAI's words where it has them.
const (
	ByProduct        = "product"
	ByProject        = "project_id"
	ByUser           = "user_id"
	ByServiceAccount = "service_account_id"
	ByKey            = "api_key_id"
	ByModel          = "model"
	ByBatch          = "batch"
	ByServiceTier    = "service_tier"
	ByUpstream       = "upstream"
	ByUpstreamModel  = "upstream_model"
	ByConfidence     = "usage_source"
	BySource         = "source" // of images
	BySize           = "size"   // of images
)

var dimensions = map[string]sums.Dim{
	ByProduct: sums.Product, ByProject: sums.Project, ByUser: sums.User, ByServiceAccount: sums.ServiceAccount, ByKey: sums.Key, ByModel: sums.Model,
	ByBatch: sums.Batch, ByServiceTier: sums.ServiceTier, ByUpstream: sums.Upstream, ByUpstreamModel: sums.UpstreamModel, ByConfidence: sums.Confidence,
	BySource: sums.Source, BySize: sums.Size,
}

// UsageQuery asks for sums. Organization must be set; the lists select, and an empty one selects everything.
type UsageQuery struct {
	Organization string
	Product      string           // empty: all of them
	Start        gatehouse.Millis // the bucket it lies in is the first
	End          gatehouse.Millis // buckets that begin here or later are left out
	Width        string           // "1m", "1h" or "1d"
	Projects     []string
	Users        []string
	Keys         []string
	Models       []string
	Sources      []string
	Sizes        []string
	Labels       map[string][]string // values by the name of the label, see ByLabel
	Batch        *bool
	GroupBy      []string // of the By constants and ByLabel, any order, at most sums.MaxColumns
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
	Product        string
	Project        string
	User           string
	ServiceAccount string
	Key            string
	Model          string
	Batch          bool
	ServiceTier    string
	Upstream       string
	UpstreamModel  string
	Confidence     gatehouse.Confidence
	Source         string
	Size           string
	labels         string // the values of labels, each with a zero byte behind it
	Sums
}

// Labels returns the values of the labels that GroupBy names, in the order of their names.
func (u *UsageResult) Labels() []string {
	values := strings.Split(u.labels, "\x00")
	return values[:len(values)-1]
}

// MaxBuckets is how many buckets one query may span: more than a year of days and a week of minutes.
const MaxBuckets = 10_080

// maxValues is how many values one list of a UsageQuery may have.
const maxValues = 1000

// widths are the bucket widths by their names in OpenAI's API.
var widths = map[string]int64{"1m": minuteMillis, "1h": hourMillis, "1d": dayMillis}

// UsageBuckets returns the buckets from Start to End in order, empty ones too, from the sums that Record and FoldSums keep.
func (tx *Tx) UsageBuckets(q UsageQuery) ([]UsageBucket, error) {
	width, ok := widths[q.Width]
	if !ok {
		return nil, gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': it must be 1m, 1h or 1d.")
	}
	first := floor(int64(q.Start), width)
	if q.End <= q.Start {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': it must be after 'start_time'.")
	}
	span := int64(q.End) - first
	if q.Start < 0 || (span-1)/width >= MaxBuckets {
		return nil, gatehouse.InvalidParam("start_time", "Invalid 'start_time': at most %d buckets can be asked for at once.", MaxBuckets)
	}
	filters, err := q.filters()
	if err != nil {
		return nil, err
	}
	groups, columns, more, err := tx.columns(&q)
	if err != nil {
		return nil, err
	}
	filters = append(filters, more...)
	buckets := make([]UsageBucket, (span-1)/width+1)
	for i := range buckets {
		start := first + int64(i)*width
		buckets[i] = UsageBucket{Start: gatehouse.Millis(start), End: gatehouse.Millis(start + width)}
	}
	report := sums.NewReport(first, first+int64(len(buckets))*width, width, columns, filters)
	if err := tx.eachSumPage(q.Organization, first, first+int64(len(buckets))*width, width, report.Keyless(), report.Add); err != nil {
		return nil, err
	}
	report.Each(func(bucket int, texts []string, s *sums.Sums) {
		b := &buckets[bucket]
		b.Results = append(b.Results, UsageResult{Sums: *s})
		result := &b.Results[len(b.Results)-1]
		for i, by := range groups {
			result.set(by, texts[i])
		}
	})
	return buckets, nil
}

// filters returns what the query selects by.
func (q *UsageQuery) filters() ([]sums.Filter, error) {
	var filters []sums.Filter
	for _, f := range []struct {
		param  string
		dim    sums.Dim
		values []string
	}{{"project_ids", sums.Project, q.Projects}, {"user_ids", sums.User, q.Users}, {"api_key_ids", sums.Key, q.Keys}, {"models", sums.Model, q.Models},
		{"sources", sums.Source, q.Sources}, {"sizes", sums.Size, q.Sizes}} {
		if len(f.values) > maxValues {
			return nil, gatehouse.InvalidParam(f.param, "Invalid '%s': at most %d values are allowed.", f.param, maxValues)
		}
		if len(f.values) > 0 {
			filters = append(filters, sums.Filter{Column: sums.Column{Dim: f.dim}, Texts: textSet(f.values, label)})
		}
	}
	if q.Product != "" {
		filters = append(filters, sums.Filter{Column: sums.Column{Dim: sums.Product}, Texts: map[string]bool{label(q.Product): true}})
	}
	if q.Batch != nil {
		text := ""
		if *q.Batch {
			text = "1"
		}
		filters = append(filters, sums.Filter{Column: sums.Column{Dim: sums.Batch}, Texts: map[string]bool{text: true}})
	}
	return filters, nil
}

// columns returns what a query groups by, each once and in the order of their names, and what its labels select.
func (tx *Tx) columns(q *UsageQuery) (groups []string, columns []sums.Column, filters []sums.Filter, err error) {
	groups = slices.Compact(slices.Sorted(slices.Values(q.GroupBy)))
	if len(groups) > sums.MaxColumns {
		return nil, nil, nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': at most %d are allowed.", sums.MaxColumns)
	}
	labels, filters, err := tx.labelColumns(q, groups)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, by := range groups {
		column, ok := labels[by]
		if dim, named := dimensions[by]; named {
			column, ok = sums.Column{Dim: dim}, true
		}
		if !ok {
			return nil, nil, nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': '%s' is not one of %s, and no label:NAME.", by, strings.Join(slices.Sorted(maps.Keys(dimensions)), ", "))
		}
		columns = append(columns, column)
	}
	return groups, columns, filters, nil
}

// set sets the field of a dimension.
func (u *UsageResult) set(by, text string) {
	if _, ok := LabelColumn(by); ok {
		u.labels += text + "\x00"
		return
	}
	switch by {
	case ByProduct:
		u.Product = text
	case ByProject:
		u.Project = text
	case ByUser:
		u.User = text
	case ByServiceAccount:
		u.ServiceAccount = text
	case ByKey:
		u.Key = text
	case ByModel:
		u.Model = text
	case ByBatch:
		u.Batch = text != ""
	case ByServiceTier:
		u.ServiceTier = text
	case ByUpstream:
		u.Upstream = text
	case ByUpstreamModel:
		u.UpstreamModel = text
	case ByConfidence:
		u.Confidence = gatehouse.Confidence(text)
	case BySource:
		u.Source = text
	case BySize:
		u.Size = text
	}
}

// eachSumPage calls fn with every page that the sums of a width from start to end are made of, and when it begins.
func (tx *Tx) eachSumPage(organization string, start, end, width int64, keyless bool, fn func(page []byte, begin int64) error) error {
	const query = `SELECT bucket, body FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = $3 AND open = $4 AND bucket >= $5 AND bucket < $6`
	type page struct {
		begin int64
		body  []byte
	}
	scan := func(r row, p *page) error { return r.Scan(&p.begin, &p.body) }
	read := func(width int64, keyless, open bool) error {
		from := floor(start, max(width, hourMillis))
		err := each(tx, "sums", scan, func(p *page) error { return fn(p.body, p.begin) }, query, organization, width, truth(keyless), truth(open), from, end)
		if err != nil {
			return fmt.Errorf("read sums of %s: %w", organization, err)
		}
		return nil
	}
	if err := read(width, keyless && width > minuteMillis, false); err != nil {
		return err
	}
	if width > minuteMillis {
		if err := read(hourMillis, keyless, true); err != nil {
			return err
		}
	}
	return read(minuteMillis, false, true)
}

const allSums = `SELECT organization, bucket, body FROM rollup_pages WHERE keyless = 0 AND (width = $1 OR open = 1 AND width < $2)`

// EachSum calls fn with every sum of one width that is kept, of whatever organization, and when its bucket begins. It reads them all:
// for tests and repair.
func (tx *Tx) EachSum(width string, fn func(organization string, bucket gatehouse.Millis, dims [sums.Dims]string, s *Sums) error) error {
	type page struct {
		organization string
		begin        int64
		body         []byte
	}
	millis := widths[width]
	scan := func(r row, p *page) error { return r.Scan(&p.organization, &p.begin, &p.body) }
	type key struct {
		organization string
		bucket       int64
		dims         [sums.Dims]string
	}
	all := map[key]*Sums{}
	err := each(tx, "sums", scan, func(p *page) error {
		return sums.Each(p.body, func(dims [sums.Dims]string, minute int, s *Sums) {
			k := key{p.organization, floor(p.begin+int64(minute)*minuteMillis, millis), dims}
			if all[k] == nil {
				all[k] = new(Sums)
			}
			all[k].Merge(s)
		})
	}, allSums, millis, millis)
	if err != nil {
		return err
	}
	for k, s := range all {
		if err := fn(k.organization, gatehouse.Millis(k.bucket), k.dims, s); err != nil {
			return err
		}
	}
	return nil
}
