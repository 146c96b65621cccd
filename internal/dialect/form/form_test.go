package form_test

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/form"
)

const boundary = "xYzZY-boundary"

var wanted = []string{"model", "stream", "n"}

// body writes lines with CRLF; "--b" stands for a boundary.
func body(lines ...string) []byte {
	return []byte(strings.ReplaceAll(strings.Join(lines, "\r\n"), "--b", "--"+boundary))
}

// scan feeds a body in pieces of a size; 0 at once.
func scan(in []byte, size int) (*form.Scanner, error) {
	s := form.New(boundary, wanted)
	if size == 0 {
		size = max(len(in), 1)
	}
	for piece := range slices.Chunk(in, size) {
		if _, err := s.Write(piece); err != nil {
			return s, err
		}
	}
	return s, s.Close()
}

const cd = "Content-Disposition: form-data; "

func TestScanner(t *testing.T) {
	cases := []struct {
		name string
		in   []byte
		want map[string]string
	}{
		{"model last", body("--b", cd+`name="file"; filename="a \"quoted\" \\ file.wav"`, "Content-Type: application/octet-stream", "", "RIFF\r\n--other\n--\x00-\r", "--b", cd+`name="model"`, "", "whisper-1", "--b--", ""),
			map[string]string{"model": "whisper-1"}},
		{"no last line end", body("--b", cd+`name="model"`, "", "m", "--b--"), map[string]string{"model": "m"}},
		{"unquoted name", body("--b", cd+`name=model`, "", "m", "--b--", ""), map[string]string{"model": "m"}},
		{"odd header", body("--b", "content-type: text/plain; charset=UTF-8", `CONTENT-DISPOSITION:form-data ;name="model"  ;  x=y;`, "Content-Transfer-Encoding: 8bit", "X-Y:", "", "m", "--b--", ""), map[string]string{"model": "m"}},
		{"encoded file name", body("--b", cd+`name="file"; filename="x"; filename*=UTF-8''%e2%82%ac.wav`, "", "x", "--b", cd+`name="n"`, "", "2", "--b--", ""), map[string]string{"n": "2"}},
		{"empty values", body("--b", cd+`name="model"`, "", "", "--b", cd+`name=""`, "", "", "--b--", ""), map[string]string{"model": ""}},
		{"value in lines", body("--b", cd+`name="model"`, "", " a", "-", "--", "--xYzZY-boundar", "b ", "--b--", ""), map[string]string{"model": " a\r\n-\r\n--\r\n--xYzZY-boundar\r\nb "}},
		{"boundary inside a line", body("--b", cd+`name="model"`, "", "a--b", "--b--", ""), map[string]string{"model": "a--" + boundary}},
		{"boundary twice inside a line", body("--b", cd+`name="model"`, "", "a--b--b x", "--b--", ""), map[string]string{"model": "a--" + boundary + "--" + boundary + " x"}},
		{"other fields", body("--b", cd+`name="image[]"; filename="1.png"`, "", "1", "--b", cd+`name="image[]"; filename="2.png"`, "", "2", "--b", cd+`name="prompt"`, "Content-Transfer-Encoding: base64", "", "eA==", "--b", cd+`name="stream"`, "", "true", "--b--", ""),
			map[string]string{"stream": "true"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for size := range len(c.in) + 1 {
				s, err := scan(c.in, size)
				if err != nil {
					t.Fatalf("pieces of %d: %v", size, err)
				}
				if len(s.Values) != len(c.want) {
					t.Fatalf("pieces of %d: got %v, want %v", size, s.Values, c.want)
				}
				for _, v := range s.Values {
					if want, ok := c.want[v.Name]; !ok || v.Text != want || string(c.in[v.Start:v.End]) != want {
						t.Errorf("pieces of %d: %s: got %q (%q in place), want %q", size, v.Name, v.Text, c.in[v.Start:v.End], want)
					}
				}
			}
		})
	}
}

