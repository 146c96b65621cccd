package sdk

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// TestGoRateLimits sets a project's rate limit with openai-go, sees its headers, and is told to the millisecond when to come back.
func TestGoRateLimits(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	ctx, limits := t.Context(), client(s).Admin.Organization.Projects.RateLimits
	seen := map[string]bool{}
	for pages := limits.ListRateLimitsAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectRateLimitListRateLimitsParams{Limit: openai.Int(50)}); ; {
		if !pages.Next() {
			if err := pages.Err(); err != nil {
				t.Fatal(err)
			}
			break
		}
		row := pages.Current()
		if seen[row.ID] || row.ID != "rl-"+row.Model || row.MaxRequestsPer1Minute != 1<<53-1 {
			t.Errorf("row %s", row.RawJSON())
		}
		seen[row.ID] = true
	}
	if len(seen) < 100 || !seen["rl-gpt-4o"] {
		t.Errorf("%d rows", len(seen))
	}
	row := must[*openai.ProjectRateLimit](t)(limits.UpdateRateLimit(ctx, s.ProjectID, "rl-gpt-4o", openai.AdminOrganizationProjectRateLimitUpdateRateLimitParams{MaxRequestsPer1Minute: openai.Int(1), MaxTokensPer1Minute: openai.Int(100_000)}))
	if row.MaxRequestsPer1Minute != 1 || row.MaxTokensPer1Minute != 100_000 || row.Model != "gpt-4o" {
		t.Errorf("updated %s", row.RawJSON())
	}
	chat := func(into **http.Response) error {
		api := client(s)
		_, err := api.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hi")}},
			option.WithMaxRetries(0), option.WithResponseInto(into))
		return err
	}
	var resp *http.Response
	if err := chat(&resp); err != nil {
		t.Fatal(err)
	}
	h := resp.Header
	reset, err := time.ParseDuration(h.Get("x-ratelimit-reset-requests"))
	if h.Get("x-ratelimit-limit-requests") != "1" || h.Get("x-ratelimit-remaining-requests") != "0" || err != nil || reset != time.Minute || h.Get("x-ratelimit-limit-tokens") != "100000" {
		t.Errorf("headers %v", h)
	}
	var refused *openai.Error
	if err := chat(&resp); !errors.As(err, &refused) || refused.StatusCode != http.StatusTooManyRequests || refused.Type != "requests" || refused.Code != "rate_limit_exceeded" ||
		refused.Response.Header.Get("retry-after-ms") == "" || refused.Response.Header.Get("x-should-retry") != "true" {
		t.Errorf("the second request: %v", err)
	}
}
