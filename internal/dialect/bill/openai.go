package bill

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"gatehouse"
)

// UsageEndpoints are the products of OpenAI's usage API that have a quantity on the bill.
var UsageEndpoints = []string{"completions", "embeddings", "images", "audio_speeches", "audio_transcriptions"}

// CostsPath returns the path, below /v1, of a page of OpenAI's costs from one midnight UTC to another, by line item and project.
func CostsPath(start, end gatehouse.Millis, page string) string {
	return path("costs", start, end, page, "line_item", "project_id")
}

// UsagePath returns the path, below /v1, of a page of the usage of one of UsageEndpoints, by model, batch and project.
func UsagePath(endpoint string, start, end gatehouse.Millis, page string) string {
	by := []string{"model", "project_id"}
	if endpoint == "completions" {
		by = append(by, "batch")
	}
	return path("usage/"+endpoint, start, end, page, by...)
}

func path(what string, start, end gatehouse.Millis, page string, by ...string) string {
	q := url.Values{"start_time": {strconv.FormatInt(start.Seconds(), 10)}, "end_time": {strconv.FormatInt(end.Seconds(), 10)}, "bucket_width": {"1d"},
		"limit": {"31"}, "group_by": by}
	if page != "" {
		q.Set("page", page)
	}
	return "/organization/" + what + "?" + q.Encode()
}

type openAIPage struct {
	Data []struct {
		StartTime int64          `json:"start_time"`
		Results   []openAIResult `json:"results"`
	} `json:"data"`
	HasMore  bool   `json:"has_more"`
	NextPage string `json:"next_page"`
}

type openAIResult struct {
	Amount struct {
		Value    json.RawMessage `json:"value"` // a number, or its text
		Currency string          `json:"currency"`
	} `json:"amount"`
	LineItem     string      `json:"line_item"`
	Quantity     json.Number `json:"quantity"`
	QuantityUnit string      `json:"quantity_unit"`
	Project      string      `json:"project_id"`
	Key          string      `json:"api_key_id"`

	Model            string      `json:"model"`
	Batch            bool        `json:"batch"`
	Input            int64       `json:"input_tokens"`
	Cached           int64       `json:"input_cached_tokens"`
	CacheWrite       int64       `json:"input_cache_write_tokens"`
	InputAudio       int64       `json:"input_audio_tokens"`
	InputCachedAudio int64       `json:"input_cached_audio_tokens"`
	InputImage       int64       `json:"input_image_tokens"`
	CachedImage      int64       `json:"input_cached_image_tokens"`
	Output           int64       `json:"output_tokens"`
	OutputAudio      int64       `json:"output_audio_tokens"`
	OutputImage      int64       `json:"output_image_tokens"`
	Images           int64       `json:"images"`
	Characters       int64       `json:"characters"`
	Seconds          json.Number `json:"seconds"`
}

// Usage is what a provider's own report says of one model on one day.
type Usage struct {
	Line  // Model, Start, Project, Key, Batch
	Units gatehouse.Units
}

// Costs reads a page of OpenAI's costs. next is the page that follows, empty when this is the last.
func Costs(page []byte) (lines []Line, next string, err error) {
	p, err := readPage(page)
	if err != nil {
		return nil, "", err
	}
	for _, b := range p.Data {
		for i := range b.Results {
			r := &b.Results[i]
			if c := r.Amount.Currency; c != "" && !strings.EqualFold(c, "usd") {
				return nil, "", fmt.Errorf("the costs are in %q, not in usd", clip(c))
			}
			l := lineItem(r.LineItem)
			l.Start, l.Project, l.Key, l.Priced = gatehouse.Millis(b.StartTime*1000), r.Project, r.Key, true
			value := strings.Trim(string(r.Amount.Value), `"`)
			if value == "" || value == "null" {
				value = "0"
			}
			cost, err := Scaled(value, nanoScale)
			if err != nil {
				return nil, "", fmt.Errorf("amount of %q: %w", clip(r.LineItem), err)
			}
			l.Cost = gatehouse.NanoUSD(cost)
			if l.Quantity, l.Quantified, err = quantity(string(r.Quantity), r.QuantityUnit); err != nil {
				return nil, "", fmt.Errorf("quantity of %q: %w", clip(r.LineItem), err)
			}
			lines = append(lines, l)
		}
	}
	return lines, p.NextPage, nil
}