func TestScannerRefuses(t *testing.T) {
	part := func(header string) []byte { return body("--b", header, "", "m", "--b--", "") }
	field := func(lines ...string) []byte {
		return body(append(append([]string{"--b", cd + `name="model"`}, lines...), "", "m", "--b--", "")...)
	}
	big := strings.Repeat("x", form.MaxValue+1)
	cases := []struct {
		name        string
		in          []byte
		code, param string
	}{
		{"empty", nil, "invalid_multipart", ""},
		{"preamble", body("x", "--b", cd+`name="model"`, "", "m", "--b--", ""), "invalid_multipart", ""},
		{"bare LF", bytes.ReplaceAll(field(), []byte("\r\n"), []byte("\n")), "invalid_multipart", ""},
		{"no parts", body("--b--", ""), "invalid_multipart", ""},
		{"boundary goes on", body("--b", cd+`name="x"`, "", "m", "--bx", "--b--", ""), "invalid_multipart", ""},
		{"boundary with padding", body("--b ", cd+`name="x"`, "", "m", "--b--", ""), "invalid_multipart", ""},
		{"boundary behind LF", body("--b", cd+`name="x"`, "", "m\n--b", cd+`name="model"`, "", "a", "--b--", ""), "invalid_multipart", ""},
		{"boundary behind CR", body("--b", cd+`name="x"`, "", "m\r--b", cd+`name="model"`, "", "a", "--b--", ""), "invalid_multipart", ""},
		{"boundary instead of a body", body("--b", cd+`name="x"`, "", "--b", cd+`name="model"`, "", "a", "--b--", ""), "invalid_multipart", ""},
		{"cut header", body("--b", cd+`name="model"`), "invalid_multipart", ""},
		{"cut value", body("--b", cd+`name="model"`, "", "m"), "invalid_multipart", ""},
		{"cut boundary", body("--b", cd+`name="model"`, "", "m", "--b"), "invalid_multipart", ""},
		{"cut end", body("--b", cd+`name="model"`, "", "m", "--b-"), "invalid_multipart", ""},
		{"epilogue", body("--b", cd+`name="model"`, "", "m", "--b--", "--b"), "invalid_multipart", ""},
		{"second form", append(field(), field()...), "invalid_multipart", ""},
		{"folded header", part("Content-Disposition: form-data;\r\n name=\"model\""), "invalid_multipart", ""},
		{"header without a colon", field("x"), "invalid_multipart", ""},
		{"space before the colon", part(`Content-Disposition : form-data; name="model"`), "invalid_multipart", ""},
		{"bare LF in header", field("X: a\nContent-Disposition: form-data; name=\"n\""), "invalid_multipart", ""},
		{"control character in header", part(cd + "name=\"model\x13\""), "invalid_multipart", ""},
		{"huge header", field("X: " + strings.Repeat("x", 9<<10)), "invalid_multipart", ""},
		{"no header", body("--b", "", "m", "--b--", ""), "invalid_multipart", ""},
		{"no disposition", part("Content-Type: text/plain"), "invalid_multipart", ""},
		{"two dispositions", field(cd + `name="x"`), "invalid_multipart", ""},
		{"attachment", part(`Content-Disposition: attachment; name="model"`), "invalid_multipart", ""},
		{"no name", part(`Content-Disposition: form-data; filename="x"`), "invalid_multipart", ""},
		{"two names", part(cd + `name="x"; name="model"`), "invalid_multipart", ""},
		{"name*", part(cd + `name*=UTF-8''model`), "invalid_multipart", ""},
		{"name and name*", part(cd + `name="x"; name*=UTF-8''model`), "invalid_multipart", ""},
		{"name*0", part(cd + `name*0="mo"; name*1="del"`), "invalid_multipart", ""},
		{"escape in name", part(cd + `name="mo\del"`), "invalid_multipart", ""},
		{"space around =", part(cd + `name = "model"`), "invalid_multipart", ""},
		{"open quote", part(cd + `name="model`), "invalid_multipart", ""},
		{"text behind quote", part(cd + `name="x"y; name="model"`), "invalid_multipart", ""},
		{"name hidden in a file name", part(cd + `name="x"; filename="\"; name=\"model\""`), "invalid_multipart", ""},

		{"two models", body("--b", cd+`name="model"`, "", "a", "--b", cd+`name="model"`, "", "b", "--b--", ""), "duplicate_field", "model"},
		{"another case", part(cd + `name="Model"`), "ambiguous_field", "model"},
		{"long s", part(cd + `name="ſtream"`), "ambiguous_field", "stream"},
		{"array", part(cd + `name="model[]"`), "ambiguous_field", "model"},
		{"as a file", part(cd + `name="model"; filename="m"`), "ambiguous_field", "model"},
		{"as an encoded file", part(cd + `name="model"; filename*=UTF-8''m`), "ambiguous_field", "model"},
		{"base64", field("Content-Transfer-Encoding: base64"), "ambiguous_field", "model"},
		{"charset", field("Content-Type: text/plain; charset=utf-16"), "ambiguous_field", "model"},
		{"bad UTF-8", body("--b", cd+`name="model"`, "", "m\xff", "--b--", ""), "ambiguous_field", "model"},
		{"too large", body("--b", cd+`name="model"`, "", big, "--b--", ""), "field_too_large", "model"},
		{"much too large", body("--b", cd+`name="model"`, "", big+big, "--b--", ""), "field_too_large", "model"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 7, 1000} {
				_, err := scan(c.in, size)
				e, ok := errors.AsType[*gatehouse.Error](err)
				if !ok {
					t.Fatalf("pieces of %d: got %v, want a *gatehouse.Error", size, err)
				}
				if e.Code != c.code || e.Param != c.param {
					t.Errorf("pieces of %d: got %s %q (%s), want %s %q", size, e.Code, e.Param, e.Message, c.code, c.param)
				}
			}
		})
	}
}

