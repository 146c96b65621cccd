package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
	"gatehouse/internal/limit"
)

// rated is a gate whose rate limits are refilled by a clock of the test's.
type rated struct {
	*gate
	up     *script
	memory *limit.Memory
	ms     atomic.Int64
}

func newRated(tb testing.TB, change ...func(*gateway.Config)) *rated {
	tb.Helper()
	r := &rated{}
	began := time.Now()
	r.memory = limit.NewMemory(func() time.Time { return began.Add(time.Duration(r.ms.Load()) * time.Millisecond) })
	r.up = newScript(tb, respond(200, "application/json", chatAnswer))
	r.gate = newGate(tb, append(change, func(cfg *gateway.Config) { cfg.Counters = r.memory })...)
	r.upstream("up", r.up.URL)
	r.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
	return r
}

func (g *gate) limit(scope gatehouse.Scope, subject, model string, rates gatehouse.Rates) *gatehouse.Limit {
	g.tb.Helper()
	l, err := g.admin.PutLimit(context.Background(), g.who, admin.LimitSpec{Scope: scope, Subject: subject, Model: model, Rates: rates})
	must(g.tb, err)
	return l
}

const small = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`

func (r *rated) chat(headers ...string) *answer {
	r.tb.Helper()
	return r.do("POST", "/v1/chat/completions", small, headers...)
}

// used returns how much of a limit's metric is used, once it is what a test waits for: a request is corrected after its answer.
func (r *rated) used(metric limit.Metric, want int64) {
	r.tb.Helper()
	ctx := deadline(r.tb)
	for {
		for _, c := range r.catalog.Counters(r.who.Organization) {
			charge := []limit.Charge{{Counter: c}}
			r.memory.Peek(ctx, charge)
			if c.Metric != metric {
				continue
			}
			if charge[0].Used() == want {
				return
			}
			if ctx.Err() != nil {
				r.tb.Fatalf("%s: used %d, want %d", metric, charge[0].Used(), want)
			}
		}
	}
}

// The third request of two is refused in OpenAI's words, with the time until it would pass, to the millisecond, and passes then.
func TestRequestsAreLimited(t *testing.T) {
	r := newRated(t)
	l := r.limit(gatehouse.ScopeProject, r.project, "gpt-4o", gatehouse.Rates{RequestsPerMinute: 2})
	for i, want := range []string{"1 30s", "0 1m0s"} {
		got := r.chat()
		h := got.header
		if got.status != 200 || h.Get("X-Ratelimit-Limit-Requests") != "2" || h.Get("X-Ratelimit-Remaining-Requests")+" "+h.Get("X-Ratelimit-Reset-Requests") != want {
			t.Errorf("request %d: %d %v, want %s", i, got.status, h, want)
		}
		if h["X-Ratelimit-Limit-Tokens"] != nil {
			t.Errorf("tokens are not limited: %v", h)
		}
	}
	r.ms.Add(1500)
	refused := r.chat()
	const text = `{"error":{"message":"Rate limit reached for gpt-4o in organization ORG on requests per min (RPM): Limit 2, Used 2, Requested 1. Please try again in 28.5s. ` +
		`This is the limit of project PROJECT, set by the administrator of this gateway.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
	if want := strings.NewReplacer("ORG", r.who.Organization, "PROJECT", r.project).Replace(text); refused.status != 429 || refused.body != want {
		t.Errorf("got %d %s\nwant %s", refused.status, refused.body, want)
	}
	for name, want := range map[string]string{"Retry-After-Ms": "28500", "Retry-After": "29", "X-Should-Retry": "true", "X-Ratelimit-Limit-Requests": "2",
		"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "58.5s"} {
		if got := refused.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	record := r.explain(refused.id())
	if record.Rule != "rate_limit_exceeded" || record.Detail != "limit "+l.ID+" of project "+r.project+", requests per min (RPM): limit 2, used 2, requested 1, for gpt-4o alone" || len(record.Attempts) != 0 {
		t.Errorf("explained: %q %q", record.Rule, record.Detail)
	}
	if r.usage(refused.id()) != nil {
		t.Error("a refused request has a cost")
	}
	r.ms.Add(28_499)
	if got := r.chat(); got.status != 429 || got.header.Get("Retry-After-Ms") != "1" {
		t.Errorf("a millisecond early: %d %v", got.status, got.header)
	}
	r.ms.Add(1)
	if got := r.chat(); got.status != 200 {
		t.Errorf("in time: %d %s", got.status, got.body)
	}
	// Other deployments, what costs nothing, and other projects are not in it.
	r.deploy("other", admin.RouteSpec{Upstream: "up"})
	if got := r.do("POST", "/v1/chat/completions", strings.Replace(small, "gpt-4o", "other", 1)); got.status != 200 || got.header["X-Ratelimit-Limit-Requests"] != nil {
		t.Errorf("another deployment: %d %v", got.status, got.header)
	}
	if got := r.do("GET", "/v1/models", ""); got.status != 200 {
		t.Errorf("models: %d", got.status)
	}
	_, elsewhere := r.newProject("elsewhere")
	if got := r.chat("Authorization", "Bearer "+elsewhere.Value.Reveal()); got.status != 200 {
		t.Errorf("another project: %d", got.status)
	}
}

// TestANewKeyIsNoNewAllowance is the wish for limits of a person: a user's limit holds over all their keys, in every project, also those
// made later, and editing it or applying it again gives nothing back.
func TestANewKeyIsNoNewAllowance(t *testing.T) {
	r := newRated(t)
	ctx := context.Background()
	r.limit(gatehouse.ScopeUser, r.user, "", gatehouse.Rates{RequestsPerDay: 4})
	second, err := r.admin.CreateProject(ctx, r.who, admin.ProjectRequest{Name: "second"})
	must(t, err)
	_, err = r.admin.AddProjectUser(ctx, r.who, second.ID, r.user, gatehouse.RoleMember)
	must(t, err)
	key := func(req admin.KeyRequest) string {
		req.User = r.user
		return "Bearer " + r.newKey(req).Value.Reveal()
	}
	for i, bearer := range []string{"Bearer " + r.key.Value.Reveal(), key(admin.KeyRequest{Class: gatehouse.ClassProject, Project: r.project}),
		key(admin.KeyRequest{Class: gatehouse.ClassProject, Project: second.ID}), key(admin.KeyRequest{Class: gatehouse.ClassUser})} {
		if got := r.chat("Authorization", bearer); got.status != 200 {
			t.Fatalf("key %d: %d %s", i, got.status, got.body)
		}
	}
	for _, req := range []admin.KeyRequest{{Class: gatehouse.ClassProject, Project: r.project}, {Class: gatehouse.ClassUser}} {
		got := r.chat("Authorization", key(req))
		if got.status != 429 || !strings.Contains(got.body, "This is the limit of user "+r.user) || !strings.Contains(got.body, "requests per day (RPD): Limit 4, Used 4") {
			t.Errorf("a new key: %d %s", got.status, got.body)
		}
		// Six hours are longer than any SDK waits: it is told, and told not to try by itself.
		if got.header.Get("Retry-After") != "21600" || got.header.Get("X-Should-Retry") != "false" {
			t.Errorf("a wait of hours: %v", got.header)
		}
	}
	r.limit(gatehouse.ScopeUser, r.user, "", gatehouse.Rates{RequestsPerDay: 5})
	r.limit(gatehouse.ScopeUser, r.user, "", gatehouse.Rates{RequestsPerDay: 5})
	if got := r.chat(); got.status != 200 || got.header.Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("the fifth of five: %d %v", got.status, got.header)
	}
	if got := r.chat(); got.status != 429 {
		t.Errorf("the sixth of five: %d", got.status)
	}
	_, service := r.newProject("service")
	if got := r.chat("Authorization", "Bearer "+service.Value.Reveal()); got.status != 200 {
		t.Errorf("somebody else: %d %s", got.status, got.body)
	}
}

// Tokens are estimated before and counted after: what was too much is given back, what was too little is owed.
func TestTokensAreCorrected(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeOrganization, "", "", gatehouse.Rates{TokensPerMinute: 1000, RequestsPerMinute: 100})
	answer := func(in, out int) gatehousetest.Action {
		return respond(200, "application/json", `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":`+itoa(in)+`,"completion_tokens":`+itoa(out)+`,"total_tokens":`+itoa(in+out)+`}}`)
	}
	r.up.set(answer(10, 40))
	capped := `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":300,"n":2}`
	got := r.do("POST", "/v1/chat/completions", capped)
	estimate := int64((len(capped)-1)/4+1) + 600
	if got.status != 200 || got.header.Get("X-Ratelimit-Limit-Tokens") != "1000" || got.header.Get("X-Ratelimit-Remaining-Tokens") != itoa(int(1000-estimate)) {
		t.Fatalf("got %d %v, want %d of 1000 tokens to remain", got.status, got.header, 1000-estimate)
	}
	r.used(limit.Tokens, 50)
	// Without a cap the output is counted once it is there, and what it owes is waited for.
	r.up.set(answer(10, 1490))
	if got := r.chat(); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	r.used(limit.Tokens, 1550)
	refused := r.chat()
	if refused.status != 429 || !strings.Contains(refused.body, `on tokens per min (TPM): Limit 1000, Used 1550, Requested 16. Please try again in 33.96s.`) || !strings.Contains(refused.body, `"type":"tokens"`) {
		t.Errorf("in debt: %d %s", refused.status, refused.body)
	}
	if refused.header.Get("X-Ratelimit-Remaining-Tokens") != "0" || refused.header.Get("X-Ratelimit-Reset-Tokens") != "1m33s" || refused.header.Get("X-Ratelimit-Remaining-Requests") != "98" {
		t.Errorf("headers of a refusal: %v", refused.header)
	}
	r.ms.Add(33_960)
	if got := r.chat(); got.status != 200 {
		t.Errorf("after the wait: %d %s", got.status, got.body)
	}
}

