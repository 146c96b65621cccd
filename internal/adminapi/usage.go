package adminapi

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"

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

// dimensions are what a result can be grouped by, null where it is not.
type dimensions struct {
	ProjectID   *string `json:"project_id"`
	UserID      *string `json:"user_id"`
	APIKeyID    *string `json:"api_key_id"`
	Model       *string `json:"model"`
	Batch       *bool   `json:"batch"`
	ServiceTier *string `json:"service_tier"`
}

type completionsResult struct {
	Object            string `json:"object"`
	InputTokens       int64  `json:"input_tokens"`
	OutputTokens      int64  `json:"output_tokens"`
	NumModelRequests  int64  `json:"num_model_requests"`
	InputCachedTokens int64  `json:"input_cached_tokens"`
	InputCacheWrite   int64  `json:"input_cache_write_tokens"`
	InputUncached     int64  `json:"input_uncached_tokens"`
	InputTextTokens   int64  `json:"input_text_tokens"`
	OutputTextTokens  int64  `json:"output_text_tokens"`
	InputAudioTokens  int64  `json:"input_audio_tokens"`
	InputCachedAudio  int64  `json:"input_cached_audio_tokens"`
	OutputAudioTokens int64  `json:"output_audio_tokens"`
	InputImageTokens  int64  `json:"input_image_tokens"`
	InputCachedImage  int64  `json:"input_cached_image_tokens"`
	OutputImageTokens int64  `json:"output_image_tokens"`
	dimensions
}

type embeddingsResult struct {
	Object           string  `json:"object"`
	InputTokens      int64   `json:"input_tokens"`
	NumModelRequests int64   `json:"num_model_requests"`
	ProjectID        *string `json:"project_id"`
	UserID           *string `json:"user_id"`
	APIKeyID         *string `json:"api_key_id"`
	Model            *string `json:"model"`
}

func showCompletions(r *store.UsageResult, d dimensions) any {
	u := &r.Units
	return completionsResult{Object: "organization.usage.completions.result", InputTokens: u.Input, OutputTokens: u.Output, NumModelRequests: r.Requests,
		InputCachedTokens: u.Cached, InputCacheWrite: u.CacheWrite, InputUncached: max(u.Input-u.Cached, 0), InputTextTokens: rest(u.InputText, u.Input, u.InputAudio, u.InputImage),
		OutputTextTokens: rest(u.OutputText, u.Output, u.OutputAudio, u.OutputImage), InputAudioTokens: u.InputAudio, InputCachedAudio: u.CachedAudio, OutputAudioTokens: u.OutputAudio,
		InputImageTokens: u.InputImage, InputCachedImage: u.CachedImage, OutputImageTokens: u.OutputImage, dimensions: d}
}

// rest is how many tokens were text: what was reported, else what is left of the total without sound and images.
func rest(text, total, audio, image int64) int64 {
	if text > 0 {
		return text
	}
	return max(total-audio-image, 0)
}

func showEmbeddings(r *store.UsageResult, d dimensions) any {
	return embeddingsResult{Object: "organization.usage.embeddings.result", InputTokens: r.Units.Input, NumModelRequests: r.Requests,
		ProjectID: d.ProjectID, UserID: d.UserID, APIKeyID: d.APIKeyID, Model: d.Model}
}

// widths are how many buckets a page has, by default and at most.
var widths = map[string]struct {
	seconds, fallback, most int64
}{"1m": {60, 60, 1440}, "1h": {3600, 24, 168}, "1d": {86400, 7, 31}}

