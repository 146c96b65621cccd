package dialect

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse"
)

func TestPresented(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name string
		h    http.Header
		key  string
		from Source
		says string // part of the error, "" for none
	}{
		{"nothing", http.Header{}, "", SourceNone, ""},
		{"bearer", http.Header{"Authorization": {"Bearer sk-1"}}, "sk-1", SourceBearer, ""},
		{"any case and space", http.Header{"Authorization": {"  bEARER   sk-1 "}}, "sk-1", SourceBearer, ""},
		{"api-key", http.Header{"Api-Key": {"sk-1"}}, "sk-1", SourceAPIKey, ""},
		{"subscription key", http.Header{"Ocp-Apim-Subscription-Key": {"sk-1"}}, "sk-1", SourceSubscriptionKey, ""},
		{"api-key wins", http.Header{"Api-Key": {"a"}, "Ocp-Apim-Subscription-Key": {"b"}, "Authorization": {"Bearer c"}}, "a", SourceAPIKey, ""},
		{"api-key wins over nonsense", http.Header{"Api-Key": {"a"}, "Authorization": {"Digest c"}}, "a", SourceAPIKey, ""},
		{"an empty api-key does not", http.Header{"Api-Key": {" "}, "Authorization": {"Bearer c"}}, "c", SourceBearer, ""},
		{"basic", http.Header{"Authorization": {basic(":sk-1")}}, "sk-1", SourceBasic, ""},
		{"basic with a user", http.Header{"Authorization": {basic("me:sk-1")}}, "sk-1", SourceBasic, ""},
		{"basic without password", http.Header{"Authorization": {basic("me:")}}, "", SourceNone, ""},
		{"empty bearer", http.Header{"Authorization": {"Bearer "}}, "", SourceNone, ""},
		{"empty header", http.Header{"Authorization": {""}}, "", SourceNone, ""},
		{"a key alone", http.Header{"Authorization": {"sk-1"}}, "", SourceBearer, "without 'Bearer'"},
		{"another scheme", http.Header{"Authorization": {"Digest x"}}, "", SourceBearer, "Bearer YOUR_KEY"},
		{"two keys in one", http.Header{"Authorization": {"Bearer a b"}}, "", SourceBearer, "spaces"},
		{"not ASCII", http.Header{"Authorization": {"Bearer sk\u2013"}}, "", SourceBearer, "copying"},
		{"a quoted line break", http.Header{"Api-Key": {"sk\n1"}}, "", SourceAPIKey, "line breaks"},
		{"twice", http.Header{"Authorization": {"Bearer a", "Bearer b"}}, "", SourceBearer, "more than once"},
		{"api-key twice", http.Header{"Api-Key": {"a", "b"}}, "", SourceAPIKey, "more than once"},
		{"bad base64", http.Header{"Authorization": {"Basic ???"}}, "", SourceBasic, "base64"},
		{"basic without colon", http.Header{"Authorization": {basic("sk-1")}}, "", SourceBasic, "no password"},
		{"too long", http.Header{"Authorization": {"Bearer " + strings.Repeat("a", 20000)}}, "", SourceBearer, "no key has"},
	} {
		key, from, err := Presented(tt.h)
		if key != tt.key || from != tt.from || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %q from %s, %v; want %q from %s, %q", tt.name, key, from, err, tt.key, tt.from, tt.says)
		}
		if err != nil && gatehouse.KindOf(err) != gatehouse.Unauthenticated {
			t.Errorf("%s: got kind %s", tt.name, gatehouse.KindOf(err))
		}
	}
	h := http.Header{"Authorization": {"Bearer sk-proj-gtk0123456789"}}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = Presented(h) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestCallerOf(t *testing.T) {
	long := strings.Repeat("a", 513)
	for _, tt := range []struct {
		h    http.Header
		want Caller
	}{
		{http.Header{}, Caller{}},
		{http.Header{"Openai-Organization": {" org-1 "}, "Openai-Project": {"proj_1"}}, Caller{Organization: "org-1", Project: "proj_1"}},
		{http.Header{"X-Client-Request-Id": {"a"}, "X-Request-Id": {"b"}, "X-Ms-Client-Request-Id": {"c"}}, Caller{RequestID: "a", EchoID: "c"}},
		{http.Header{"X-Client-Request-Id": {long}, "X-Request-Id": {"b b"}}, Caller{RequestID: "b b"}},
		{http.Header{"X-Request-Id": {"b\x1b[2J"}, "X-Ms-Client-Request-Id": {"c"}}, Caller{RequestID: "c", EchoID: "c"}},
		{http.Header{"X-Request-Id": {"é"}}, Caller{}},
	} {
		if got := CallerOf(tt.h); got != tt.want {
			t.Errorf("%v: got %+v, want %+v", tt.h, got, tt.want)
		}
	}
}

