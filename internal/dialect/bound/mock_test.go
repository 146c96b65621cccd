package bound_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/bound"
	"gatehouse/internal/dialect/form"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/mock"
)

type object = map[string]any

// words are text in several scripts, with what JSON escapes, and lines of blanks.
func words(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("abc xyz 0123456789,.\n\t\"\\<>日本語äöü🙂    ")), 0, 400, -1).Draw(t, label)
}

func some(t *rapid.T, o object, name string, value func() any) {
	if rapid.Bool().Draw(t, name+"?") {
		o[name] = value()
	}
}

func small(t *rapid.T, name string, most int) func() any {
	return func() any { return rapid.IntRange(1, most).Draw(t, name) }
}

// bodies draw a body for each endpoint.
var bodies = map[string]func(t *rapid.T) object{
	"/v1/chat/completions": func(t *rapid.T) object {
		var messages []any
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			var content any = words(t, "content")
			if rapid.Bool().Draw(t, "parts") {
				parts := []any{object{"type": "text", "text": words(t, "text")}}
				if rapid.Bool().Draw(t, "picture") {
					parts = append(parts, object{"type": "image_url", "image_url": object{"url": "https://example.com/" + rapid.StringMatching("[a-z]{0,20}").Draw(t, "url")}})
				}
				if rapid.Bool().Draw(t, "data") {
					parts = append(parts, object{"type": "image_url", "image_url": object{"url": "data:image/png;base64," + rapid.StringMatching("[A-Za-z]{0,400}").Draw(t, "base64"), "detail": "high"}})
				}
				content = parts
			}
			messages = append(messages, object{"role": rapid.SampledFrom([]string{"user", "system", "developer"}).Draw(t, "role"), "content": content})
		}
		o := object{"model": "gpt-4o", "messages": messages}
		some(t, o, "max_tokens", small(t, "max_tokens", 300))
		some(t, o, "max_completion_tokens", small(t, "max_completion_tokens", 300))
		some(t, o, "n", small(t, "n", 4))
		some(t, o, "tools", func() any {
			return []any{object{"type": "function", "function": object{"name": "f", "description": words(t, "description"), "parameters": object{"type": "object", "properties": object{"image_url": object{"type": "string"}}}}}}
		})
		return o
	},
	"/v1/responses": func(t *rapid.T) object {
		var input any = words(t, "input")
		if rapid.Bool().Draw(t, "items") {
			input = []any{
				object{"role": "user", "content": []any{object{"type": "input_text", "text": words(t, "text")}, object{"type": "input_image", "image_url": "https://example.com/a.png"}}},
				object{"role": "user", "content": words(t, "more")},
			}
		}
		o := object{"model": "gpt-4o", "input": input}
		some(t, o, "instructions", func() any { return words(t, "instructions") })
		some(t, o, "max_output_tokens", func() any { return rapid.IntRange(16, 300).Draw(t, "max") })
		return o
	},
	"/v1/completions": func(t *rapid.T) object {
		o := object{"model": "gpt-3.5-turbo-instruct", "max_tokens": rapid.IntRange(1, 100).Draw(t, "max_tokens")}
		if rapid.Bool().Draw(t, "many") {
			var prompts []any
			for range rapid.IntRange(1, 4).Draw(t, "prompts") {
				prompts = append(prompts, words(t, "prompt"))
			}
			o["prompt"] = prompts
		} else {
			o["prompt"] = words(t, "prompt")
		}
		n := rapid.IntRange(1, 3).Draw(t, "n")
		o["n"] = n
		some(t, o, "best_of", func() any { return n + rapid.IntRange(0, 2).Draw(t, "best_of") })
		return o
	},
	"/v1/embeddings": func(t *rapid.T) object {
		return object{"model": "text-embedding-3-small", "input": []any{words(t, "one") + "x", words(t, "two") + "y"}}
	},
	"/v1/images/generations": func(t *rapid.T) object {
		o := object{"model": "gpt-image-1", "prompt": words(t, "prompt") + "x"}
		some(t, o, "n", small(t, "n", 3))
		some(t, o, "size", func() any {
			return rapid.SampledFrom([]string{"1024x1024", "1536x1024", "1024x1536", "auto"}).Draw(t, "size")
		})
		some(t, o, "quality", func() any { return rapid.SampledFrom([]string{"low", "medium", "high", "auto"}).Draw(t, "quality") })
		return o
	},
}

// limits are a model's own in these tests.
var limits = bound.Model{Name: "gpt-4o", Context: 128_000, Output: 16_384}

