package adminapi

import (
	"context"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// usageKind is one of OpenAI's usage endpoints: what it counts, and what it can be asked for beyond what all of them can.
type usageKind struct {
	name    string
	product string   // whose usage it shows; empty: of all products
	groups  []string // that it can be grouped by
	filters []string // the lists that select, beside project_ids
	counts  func(*store.Sums) bool
	show    func(*store.UsageResult, dimensions) any
}

var (
	standardGroups  = []string{store.ByProject, store.ByUser, store.ByKey, store.ByModel}
	tokenGroups     = append(slices.Clone(standardGroups), store.ByBatch, store.ByServiceTier, "api_source")
	standardFilters = []string{"user_ids", "api_key_ids", "models"}
)

func requested(s *store.Sums) bool { return s.Requests > 0 }

// usageKinds are the usage endpoints of OpenAI's API.
var usageKinds = []usageKind{
	{name: "completions", product: "completions", groups: tokenGroups, filters: append(slices.Clone(standardFilters), "batch"), counts: requested, show: showTokens("completions")},
	{name: "decisions", product: "decisions", groups: tokenGroups, filters: append(slices.Clone(standardFilters), "batch"), counts: requested, show: showTokens("decisions")},
	{name: "embeddings", product: "embeddings", groups: standardGroups, filters: standardFilters, counts: requested, show: showInput("embeddings")},
	{name: "moderations", product: "moderations", groups: standardGroups, filters: standardFilters, counts: requested, show: showInput("moderations")},
	{name: "images", product: "images", groups: append(slices.Clone(standardGroups), store.BySize, store.BySource), filters: append(slices.Clone(standardFilters), "sources", "sizes"),
		counts: requested, show: showImages},
	{name: "audio_speeches", product: "audio_speeches", groups: standardGroups, filters: standardFilters, counts: requested, show: showSpeeches},
	{name: "audio_transcriptions", product: "audio_transcriptions", groups: standardGroups, filters: standardFilters, counts: requested, show: showTranscriptions},
	{name: "vector_stores", groups: []string{store.ByProject}, counts: func(*store.Sums) bool { return false }}, // what is stored at a provider is not seen here
	{name: "code_interpreter_sessions", groups: []string{store.ByProject}, counts: func(s *store.Sums) bool { return s.Units.Containers > 0 }, show: showSessions},
	{name: "file_search_calls", groups: []string{store.ByProject, store.ByUser, store.ByKey, "vector_store_id"}, filters: []string{"user_ids", "api_key_ids", "vector_store_ids"},
		counts: func(s *store.Sums) bool { return s.Units.FileSearches > 0 }, show: showFileSearches},
	{name: "web_search_calls", groups: append(slices.Clone(standardGroups), "context_level", "api_source"), filters: append(slices.Clone(standardFilters), "context_levels"),
		counts: func(s *store.Sums) bool { return s.Searches > 0 }, show: showWebSearches},
}

// unknown are what OpenAI groups and selects by and Gatehouse does not see: null in every result, and a list of values selects nothing.
var unknown = map[string]string{"api_source": "", "vector_store_id": "vector_store_ids", "context_level": "context_levels"}

// usageOf serves one usage endpoint.
func (a *API) usageOf(kind *usageKind) handler {
	return func(ctx context.Context, c *call) (any, error) {
		q, err := readUsageQuery(c.URL.Query(), kind, widths)
		if err != nil {
			return nil, err
		}
		q.Organization, q.Product = c.who.Organization, kind.product
		buckets, err := a.buckets(ctx, q)
		if err != nil {
			return nil, err
		}
		return q.page(buckets, func(results []store.UsageResult) []any {
			out := []any{}
			for i := range results {
				if kind.counts(&results[i].Sums) {
					out = append(out, kind.show(&results[i], q.dimensions(&results[i])))
				}
			}
			return out
		}), nil
	}
}

// buckets reads what a query asks for. What has just ended is counted: the journal is in the database before it is asked.
func (a *API) buckets(ctx context.Context, q *pagedQuery) (buckets []store.UsageBucket, err error) {
	if err := a.cfg.Ledger.Flush(ctx); err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Usage cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
	}
	if q.none {
		q.Projects = []string{"\x00"} // nobody's
	}
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		buckets, err = tx.UsageBuckets(q.UsageQuery)
		return err
	})
	return buckets, err
}

// dimensions are what a result is grouped by, null where it is not.
type dimensions struct {
	ProjectID *string
	UserID    *string
	APIKeyID  *string
	Model     *string
	Batch     *bool
	Tier      *string
	Size      *string
	Source    *string
	Labels    map[string]*string
}

// dimensions returns a result's dimensions, null where the query does not group by them and where it has none.
func (q *pagedQuery) dimensions(r *store.UsageResult) (d dimensions) {
	some := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	labels := r.Labels()
	for _, name := range q.groups {
		switch name {
		case store.ByProject:
			d.ProjectID = some(r.Project)
		case store.ByUser:
			d.UserID = some(r.User)
		case store.ByKey:
			d.APIKeyID = some(r.Key)
		case store.ByModel:
			d.Model = some(r.Model)
		case store.ByBatch:
			d.Batch = &r.Batch
		case store.ByServiceTier:
			d.Tier = some(r.ServiceTier)
		case store.BySize:
			d.Size = some(r.Size)
		case store.BySource:
			d.Source = some(r.Source)
		}
		if label, ok := store.LabelColumn(name); ok {
			if d.Labels == nil {
				d.Labels = map[string]*string{}
			}
			d.Labels[label], labels = some(labels[0]), labels[1:]
		}
	}
	return d
}

// group reports whether a name is something that an endpoint groups by.
func (k *usageKind) group(name string) bool {
	if label, ok := strings.CutPrefix(name, "label:"); ok {
		return label != "" && len(label) <= 63
	}
	return slices.Contains(k.groups, name)
}
