package usage_test

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

func TestExtract(t *testing.T) {
	cases := []struct {
		name  string
		shape usage.Shape
		json  string
		want  gatehouse.Units
		ok    bool
	}{
		{"chat", usage.Chat, `{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
			"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":7,"cache_write_tokens":5,"text_tokens":1990,"image_tokens":9},
			"completion_tokens_details":{"reasoning_tokens":200,"audio_tokens":3,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0,"text_tokens":97}}`,
			gatehouse.Units{Input: 2006, Cached: 1920, CacheWrite: 5, InputText: 1990, InputAudio: 7, InputImage: 9, Output: 300, Reasoning: 200, OutputAudio: 3, OutputText: 97}, true},
		{"chat with nulls", usage.Chat, `{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}`,
			gatehouse.Units{Input: 5, Output: 1}, true},
		{"completions", usage.Completions, `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}`, gatehouse.Units{Input: 5, Output: 7}, true},
		{"responses", usage.Responses, `{"input_tokens":36,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}`,
			gatehouse.Units{Input: 36, Cached: 4, CacheWrite: 2, Output: 87, Reasoning: 64}, true},
		{"embeddings", usage.Embeddings, `{"prompt_tokens":8,"total_tokens":8}`, gatehouse.Units{Input: 8}, true},
		{"embeddings, total only", usage.Embeddings, `{"total_tokens":8}`, gatehouse.Units{Input: 8}, true},
		{"images", usage.Images, `{"input_tokens":50,"output_tokens":4160,"total_tokens":4210,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}`,
			gatehouse.Units{Input: 50, InputText: 10, InputImage: 40, Output: 4160, OutputImage: 4160}, true},
		{"images with output details", usage.Images, `{"input_tokens":50,"output_tokens":4160,"output_tokens_details":{"image_tokens":4100,"text_tokens":60}}`,
			gatehouse.Units{Input: 50, Output: 4160, OutputImage: 4100, OutputText: 60}, true},
		{"transcription, singular details", usage.Transcription, `{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":101,"total_tokens":115}`,
			gatehouse.Units{Input: 14, InputText: 4, InputAudio: 10, Output: 101}, true},
		{"transcription, duration", usage.Transcription, `{"type":"duration","seconds":42}`, gatehouse.Units{Milliseconds: 42000}, true},
		{"transcription, fraction", usage.Transcription, `{"type":"duration","seconds":8.4701}`, gatehouse.Units{Milliseconds: 8471}, true},
		{"speech", usage.Speech, `{"input_tokens":14,"output_tokens":101,"total_tokens":115}`, gatehouse.Units{Input: 14, Output: 101, OutputAudio: 101}, true},
		{"realtime details", usage.Responses, `{"total_tokens":253,"input_tokens":132,"output_tokens":121,
			"input_token_details":{"cached_tokens":64,"text_tokens":19,"image_tokens":0,"audio_tokens":113,"cached_tokens_details":{"text_tokens":0,"image_tokens":1,"audio_tokens":63}},
			"output_token_details":{"text_tokens":30,"audio_tokens":91}}`,
			gatehouse.Units{Input: 132, Cached: 64, CachedAudio: 63, CachedImage: 1, InputText: 19, InputAudio: 113, Output: 121, OutputText: 30, OutputAudio: 91}, true},
		{"batch", usage.Batch, `{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":3}`, gatehouse.Units{Input: 1, Output: 2}, true},
		{"run", usage.Run, `{"prompt_tokens":123,"completion_tokens":456,"total_tokens":579}`, gatehouse.Units{Input: 123, Output: 456}, true},
		{"other generation", usage.Chat, `{"input_tokens":3,"output_tokens":4}`, gatehouse.Units{Input: 3, Output: 4}, true},
		{"both generations", usage.Chat, `{"input_tokens":0,"output_tokens":0,"prompt_tokens":3,"completion_tokens":4}`, gatehouse.Units{Input: 3, Output: 4}, true},
		{"zeros", usage.Chat, `{"prompt_tokens":0,"completion_tokens":0}`, gatehouse.Units{}, true},
		{"point", usage.Chat, `{"prompt_tokens":12.0,"completion_tokens":1.5e1}`, gatehouse.Units{Input: 12, Output: 15}, true},
		{"details above total", usage.Chat, `{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}`, gatehouse.Units{Input: 5, Cached: 5, Output: 1}, true},

		{"negative", usage.Chat, `{"prompt_tokens":-5,"completion_tokens":1}`, gatehouse.Units{}, false},
		{"negative detail", usage.Chat, `{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":-1}}`, gatehouse.Units{}, false},
		{"absurd", usage.Chat, `{"prompt_tokens":5000000000000,"completion_tokens":1}`, gatehouse.Units{}, false},
		{"overflow", usage.Chat, `{"prompt_tokens":18446744073709551621}`, gatehouse.Units{}, false},
		{"overflow by exponent", usage.Chat, `{"prompt_tokens":1e999}`, gatehouse.Units{}, false},
		{"fraction", usage.Chat, `{"prompt_tokens":5.5}`, gatehouse.Units{}, false},
		{"text", usage.Chat, `{"prompt_tokens":"5"}`, gatehouse.Units{}, false},
		{"negative seconds", usage.Transcription, `{"seconds":-1}`, gatehouse.Units{}, false},
		{"empty", usage.Chat, `{}`, gatehouse.Units{}, false},
		{"null", usage.Chat, `null`, gatehouse.Units{}, false},
		{"nothing", usage.Chat, ``, gatehouse.Units{}, false},
		{"cut", usage.Chat, `{"prompt_tokens":5,`, gatehouse.Units{}, false},
		{"total only", usage.Chat, `{"total_tokens":5}`, gatehouse.Units{}, false},
		{"no shape", usage.None, `{"prompt_tokens":5}`, gatehouse.Units{}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := usage.Extract(c.shape, []byte(c.json))
			if got != c.want || ok != c.ok {
				t.Errorf("got %+v %v, want %+v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestMilliseconds(t *testing.T) {
	cases := []struct {
		raw  string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"1", 1000, true}, {"0.001", 1, true}, {"0.0001", 1, true}, {"1.0000", 1000, true}, {"8.470000267028809", 8471, true},
		{"1.1", 1100, true}, {"2.5e1", 25000, true}, {"25E-1", 2500, true}, {"1e-9", 1, true}, {"0.29", 290, true}, {"1e+2", 100000, true},
		{"1e9", 1_000_000_000_000, true}, {"0e5", 0, true}, {"1.001e3", 1001000, true},
		{"1e10", 0, false}, {"-1", 0, false}, {"", 0, false}, {"null", 0, false}, {"1e", 0, false}, {"1e9999", 0, false}, {"NaN", 0, false}, {".5", 0, false},
	}
	for _, c := range cases {
		if got, ok := usage.Milliseconds([]byte(c.raw)); got != c.want || ok != c.ok {
			t.Errorf("%q: got %d %v, want %d %v", c.raw, got, ok, c.want, c.ok)
		}
	}
}

func TestEstimate(t *testing.T) {
	for bytes, want := range map[int64]int64{-1: 0, 0: 0, 1: 1, 4: 1, 5: 2, 4000: 1000, 1<<63 - 1: 1 << 61} {
		if got := usage.Estimate(bytes); got != want {
			t.Errorf("%d bytes: got %d, want %d", bytes, got, want)
		}
	}
}