func TestWriteKeepsItsError(t *testing.T) {
	s := form.New(boundary, wanted)
	n, err := s.Write([]byte("nothing"))
	if err == nil || n != 0 {
		t.Fatalf("got %d %v, want an error", n, err)
	}
	if _, again := s.Write(body("--b")); !errors.Is(again, err) {
		t.Errorf("second write: got %v, want %v", again, err)
	}
	if closed := s.Close(); !errors.Is(closed, err) {
		t.Errorf("close: got %v, want %v", closed, err)
	}
}

func TestReplace(t *testing.T) {
	in := body("--b", cd+`name="file"; filename="x"`, "", "data", "--b", cd+`name="model"`, "", "gpt-4o-transcribe", "--b--", "")
	s, err := scan(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
	}{
		{"model", string(body("--b", cd+`name="file"; filename="x"`, "", "data", "--b", cd+`name="model"`, "", "eu-1", "--b--", ""))},
		{"n", string(body("--b", cd+`name="n"`, "", "eu-1", "")) + string(in)},
	} {
		parts := s.Replace(c.name, "eu-1")
		var got []byte
		for _, p := range parts {
			got = append(append(got, in[p.Start:p.End]...), p.Text...)
		}
		if string(got) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if form.Size(parts) != int64(len(got)) {
			t.Errorf("%s: size: got %d, want %d", c.name, form.Size(parts), len(got))
		}
		again, err := scan(got, 0)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := again.Value(c.name); !ok || text != "eu-1" {
			t.Errorf("%s: read again: got %q %v", c.name, text, ok)
		}
	}
}

func TestBoundary(t *testing.T) {
	for header, want := range map[string]string{
		`multipart/form-data; boundary=abc`: "abc", `Multipart/Form-Data; charset=utf-8; boundary="a b/c"`: "a b/c",
		`multipart/mixed; boundary=abc`: "", `multipart/form-data`: "", `multipart/form-data; boundary=""`: "", `text/plain`: "", ``: "",
		`multipart/form-data; boundary=a; boundary=b`: "", `multipart/form-data; boundary*0=a; boundary*1=b`: "", `multipart/form-data; boundary="a\b"`: "",
		`multipart/form-data; boundary="a` + "\u00e9" + `"`: "", `multipart/form-data; boundary=` + strings.Repeat("x", 71): "", `multipart/form-data; boundary="a "`: "",
	} {
		got, err := form.Boundary(header)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q %v, want %q", header, got, err, want)
		}
	}
}

