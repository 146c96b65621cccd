package sdk

import (
	"math/big"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"

	"gatehouse/gatehousetest"
)

// TestGoUsageAndCosts calls models and reads every usage endpoint and costs with the official client, page by page.
func TestGoUsageAndCosts(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	ctx := t.Context()
	var input, output int64
	for range 3 {
		answer := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(ctx, ask("gpt-4o")))
		input, output = input+answer.Usage.PromptTokens, output+answer.Usage.CompletionTokens
	}
	embedded := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("hello")}}))
	start := time.Now().Add(-48 * time.Hour).Unix()
	usage := c.Admin.Organization.Usage

	buckets := 0
	var gotInput, gotOutput, requests int64
	q := openai.AdminOrganizationUsageCompletionsParams{StartTime: start, Limit: openai.Int(1), GroupBy: []string{"model", "project_id"}, ProjectIDs: []string{s.ProjectID}}
	for {
		page := must[*openai.AdminOrganizationUsageCompletionsResponse](t)(usage.Completions(ctx, q))
		for _, b := range page.Data {
			buckets++
			for _, r := range b.Results {
				gotInput, gotOutput, requests = gotInput+r.InputTokens, gotOutput+r.OutputTokens, requests+r.NumModelRequests
				if r.Model != "gpt-4o" || r.ProjectID != s.ProjectID {
					t.Errorf("result %s", r.RawJSON())
				}
			}
		}
		if !page.HasMore {
			break
		}
		q.Page = openai.String(page.NextPage)
	}
	if buckets != 3 || gotInput != input || gotOutput != output || requests != 3 {
		t.Errorf("%d buckets: %d requests, %d and %d tokens; want 3: 3, %d and %d", buckets, requests, gotInput, gotOutput, input, output)
	}
	embeddings := must[*openai.AdminOrganizationUsageEmbeddingsResponse](t)(usage.Embeddings(ctx, openai.AdminOrganizationUsageEmbeddingsParams{StartTime: start}))
	tokens := int64(0)
	for _, b := range embeddings.Data {
		for _, r := range b.Results {
			tokens += r.InputTokens
		}
	}
	if tokens != embedded.Usage.PromptTokens {
		t.Errorf("%d tokens were embedded, want %d", tokens, embedded.Usage.PromptTokens)
	}
	for name, call := range map[string]func() (int, error){
		"moderations": func() (int, error) {
			p, err := usage.Moderations(ctx, openai.AdminOrganizationUsageModerationsParams{StartTime: start})
			return len(p.Data), err
		},
		"images": func() (int, error) {
			p, err := usage.Images(ctx, openai.AdminOrganizationUsageImagesParams{StartTime: start, Sources: []string{"image.edit"}, GroupBy: []string{"size", "source"}})
			return len(p.Data), err
		},
		"audio speeches": func() (int, error) {
			p, err := usage.AudioSpeeches(ctx, openai.AdminOrganizationUsageAudioSpeechesParams{StartTime: start})
			return len(p.Data), err
		},
		"audio transcriptions": func() (int, error) {
			p, err := usage.AudioTranscriptions(ctx, openai.AdminOrganizationUsageAudioTranscriptionsParams{StartTime: start})
			return len(p.Data), err
		},
		"vector stores": func() (int, error) {
			p, err := usage.VectorStores(ctx, openai.AdminOrganizationUsageVectorStoresParams{StartTime: start})
			return len(p.Data), err
		},
		"code interpreter sessions": func() (int, error) {
			p, err := usage.CodeInterpreterSessions(ctx, openai.AdminOrganizationUsageCodeInterpreterSessionsParams{StartTime: start})
			return len(p.Data), err
		},
		"file searches": func() (int, error) {
			p, err := usage.FileSearchCalls(ctx, openai.AdminOrganizationUsageFileSearchCallsParams{StartTime: start})
			return len(p.Data), err
		},
		"web searches": func() (int, error) {
			p, err := usage.WebSearchCalls(ctx, openai.AdminOrganizationUsageWebSearchCallsParams{StartTime: start, ContextLevels: []string{"low"}})
			return len(p.Data), err
		},
		"decisions": func() (int, error) {
			p, err := usage.Decisions(ctx, openai.AdminOrganizationUsageDecisionsParams{StartTime: start})
			return len(p.Data), err
		},
	} {
		if n, err := call(); err != nil || n != 3 {
			t.Errorf("%s: %d buckets, %v", name, n, err)
		}
	}
	sum := func(groups ...string) *big.Rat {
		total := new(big.Rat)
		page := must[*openai.AdminOrganizationUsageCostsResponse](t)(usage.Costs(ctx, openai.AdminOrganizationUsageCostsParams{StartTime: start, GroupBy: groups}))
		for _, b := range page.Data {
			for _, r := range b.Results {
				n, ok := new(big.Rat).SetString(r.Amount.JSON.Value.Raw())
				if !ok || r.Amount.Currency != "usd" {
					t.Fatalf("result %s", r.RawJSON())
				}
				total.Add(total, n)
			}
		}
		return total
	}
	want := big.NewRat(input*2500+output*10_000+tokens*20, 1_000_000_000) // gpt-4o: 2.50 and 10 USD a million; text-embedding-3-small: 0.02
	for _, groups := range [][]string{nil, {"line_item"}, {"project_id", "api_key_id"}, {"line_item", "user_id"}} {
		if got := sum(groups...); got.Cmp(want) != 0 {
			t.Errorf("costs by %v: %v, want %v", groups, got.FloatString(9), want.FloatString(9))
		}
	}
}
