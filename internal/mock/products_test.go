package mock

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"mime/multipart"
	"strings"
	"testing"

	"gatehouse/internal/mock/media"
	"gatehouse/internal/mock/prose"
)

func TestEmbeddings(t *testing.T) {
	h := serve(t)
	const path = "/v1/embeddings"
	vector := func(v any) []float64 {
		t.Helper()
		var out []float64
		for _, f := range v.([]any) {
			out = append(out, f.(float64))
		}
		return out
	}
	a := h.json("POST", path, `{"model":"text-embedding-3-small","input":["one two","one two","three"]}`)
	h.want("object", a["object"], "list")
	h.want("usage", at(a, "usage", "prompt_tokens"), 2+2+2)
	first, same, other := vector(at(a, "data", 0, "embedding")), vector(at(a, "data", 1, "embedding")), vector(at(a, "data", 2, "embedding"))
	h.want("dimensions", len(first), 1536)
	norm, dot, away := 0.0, 0.0, 0.0
	for i := range first {
		norm += first[i] * first[i]
		dot += first[i] * same[i]
		away += first[i] * other[i]
	}
	if math.Abs(norm-1) > 1e-4 || math.Abs(dot-1) > 1e-4 || math.Abs(away) > 0.2 {
		t.Errorf("length %v, the same text %v, another %v", norm, dot, away)
	}
	b := h.json("POST", path, `{"model":"text-embedding-3-small","input":"one two","encoding_format":"base64"}`)
	packed, err := base64.StdEncoding.DecodeString(at(b, "data", 0, "embedding").(string))
	if err != nil || len(packed) != 1536*4 {
		t.Fatalf("%d bytes (%v)", len(packed), err)
	}
	for i := range first {
		if f := math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:])); f != float32(first[i]) {
			t.Fatalf("number %d is %v in base64 and %v in JSON", i, f, first[i])
		}
	}
	c := h.json("POST", path, `{"model":"text-embedding-3-large","input":[[1,2,3],[4]],"dimensions":7}`)
	h.want("vectors", len(c["data"].([]any)), 2)
	h.want("dimensions", len(vector(at(c, "data", 1, "embedding"))), 7)
	h.want("usage", at(c, "usage", "total_tokens"), 4)
	d := h.json("POST", path, `{"model":"text-embedding-3-large","input":[1,2,3]}`, "x-mock-no-usage", "1")
	h.want("vectors", len(d["data"].([]any)), 1)
	h.want("usage", d["usage"], nil)
}

func TestModerations(t *testing.T) {
	h := serve(t)
	one := h.json("POST", "/v1/moderations", `{"input":"a calm text about violence"}`)
	h.want("flagged", at(one, "results", 0, "flagged"), false)
	h.want("model", one["model"], "omni-moderation-latest")
	several := h.json("POST", "/v1/moderations", `{"model":"omni-moderation-latest","input":["fine","this is flag:violence/graphic, you see"]}`)
	h.want("first", at(several, "results", 0, "flagged"), false)
	h.want("second", at(several, "results", 1, "flagged"), true)
	h.want("category", at(several, "results", 1, "categories", "violence/graphic"), true)
	h.want("only the named one", at(several, "results", 1, "categories", "violence"), false)
	h.want("score", at(several, "results", 1, "category_scores", "violence/graphic"), 0.99)
	h.want("categories", len(at(several, "results", 0, "categories").(object)), 13)
	parts := h.json("POST", "/v1/moderations", `{"input":[{"type":"text","text":"flag:hate"},{"type":"image_url","image_url":{"url":"data:,"}}]}`)
	h.want("flagged", at(parts, "results", 0, "categories", "hate"), true)
	h.want("types", mustJSON(t, at(parts, "results", 0, "category_applied_input_types", "hate")), `["text","image"]`)
}