func TestHeaderLists(t *testing.T) {
	for _, name := range []string{"Content-Type", "Accept", "Openai-Beta", "Idempotency-Key", "Aoai-Evals"} {
		if !RequestHeader(name) {
			t.Errorf("%s does not go upstream", name)
		}
	}
	for _, name := range []string{"Content-Type", "Content-Disposition", "Openai-Processing-Ms", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "Etag"} {
		if got, ok := ResponseHeader(strings.ToLower(name), "x"); !ok || got != name {
			t.Errorf("%s does not come back", name)
		}
	}
	for value, want := range map[string]bool{"/v1/realtime/calls/rtc_1": true, "//evil.example/x": false, "https://evil.example": false, `/\evil.example`: false, "x": false, "": false} {
		if _, got := ResponseHeader("Location", value); got != want {
			t.Errorf("Location %q: got %v", value, got)
		}
	}
	for _, name := range []string{"Authorization", "Api-Key", "Ocp-Apim-Subscription-Key", "Cookie", "Openai-Organization", "Openai-Project",
		"Accept-Encoding", "Connection", "Transfer-Encoding", "Te", "Upgrade", "Expect", "Host", "User-Agent", "X-Stainless-Lang", "X-Forwarded-For", "Forwarded", "Content-Length"} {
		if RequestHeader(name) {
			t.Errorf("%s goes upstream", name)
		}
	}
	for _, name := range []string{"Set-Cookie", "Alt-Svc", "Openai-Organization", "Openai-Project", "X-Ratelimit-Remaining-Tokens", "X-Request-Id", "Server",
		"Transfer-Encoding", "Connection", "Content-Length", "Strict-Transport-Security", "Www-Authenticate"} {
		if _, ok := ResponseHeader(name, "x"); ok {
			t.Errorf("%s comes back", name)
		}
	}
}

func TestFaceHeaders(t *testing.T) {
	collect := func(face Face, echo, region string) http.Header {
		h := http.Header{}
		FaceHeaders(face, "req_1", echo, region, h.Set)
		return h
	}
	if h := collect(FaceOpenAI, "e", "eastus"); len(h) != 1 || h.Get("X-Request-Id") != "req_1" {
		t.Errorf("OpenAI: got %v", h)
	}
	h := collect(FaceAzure, "e", "eastus")
	if h.Get("X-Request-Id") != "req_1" || h.Get("Apim-Request-Id") != "req_1" || h.Get("X-Ms-Client-Request-Id") != "e" || h.Get("X-Ms-Region") != "eastus" {
		t.Errorf("Azure: got %v", h)
	}
	if h := collect(FaceAzureV1, "", ""); h.Get("X-Ms-Client-Request-Id") != "req_1" || len(h["X-Ms-Region"]) != 0 {
		t.Errorf("Azure without either: got %v", h)
	}
}

