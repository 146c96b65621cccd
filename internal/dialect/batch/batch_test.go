package batch

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"gatehouse"
	"gatehouse/internal/dialect"
)

var update = flag.Bool("update", false, "write the golden files")

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

// read reads a whole file and describes it: its lines as an upstream gets them, or the error that ends it.
func read(r io.Reader, url func(*Line) string, model string) string {
	var out strings.Builder
	for in := NewReader(r); ; {
		l, err := in.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			e, ok := errors.AsType[*gatehouse.Error](err)
			if !ok {
				return out.String() + err.Error() + "\n"
			}
			return out.String() + fmt.Sprintf("%s %s %s %s\n", e.Kind, e.Code, e.Param, e.Message)
		}
		fmt.Fprintf(&out, "%d %s %s\n", l.Number, l.Op.Name, l.Append(nil, url(l), model))
	}
}

func TestFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	openai, azure := &gatehouse.Upstream{Dialect: gatehouse.OpenAI}, &gatehouse.Upstream{Dialect: gatehouse.Azure}
	var out strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "== %s\n", filepath.Base(name))
		kept := read(bytes.NewReader(text), func(l *Line) string { return URLFor(openai, l.Endpoint) }, "")
		out.WriteString(kept)
		if again := read(iotest.OneByteReader(bytes.NewReader(text)), func(l *Line) string { return URLFor(openai, l.Endpoint) }, ""); again != kept {
			t.Errorf("%s byte by byte:\n%s\nwant\n%s", name, again, kept)
		}
		out.WriteString(strings.ReplaceAll("-- renamed\n"+read(bytes.NewReader(text), func(l *Line) string { return URLFor(azure, l.Endpoint) }, `gpt"4o`), "\r", "\\r"))
	}
	golden(t, "files.golden", out.String())
}

func TestEndpoints(t *testing.T) {
	for url, want := range map[string]string{
		"/v1/chat/completions": "/v1/chat/completions", "/chat/completions": "/v1/chat/completions", "/v1/responses": "/v1/responses", "/v1/embeddings": "/v1/embeddings",
		"/completions": "/v1/completions", "/v1/moderations": "/v1/moderations", "/v1/images/generations": "/v1/images/generations", "/v1/images/edits": "/v1/images/edits", "/v1/videos": "/v1/videos",
		"/v1/batches": "", "/v1/files": "", "/v1/chat/completions/": "", "/v1/chat/completions?x=1": "", "/v1/chat%2Fcompletions": "", "https://api.openai.com/v1/embeddings": "", "": "", "/v1/v1/embeddings": "",
		"/v1/responses/resp_1/cancel": "", "/v1/audio/speech": "", "/v1/organization/users": "", "/": "", "/v1": "", "/v1/../v1/embeddings": "", "//embeddings": "",
	} {
		got, op := Endpoint(url)
		if got != want || (op == nil) != (want == "") {
			t.Errorf("endpoint %q = %q, %v; want %q", url, got, op, want)
		}
	}
	for _, op := range dialect.Ops() {
		if endpoints[op.Name] && (op.Spec == nil || op.At.Model < 0) {
			t.Errorf("%s cannot be judged", op.Name)
		}
	}
}

func TestBounds(t *testing.T) {
	line := func(i int) string {
		return fmt.Sprintf(`{"custom_id":"%d","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}`+"\n", i)
	}
	count := func(r io.Reader) (int, error) {
		in := NewReader(r)
		for n := 0; ; n++ {
			if _, err := in.Next(); err != nil {
				return n, err
			}
		}
	}
	var many bytes.Buffer
	for i := range MaxLines {
		many.WriteString(line(i))
	}
	if n, err := count(bytes.NewReader(many.Bytes())); n != MaxLines || err != io.EOF {
		t.Errorf("%d lines, %v", n, err)
	}
	many.WriteString(line(MaxLines))
	if n, err := count(&many); n != MaxLines || gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("%d lines, %v", n, err)
	}
	long := func(size int) io.Reader {
		head := `{"custom_id":"1","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"`
		return io.MultiReader(strings.NewReader(head), strings.NewReader(strings.Repeat("x", size-len(head)-4)), strings.NewReader("\"}}\n"))
	}
	if n, err := count(long(MaxLine)); n != 1 || err != io.EOF {
		t.Errorf("a line of %d bytes: %d, %v", MaxLine, n, err)
	}
	if n, err := count(long(MaxLine + 100<<10)); n != 0 || gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("a longer line: %d, %v", n, err)
	}
	blank := bytes.Repeat([]byte(strings.Repeat(" ", 1<<14-1)+"\n"), 1<<6)
	var whole []io.Reader
	for range MaxBytes>>20 + 1 {
		whole = append(whole, bytes.NewReader(blank))
	}
	if _, err := count(io.MultiReader(whole...)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file of empty lines: %v", err)
	}
	broken := errors.New("the disk")
	if _, err := count(io.MultiReader(strings.NewReader(line(1)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a file that breaks off: %v", err)
	}
}

// FuzzReader reads anything: what it accepts it accepts again as it is forwarded, and says the same of it.
func FuzzReader(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.jsonl")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := NewReader(bytes.NewReader(text))
		for {
			l, err := in.Next()
			if err != nil {
				return
			}
			sent := l.Append(nil, l.Endpoint, "other")
			if bytes.IndexByte(sent, '\n') >= 0 {
				t.Fatalf("a line has a line end: %q", sent)
			}
			again, err := NewReader(bytes.NewReader(sent)).Next()
			if err != nil {
				t.Fatalf("%q becomes %q, which is refused: %v", l.raw, sent, err)
			}
			model, _ := again.Fields.Text(again.Fields.Span(again.Op.At.Model))
			if again.Endpoint != l.Endpoint || model != "other" {
				t.Fatalf("%q becomes %q", l.raw, sent)
			}
		}
	})
}
