package strictjson_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse/internal/dialect/strictjson"
)

// wide is a list of fields as long as those of a chat are.
var wide = func() *strictjson.Spec {
	var fields []strictjson.Field
	for _, path := range strings.Fields(`model stream stream_options stream_options.include_usage stream_options.include_obfuscation **.metadata
		**.tools[].type **.file_id **.image_url **.image_url.url **.file_data **.file_url messages **.input_audio.data max_tokens
		max_completion_tokens n service_tier prompt_cache_key store tools tools[].type modalities web_search_options prediction data_sources
		moderation.model messages[].audio.id audio.voice audio.voice.id`) {
		fields = append(fields, strictjson.Field{Path: path, Kinds: strictjson.String | strictjson.Number | strictjson.Bool | strictjson.Null | strictjson.Object | strictjson.Array})
	}
	return strictjson.NewSpec(fields...)
}()

// prose returns a request of a size that asks one plain question.
func prose(size int) []byte {
	b := []byte(`{"model":"gpt-4o-mini","max_tokens":256,"temperature":0.7,"messages":[{"role":"system","content":"You are a careful assistant."},{"role":"user","content":"`)
	const words = "Explain in plain words how the keeper of a gate knows whom to let in, and why. "
	for len(b)+len(words) < size {
		b = append(b, words...)
	}
	return append(b, `"}]}`...)
}

// BenchmarkScanWide measures the scan of a request as most are, after other memory was touched, as the rest of a request does. Walk
// is the share of that, to be taken off.
func BenchmarkScanWide(b *testing.B) {
	body, other := prose(2<<10), make([]byte, 64<<10)
	var r strictjson.Result
	walk := func() {
		for i := 0; i < len(other); i += 64 {
			other[i]++
		}
	}
	scan := func(b *testing.B) {
		if err := strictjson.Scan(body, wide, &r); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scan(b)
		}
	})
	b.Run("Cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			walk()
			scan(b)
		}
	})
	b.Run("Walk", func(b *testing.B) {
		for b.Loop() {
			walk()
		}
	})
}

// BenchmarkScan measures our scan beside jsontext over the same bodies.
func BenchmarkScan(b *testing.B) {
	bodies := []struct {
		name string
		body []byte
	}{
		{"2KB", request(2 << 10)}, {"100KB", request(100 << 10)}, {"10MB", request(10 << 20)}, {"10MBString", upload(10 << 20)},
		{"100KBUnicode", []byte(`{"model":"m","x":"` + strings.Repeat("日本語のテキスト", 100<<10/24) + `"}`)},
	}
	for _, c := range bodies {
		b.Run(c.name+"/strictjson", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			var r strictjson.Result
			for b.Loop() {
				if err := strictjson.Scan(c.body, chat, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/jsontext", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			in := bytes.NewBuffer(nil)
			d := jsontext.NewDecoder(in)
			for b.Loop() {
				*in = *bytes.NewBuffer(c.body)
				d.Reset(in)
				for {
					if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkSplice measures planning the forwarded body after a scan.
func BenchmarkSplice(b *testing.B) {
	b.ReportAllocs()
	var r strictjson.Result
	if err := strictjson.Scan(request(2<<10), chat, &r); err != nil {
		b.Fatal(err)
	}
	segments := make([][]byte, 0, 8)
	for b.Loop() {
		segments = r.Splice(segments[:0], strictjson.Changes{Model: "gpt-4o-eu", IncludeUsage: true})
	}
}