// What asks for more than the limit will never pass, and is told so: no SDK tries it again.
func TestRequestTooLarge(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeKey, r.key.Key.ID, "", gatehouse.Rates{TokensPerMinute: 100})
	got := r.do("POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[],"max_tokens":200}`)
	if got.status != 429 || !strings.Contains(got.body, "Request too large for gpt-4o in organization "+r.who.Organization+" on tokens per min (TPM): Limit 100, Requested 213. The input or output tokens must be reduced") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got.header["Retry-After"] != nil || got.header["Retry-After-Ms"] != nil || got.header.Get("X-Should-Retry") != "false" || got.header.Get("X-Ratelimit-Remaining-Tokens") != "100" {
		t.Errorf("headers: %v", got.header)
	}
	// An image inside the body is not taken for text of its size.
	image := `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("iVBORw0K", 100_000) + `"}}]}]}`
	r.limit(gatehouse.ScopeKey, r.key.Key.ID, "", gatehouse.Rates{TokensPerMinute: 2000})
	if got := r.do("POST", "/v1/chat/completions", image); got.status != 200 {
		t.Errorf("an image of 800 KB: %d %s", got.status, got.body)
	}
}

// An Azure client is refused in Azure's words, and its headers are Azure's.
func TestRateLimitsOnAzure(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeProject, r.project, "", gatehouse.Rates{RequestsPerMinute: 1, TokensPerMinute: 100_000})
	call := func() *answer {
		return r.do("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", `{"messages":[{"role":"user","content":"Hi"}]}`)
	}
	if got := call(); got.status != 200 || got.header.Get("X-Ratelimit-Remaining-Requests") != "0" || got.header.Get("X-Ratelimit-Reset-Requests") != "60" || got.header.Get("X-Ratelimit-Limit-Tokens") != "100000" {
		t.Errorf("served: %d %v", got.status, got.header)
	}
	got := call()
	var body struct {
		Error struct{ Code, Message string }
	}
	must(t, json.Unmarshal([]byte(got.body), &body))
	if got.status != 429 || body.Error.Code != "429" || !strings.HasPrefix(body.Error.Message, "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds.") {
		t.Errorf("refused: %d %s", got.status, got.body)
	}
	if got.header.Get("Retry-After") != "60" || got.header.Get("Retry-After-Ms") != "60000" {
		t.Errorf("headers: %v", got.header)
	}
}