// usageOf serves one usage endpoint.
func (a *API) usageOf(product string, show func(*store.UsageResult, dimensions) any) handler {
	return func(ctx context.Context, c *call) (any, error) {
		q, err := usageQuery(c.URL.Query(), product)
		if err != nil {
			return nil, err
		}
		q.Organization = c.who.Organization
		if product != "completions" {
			for _, by := range q.GroupBy {
				if by == "batch" || by == "service_tier" {
					return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not for this endpoint.", by)
				}
			}
		}
		// What has just ended is counted: the journal is in the database before it is asked.
		if err := a.cfg.Ledger.Flush(ctx); err != nil {
			return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Usage cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
		}
		var buckets []store.UsageBucket
		if err := a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
			buckets, err = tx.UsageBuckets(q.UsageQuery)
			return err
		}); err != nil {
			return nil, err
		}
		page := usagePage{Object: "page", Data: []usageBucket{}}
		for i := range buckets {
			b := &buckets[i]
			out := usageBucket{Object: "bucket", StartTime: b.Start.Seconds(), EndTime: b.End.Seconds(), Results: []any{}}
			for j := range b.Results {
				if b.Results[j].Requests > 0 {
					out.Results = append(out.Results, show(&b.Results[j], grouped(&b.Results[j], q.GroupBy)))
				}
			}
			page.Data = append(page.Data, out)
		}
		if q.next > 0 {
			token := pageToken(q.next)
			page.HasMore, page.NextPage = true, &token
		}
		return page, nil
	}
}

// pagedQuery is a query for one page; next is where the following one begins, 0 when this is the last.
type pagedQuery struct {
	store.UsageQuery
	next int64
}

func pageToken(start int64) string {
	return "page_" + base64.RawURLEncoding.EncodeToString(strconv.AppendInt(nil, start, 10))
}

func parseToken(text string) (int64, error) {
	bad := gatehouse.InvalidParam("page", "Invalid 'page': use the next_page of an answer as it stands.")
	if len(text) < 6 || text[:5] != "page_" {
		return 0, bad
	}
	raw, err := base64.RawURLEncoding.DecodeString(text[5:])
	if err != nil {
		return 0, bad
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n > maxTime {
		return 0, bad
	}
	return n, nil
}

// maxTime is the last second that is taken for a time: the year 9999.
const maxTime = 253402300799

func usageQuery(v url.Values, product string) (*pagedQuery, error) {
	if err := required("start_time", v.Get("start_time") != ""); err != nil {
		return nil, err
	}
	start, err := integer(v, "start_time", 0, maxTime, 0)
	if err != nil {
		return nil, err
	}
	width := v.Get("bucket_width")
	if width == "" {
		width = "1d"
	}
	w, ok := widths[width]
	if !ok {
		return nil, gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': must be '1m', '1h' or '1d'.")
	}
	limit, err := integer(v, "limit", 1, w.most, w.fallback)
	if err != nil {
		return nil, err
	}
	end, err := integer(v, "end_time", 0, maxTime, 0)
	if err != nil {
		return nil, err
	}
	if end != 0 && end <= start {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time'.")
	}
	if token := v.Get("page"); token != "" {
		if start, err = parseToken(token); err != nil {
			return nil, err
		}
	}
	q := &pagedQuery{UsageQuery: store.UsageQuery{Product: product, Width: width, Projects: many(v, "project_ids"), Users: many(v, "user_ids"),
		Keys: many(v, "api_key_ids"), Models: many(v, "models"), GroupBy: many(v, "group_by")}}
	if text := v.Get("batch"); text != "" {
		batch, err := flag(v, "batch")
		if err != nil {
			return nil, err
		}
		q.Batch = &batch
	}
	for _, by := range q.GroupBy {
		switch by {
		case "project_id", "user_id", "api_key_id", "model", "batch", "service_tier":
		default:
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not one of project_id, user_id, api_key_id, model, batch, service_tier.", clip(by, 64))
		}
	}
	first := start - start%w.seconds
	last := first + limit*w.seconds
	if end == 0 {
		end = min(nowSeconds()+1, maxTime)
		end = max(end, start+1)
	}
	if last < end {
		q.next = last
		end = last
	}
	q.Start, q.End = gatehouse.Millis(start*1000), gatehouse.Millis(end*1000)
	return q, nil
}

// grouped returns a result's dimensions, null where the query does not group by them.
func grouped(r *store.UsageResult, by []string) dimensions {
	var d dimensions
	for _, name := range by {
		switch name {
		case "project_id":
			d.ProjectID = &r.Project
		case "user_id":
			if r.User != "" {
				d.UserID = &r.User
			}
		case "api_key_id":
			d.APIKeyID = &r.Key
		case "model":
			d.Model = &r.Model
		case "batch":
			d.Batch = &r.Batch
		case "service_tier":
			if r.ServiceTier != "" {
				d.ServiceTier = &r.ServiceTier
			}
		}
	}
	return d
}
