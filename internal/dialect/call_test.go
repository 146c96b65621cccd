package dialect

import "testing"

func TestParseHotPaths(t *testing.T) {
	for _, tt := range []struct{ method, path, query, op, canonical, deployment, forward string }{
		{"POST", "/v1/chat/completions", "", "chat.completions.create", "/chat/completions", "", ""},
		{"POST", "/openai/deployments/dep1/chat/completions", "api-version=2024-10-21", "chat.completions.create", "/chat/completions", "dep1", ""},
	} {
		c, err := Parse(tt.method, tt.path, tt.query)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.path, err)
		}
		if c.Op.Name != tt.op || c.Path != tt.canonical || c.Deployment != tt.deployment || c.Query != tt.forward {
			t.Errorf("%s %s: got %+v", tt.method, tt.path, c)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(tt.method, tt.path, tt.query) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", tt.path, n)
		}
	}
}

func BenchmarkParseOpenAI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse("POST", "/v1/chat/completions", "")
	}
}

func BenchmarkParseAzure(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse("POST", "/openai/deployments/gpt-4o/chat/completions", "api-version=2024-10-21")
	}
}