// Of several limits the one that is nearest to its end is told, and the longest wait is the answer's.
func TestSeveralLimits(t *testing.T) {
	r := newRated(t)
	ctx := context.Background()
	_, _, err := r.admin.UpdateKey(ctx, r.who, "", r.key.Key.ID, admin.KeyUpdate{Labels: admin.Some(map[string]string{"team": "search"})})
	must(t, err)
	r.limit(gatehouse.ScopeOrganization, "", "", gatehouse.Rates{RequestsPerMinute: 100, RequestsPerDay: 1000})
	r.limit(gatehouse.ScopeProject, r.project, "", gatehouse.Rates{RequestsPerMinute: 50})
	r.limit(gatehouse.ScopeLabel, "team=search", "gpt-4o", gatehouse.Rates{RequestsPerMinute: 3, TokensPerMinute: 48})
	for i := range 3 {
		if got := r.chat(); got.status != 200 || got.header.Get("X-Ratelimit-Limit-Requests") != "3" || got.header.Get("X-Ratelimit-Remaining-Requests") != itoa(2-i) || got.header.Get("X-Ratelimit-Limit-Tokens") != "48" {
			t.Errorf("request %d: %d %v", i, got.status, got.header)
		}
		r.used(limit.Tokens, int64(i+1)*12) // as chatAnswer says
	}
	got := r.chat()
	if got.status != 429 || !strings.Contains(got.body, "This is the limit of label team=search") || got.header.Get("Retry-After-Ms") != "20000" {
		t.Errorf("refused: %d %s %v", got.status, got.body, got.header)
	}
	r.used(limit.DayRequests, 3) // what one limit refuses takes nothing of the others
}

