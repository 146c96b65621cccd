package mock

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/mock/prose"
)

func chatOf(more string) string {
	return `{"model":"gpt-4o","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Say \u0022hi\u0022 to the w\u00f6rld\n"}]` + more + `}`
}

// chatPrompt is chatOf's prompt by the definition of the package comment.
var chatPrompt = prose.Tokens("Be brief.") + prose.Tokens("Say \"hi\" to the wörld\n") + 2*3 + 3

func TestChat(t *testing.T) {
	h := serve(t)
	a := h.json("POST", "/v1/chat/completions", chatOf(""))
	text := at(a, "choices", 0, "message", "content").(string)
	if !strings.HasPrefix(text, "[mock gpt-4o] ") {
		t.Errorf("text %q bears no label", text)
	}
	h.want("object", a["object"], "chat.completion")
	h.want("created", a["created"], int(noon.Unix()))
	h.want("finish", at(a, "choices", 0, "finish_reason"), "stop")
	h.want("role", at(a, "choices", 0, "message", "role"), "assistant")
	h.want("tier", a["service_tier"], "default")
	h.want("prompt", at(a, "usage", "prompt_tokens"), chatPrompt)
	h.want("completion", at(a, "usage", "completion_tokens"), prose.Tokens(text))
	h.want("total", at(a, "usage", "total_tokens"), chatPrompt+prose.Tokens(text))
	h.want("cached", at(a, "usage", "prompt_tokens_details", "cached_tokens"), 0)
	h.want("reasoning", at(a, "usage", "completion_tokens_details", "reasoning_tokens"), 0)

	again := h.json("POST", "/v1/chat/completions", chatOf(""))
	h.want("the same question's answer", at(again, "choices", 0, "message", "content"), text)
	if again["id"] == a["id"] {
		t.Errorf("two answers have one id %v", a["id"])
	}
	other := h.json("POST", "/v1/chat/completions", strings.Replace(chatOf(""), "brief", "kind", 1))
	if at(other, "choices", 0, "message", "content") == text {
		t.Errorf("another question has the same answer %q", text)
	}
}

func TestChatParameters(t *testing.T) {
	h := serve(t)
	tests := []struct {
		name, body string
		headers    []string
		check      func(*host, object)
	}{
		{"max_tokens", chatOf(`,"max_tokens":5`), nil, func(h *host, a object) {
			h.want("finish", at(a, "choices", 0, "finish_reason"), "length")
			h.want("completion", at(a, "usage", "completion_tokens"), 5)
			h.want("tokens", prose.Tokens(at(a, "choices", 0, "message", "content").(string)), 5)
		}},
		{"n", chatOf(`,"n":3`), []string{"x-mock-tokens", "7"}, func(h *host, a object) {
			h.want("completion", at(a, "usage", "completion_tokens"), 21)
			h.want("last index", at(a, "choices", -1, "index"), 2)
			if at(a, "choices", 0, "message", "content") == at(a, "choices", 2, "message", "content") {
				h.Errorf("choices are alike")
			}
		}},
		{"tokens", chatOf(``), []string{"x-mock-tokens", "1000", "x-mock-cached-tokens", "9"}, func(h *host, a object) {
			h.want("completion", at(a, "usage", "completion_tokens"), 1000)
			h.want("cached", at(a, "usage", "prompt_tokens_details", "cached_tokens"), 9)
			h.want("tokens", prose.Tokens(at(a, "choices", 0, "message", "content").(string)), 1000)
		}},
		{"cached at most all", chatOf(``), []string{"x-mock-cached-tokens", "999999"}, func(h *host, a object) {
			h.want("cached", at(a, "usage", "prompt_tokens_details", "cached_tokens"), chatPrompt)
		}},
		{"no usage", chatOf(``), []string{"x-mock-no-usage", "1"}, func(h *host, a object) {
			if u, ok := a["usage"]; ok {
				h.Errorf("usage is %v", u)
			}
		}},
		{"reasoning", strings.Replace(chatOf(`,"reasoning_effort":"high"`), "gpt-4o", "gpt-5", 1), []string{"x-mock-tokens", "10"}, func(h *host, a object) {
			h.want("reasoning", at(a, "usage", "completion_tokens_details", "reasoning_tokens"), 128)
			h.want("completion", at(a, "usage", "completion_tokens"), 138)
		}},
		{"reasoning takes all", strings.Replace(chatOf(`,"max_completion_tokens":20`), "gpt-4o", "o4-mini", 1), nil, func(h *host, a object) {
			h.want("reasoning", at(a, "usage", "completion_tokens_details", "reasoning_tokens"), 20)
			h.want("completion", at(a, "usage", "completion_tokens"), 20)
			h.want("content", at(a, "choices", 0, "message", "content"), "")
			h.want("finish", at(a, "choices", 0, "finish_reason"), "length")
		}},
		{"JSON mode", chatOf(`,"response_format":{"type":"json_object"}`), nil, func(h *host, a object) {
			text := at(a, "choices", 0, "message", "content").(string)
			var o object
			if err := json.Unmarshal([]byte(text), &o); err != nil || !strings.HasPrefix(o["mock"].(string), "[mock gpt-4o]") {
				h.Errorf("content %q is no labelled object: %v", text, err)
			}
			h.want("completion", at(a, "usage", "completion_tokens"), prose.Tokens(text))
		}},
		{"JSON mode cut", chatOf(`,"max_tokens":6,"response_format":{"type":"json_object"}`), nil, func(h *host, a object) {
			h.want("completion", at(a, "usage", "completion_tokens"), 6)
			h.want("tokens", prose.Tokens(at(a, "choices", 0, "message", "content").(string)), 6)
			h.want("finish", at(a, "choices", 0, "finish_reason"), "length")
		}},
		{"tier", chatOf(`,"service_tier":"flex"`), nil, func(h *host, a object) { h.want("tier", a["service_tier"], "flex") }},
		{"nulls", chatOf(`,"max_tokens":null,"n":null,"stream":null,"stream_options":null,"tools":null,"service_tier":null`), nil, func(h *host, a object) {
			h.want("prompt", at(a, "usage", "prompt_tokens"), chatPrompt)
			h.want("choices", len(a["choices"].([]any)), 1)
		}},
		{"tools", chatOf(`,"tools":[{"type":"function"}]`), nil, func(h *host, a object) {
			h.want("prompt", at(a, "usage", "prompt_tokens"), chatPrompt+prose.Tokens(`[{"type":"function"}]`))
		}},
		{"parts", `{"messages":[{"role":"user","name":"ann","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]},
			{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}],"model":"gpt-4o"}`, nil, func(h *host, a object) {
			want := 1 + 1 + 85 + 1 + 1 + prose.Tokens(`{"a":1}`) + 2*3 + 3
			h.want("prompt", at(a, "usage", "prompt_tokens"), want)
			h.want("audio", at(a, "usage", "prompt_tokens_details", "audio_tokens"), 1)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t, h.url, h.project}
			tt.check(h, h.json("POST", "/v1/chat/completions", tt.body, tt.headers...))
		})
	}
}

