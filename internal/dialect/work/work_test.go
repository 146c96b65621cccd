package work

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// ids are the objects' of testdata.
var ids = map[gatehouse.WorkKind]string{gatehouse.WorkResponse: "resp_1", gatehouse.WorkRun: "run_1", gatehouse.WorkBatch: "batch_1",
	gatehouse.WorkVideo: "video_1", gatehouse.WorkFineTuning: "ftjob-1"}

func TestObjects(t *testing.T) {
	var out strings.Builder
	for _, kind := range Kinds() {
		names, err := filepath.Glob(filepath.Join("testdata", string(kind)+".*.json"))
		if err != nil || len(names) < 3 {
			t.Fatalf("%d objects of kind %s, %v", len(names), kind, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var c usage.Capture
			_, _ = c.Write(text)
			r, ok := Read(kind, ids[kind], &c)
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%-40s %v %s\n", filepath.Base(name), ok, line)
		}
	}
	golden(t, "objects.golden", out.String())
}

func TestLines(t *testing.T) {
	var out strings.Builder
	for _, product := range []string{"completions", "embeddings", "images", "videos"} {
		text, err := os.ReadFile(filepath.Join("testdata", "lines."+product+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for size := range 70 { // of the pieces
			l := NewLines(product)
			for rest := text; len(rest) > 0; {
				n := min(len(rest), 1+size*size)
				_, _ = l.Write(rest[:n])
				rest = rest[n:]
			}
			l.End()
			got, err := json.Marshal(l.Sums())
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprintf("%s: %d lines: %s\n", product, l.Counted, got)
			if size == 0 {
				out.WriteString(line)
			} else if !strings.HasSuffix(out.String(), line) {
				t.Fatalf("in pieces of %d bytes: %s\nwant %s", 1+size*size, line, out.String())
			}
		}
	}
	golden(t, "lines.golden", out.String())
}

func TestManyModelsStayBounded(t *testing.T) {
	l := NewLines("completions")
	for i := range 1000 {
		fmt.Fprintf(l, `{"response":{"body":{"model":"m%d","usage":{"input_tokens":1,"output_tokens":2}}}}`+"\n", rand.N(500)+i)
	}
	var units gatehouse.Units
	for _, s := range l.Sums() {
		units.Add(s.Units)
	}
	if n := len(l.Sums()); n != maxModels || units.Input != 1000 || units.Output != 2000 || l.Counted != 1000 {
		t.Errorf("%d models, %+v", n, units)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		kind             gatehouse.WorkKind
		id, thread, want string
	}{
		{gatehouse.WorkResponse, "resp_1", "", "/responses/resp_1"},
		{gatehouse.WorkRun, "run_1", "thread_1", "/threads/thread_1/runs/run_1"},
		{gatehouse.WorkRun, "run_1", "", ""},
		{gatehouse.WorkBatch, "batch_1", "", "/batches/batch_1"},
		{gatehouse.WorkVideo, "video_1", "", "/videos/video_1"},
		{gatehouse.WorkFineTuning, "ftjob-1", "", "/fine_tuning/jobs/ftjob-1"},
		{gatehouse.WorkResponse, "a/../b", "", "/responses/a%2F..%2Fb"},
		{gatehouse.WorkResponse, "", "", ""},
		{"other", "x", "", ""},
	} {
		if got := Path(c.kind, c.id, c.thread); got != c.want {
			t.Errorf("path of %s %q = %q, want %q", c.kind, c.id, got, c.want)
		}
	}
	for _, k := range Kinds() {
		if Bound(k) <= 0 || Ended(k, "in_progress") || Ended(k, "queued") || Ended(k, "") {
			t.Errorf("kind %s has no bound, or ends early", k)
		}
	}
}

// FuzzRead reads anything: it must not panic, and count nothing negative.
func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.json*")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for kind, id := range ids {
			var c usage.Capture
			_, _ = c.Write(text)
			if r, ok := Read(kind, id, &c); ok && (r.Units.VideoMilliseconds < 0 || r.Units.Trained < 0 || r.Units.Input < 0 || r.Units.Output < 0) {
				t.Errorf("%s: %+v", kind, r)
			}
		}
		l := NewLines("completions")
		_, _ = l.Write(text)
		l.End()
		if l.Counted > int64(bytes.Count(text, []byte("\n")))+1 {
			t.Errorf("%d of %d lines counted", l.Counted, bytes.Count(text, []byte("\n"))+1)
		}
	})
}
