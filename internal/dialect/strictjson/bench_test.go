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