// ReadUsage reads a page of OpenAI's usage.
func ReadUsage(page []byte) (usage []Usage, next string, err error) {
	p, err := readPage(page)
	if err != nil {
		return nil, "", err
	}
	for _, b := range p.Data {
		for i := range b.Results {
			r := &b.Results[i]
			u := Usage{Line: Line{Start: gatehouse.Millis(b.StartTime * 1000), Model: r.Model, Project: r.Project, Key: r.Key, Batch: r.Batch, Quantified: true}}
			u.Units = gatehouse.Units{Input: r.Input, Cached: r.Cached, CacheWrite: r.CacheWrite, InputAudio: r.InputAudio, CachedAudio: r.InputCachedAudio,
				InputImage: r.InputImage, CachedImage: r.CachedImage, Output: r.Output, OutputAudio: r.OutputAudio, OutputImage: r.OutputImage,
				Images: r.Images, Characters: r.Characters}
			if r.Seconds != "" {
				if u.Units.Milliseconds, err = Scaled(string(r.Seconds), 3); err != nil {
					return nil, "", fmt.Errorf("seconds of %q: %w", clip(r.Model), err)
				}
			}
			usage = append(usage, u)
		}
	}
	return usage, p.NextPage, nil
}

func readPage(page []byte) (*openAIPage, error) {
	var p openAIPage
	if err := json.Unmarshal(page, &p); err != nil {
		return nil, fmt.Errorf("the answer is not a page of costs or usage: %w", err)
	}
	if !p.HasMore {
		p.NextPage = ""
	}
	for i := range p.Data {
		if s := p.Data[i].StartTime; s < 0 || s > maxSeconds {
			return nil, fmt.Errorf("start_time %d: %w", s, ErrTooMuch)
		}
	}
	return &p, nil
}

// maxSeconds is the last second that is taken for a time: the year 9999.
const maxSeconds = 253402300799

// quantity turns a quantity in one of OpenAI's units into tokens, images, characters or milliseconds.
func quantity(text, unit string) (int64, bool, error) {
	if text == "" {
		return 0, false, nil
	}
	scale, times := 0, int64(1)
	switch unit {
	case "", "tokens", "images", "characters", "requests":
	case "1000_tokens":
		scale = 3
	case "duration_seconds":
		scale = 3
	case "duration_minutes":
		scale, times = 3, 60
	case "duration_hours":
		scale, times = 3, 3600
	default:
		return 0, false, nil // storage: no meter of ours
	}
	n, err := Scaled(text, scale)
	if err != nil {
		return 0, false, err
	}
	if n > 1<<62/times || n < -(1<<62)/times {
		return 0, false, ErrTooMuch
	}
	return n * times, true, nil
}

// lineItem reads "gpt-4o-2024-08-06, cached input": a model, and what is billed of it. An item of another form is for no model: calls of
// a hosted tool, or something else.
func lineItem(item string) Line {
	l := Line{Text: item}
	if l.Meter = toolOf(strings.ToLower(item)); l.Meter != "" {
		return l
	}
	model, what, ok := strings.Cut(item, ", ")
	if !ok {
		return l
	}
	words := wordsOf(what)
	if l.Meter = meterOf(words, false); l.Meter != "" {
		model, inName := strings.CutSuffix(model, " batch")
		l.Model, l.Batch = model, inName || words["batch"]
	}
	return l
}

// toolOf returns the meter of the hosted tool that an item is for, empty where it is for none.
func toolOf(item string) string {
	switch {
	case strings.Contains(item, "storage"):
		return "" // of files, by time: nobody's call
	case strings.Contains(item, "web search") && strings.Contains(item, "preview"):
		return "web_search_previews"
	case strings.Contains(item, "web search"):
		return "web_searches"
	case strings.Contains(item, "file search"):
		return "file_searches"
	case strings.Contains(item, "code interpreter"):
		return "containers"
	}
	return ""
}

func wordsOf(s string) map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return r == ' ' || r == ',' || r == '-' || r == '_' || r == '|' || r == '(' || r == ')'
	}) {
		words[w] = true
	}
	return words
}