// upload makes a form of fields in pairs; a name that begins with @ is a file's.
func upload(t testing.TB, fields ...string) (*bytes.Buffer, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		var err error
		if name, ok := strings.CutPrefix(fields[i], "@"); ok {
			part, e := w.CreateFormFile(name, name+".bin")
			if err = e; err == nil {
				_, err = part.Write([]byte(fields[i+1]))
			}
		} else {
			err = w.WriteField(fields[i], fields[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b, w.FormDataContentType()
}

func (h *host) form(path string, fields []string, headers ...string) (status int, contentType string, body []byte) {
	h.Helper()
	b, kind := upload(h, fields...)
	res, out := h.do("POST", path, b, append(headers, "Content-Type", kind)...)
	return res.StatusCode, res.Header.Get("Content-Type"), out
}

func (h *host) formJSON(path string, fields []string, headers ...string) object {
	h.Helper()
	status, _, b := h.form(path, fields, headers...)
	var out object
	mustUnmarshal(h, b, &out)
	if status != 200 {
		h.Fatalf("%s = %d %s", path, status, b)
	}
	return out
}

func checkPicture(t testing.TB, b64 any, format string) {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(b64.(string))
	if err != nil {
		t.Fatal(err)
	}
	if _, name, err := image.Decode(bytes.NewReader(b)); err != nil || name != format {
		t.Errorf("picture of format %s (%v), want %s", name, err, format)
	}
}

func TestImages(t *testing.T) {
	h := serve(t)
	const path = "/v1/images/generations"
	a := h.json("POST", path, `{"model":"gpt-image-1","prompt":"a red door","n":2,"quality":"low","size":"1024x1536"}`)
	checkPicture(t, at(a, "data", 0, "b64_json"), "png")
	if at(a, "data", 0, "b64_json") == at(a, "data", 1, "b64_json") {
		t.Error("two pictures are alike")
	}
	h.want("input", at(a, "usage", "input_tokens"), prose.Tokens("a red door"))
	h.want("output", at(a, "usage", "output_tokens"), 2*408)
	h.want("total", at(a, "usage", "total_tokens"), prose.Tokens("a red door")+2*408)
	h.want("size", a["size"], "1024x1536")
	again := h.json("POST", path, `{"model":"gpt-image-1","prompt":"a red door","output_format":"jpeg","size":"512x512"}`)
	checkPicture(t, at(again, "data", 0, "b64_json"), "jpeg")
	h.want("output of a size without a price", at(again, "usage", "output_tokens"), 1056/4)

	dalle := h.json("POST", path, `{"model":"dall-e-3","prompt":"a red door","response_format":"b64_json"}`)
	checkPicture(t, at(dalle, "data", 0, "b64_json"), "png")
	h.want("revised", at(dalle, "data", 0, "revised_prompt"), "[mock dall-e-3] a red door")
	h.want("usage", dalle["usage"], nil)
	link := at(h.json("POST", path, `{"prompt":"a red door"}`), "data", 0, "url").(string)
	b64, ok := strings.CutPrefix(link, "data:image/png;base64,")
	if !ok {
		t.Fatalf("url %.40s", link)
	}
	checkPicture(t, b64, "png")

	events := h.events("POST", path, `{"model":"gpt-image-1","prompt":"a red door","stream":true,"partial_images":2}`)
	var names []string
	for _, e := range events {
		names = append(names, e.name)
		checkPicture(t, e.json(t)["b64_json"], "png")
	}
	h.want("events", strings.Join(names, " "), "image_generation.partial_image image_generation.partial_image image_generation.completed")
	h.want("index", events[1].json(t)["partial_image_index"], 1)
	h.want("output with two partial pictures", at(events[2].json(t), "usage", "output_tokens"), 1056+200)

	edit := h.formJSON("/v1/images/edits", []string{"@image[]", "one", "@image[]", "two", "prompt", "open it", "model", "gpt-image-1", "n", "1", "quality", "high"})
	h.want("image tokens", at(edit, "usage", "input_tokens_details", "image_tokens"), 2*194)
	h.want("output", at(edit, "usage", "output_tokens"), 4160)
	variation := h.formJSON("/v1/images/variations", []string{"@image", "one", "response_format", "b64_json"})
	checkPicture(t, at(variation, "data", 0, "b64_json"), "png")
	if status, _, b := h.form("/v1/images/edits", []string{"prompt", "open it"}); status != 400 {
		t.Errorf("an edit without a picture: %d %s", status, b)
	}
	id := h.formJSON("/v1/files", []string{"@file", "png", "purpose", "vision"})["id"].(string)
	body := `{"model":"gpt-image-1","prompt":"open it","images":[{"file_id":"` + id + `"}]}`
	h.want("edit of a file", at(h.json("POST", "/v1/images/edits", body), "usage", "input_tokens_details", "image_tokens"), 194)
	if res, _ := h.in("proj_two").do("POST", "/v1/images/edits", body); res.StatusCode != 404 {
		t.Errorf("edit of another project's file: %d", res.StatusCode)
	}
}

func TestSpeech(t *testing.T) {
	h := serve(t)
	const path = "/v1/audio/speech"
	begins := map[string]string{"mp3": "ID3", "opus": "OggS", "aac": "\xff\xf1", "flac": "fLaC", "wav": "RIFF"}
	types := map[string]string{"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}
	for format, contentType := range types {
		res, b := h.do("POST", path, `{"model":"tts-1","voice":"alloy","input":"Good day to you","response_format":"`+format+`"}`)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != contentType || !strings.HasPrefix(string(b), begins[format]) {
			t.Errorf("%s: %d %s %.20q", format, res.StatusCode, res.Header.Get("Content-Type"), b)
		}
	}
	_, b := h.do("POST", path, `{"model":"tts-1","voice":{"id":"v"},"input":"Good day to you","response_format":"wav","speed":0.5}`)
	h.want("milliseconds", media.Millis(b), prose.Tokens("Good day to you")*millisPerToken*2)
	_, b = h.do("POST", path, `{"model":"tts-1","voice":"alloy","input":"Hi","response_format":"wav"}`, "x-mock-tokens", "100")
	h.want("milliseconds", media.Millis(b), 2000)

	_, whole := h.do("POST", path, `{"model":"gpt-4o-mini-tts","voice":"alloy","input":"Good day","response_format":"pcm"}`, "x-mock-tokens", "50")
	events := h.events("POST", path, `{"model":"gpt-4o-mini-tts","voice":"alloy","input":"Good day","response_format":"pcm","stream_format":"sse"}`, "x-mock-tokens", "50")
	var sound []byte
	for _, e := range events[:len(events)-1] {
		part, err := base64.StdEncoding.DecodeString(e.json(t)["audio"].(string))
		if err != nil || e.name != "speech.audio.delta" {
			t.Fatalf("event %s (%v)", e.name, err)
		}
		sound = append(sound, part...)
	}
	if !bytes.Equal(sound, whole) || len(events) < 3 {
		t.Errorf("%d bytes in %d events, want %d", len(sound), len(events), len(whole))
	}
	last := events[len(events)-1]
	h.want("last", last.name, "speech.audio.done")
	h.want("usage", mustJSON(t, last.json(t)["usage"]), `{"input_tokens":2,"output_tokens":50,"total_tokens":52}`)
}

func TestTranscriptions(t *testing.T) {
	h := serve(t)
	const path = "/v1/audio/transcriptions"
	sound := string(media.WAV(1, 2300, "x"))
	ask := func(model string, more ...string) []string {
		return append([]string{"@file", sound, "prompt", "one two", "model", model}, more...)
	}
	a := h.formJSON(path, ask("gpt-4o-transcribe"))
	text := a["text"].(string)
	if !strings.HasPrefix(text, "[mock gpt-4o-transcribe] ") {
		t.Errorf("text %q bears no label", text)
	}
	h.want("type", at(a, "usage", "type"), "tokens")
	h.want("audio", at(a, "usage", "input_token_details", "audio_tokens"), 23)
	h.want("text", at(a, "usage", "input_token_details", "text_tokens"), 2)
	h.want("input", at(a, "usage", "input_tokens"), 25)
	h.want("output", at(a, "usage", "output_tokens"), prose.Tokens(text))

	w := h.formJSON(path, ask("whisper-1", "response_format", "verbose_json", "timestamp_granularities[]", "word", "timestamp_granularities[]", "segment"))
	h.want("usage", mustJSON(t, w["usage"]), `{"seconds":3,"type":"duration"}`)
	h.want("duration", w["duration"], 2.3)
	h.want("segment", at(w, "segments", 0, "text"), w["text"])
	h.want("last word's end", at(w, "words", -1, "end"), 2.3)
	h.want("no words unasked", h.formJSON(path, ask("whisper-1", "response_format", "verbose_json"))["words"], nil)
	d := h.formJSON(path, ask("gpt-4o-transcribe-diarize", "response_format", "diarized_json"))
	h.want("speaker", at(d, "segments", 0, "speaker"), "A")

	for format, want := range map[string]string{
		"text": "[mock whisper-1]", "srt": "1\n00:00:00,000 --> 00:00:02,300\n[mock whisper-1]", "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:02.300\n[mock whisper-1]",
	} {
		status, kind, b := h.form(path, ask("whisper-1", "response_format", format))
		if status != 200 || !strings.HasPrefix(kind, "text/plain") || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %d %s %q", format, status, kind, b)
		}
	}
	if status, _, b := h.form(path, ask("whisper-1", "response_format", "tape")); status != 400 {
		t.Errorf("odd format: %d %s", status, b)
	}
	if status, _, b := h.form(path, []string{"model", "whisper-1"}); status != 400 || !strings.Contains(string(b), "'file'") {
		t.Errorf("no file: %d %s", status, b)
	}

	_, kind, b := h.form(path, ask("gpt-4o-transcribe", "stream", "true"))
	events := parseEvents(t, b)
	heard := ""
	for _, e := range events[:len(events)-1] {
		heard += e.json(t)["delta"].(string)
	}
	last := events[len(events)-1].json(t)
	h.want("content type", kind, "text/event-stream; charset=utf-8")
	h.want("streamed", heard, text)
	h.want("done", last["text"], text)
	h.want("usage", mustJSON(t, last["usage"]), mustJSON(t, a["usage"]))

	translated := h.formJSON("/v1/audio/translations", ask("whisper-1"))
	h.want("usage of a translation", translated["usage"], nil)
	if translated["text"] == w["text"] {
		t.Error("a translation is the transcription")
	}
}

func TestFiles(t *testing.T) {
	h := serve(t)
	var ids []string
	for _, purpose := range []string{"assistants", "batch", "assistants"} {
		f := h.formJSON("/v1/files", []string{"@file", "content\x00\xff", "purpose", purpose})
		h.want("bytes", f["bytes"], 9)
		h.want("filename", f["filename"], "file.bin")
		h.want("status", f["status"], "processed")
		ids = append(ids, f["id"].(string))
	}
	list := h.json("GET", "/v1/files?limit=2", nil)
	h.want("object", list["object"], "list")
	h.want("newest first", at(list, "data", 0, "id"), ids[2])
	h.want("has_more", list["has_more"], true)
	list = h.json("GET", "/v1/files?after="+list["last_id"].(string), nil)
	h.want("the rest", at(list, "data", 0, "id"), ids[0])
	h.want("has_more", list["has_more"], false)
	h.want("by purpose", len(h.json("GET", "/v1/files?purpose=batch", nil)["data"].([]any)), 1)
	h.want("others'", len(h.in("proj_two").json("GET", "/v1/files", nil)["data"].([]any)), 0)

	path := "/v1/files/" + ids[0]
	h.want("got", h.json("GET", path, nil)["purpose"], "assistants")
	if _, b := h.do("GET", path+"/content", nil); string(b) != "content\x00\xff" {
		t.Errorf("content %q", b)
	}
	for _, request := range [][2]string{{"GET", ""}, {"GET", "/content"}, {"DELETE", ""}} {
		if res, _ := h.in("proj_two").do(request[0], path+request[1], nil); res.StatusCode != 404 {
			t.Errorf("%s%s of another project's file: %d", request[0], request[1], res.StatusCode)
		}
	}
	h.json("POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"`+ids[0]+`"}]}]}`)
	h.want("deleted", h.json("DELETE", path, nil)["deleted"], true)
	if res, _ := h.do("GET", path+"/content", nil); res.StatusCode != 404 {
		t.Errorf("content of a deleted file: %d", res.StatusCode)
	}
	f := h.formJSON("/v1/files", []string{"purpose", "batch", "expires_after[anchor]", "created_at", "expires_after[seconds]", "3600", "@file", "x"})
	h.want("expires_at", f["expires_at"], int(noon.Unix())+3600)
	for _, fields := range [][]string{
		{"@file", "x"}, {"@file", "x", "purpose", "fun"}, {"purpose", "batch"}, {"@file", "x", "purpose", "batch", "expires_after[seconds]", "1"},
	} {
		if status, _, b := h.form("/v1/files", fields); status != 400 {
			t.Errorf("%q: %d %s", fields, status, b)
		}
	}
	if res, b := h.do("POST", "/v1/files", "--x\r\nContent-", "Content-Type", "multipart/form-data; boundary=x"); res.StatusCode != 400 {
		t.Errorf("broken form: %d %s", res.StatusCode, b)
	}
	if status, _, b := h.form("/v1/files", []string{"purpose", "batch", "@file", strings.Repeat("x", maxProjectBytes+1)}); status != 413 {
		t.Errorf("too large: %d %s", status, b)
	}
}
