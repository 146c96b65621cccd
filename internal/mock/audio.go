package mock

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gatehouse/internal/mock/media"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// millisPerToken is how long the mock speaks for each token.
const millisPerToken = 20

// speech answers POST /audio/speech.
func (c *call) speech() error {
	var q struct {
		Model        string          `json:"model"`
		Input        string          `json:"input"`
		Instructions string          `json:"instructions"`
		Voice        json.RawMessage `json:"voice"`
		Format       string          `json:"response_format"`
		Speed        *float64        `json:"speed"`
		StreamFormat string          `json:"stream_format"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if err := c.model(q.Model); err != nil {
		return err
	}
	switch {
	case q.Input == "":
		return missing("input")
	case len([]rune(q.Input)) > 4096:
		return &apiError{status: 400, code: "string_above_max_length", param: "input", message: "Invalid 'input': string too long. Expected a string with maximum length 4096."}
	case len(q.Voice) == 0 || scan.IsNull(q.Voice):
		return missing("voice")
	case q.Speed != nil && (*q.Speed < 0.25 || *q.Speed > 4):
		return invalid("speed", "must be from 0.25 to 4.")
	case q.StreamFormat != "" && q.StreamFormat != "audio" && q.StreamFormat != "sse":
		return invalid("stream_format", "must be 'audio' or 'sse'.")
	case q.StreamFormat == "sse" && strings.HasPrefix(q.Model, "tts-1"):
		return &apiError{status: 400, code: "unsupported_value", param: "stream_format", message: "This model does not support 'sse'."}
	}
	seed := prose.Hash(prose.Hash(prose.Hash(prose.Hash(prose.Seed, q.Input), q.Instructions), q.Voice), q.Model)
	out := c.knobs.tokens
	if out == 0 {
		out = prose.Tokens(q.Input)
	}
	ms := out * millisPerToken
	if q.Speed != nil {
		ms = int(float64(ms) / *q.Speed)
	}
	name := prose.Label(q.Model)
	var sound []byte
	var contentType string
	switch q.Format {
	case "", "mp3":
		sound, contentType = media.MP3(ms, name), "audio/mpeg"
	case "opus":
		sound, contentType = media.Opus(seed, ms, name), "audio/ogg"
	case "aac":
		sound, contentType = media.AAC(ms), "audio/aac"
	case "flac":
		sound, contentType = media.FLAC(ms, name), "audio/flac"
	case "wav":
		sound, contentType = media.WAV(seed, ms, name), "audio/wav"
	case "pcm":
		sound, contentType = media.PCM(nil, seed, ms), "audio/pcm"
	default:
		return invalid("response_format", "must be one of mp3, opus, aac, flac, wav and pcm.")
	}
	if q.StreamFormat != "sse" {
		return c.write(http.StatusOK, contentType, sound)
	}
	e := c.stream()
	for part := range slices.Chunk(sound, 16<<10) {
		line := base64.StdEncoding.AppendEncode([]byte(`{"type":"speech.audio.delta","audio":"`), part)
		if err := e.send("speech.audio.delta", append(line, `"}`...)); err != nil {
			return err
		}
	}
	done := `{"type":"speech.audio.done"}`
	if in := prose.Tokens(q.Input) + prose.Tokens(q.Instructions); !c.knobs.noUsage {
		done = fmt.Sprintf(`{"type":"speech.audio.done","usage":{"input_tokens":%d,"output_tokens":%d,"total_tokens":%d}}`, in, out, in+out)
	}
	return e.send("speech.audio.done", []byte(done))
}

type segment struct {
	ID          int     `json:"id"`
	Seek        int     `json:"seek"`
	Start       float64 `json:"start"`
	End         float64 `json:"end"`
	Text        string  `json:"text"`
	Tokens      []int   `json:"tokens"`
	Temperature float64 `json:"temperature"`
	AvgLogprob  float64 `json:"avg_logprob"`
	Compression float64 `json:"compression_ratio"`
	NoSpeech    float64 `json:"no_speech_prob"`
}

type spokenWord struct {
	Word  string  `json:"word"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// transcript is what the mock heard.
type transcript struct {
	text    string
	seconds float64
	usage   map[string]any
}

func (c *call) transcribe() error { return c.hear("transcribe") }

func (c *call) translate() error { return c.hear("translate") }

// hear answers both transcriptions and translations: the mock hears a labelled text that follows from the bytes of the sound.
func (c *call) hear(task string) error {
	q, err := c.form()
	if err != nil {
		return err
	}
	upload, err := q.file("file")
	if err != nil {
		return err
	}
	model := q.values["model"]
	if err := c.model(model); err != nil {
		return err
	}
	if len(upload.data) == 0 {
		return &apiError{status: 400, code: "audio_too_short", param: "file", message: "Audio file is too short."}
	}
	seed := prose.Hash(prose.Hash(prose.Hash(prose.Hash(prose.Seed, upload.data), q.values["prompt"]), task), model)
	ms := media.Millis(upload.data)
	t := &transcript{seconds: float64(ms) / 1000, text: prose.Of(model, seed, c.knobs.tokens)}
	whisper := strings.HasPrefix(model, "whisper")
	if whisper {
		t.usage = map[string]any{"type": "duration", "seconds": (ms + 999) / 1000}
	} else {
		sound, prompt, out := (ms+99)/100, prose.Tokens(q.values["prompt"]), prose.Tokens(t.text)
		t.usage = map[string]any{
			"type": "tokens", "input_tokens": sound + prompt, "output_tokens": out, "total_tokens": sound + prompt + out,
			"input_token_details": map[string]int{"text_tokens": prompt, "audio_tokens": sound},
		}
	}
	if c.knobs.noUsage || task == "translate" {
		t.usage = nil // OpenAI gives none for translations
	}
	format := q.values["response_format"]
	if q.values["stream"] == "true" && !whisper && task == "transcribe" {
		return c.streamTranscript(t, format == "diarized_json")
	}
	withUsage := func(m map[string]any) error {
		if t.usage != nil {
			m["usage"] = t.usage
		}
		return c.json(m)
	}
	switch format {
	case "", "json":
		return withUsage(map[string]any{"text": t.text})
	case "text":
		return c.write(http.StatusOK, "text/plain; charset=utf-8", []byte(t.text+"\n"))
	case "srt":
		return c.write(http.StatusOK, "text/plain; charset=utf-8", []byte("1\n"+clock(0, ",")+" --> "+clock(ms, ",")+"\n"+t.text+"\n\n"))
	case "vtt":
		return c.write(http.StatusOK, "text/plain; charset=utf-8", []byte("WEBVTT\n\n"+clock(0, ".")+" --> "+clock(ms, ".")+"\n"+t.text+"\n\n"))
	case "diarized_json":
		return withUsage(map[string]any{"task": task, "duration": t.seconds, "text": t.text, "segments": []any{t.spoken()}})
	case "verbose_json":
		m := map[string]any{"task": task, "language": "english", "duration": t.seconds, "text": t.text}
		granularities := q.lists["timestamp_granularities"]
		if len(granularities) == 0 || slices.Contains(granularities, "segment") {
			m["segments"] = []segment{{End: t.seconds, Text: t.text, Tokens: []int{}, AvgLogprob: -0.1, Compression: 1}}
		}
		if slices.Contains(granularities, "word") {
			m["words"] = t.words()
		}
		return withUsage(m)
	}
	return invalid("response_format", "must be one of json, text, srt, verbose_json, vtt and diarized_json.")
}

// spoken is the transcript as one segment of one speaker.
func (t *transcript) spoken() map[string]any {
	return map[string]any{"type": "transcript.text.segment", "id": "seg_0", "start": 0, "end": t.seconds, "text": t.text, "speaker": "A"}
}

// words spreads the words evenly over the sound.
func (t *transcript) words() []spokenWord {
	fields := strings.Fields(t.text)
	out := make([]spokenWord, len(fields))
	for i, w := range fields {
		n := float64(len(fields))
		out[i] = spokenWord{Word: w, Start: t.seconds * float64(i) / n, End: t.seconds * float64(i+1) / n}
	}
	return out
}

func (c *call) streamTranscript(t *transcript, diarized bool) error {
	e := c.stream()
	send := func(name string, m map[string]any) error {
		m["type"] = name
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return e.send(name, b)
	}
	if diarized {
		if err := send("transcript.text.segment", t.spoken()); err != nil {
			return err
		}
	}
	for rest := t.text; rest != ""; {
		n := prose.Token(rest)
		if err := send("transcript.text.delta", map[string]any{"delta": rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	done := map[string]any{"text": t.text}
	if t.usage != nil {
		done["usage"] = t.usage
	}
	return send("transcript.text.done", done)
}

// clock is a time in the form of subtitles.
func clock(ms int, point string) string {
	return fmt.Sprintf("%02d:%02d:%02d", ms/3600_000, ms/60_000%60, ms/1000%60) + point + strconv.Itoa(1000 + ms%1000)[1:]
}
