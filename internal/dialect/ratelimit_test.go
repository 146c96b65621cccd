package dialect

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The texts are OpenAI's and Azure's own, as far as they are known: programs look for parts of them.
func TestRateLimitError(t *testing.T) {
	call := func(path string) *Call {
		t.Helper()
		path, query, _ := strings.Cut(path, "?")
		c, err := Parse("POST", path, query)
		if err != nil {
			t.Fatal(err)
		}
		return &c
	}
	openai, azure := call("/v1/chat/completions"), call("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21")
	const ours = " This is the limit of user user-1, set by the administrator of this gateway."
	for _, c := range []struct {
		call *Call
		r    RateLimit
		want string
		typ  string
	}{
		{openai, RateLimit{Model: "gpt-4o", Organization: "org-x", Metric: "requests per min (RPM)", Limit: 500, Used: 500, Requested: 1, WaitMillis: 120},
			"Rate limit reached for gpt-4o in organization org-x on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.", "requests"},
		{openai, RateLimit{Model: "gpt-4o", Organization: "org-x", Metric: "tokens per min (TPM)", Tokens: true, Limit: 30000, Used: 28039, Requested: 3906, WaitMillis: 3890},
			"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 28039, Requested 3906. Please try again in 3.89s.", "tokens"},
		{openai, RateLimit{Model: "gpt-4o", Organization: "org-x", Metric: "tokens per min (TPM)", Tokens: true, Limit: 30000, Used: 5, Requested: 31538, Never: true},
			"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 31538. The input or output tokens must be reduced in order to run successfully.", "tokens"},
		{openai, RateLimit{Organization: "org-x", Metric: "requests per day (RPD)", Limit: 1, Used: 1, Requested: 1, WaitMillis: 86_115_126},
			"Rate limit reached in organization org-x on requests per day (RPD): Limit 1, Used 1, Requested 1. Please try again in 23h55m15.126s.", "requests"},
		{azure, RateLimit{Model: "gpt-4o", Organization: "org-x", Metric: "tokens per min (TPM)", Tokens: true, Limit: 10, Used: 9, Requested: 2, WaitMillis: 5001},
			"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds. (Tokens per min (TPM): Limit 10, Used 9, Requested 2.)", "tokens"},
		{call("/openai/v1/embeddings"), RateLimit{Metric: "requests per min (RPM)", Limit: 10, Used: 10, Requested: 1, WaitMillis: 6000},
			"Requests to the Embeddings_Create Operation under Azure OpenAI API version v1 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds. (Requests per min (RPM): Limit 10, Used 10, Requested 1.)", "requests"},
	} {
		c.r.Whose = "user user-1"
		e := RateLimitError(c.call, &c.r)
		if e.Message != c.want+ours || e.Param != c.typ || e.Code != "rate_limit_exceeded" || e.NoRetry != c.r.Never || e.RetryAfterMillis != c.r.WaitMillis {
			t.Errorf("got  %+v\nwant %s", e, c.want+ours)
		}
	}
}

// A reset is written as Go writes a duration: clients read it back with time.ParseDuration.
func TestRateHeaders(t *testing.T) {
	for i := range 20_000 {
		ms := rand.Int64N(1 << (1 + i%40))
		want := (time.Duration(ms) * time.Millisecond).String()
		if got := string(appendDuration(nil, ms)); got != want {
			t.Fatalf("%d ms: got %s, want %s", ms, got, want)
		}
	}
	headers := func(face Face, requests, tokens RateState) (out string) {
		RateHeaders(face, requests, tokens, func(name, value string) { out += name + "=" + value + " " })
		return strings.TrimSpace(out)
	}
	requests, tokens := RateState{500, 499, 120}, RateState{30000, 0, 61_000}
	const openai = "X-Ratelimit-Limit-Requests=500 X-Ratelimit-Remaining-Requests=499 X-Ratelimit-Reset-Requests=120ms X-Ratelimit-Limit-Tokens=30000 X-Ratelimit-Remaining-Tokens=0 X-Ratelimit-Reset-Tokens=1m1s"
	if got := headers(FaceOpenAI, requests, tokens); got != openai {
		t.Errorf("got %s", got)
	}
	if got, want := headers(FaceAzure, requests, RateState{}), "X-Ratelimit-Limit-Requests=500 X-Ratelimit-Remaining-Requests=499 X-Ratelimit-Reset-Requests=1"; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := headers(FaceOpenAI, RateState{}, tokens), openai[strings.Index(openai, "X-Ratelimit-Limit-Tokens"):]; got != want {
		t.Errorf("got %s", got)
	}
	if n := testing.AllocsPerRun(100, func() { RateHeaders(FaceOpenAI, requests, tokens, func(string, string) {}) }); n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}
