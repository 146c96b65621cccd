package adminapi

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// usagePage is OpenAI's style D: the next page is asked for by a token.
type usagePage struct {
	Object   string        `json:"object"`
	Data     []usageBucket `json:"data"`
	HasMore  bool          `json:"has_more"`
	NextPage *string       `json:"next_page"`
}

type usageBucket struct {
	Object    string `json:"object"`
	StartTime int64  `json:"start_time"`
	EndTime   int64  `json:"end_time"`
	Results   []any  `json:"results"`
}

// width is a bucket width: how many buckets a page has, by default and at most.
type width struct{ seconds, fallback, most int64 }

// widths are those of usage, costWidths those of costs.
var (
	widths     = map[string]width{"1m": {60, 60, 1440}, "1h": {3600, 24, 168}, "1d": {86400, 7, 31}}
	costWidths = map[string]width{"1d": {86400, 7, 180}}
)

// pagedQuery is a query for one page; next is where the following one begins, 0 when this is the last.
type pagedQuery struct {
	store.UsageQuery
	groups []string // all that were asked for, sorted, those that Gatehouse does not see among them
	width  width
	next   int64
	none   bool // a filter of something that Gatehouse does not see: nothing is selected
}

// page shows buckets.
func (q *pagedQuery) page(buckets []store.UsageBucket, show func([]store.UsageResult) []any) usagePage {
	page := usagePage{Object: "page", Data: make([]usageBucket, 0, len(buckets))}
	for i := range buckets {
		b := &buckets[i]
		page.Data = append(page.Data, usageBucket{Object: "bucket", StartTime: b.Start.Seconds(), EndTime: b.End.Seconds(), Results: show(b.Results)})
	}
	if q.next > 0 {
		token := pageToken(q.next, q.width.seconds)
		page.HasMore, page.NextPage = true, &token
	}
	return page
}

// pageToken names the bucket with which a page begins, and its width: it means the same however long it is kept.
func pageToken(start, width int64) string {
	return "page_" + base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(start, 10)+"/"+strconv.FormatInt(width, 10)))
}

func parseToken(text string, width int64) (int64, error) {
	bad := gatehouse.InvalidParam("page", "Invalid 'page': use the next_page of an answer as it stands, with the same bucket_width.")
	encoded, ok := strings.CutPrefix(text, "page_")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return 0, bad
	}
	start, of, _ := strings.Cut(string(raw), "/")
	n, err := strconv.ParseInt(start, 10, 64)
	if err != nil || n < 0 || n > maxTime || n%width != 0 || of != strconv.FormatInt(width, 10) {
		return 0, bad
	}
	return n, nil
}

// maxTime is the last second that is taken for a time: the year 9999.
const maxTime = 253402300799

// usageLists are the lists that select, of all endpoints.
var usageLists = []string{"user_ids", "api_key_ids", "models", "sources", "sizes", "vector_store_ids", "context_levels", "line_items", "batch"}

// closedLists are the lists with a closed set of values.
var closedLists = map[string][]string{"sources": {"image.generation", "image.edit", "image.variation"}, "context_levels": {"low", "medium", "high"}}

// readUsageQuery reads what all usage endpoints and costs are asked for. A filter of another endpoint is an error, because a number that
// it did not narrow would be taken for one that it did.
func readUsageQuery(v url.Values, kind *usageKind, widths map[string]width) (*pagedQuery, error) {
	q := &pagedQuery{}
	if err := q.readTime(v, widths); err != nil {
		return nil, err
	}
	for _, name := range usageLists {
		if (v.Has(name) || v.Has(name+"[]")) && !slices.Contains(kind.filters, name) {
			return nil, gatehouse.InvalidParam(name, "Invalid '%s': %s cannot be selected by it.", name, kind.name)
		}
	}
	for name, allowed := range closedLists {
		for _, value := range many(v, name) {
			if !slices.Contains(allowed, value) {
				return nil, gatehouse.InvalidParam(name, "Invalid '%s': %q is not one of %s.", name, clip(value, 64), strings.Join(allowed, ", "))
			}
		}
	}
	q.Projects, q.Users, q.Keys, q.Models = many(v, "project_ids"), many(v, "user_ids"), many(v, "api_key_ids"), many(v, "models")
	q.Sources, q.Sizes = many(v, "sources"), many(v, "sizes")
	for _, list := range unknown {
		q.none = q.none || len(many(v, list)) > 0
	}
	if v.Get("batch") != "" {
		batch, err := flag(v, "batch")
		if err != nil {
			return nil, err
		}
		q.Batch = &batch
	}
	q.groups = slices.Compact(slices.Sorted(slices.Values(many(v, "group_by"))))
	for _, by := range q.groups {
		if !kind.group(by) {
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not one of %s, and no label:NAME.", clip(by, 64), strings.Join(kind.groups, ", "))
		}
		if _, unseen := unknown[by]; !unseen {
			q.GroupBy = append(q.GroupBy, by)
		}
	}
	return q, nil
}

// readTime reads which buckets are asked for.
func (q *pagedQuery) readTime(v url.Values, widths map[string]width) error {
	if err := required("start_time", v.Get("start_time") != ""); err != nil {
		return err
	}
	start, err := integer(v, "start_time", 0, maxTime, 0)
	if err != nil {
		return err
	}
	q.Width = v.Get("bucket_width")
	if q.Width == "" {
		q.Width = "1d"
	}
	w, ok := widths[q.Width]
	if !ok {
		if len(widths) == 1 {
			return gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': must be '1d'.")
		}
		return gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': must be '1m', '1h' or '1d'.")
	}
	q.width = w
	limit, err := integer(v, "limit", 1, w.most, w.fallback)
	if err != nil {
		return err
	}
	end, err := integer(v, "end_time", 0, maxTime, 0)
	if err != nil {
		return err
	}
	if end != 0 && end <= start {
		return gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time'.")
	}
	first := start - start%w.seconds
	if token := v.Get("page"); token != "" {
		if start, err = parseToken(token, w.seconds); err != nil {
			return err
		}
		if start < first || end != 0 && start >= end {
			return gatehouse.InvalidParam("page", "Invalid 'page': it is of another 'start_time' or 'end_time'.")
		}
		first = start
	}
	last := first + limit*w.seconds
	if end == 0 {
		end = max(min(nowSeconds()+1, maxTime), start+1)
	}
	if last < end {
		q.next, end = last, last
	}
	q.Start, q.End = gatehouse.Millis(start*1000), gatehouse.Millis(end*1000)
	return nil
}