// A stream is corrected by what it used, and what an upstream refused costs a request and no tokens.
func TestWhatBecomesOfTokens(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeProject, r.project, "", gatehouse.Rates{TokensPerMinute: 100_000, RequestsPerMinute: 100})
	stream := `{"model":"gpt-4o","stream":true,"max_tokens":500,"messages":[{"role":"user","content":"Hi"}]}`
	r.up.set(gatehousetest.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + delta("hello") + usageChunk + doneEvent))
	got := r.do("POST", "/v1/chat/completions", stream)
	if got.status != 200 || got.header.Get("X-Ratelimit-Remaining-Requests") != "99" {
		t.Fatalf("stream: %d %v %v", got.status, got.header, got.err)
	}
	u := r.usage(got.id())
	r.used(limit.Tokens, u.Units.Input+u.Units.Output)
	r.up.set(respond(429, "application/json", `{"error":{"message":"m","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, "Retry-After-Ms: 5000", "X-Ratelimit-Remaining-Tokens: 7"))
	refused := r.do("POST", "/v1/chat/completions", `{"model":"gpt-4o","max_tokens":500,"messages":[]}`)
	if refused.status != 429 || refused.header.Get("X-Ratelimit-Remaining-Tokens") == "7" || refused.header.Get("X-Ratelimit-Remaining-Requests") != "98" {
		t.Errorf("an upstream's refusal: %d %v", refused.status, refused.header)
	}
	r.used(limit.Tokens, u.Units.Input+u.Units.Output)
	r.used(limit.Requests, 2)
}

// What is refused after its rates were taken gives them back.
func TestMoneyGivesRatesBack(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeProject, r.project, "", gatehouse.Rates{TokensPerMinute: 1000, RequestsPerMinute: 10})
	must(t, r.ledger.Close(deadline(t))) // reserves nothing any more
	if got := r.chat(); got.status != http.StatusServiceUnavailable {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	r.used(limit.Tokens, 0)
	r.used(limit.Requests, 0)
}

// Images are counted as many as are asked for, recordings by their bytes.
func TestImagesAndAudio(t *testing.T) {
	r := newRated(t)
	r.limit(gatehouse.ScopeProject, r.project, "", gatehouse.Rates{ImagesPerMinute: 5, AudioMegabytesPerMinute: 1})
	r.deploy("gpt-image-1", admin.RouteSpec{Upstream: "up"})
	r.deploy("whisper-1", admin.RouteSpec{Upstream: "up"})
	r.up.set(respond(200, "application/json", `{"created":1,"data":[{"b64_json":"AA=="},{"b64_json":"AA=="},{"b64_json":"AA=="}]}`))
	images := `{"model":"gpt-image-1","prompt":"a cat","n":3}`
	if got := r.do("POST", "/v1/images/generations", images); got.status != 200 || got.header["X-Ratelimit-Limit-Requests"] != nil {
		t.Fatalf("three images: %d %s %v", got.status, got.body, got.header)
	}
	r.used(limit.Images, 3)
	if got := r.do("POST", "/v1/images/generations", images); got.status != 429 || !strings.Contains(got.body, "on images per min (IPM): Limit 5, Used 3, Requested 3. Please try again in 12s.") {
		t.Errorf("three more: %d %s", got.status, got.body)
	}
	r.up.set(respond(200, "application/json", `{"text":"hello"}`))
	recording := func(bytes int) *answer {
		body := "--b\r\n" + field("model", "whisper-1") + "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n" + strings.Repeat("x", bytes) + "\r\n--b--\r\n"
		return r.do("POST", "/v1/audio/transcriptions", body, "Content-Type", "multipart/form-data; boundary=b")
	}
	if got := recording(600_000); got.status != 200 {
		t.Fatalf("a recording: %d %s", got.status, got.body)
	}
	if got := recording(600_000); got.status != 429 || !strings.Contains(got.body, "audio bytes per min") {
		t.Errorf("another: %d %s", got.status, got.body)
	}
	if got := recording(1_100_000); got.status != 429 || !strings.Contains(got.body, "Request too large") {
		t.Errorf("too much at once: %d %s", got.status, got.body)
	}
}

// A batch takes its input's tokens of a day when it is made.
func TestBatchTokensAreLimited(t *testing.T) {
	g, up, _ := newBatchGate(t)
	content := chatLine("1", "large") + chatLine("2", "small")
	if got := g.uploadBatch(content); got.status != 200 {
		t.Fatalf("upload: %d %s", got.status, got.body)
	}
	tokens := (g.batchInput("file-1").Input-1)/4 + 1
	g.limit(gatehouse.ScopeProject, g.project, "", gatehouse.Rates{BatchInputTokensPerDay: tokens + tokens/2, TokensPerMinute: 1})
	up.set(respond(200, "application/json", `{"id":"batch_1","object":"batch","status":"validating","input_file_id":"file-1"}`))
	create := func() *answer {
		return g.do("POST", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}`)
	}
	if got := create(); got.status != 200 {
		t.Fatalf("batch: %d %s", got.status, got.body)
	}
	got := create()
	if got.status != 429 || !strings.Contains(got.body, "batch input tokens per day (batch TPD): Limit "+itoa(int(tokens+tokens/2))+", Used "+itoa(int(tokens))+", Requested "+itoa(int(tokens))) || !strings.Contains(got.body, `"type":"tokens"`) {
		t.Errorf("another: %d %s", got.status, got.body)
	}
	// One model's limit takes the share of its lines.
	g.limit(gatehouse.ScopeProject, g.project, "", gatehouse.Rates{})
	g.limit(gatehouse.ScopeProject, g.project, "small", gatehouse.Rates{BatchInputTokensPerDay: tokens / 2})
	if got := create(); got.status != 200 {
		t.Errorf("half of it: %d %s", got.status, got.body)
	}
	if got := create(); got.status != 429 {
		t.Errorf("half of it again: %d %s", got.status, got.body)
	}
}
