package mock

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestInjectedStatus(t *testing.T) {
	h := serve(t)
	for _, tt := range []struct {
		status    int
		typ, code any
	}{
		{400, "invalid_request_error", "invalid_value"}, {401, "invalid_request_error", "invalid_api_key"}, {418, "invalid_request_error", nil},
		{429, "requests", "rate_limit_exceeded"}, {500, "server_error", nil}, {503, "service_unavailable_error", "server_is_overloaded"}, {599, "server_error", nil},
	} {
		res, b := h.do("GET", "/v1/models", nil, "x-mock-status", itoa(tt.status), "x-mock-retry-after-ms", "1500")
		var o object
		mustUnmarshal(t, b, &o)
		h.want("status", res.StatusCode, tt.status)
		h.want("type", at(o, "error", "type"), tt.typ)
		h.want("code", at(o, "error", "code"), tt.code)
		after, afterMS := res.Header.Get("Retry-After"), res.Header.Get("Retry-After-Ms")
		if retry := tt.status == 429 || tt.status == 503; retry != (after == "2" && afterMS == "1500") || !retry && after+afterMS != "" {
			t.Errorf("%d: retry-after %q, retry-after-ms %q", tt.status, after, afterMS)
		}
	}
}

func TestErrorRate(t *testing.T) {
	h := serve(t)
	for rate, want := range map[string]string{
		"0": "............", "1": "xxxxxxxxxxxx", "0.25": "...x...x...x", ".5": ".x.x.x.x.x.x", "0.75": ".xxx.xxx.xxx", "0.100000": ".........x..", "1.0": "xxxxxxxxxxxx",
	} {
		h := h.in("proj_" + rate)
		h.json("GET", "/v1/models", nil) // without the knob: not counted
		got := ""
		for range len(want) {
			res, _ := h.do("GET", "/v1/models", nil, "x-mock-error-rate", rate)
			got += map[int]string{200: ".", 503: "x"}[res.StatusCode]
		}
		if got != want {
			t.Errorf("rate %s fails %s, want %s", rate, got, want)
		}
	}
	res, _ := h.do("GET", "/v1/models", nil, "x-mock-error-rate", "1", "x-mock-status", "429")
	h.want("status with x-mock-status", res.StatusCode, 429)
}

func FuzzParsePPM(f *testing.F) {
	for _, s := range []string{"0", "1", "0.5", ".5", "1.000000", "1.1", "", ".", "-0", "0.0000001", "0x1", "01", "1e-3", "0.+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := parsePPM(s)
		if !ok {
			return
		}
		if n < 0 || n > 1_000_000 || strings.Trim(s, "0123456789.") != "" || !strings.ContainsAny(s, "0123456789") {
			t.Errorf("parsePPM(%q) = %d", s, n)
		}
	})
}

func TestBrokenStream(t *testing.T) {
	h := serve(t)
	for _, n := range []int{0, 1, 3} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/v1/chat/completions", strings.NewReader(chatOf(`,"stream":true`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sesame")
		req.Header.Set("x-mock-break-after", itoa(n))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := strings.Count(string(b), "data: "); got != n || !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(string(b), "[DONE]") {
			t.Errorf("break after %d: %d events, then %v", n, got, err)
		}
	}
	res, b := h.do("POST", "/v1/chat/completions", chatOf(``), "x-mock-break-after", "10")
	if res.StatusCode != 200 || len(b) != 10 || res.ContentLength < 100 {
		t.Errorf("plain answer: %d, %d of %d bytes", res.StatusCode, len(b), res.ContentLength)
	}
	// A limit behind the end changes nothing.
	h.json("POST", "/v1/chat/completions", chatOf(``), "x-mock-break-after", "100000")
	events := h.events("POST", "/v1/chat/completions", chatOf(`,"stream":true`), "x-mock-break-after", "1000")
	h.want("end", events[len(events)-1].data, "[DONE]")
}

// alone answers one request without a network, for tests of time.
func alone(ctx context.Context, path, body string, headers ...string) (w *httptest.ResponseRecorder, aborted bool) {
	r := httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			aborted = true
		}
	}()
	New(Config{}).ServeHTTP(w, r)
	return w, false
}

func TestDelays(t *testing.T) {
	tests := []struct {
		name, body string
		headers    []string
		want       time.Duration
		events     int
		aborted    bool
	}{
		{"latency", chatOf(``), []string{"x-mock-latency-ms", "2500"}, 2500 * time.Millisecond, 0, false},
		{"latency before an error", chatOf(``), []string{"x-mock-latency-ms", "40", "x-mock-status", "500"}, 40 * time.Millisecond, 0, false},
		// The role, five tokens, how it ended, and [DONE]: eight events and seven waits.
		{"chunks", chatOf(`,"stream":true`), []string{"x-mock-latency-ms", "100", "x-mock-chunk-delay-ms", "50", "x-mock-tokens", "5"}, 450 * time.Millisecond, 8, false},
		{"stall", chatOf(`,"stream":true`), []string{"x-mock-stall-after", "2"}, maxStall, 2, true},
		{"stall of a plain answer", chatOf(``), []string{"x-mock-stall-after", "0"}, maxStall, 0, true},
		{"break comes first", chatOf(`,"stream":true`), []string{"x-mock-stall-after", "3", "x-mock-break-after", "2"}, 0, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w, aborted := alone(t.Context(), "/v1/chat/completions", tt.body, tt.headers...)
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if n := strings.Count(w.Body.String(), "data: "); n != tt.events || aborted != tt.aborted {
					t.Errorf("%d events, aborted %v, want %d, %v", n, aborted, tt.events, tt.aborted)
				}
			})
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	for _, headers := range [][]string{
		{"x-mock-latency-ms", "600000"}, {"x-mock-stall-after", "0"}, {"x-mock-chunk-delay-ms", "60000"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if _, aborted := alone(ctx, "/v1/chat/completions", chatOf(`,"stream":true`), headers...); !aborted {
				t.Errorf("%v: not aborted", headers)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("%v: ended after %v, want 1s", headers, took)
			}
		})
	}
}