// FuzzScanner compares with mime/multipart: what the scanner accepts has the same parts there, and how it is cut into pieces
// changes nothing.
func FuzzScanner(f *testing.F) {
	f.Add(body("--b", cd+`name="file"; filename="a"`, "Content-Type: x/y", "", "da\r\n--ta", "--b", cd+`name="model"`, "", "m", "--b--", ""), uint8(5))
	f.Add(body("--b", cd+`name=n`, "", "", "--b", cd+`name="Model"`, "", "m", "--b--"), uint8(1))
	f.Add(body("--b", cd+`name="x"`, "", "--b", cd+`name="model"`, "", "a\n--b", "--b--", ""), uint8(3))
	f.Add(body("--b", cd+`filename="\"; name=\"n"; name=stream`, "Content-Transfer-Encoding: quoted-printable", "", "=41", "--b--", "x"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		s, err := scan(in, 0)
		pieces, perr := scan(in, int(size))
		if (err == nil) != (perr == nil) {
			t.Fatalf("got %v in pieces, %v at once", perr, err)
		}
		if err != nil {
			if err.Error() != perr.Error() {
				t.Fatalf("got %v in pieces, %v at once", perr, err)
			}
			return
		}
		if !slices.Equal(s.Values, pieces.Values) {
			t.Fatalf("got %v in pieces, %v at once", pieces.Values, s.Values)
		}
		want := map[string]string{}
		r := multipart.NewReader(bytes.NewReader(in), boundary)
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("accepted, mime/multipart refuses: %v", err)
			}
			text, err := io.ReadAll(p)
			if err != nil {
				t.Fatalf("accepted, mime/multipart refuses: %v", err)
			}
			for _, name := range wanted {
				if !strings.EqualFold(p.FormName(), name) {
					continue
				}
				if _, twice := want[name]; twice {
					t.Fatalf("accepted, mime/multipart finds %s twice", name)
				}
				want[name] = string(text)
			}
		}
		if len(s.Values) != len(want) {
			t.Fatalf("got %v, mime/multipart finds %v", s.Values, want)
		}
		for _, v := range s.Values {
			if text, ok := want[v.Name]; !ok || text != v.Text || string(in[v.Start:v.End]) != text {
				t.Fatalf("%s: got %q, mime/multipart finds %q", v.Name, v.Text, text)
			}
		}
	})
}

// BenchmarkScanner measures a 10 MB file, in pieces as they come from a connection, beside mime/multipart.
func BenchmarkScanner(b *testing.B) {
	file := make([]byte, 10<<20)
	state := uint32(1)
	for i := range file { // noise, as compressed audio is
		state = state*1664525 + 1013904223
		file[i] = byte(state >> 24)
	}
	in := body("--b", cd+`name="file"; filename="a.mp3"`, "", string(file), "--b", cd+`name="model"`, "", "whisper-1", "--b--", "")
	b.Run("form", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			s, err := scan(in, 32<<10)
			if text, _ := s.Value("model"); err != nil || text != "whisper-1" {
				b.Fatal(err, text)
			}
		}
	})
	b.Run("mime-multipart", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			r := multipart.NewReader(bytes.NewReader(in), boundary)
			for {
				p, err := r.NextRawPart()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, p); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func TestFilesAreFound(t *testing.T) {
	const body = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n{}\n{}\n\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"File[]\"\r\nContent-Transfer-Encoding: base64\r\n\r\ne30=\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"third\"; filename=\"c\"\r\n\r\nx\r\n--b--\r\n"
	for size := 1; size < len(body); size++ {
		s := form.New("b", []string{"purpose"})
		s.KeepFiles = "file"
		for i := 0; i < len(body); i += size {
			if _, err := s.Write([]byte(body[i:min(i+size, len(body))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(s.Files) != 2 || body[s.Files[0].Start:s.Files[0].End] != "{}\n{}\n" || s.Files[1].Name != "File[]" || s.Files[1].Plain || s.Files[1].HasName ||
			body[s.Files[1].Start:s.Files[1].End] != "e30=" {
			t.Fatalf("pieces of %d: %+v", size, s.Files)
		}
	}
}
