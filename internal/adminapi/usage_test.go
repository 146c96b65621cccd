package adminapi_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
)

type results = []map[string]any

// pages asks for every page of a report and returns its results, and how many buckets there were.
func pages(t *testing.T, s *gatehousetest.Server, path string, q url.Values) (out results, buckets int) {
	t.Helper()
	for {
		status, v := ask(t, s, http.MethodGet, path+"?"+q.Encode(), s.AdminKey, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, v)
		}
		for _, b := range v["data"].([]any) {
			buckets++
			for _, r := range b.(map[string]any)["results"].([]any) {
				out = append(out, r.(map[string]any))
			}
		}
		if v["has_more"] != true {
			return out, buckets
		}
		q.Set("page", v["next_page"].(string))
	}
}

func number(t *testing.T, list results, name string) *big.Rat {
	t.Helper()
	sum := new(big.Rat)
	for _, r := range list {
		value := r[name]
		if name == "amount" {
			value = value.(map[string]any)["value"]
		}
		n, ok := new(big.Rat).SetString(fmt.Sprint(value))
		if !ok {
			t.Fatalf("%s is %v", name, value)
		}
		sum.Add(sum, n)
	}
	return sum
}

// TestReportsAgree calls models of every kind and looks at them from every side: by each dimension the sums are the same, costs by day,
// by line item and by key come to the same to the nano-USD, and both are what was called; another user's or project's report shows
// nothing of it.
func TestReportsAgree(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	if status, v := ask(t, s, "POST", "/gatehouse/v1/organization", s.AdminKey, `{"header_labels":["team"]}`); status != 200 {
		t.Fatalf("%d %v", status, v)
	}
	if status, v := ask(t, s, "POST", "/gatehouse/v1/projects/"+s.ProjectID, s.AdminKey, `{"labels":{"cost_center":"4711","team":"nobody"}}`); status != 200 {
		t.Fatalf("%d %v", status, v)
	}
	first := ""
	call := func(path, body, team string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.APIKey)
		req.Header.Set("Content-Type", "application/json")
		if team != "" {
			req.Header.Set(gatehouse.LabelHeader+"Team", team)
		}
		req.Header.Set(gatehouse.LabelHeader+"Unlisted", "x")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if first == "" {
			first = resp.Header.Get("X-Request-Id")
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d", path, resp.StatusCode)
		}
	}
	for _, team := range []string{"search", "search", "", "no,comma"} {
		call("/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello."}]}`, team)
	}
	call("/v1/responses", `{"model":"gpt-4o-mini","input":"Say hello."}`, "")
	call("/v1/embeddings", `{"model":"text-embedding-3-small","input":"hello"}`, "")
	call("/v1/images/generations", `{"model":"gpt-image-1","prompt":"a cat","size":"1024x1024"}`, "")
	call("/v1/audio/speech", `{"model":"tts-1","input":"hello","voice":"alloy"}`, "")
	call("/v1/moderations", `{"input":"hello"}`, "")

	var explained struct {
		Labels string `json:"labels"`
	}
	s.Admin(http.MethodGet, "/gatehouse/v1/requests/"+first, "", &explained)
	if explained.Labels != "team=search" {
		t.Errorf("explain says the labels are %q", explained.Labels)
	}

	const org = "/v1/organization"
	from := func(more ...string) url.Values {
		q := url.Values{"start_time": {fmt.Sprint(time.Now().Add(-72 * time.Hour).Unix())}}
		for i := 0; i < len(more); i += 2 {
			q.Add(more[i], more[i+1])
		}
		return q
	}
	for endpoint, want := range map[string]int64{"completions": 5, "embeddings": 1, "images": 1, "audio_speeches": 1, "moderations": 1, "audio_transcriptions": 0, "decisions": 0,
		"vector_stores": 0, "code_interpreter_sessions": 0, "file_search_calls": 0, "web_search_calls": 0} {
		if endpoint == "vector_stores" || strings.HasSuffix(endpoint, "_sessions") || strings.HasSuffix(endpoint, "_calls") {
			if list, buckets := pages(t, s, org+"/usage/"+endpoint, from("group_by[]", "project_id")); len(list) > 0 || buckets != 4 {
				t.Errorf("%s: %d buckets, %v", endpoint, buckets, list)
			}
			continue
		}
		whole, buckets := pages(t, s, org+"/usage/"+endpoint, from())
		if n := number(t, whole, "num_model_requests"); n.Cmp(big.NewRat(want, 1)) != 0 || buckets != 4 {
			t.Errorf("%s: %v requests in %d buckets, want %d in 4", endpoint, n, buckets, want)
		}
		for _, more := range [][]string{{"group_by[]", "project_id", "group_by[]", "model"}, {"group_by", "api_key_id", "group_by", "user_id"}, {"group_by", "label:team"},
			{"bucket_width", "1h", "limit", "5", "group_by", "model"}, {"limit", "1"}, {"project_ids[]", s.ProjectID}} {
			list, _ := pages(t, s, org+"/usage/"+endpoint, from(more...))
			if n := number(t, list, "num_model_requests"); n.Cmp(big.NewRat(want, 1)) != 0 {
				t.Errorf("%s by %v: %v requests, want %d", endpoint, more, n, want)
			}
		}
		if list, _ := pages(t, s, org+"/usage/"+endpoint, from("user_ids", "user-nobody")); len(list) > 0 {
			t.Errorf("%s of another user: %v", endpoint, list)
		}
	}
	tokens, _ := pages(t, s, org+"/usage/completions", from())
	for whole, parts := range map[string][]string{
		"input_tokens":          {"input_uncached_tokens", "input_cached_tokens", "input_cache_write_tokens"},
		"input_uncached_tokens": {"input_text_tokens", "input_audio_tokens", "input_image_tokens"},
		"input_cached_tokens":   {"input_cached_text_tokens", "input_cached_audio_tokens", "input_cached_image_tokens"},
		"output_tokens":         {"output_text_tokens", "output_audio_tokens", "output_image_tokens"},
	} {
		sum := new(big.Rat)
		for _, part := range parts {
			sum.Add(sum, number(t, tokens, part))
		}
		if sum.Cmp(number(t, tokens, whole)) != 0 {
			t.Errorf("%s is %v, its parts come to %v", whole, number(t, tokens, whole), sum)
		}
	}
	if list, _ := pages(t, s, org+"/usage/images", from("group_by", "source", "group_by", "size", "sources[]", "image.generation")); len(list) != 1 || list[0]["source"] != "image.generation" || list[0]["size"] != "1024x1024" {
		t.Errorf("images by source and size: %v", list)
	}

	costs, _ := pages(t, s, org+"/costs", from())
	whole := number(t, costs, "amount")
	if whole.Sign() <= 0 {
		t.Fatalf("costs: %v", costs)
	}
	for _, more := range [][]string{{"group_by", "line_item"}, {"group_by", "line_item", "group_by", "project_id", "group_by", "api_key_id"}, {"group_by", "user_id"}, {"limit", "1"}, {"group_by[]", "label:team"}} {
		list, _ := pages(t, s, org+"/costs", from(more...))
		if n := number(t, list, "amount"); n.Cmp(whole) != 0 {
			t.Errorf("costs by %v come to %v, want %v: %v", more, n, whole, list)
		}
	}
	input, _ := pages(t, s, org+"/costs", from("group_by", "line_item", "line_items[]", "gpt-4o, input"))
	if len(input) != 1 || input[0]["line_item"] != "gpt-4o, input" || input[0]["quantity_unit"] != "tokens" {
		t.Errorf("one line item: %v", input)
	}

	var own struct {
		Data []struct {
			Requests int64             `json:"requests"`
			Cost     int64             `json:"cost_nano_usd"`
			Labels   map[string]string `json:"labels"`
		} `json:"data"`
	}
	s.Admin(http.MethodGet, "/gatehouse/v1/usage?group_by=label:team&group_by=label:cost_center", "", &own)
	byTeam := map[string]int64{}
	nano := int64(0)
	for _, l := range own.Data {
		byTeam[l.Labels["team"]+"/"+l.Labels["cost_center"]] += l.Requests
		nano += l.Cost
	}
	if want := map[string]int64{"search/4711": 2, "(invalid)/4711": 1, "nobody/4711": 6}; fmt.Sprint(byTeam) != fmt.Sprint(want) {
		t.Errorf("requests by team: %v, want %v", byTeam, want)
	}
	if whole.Cmp(big.NewRat(nano, 1_000_000_000)) != 0 {
		t.Errorf("our own report comes to %d nano-USD, costs to %v", nano, whole)
	}
	s.Admin(http.MethodGet, "/gatehouse/v1/usage?group_by=model&labels=team%3Dsearch", "", &own)
	if len(own.Data) != 1 || own.Data[0].Requests != 2 {
		t.Errorf("usage of a team: %+v", own.Data)
	}
}

// TestUsageQueries refuses what would give another answer than was asked for.
func TestUsageQueries(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	hour := url.QueryEscape(func() string {
		_, v := ask(t, s, "GET", "/v1/organization/usage/completions?start_time=0&bucket_width=1h&limit=1", s.AdminKey, "")
		return v["next_page"].(string)
	}())
	for _, c := range []struct{ query, param string }{
		{"usage/completions?start_time=-1", "start_time"}, {"usage/completions?start_time=5&end_time=5", "end_time"},
		{"usage/completions?start_time=1&bucket_width=2d", "bucket_width"}, {"usage/completions?start_time=1&limit=32", "limit"},
		{"usage/completions?start_time=1&bucket_width=1m&limit=1441", "limit"}, {"usage/completions?start_time=1&batch=maybe", "batch"},
		{"usage/embeddings?start_time=1&batch=true", "batch"}, {"usage/vector_stores?start_time=1&models[]=gpt-4o", "models"},
		{"usage/images?start_time=1&sources[]=image.dream", "sources"}, {"usage/completions?start_time=1&sizes=1x1", "sizes"},
		{"usage/web_search_calls?start_time=1&context_levels=extreme", "context_levels"}, {"usage/file_search_calls?start_time=1&group_by=model", "group_by"},
		{"usage/completions?start_time=1&group_by=label:", "group_by"}, {"costs?start_time=1&bucket_width=1h", "bucket_width"}, {"costs?start_time=1&limit=181", "limit"},
		{"costs?start_time=1&group_by=model", "group_by"}, {"costs?start_time=1&models=gpt-4o", "models"},
		{"usage/completions?start_time=0&page=" + hour, "page"}, {"usage/completions?start_time=86400&bucket_width=1h&page=" + hour, "page"},
	} {
		status, v := ask(t, s, "GET", "/v1/organization/"+c.query, s.AdminKey, "")
		e, _ := v["error"].(map[string]any)
		if status != http.StatusBadRequest || e["param"] != c.param {
			t.Errorf("%s: %d %v, want 400 for %s", c.query, status, v, c.param)
		}
	}
	for _, path := range []string{"usage/web_search_calls?start_time=1&context_levels[]=low&group_by[]=context_level&group_by[]=api_source", "usage/file_search_calls?start_time=1&vector_store_ids[]=vs_1&group_by[]=vector_store_id",
		"costs?start_time=1&limit=180&group_by[]=api_source"} {
		if status, v := ask(t, s, "GET", "/v1/organization/"+path, s.AdminKey, ""); status != http.StatusOK {
			t.Errorf("%s: %d %v", path, status, v)
		}
	}
}

// TestRetentionIsSet sets how long measurements are kept, and refuses what finance needs.
func TestRetentionIsSet(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	kept := func(v map[string]any) string { b, _ := json.Marshal(v["retention"]); return string(b) }
	_, v := ask(t, s, "GET", "/gatehouse/v1/organization", s.AdminKey, "")
	if got := kept(v); got != `{"hours_days":400,"minutes_days":31,"requests_days":7,"usage_days":400}` {
		t.Errorf("defaults: %s", got)
	}
	status, v := ask(t, s, "POST", "/gatehouse/v1/organization", s.AdminKey, `{"retention":{"minutes_days":14}}`)
	if got := kept(v); status != 200 || got != `{"hours_days":400,"minutes_days":14,"requests_days":7,"usage_days":400}` {
		t.Errorf("changed: %d %s", status, got)
	}
	for body, param := range map[string]string{`{"retention":{"days_days":30}}`: "retention.days_days", `{"retention":{"usage_days":30}}`: "retention.usage_days",
		`{"retention":{"hours_days":1}}`: "retention.hours_days", `{"header_labels":["Team"]}`: "header_labels"} {
		status, v := ask(t, s, "POST", "/gatehouse/v1/organization", s.AdminKey, body)
		if e, _ := v["error"].(map[string]any); status != http.StatusBadRequest || e["param"] != param {
			t.Errorf("%s: %d %v, want 400 for %s", body, status, v, param)
		}
	}
}
