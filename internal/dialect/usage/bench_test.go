package usage_test

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

// answer is a chat answer as most are: the length of its text and all members that OpenAI writes.
const answer = `{"id":"chatcmpl-BfQ8mL2nT4vXcYzKjWq1RsHp0aDe7","object":"chat.completion","created":1749461340,"model":"gpt-4o-mini-2024-07-18",` +
	`"choices":[{"index":0,"message":{"role":"assistant","content":"The sea was calm that morning, and the \"old\" boat lay at the pier as it had for years.\nNobody spoke of it.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":512,"completion_tokens":27,"total_tokens":539,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},` +
	`"service_tier":"default","system_fingerprint":"fp_44132a4de3"}`

// BenchmarkAnswer measures what a whole answer costs that comes in one piece: reading it and what it says it used. Cold touches other
// memory in between, as the rest of a request does; Walk is the share of that, to be taken off.
func BenchmarkAnswer(b *testing.B) {
	body := []byte(answer)
	other := make([]byte, 64<<10)
	var c usage.Capture
	read := func() gatehouse.Units {
		c.Reset()
		_, _ = c.Write(body) // a Capture takes everything
		u, ok := usage.Of(usage.Chat, &c)
		if !ok || c.Text(usage.Model) == "" || c.Text(usage.ServiceTier) == "" {
			b.Fatal("no usage")
		}
		return u
	}
	walk := func() {
		for i := 0; i < len(other); i += 64 {
			other[i]++
		}
	}
	b.Run("Warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			read()
		}
	})
	b.Run("Cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			walk()
			read()
		}
	})
	b.Run("Walk", func(b *testing.B) {
		for b.Loop() {
			walk()
		}
	})
	b.Run("Capture", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Reset()
			_, _ = c.Write(body) // a Capture takes everything
		}
	})
	b.Run("Extract", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			usage.Extract(usage.Chat, c.Get(usage.Usage))
		}
	})
}