func TestRetryHeaders(t *testing.T) {
	for _, tt := range []struct {
		e    gatehouse.Error
		want http.Header
	}{
		{gatehouse.Error{Kind: gatehouse.Invalid}, http.Header{}},
		{gatehouse.Error{Kind: gatehouse.RateLimited, RetryAfterMillis: 1}, http.Header{"X-Should-Retry": {"true"}, "Retry-After": {"1"}, "Retry-After-Ms": {"1"}}},
		{gatehouse.Error{Kind: gatehouse.Unavailable, RetryAfterMillis: 60000}, http.Header{"X-Should-Retry": {"true"}, "Retry-After": {"60"}, "Retry-After-Ms": {"60000"}}},
		{gatehouse.Error{Kind: gatehouse.RateLimited, RetryAfterMillis: 90000}, http.Header{"X-Should-Retry": {"false"}, "Retry-After": {"90"}, "Retry-After-Ms": {"90000"}}},
		{gatehouse.Error{Kind: gatehouse.BadUpstream, NoRetry: true}, http.Header{"X-Should-Retry": {"false"}}},
		{gatehouse.Error{Kind: gatehouse.RateLimited, Code: "insufficient_quota"}, http.Header{"X-Should-Retry": {"false"}}},
		{gatehouse.Error{Kind: gatehouse.RateLimited, Code: "credit_balance_exhausted", NoRetry: true, RetryAfterMillis: 5}, http.Header{"X-Should-Retry": {"false"}}},
		{gatehouse.Error{Kind: gatehouse.RateLimited, Code: "project_spend_limit_exceeded", RetryAfterMillis: 5}, http.Header{"X-Should-Retry": {"true"}, "Retry-After": {"1"}, "Retry-After-Ms": {"5"}}},
	} {
		got := http.Header{}
		RetryHeaders(&tt.e, got.Set)
		if len(got) != len(tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.e, got, tt.want)
		}
		for name := range tt.want {
			if got.Get(name) != tt.want.Get(name) {
				t.Errorf("%+v: %s: got %q, want %q", tt.e, name, got.Get(name), tt.want.Get(name))
			}
		}
	}
}

func TestRetryable(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status int
		h      http.Header
		retry  bool
		delay  time.Duration
	}{
		{200, http.Header{"X-Should-Retry": {"true"}}, false, 0},
		{400, nil, false, 0},
		{401, nil, false, 0},
		{404, nil, false, 0},
		{408, nil, true, 0},
		{409, nil, false, 0},
		{409, http.Header{"X-Should-Retry": {"true"}}, true, 0},
		{422, nil, false, 0},
		{429, http.Header{"Retry-After-Ms": {"250.5"}, "Retry-After": {"9"}}, true, 250500 * time.Microsecond},
		{429, http.Header{"Retry-After": {"1.5"}}, true, 1500 * time.Millisecond},
		{429, http.Header{"Retry-After": {"Fri, 20 Nov 2026 12:00:07 GMT"}}, true, 7 * time.Second},
		{429, http.Header{"Retry-After": {"Fri, 20 Nov 2026 11:00:00 GMT"}}, true, 0},
		{429, http.Header{"Retry-After": {"-1"}, "Retry-After-Ms": {"-5"}}, true, 0},
		{429, http.Header{"Retry-After": {"NaN"}, "Retry-After-Ms": {"NaN"}}, true, 0},
		{429, http.Header{"Retry-After": {strconv.FormatFloat(math.MaxFloat64, 'f', -1, 64)}}, true, 24 * time.Hour},
		{429, http.Header{"Retry-After-Ms": {"Inf"}}, true, 24 * time.Hour},
		{429, http.Header{"Retry-After": {"soon"}}, true, 0},
		{429, http.Header{"X-Should-Retry": {"False"}}, false, 0},
		{500, nil, true, 0},
		{502, http.Header{"X-Should-Retry": {"false"}}, false, 0},
		{503, nil, true, 0},
	} {
		if retry, delay := Retryable(tt.status, tt.h.Get, now); retry != tt.retry || delay != tt.delay {
			t.Errorf("%d %v: got %v, %v, want %v, %v", tt.status, tt.h, retry, delay, tt.retry, tt.delay)
		}
	}
}