func TestChatStream(t *testing.T) {
	h := serve(t)
	plain := h.json("POST", "/v1/chat/completions", chatOf(`,"n":2`))
	for _, options := range []string{"", `,"stream_options":{"include_usage":true}`, `,"stream_options":{"include_usage":false,"include_obfuscation":false}`} {
		events := h.events("POST", "/v1/chat/completions", chatOf(`,"n":2,"stream":true`+options))
		h.want("the end", events[len(events)-1].data, "[DONE]")
		withUsage := strings.Contains(options, "true")
		texts := map[int]string{}
		finishes := 0
		for i, e := range events[:len(events)-1] {
			chunk := e.json(t)
			h.want("object", chunk["object"], "chat.completion.chunk")
			h.want("id", chunk["id"], events[0].json(t)["id"])
			usage, has := chunk["usage"]
			if has != withUsage {
				t.Errorf("chunk %s: usage there is %v, want %v", e.data, has, withUsage)
			}
			if withUsage && i == len(events)-2 {
				h.want("choices of the last", len(chunk["choices"].([]any)), 0)
				want, got := plain["usage"], usage
				if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
					t.Errorf("usage = %s, want %s", a, b)
				}
				continue
			}
			if usage != nil {
				t.Errorf("chunk %s has usage before the end", e.data)
			}
			_, padded := chunk["obfuscation"]
			h.want("padding", padded, !strings.Contains(options, "obfuscation"))
			index := int(at(chunk, "choices", 0, "index").(float64))
			delta := at(chunk, "choices", 0, "delta").(object)
			if i < 2 {
				h.want("first role", delta["role"], "assistant")
			}
			piece, _ := delta["content"].(string)
			if prose.Tokens(piece) > 1 {
				t.Errorf("chunk %q holds more than one token", piece)
			}
			texts[index] += piece
			if at(chunk, "choices", 0, "finish_reason") == "stop" {
				finishes++
			}
		}
		h.want("first text", texts[0], at(plain, "choices", 0, "message", "content"))
		h.want("second text", texts[1], at(plain, "choices", 1, "message", "content"))
		h.want("finishes", finishes, 2)
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStoredChat(t *testing.T) {
	h := serve(t)
	const path = "/v1/chat/completions"
	first := h.json("POST", path, chatOf(`,"store":true,"metadata":{"team":"a"}`))["id"].(string)
	events := h.events("POST", path, chatOf(`,"store":true,"stream":true,"metadata":{"team":"b"}`))
	second := events[0].json(t)["id"].(string)
	h.json("POST", path, chatOf(``)) // not kept

	list := h.json("GET", path, nil)
	h.want("list", len(list["data"].([]any)), 2)
	h.want("object", list["object"], "list")
	h.want("first_id", list["first_id"], first)
	h.want("last_id", list["last_id"], second)
	h.want("has_more", list["has_more"], false)
	list = h.json("GET", path+"?limit=1&order=desc", nil)
	h.want("newest", at(list, "data", 0, "id"), second)
	h.want("has_more", list["has_more"], true)
	list = h.json("GET", path+"?limit=1&after="+first, nil)
	h.want("after", at(list, "data", 0, "id"), second)
	list = h.json("GET", path+"?"+url.Values{"metadata[team]": {"a"}}.Encode(), nil)
	h.want("by metadata", mustJSON(t, []any{list["first_id"], list["last_id"]}), mustJSON(t, []any{first, first}))
	h.want("by model", len(h.json("GET", path+"?model=gpt-5", nil)["data"].([]any)), 0)

	h.want("metadata", at(h.json("GET", path+"/"+first, nil), "metadata", "team"), "a")
	h.want("updated", at(h.json("POST", path+"/"+first, `{"metadata":{"team":"c"}}`), "metadata", "team"), "c")
	h.want("kept", at(h.json("GET", path+"/"+first, nil), "metadata", "team"), "c")
	messages := h.json("GET", path+"/"+first+"/messages", nil)
	h.want("messages", len(messages["data"].([]any)), 2)
	h.want("text", at(messages, "data", 1, "content"), "Say \"hi\" to the wörld\n")
	h.want("message id", at(messages, "data", 1, "id"), first+"-1")

	if res, b := h.in("proj_two").do("GET", path+"/"+first, nil); res.StatusCode != 404 {
		t.Errorf("another project's completion = %d %s", res.StatusCode, b)
	}
	h.want("deleted", h.json("DELETE", path+"/"+first, nil)["deleted"], true)
	if res, _ := h.do("DELETE", path+"/"+first, nil); res.StatusCode != 404 {
		t.Errorf("deleted twice: %d", res.StatusCode)
	}
}

func TestCompletions(t *testing.T) {
	h := serve(t)
	const path = "/v1/completions"
	a := h.json("POST", path, `{"model":"gpt-3.5-turbo-instruct","prompt":["one two",[1,2,3]],"max_tokens":20,"n":2,"best_of":3}`, "x-mock-tokens", "12")
	h.want("object", a["object"], "text_completion")
	h.want("choices", len(a["choices"].([]any)), 4)
	h.want("prompt", at(a, "usage", "prompt_tokens"), 2+3)
	h.want("completion pays for all of best_of", at(a, "usage", "completion_tokens"), 2*3*12)
	h.want("index", at(a, "choices", 3, "index"), 3)
	if at(a, "choices", 0, "text") == at(a, "choices", 1, "text") {
		t.Errorf("choices are alike: %v", at(a, "choices", 0, "text"))
	}
	echo := h.json("POST", path, `{"model":"gpt-3.5-turbo-instruct","prompt":"Hear ye","echo":true}`)
	h.want("echo", strings.HasPrefix(at(echo, "choices", 0, "text").(string), "Hear ye[mock gpt"), true)
	h.want("default max_tokens", at(echo, "choices", 0, "finish_reason"), "length")
	h.want("completion", at(echo, "usage", "completion_tokens"), 16)

	events := h.events("POST", path, `{"model":"gpt-3.5-turbo-instruct","prompt":"Hear ye","echo":true,"stream":true,"stream_options":{"include_usage":true}}`)
	text := ""
	for _, e := range events[:len(events)-2] {
		s, _ := at(e.json(t), "choices", 0, "text").(string)
		text += s
	}
	h.want("streamed text", text, at(echo, "choices", 0, "text"))
	h.want("usage", mustJSON(t, events[len(events)-2].json(t)["usage"]), mustJSON(t, echo["usage"]))
	h.want("end", events[len(events)-1].data, "[DONE]")
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}

// BenchmarkChat is a plain chat request of 2 KB, as the figures use it.
func BenchmarkChat(b *testing.B) {
	h := New(Config{Token: "sesame"})
	body := `{"model":"gpt-4o","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"` +
		strings.Repeat("Lorem ipsum dolor sit amet,\\n consectetur. ", 46) + `"}],"temperature":0.7,"max_tokens":256}`
	r := httptest.NewRequest("POST", "/v1/chat/completions", nil)
	for k, v := range map[string]string{
		"Authorization": "Bearer sesame", "Content-Type": "application/json", "OpenAI-Project": "proj_one", "Accept": "application/json",
		"User-Agent": "OpenAI/Go 3.95.0", "X-Stainless-Lang": "go", "X-Stainless-Os": "Linux", "X-Stainless-Arch": "x64",
	} {
		r.Header.Set(k, v)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	reader := strings.NewReader(body)
	w := &discard{header: http.Header{}}
	for b.Loop() {
		reader.Reset(body)
		r.Body, r.ContentLength = readCloser{reader}, int64(len(body))
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
