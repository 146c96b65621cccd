package sse_test

import (
	"bytes"
	"testing"

	"gatehouse/internal/dialect/sse"
	"gatehouse/internal/dialect/usage"
)

// FuzzTap checks that how a stream is cut into pieces changes nothing, and that a tap with nothing to edit changes nothing.
func FuzzTap(f *testing.F) {
	for _, c := range streams {
		if in := load(f, c.name); len(in) < 10_000 {
			f.Add(in, uint8(11), c.options.HideUsageChunk, c.options.FixAzure)
		}
	}
	f.Add([]byte("\ufeffdata:{\"choices\":[],\"usage\":{}}\r\r\n: x\rdata: [DONE]\n\r"), uint8(1), true, true)
	f.Add([]byte("data: {\"type\":\"image_edit.completed\"}\r\n\r\n: x\r\n\r\ndata: {\"choices\":[],\"prompt_filter_results\":1}\n\n"), uint8(3), true, true)
	f.Fuzz(func(t *testing.T, in []byte, size uint8, hide, fix bool) {
		var tap sse.Tap
		o := sse.Options{Shape: usage.Chat, HideUsageChunk: hide, FixAzure: fix}
		whole := run(t, &tap, o, in, 0)
		pieces := run(t, &tap, o, in, int(size))
		if !bytes.Equal(whole.out, pieces.out) {
			t.Fatalf("got %q in pieces, %q at once", pieces.out, whole.out)
		}
		if !same(whole.sum, pieces.sum) {
			t.Fatalf("got %+v in pieces, %+v at once", pieces.sum, whole.sum)
		}
		if !hide && !fix && !bytes.Equal(whole.out, in) {
			t.Fatalf("nothing to edit: got %q, want %q", whole.out, in)
		}
		if whole.finals != pieces.finals {
			t.Fatalf("got %d final emissions in pieces, %d at once", pieces.finals, whole.finals)
		}
	})
}

func BenchmarkTap(b *testing.B) {
	for _, c := range []struct {
		name    string
		options sse.Options
		chunk   []byte
		piece   int // 0: one event a piece
	}{
		{"Chunk300", sse.Options{Shape: usage.Chat}, chunkOf(300), 0},
		{"Chunk300Edited", sse.Options{Shape: usage.Chat, HideUsageChunk: true, FixAzure: true}, chunkOf(300), 0},
		{"Chunk300Halves", sse.Options{Shape: usage.Chat}, chunkOf(300), 150},
		{"Image300KB", sse.Options{Shape: usage.Images}, load(b, "images.sse"), 16 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.chunk)))
			var tap sse.Tap
			tap.Reset(c.options)
			emit := func([]byte, bool) error { return nil }
			size := c.piece
			if size == 0 {
				size = len(c.chunk)
			}
			for b.Loop() {
				for rest := c.chunk; len(rest) > 0; rest = rest[min(size, len(rest)):] {
					if err := tap.Feed(rest[:min(size, len(rest))], emit); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