// TestUsageStaysWithinTheBound lets the mock answer whatever bodies there are: what it says it used is never more than the bound.
func TestUsageStaysWithinTheBound(t *testing.T) {
	server := mock.New(mock.Config{})
	for path, draw := range bodies {
		t.Run(strings.Trim(path, "/"), func(t *testing.T) {
			answered := 0
			rapid.Check(t, func(t *rapid.T) {
				body, err := json.Marshal(draw(t))
				if err != nil {
					t.Fatal(err)
				}
				call, err := dialect.Parse("POST", path, "")
				if err != nil {
					t.Fatal(err)
				}
				var fields strictjson.Result
				if err := strictjson.Scan(body, call.Op.Spec, &fields); err != nil {
					t.Fatal(err)
				}
				ask := bound.Read(call.Op, &fields, int64(len(body)), false)
				m := limits
				if strings.HasPrefix(path, "/v1/images") {
					m = bound.Model{Name: "gpt-image-1"}
				}
				most := ask.Of(&m)
				got, ok := used(server, call.Op.Usage, "POST", path, "application/json", body)
				if !ok {
					return
				}
				answered++
				within(t, most.Units, got)
			})
			if answered == 0 {
				t.Error("the mock answered nothing with a usage")
			}
		})
	}
}

// TestUsageOfFormsStaysWithinTheBound is the same for forms.
func TestUsageOfFormsStaysWithinTheBound(t *testing.T) {
	server := mock.New(mock.Config{})
	for _, c := range []struct{ path, model, name, file string }{
		{"/v1/audio/transcriptions", "gpt-4o-transcribe", "file", "a.mp3"},
		{"/v1/audio/transcriptions", "whisper-1", "file", "a.wav"},
		{"/v1/images/edits", "gpt-image-1", "image[]", "a.png"},
	} {
		t.Run(c.model, func(t *testing.T) {
			answered := 0
			rapid.Check(t, func(t *rapid.T) {
				var b bytes.Buffer
				w := multipart.NewWriter(&b)
				fail := func(err error) {
					if err != nil {
						t.Fatal(err)
					}
				}
				fail(w.WriteField("model", c.model))
				fail(w.WriteField("prompt", words(t, "prompt")+"x"))
				if c.name != "file" {
					fail(w.WriteField("n", fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "n"))))
				}
				file, err := w.CreateFormFile(c.name, c.file)
				fail(err)
				head := map[string]string{"a.mp3": "ID3\x04", "a.wav": "RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00", "a.png": "\x89PNG\r\n\x1a\n"}[c.file]
				content := head + strings.Repeat("x", rapid.IntRange(0, 200_000).Draw(t, "size"))
				_, err = file.Write([]byte(content))
				fail(err)
				fail(w.Close())
				call, err := dialect.Parse("POST", c.path, "")
				fail(err)
				s := form.New(w.Boundary(), call.Op.FormFields)
				s.KeepFiles = "file"
				_, err = s.Write(b.Bytes())
				fail(err)
				ask := bound.ReadForm(call.Op, s, int64(b.Len()), []byte(content[:min(len(content), 48)]))
				most := ask.Of(&bound.Model{Name: c.model})
				got, ok := used(server, call.Op.Usage, "POST", c.path, w.FormDataContentType(), b.Bytes())
				if !ok {
					return
				}
				answered++
				within(t, most.Units, got)
			})
			if answered == 0 {
				t.Error("the mock answered nothing with a usage")
			}
		})
	}
}

// used returns what the mock says an answer used.
func used(server http.Handler, shape usage.Shape, method, path, contentType string, body []byte) (gatehouse.Units, bool) {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != 200 {
		return gatehouse.Units{}, false
	}
	var c usage.Capture
	_, _ = c.Write(w.Body.Bytes())
	return usage.Of(shape, &c)
}

// within fails when a unit is more than the bound.
func within(t *rapid.T, most, got gatehouse.Units) {
	t.Helper()
	for _, u := range []struct {
		name      string
		got, most int64
	}{
		{"input", got.Input, most.Input}, {"output", got.Output, most.Output}, {"images", got.Images, most.Images}, {"audio", got.InputAudio, most.InputAudio},
		{"pictures", got.InputImage, most.InputImage}, {"made", got.OutputImage, most.OutputImage}, {"milliseconds", got.Milliseconds, most.Milliseconds},
	} {
		if u.got > u.most {
			t.Fatalf("%s: used %d, at most %d\n used %+v\n most %+v", u.name, u.got, u.most, got, most)
		}
	}
}
