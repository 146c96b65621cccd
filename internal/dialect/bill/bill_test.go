package bill_test

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/bill"
)

func TestScaled(t *testing.T) {
	for text, want := range map[string]int64{
		"0.06": 60_000_000, "1.2345678e-05": 12346, "-3": -3_000_000_000, "0.0000000005": 1, "-0.0000000005": -1, "0.00000000049": 0,
		"9223372036.854775807": 9223372036854775807, " 1 ": 1_000_000_000, ".5": 500_000_000, "2.": 2_000_000_000, "1E2": 100_000_000_000,
	} {
		if got, err := bill.Scaled(text, 9); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "1,5", "0x1", "1e", "inf", "NaN", "1e999", "9223372036.854775808", "1_000", "1/3", strings.Repeat("1", 80)} {
		if got, err := bill.Scaled(text, 9); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for model, want := range map[string][]string{
		"gpt-4o-2024-08-06":      {"gpt-4o-2024-08-06", "gpt-4o-0806", "gpt-4o"},
		"gpt 4o 0806":            {"gpt-4o-0806", "gpt-4o"},
		"GPT-4.1 mini":           {"gpt-4-1-mini"},
		"gpt-4-20240613":         {"gpt-4-20240613", "gpt-4-0613", "gpt-4"},
		"text-embedding-3-small": {"text-embedding-3-small"},
	} {
		if got := bill.Names(model); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", model, got, want)
		}
	}
}

// costsPage is in the shape of OpenAI's reference, with amounts as numbers and as text.
const costsPage = `{"object":"page","data":[{"object":"bucket","start_time":1793577600,"end_time":1793664000,"results":[
 {"object":"organization.costs.result","amount":{"value":0.06,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, input","project_id":"proj_up","quantity":24000,"quantity_unit":"tokens"},
 {"object":"organization.costs.result","amount":{"value":"0.0000125","currency":"usd"},"line_item":"gpt-4o-2024-08-06, cached input","project_id":"proj_up","quantity":0.01,"quantity_unit":"1000_tokens"},
 {"object":"organization.costs.result","amount":{"value":1.5e-05,"currency":"usd"},"line_item":"gpt-4o-mini-2024-07-18 batch, output","project_id":null},
 {"object":"organization.costs.result","amount":{"value":0.01,"currency":"usd"},"line_item":"web search tool calls","project_id":"proj_up"},
 {"object":"organization.costs.result","amount":{"value":0.006,"currency":"usd"},"line_item":"whisper-1, duration","quantity":1.5,"quantity_unit":"duration_minutes"}]}],
 "has_more":true,"next_page":"page_2"}`

func TestCosts(t *testing.T) {
	lines, next, err := bill.Costs([]byte(costsPage))
	if err != nil || next != "page_2" {
		t.Fatal(next, err)
	}
	const at = 1793577600000
	want := []bill.Line{
		{Start: at, Model: "gpt-4o-2024-08-06", Meter: "input", Text: "gpt-4o-2024-08-06, input", Quantity: 24000, Quantified: true, Cost: 60_000_000, Priced: true, Project: "proj_up"},
		{Start: at, Model: "gpt-4o-2024-08-06", Meter: "input_cached", Text: "gpt-4o-2024-08-06, cached input", Quantity: 10, Quantified: true, Cost: 12_500, Priced: true, Project: "proj_up"},
		{Start: at, Model: "gpt-4o-mini-2024-07-18", Meter: "output", Text: "gpt-4o-mini-2024-07-18 batch, output", Cost: 15_000, Priced: true, Batch: true},
		{Start: at, Meter: "web_searches", Text: "web search tool calls", Cost: 10_000_000, Priced: true, Project: "proj_up"},
		{Start: at, Model: "whisper-1", Meter: "audio", Text: "whisper-1, duration", Quantity: 90_000, Quantified: true, Cost: 6_000_000, Priced: true},
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %+v\nwant %+v", lines, want)
	}
	if _, _, err := bill.Costs([]byte(strings.Replace(costsPage, `"usd"`, `"eur"`, 1))); err == nil {
		t.Error("costs in euros were taken for dollars")
	}
}

func TestUsage(t *testing.T) {
	usage, next, err := bill.ReadUsage([]byte(`{"object":"page","data":[{"start_time":1793577600,"end_time":1793664000,"results":[
		{"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":500,"input_cached_tokens":800,"input_audio_tokens":7,"output_audio_tokens":0,
		"num_model_requests":5,"project_id":"proj_up","user_id":null,"api_key_id":null,"model":"gpt-4o-2024-08-06","batch":false}]}],"has_more":false,"next_page":null}`))
	if err != nil || next != "" || len(usage) != 1 {
		t.Fatal(usage, next, err)
	}
	if want := (gatehouse.Units{Input: 1000, Cached: 800, InputAudio: 7, Output: 500}); usage[0].Units != want || usage[0].Model != "gpt-4o-2024-08-06" {
		t.Errorf("%+v", usage[0])
	}
}

func azure(t *testing.T, file, resource string) (lines []bill.Line, err error) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	err = bill.Azure(bytes.NewReader(text), resource, func(l *bill.Line) error { lines = append(lines, *l); return nil })
	return lines, err
}

func TestAzure(t *testing.T) {
	const second, third = 1793577600000, 1793664000000
	actual := []bill.Line{
		{Start: second, Model: "gpt-4o-0806", Meter: "input", Text: "gpt 4o 0806 Inp glbl Tokens", Quantity: 1_200_000, Quantified: true, Cost: 3_000_000_000, Priced: true},
		{Start: second, Model: "gpt-4o-0806", Meter: "input_cached", Text: "gpt 4o 0806 cchd Inp glbl Tokens", Quantity: 400_000, Quantified: true, Cost: 500_000_000, Priced: true},
		{Start: second, Model: "gpt-4o-0806", Meter: "output", Text: "gpt 4o 0806 Outp glbl Tokens", Quantity: 100_500, Quantified: true, Cost: 1_005_000_000, Priced: true},
		{Start: second, Model: "text-embedding-3-small", Meter: "input", Text: "Text Embedding 3 Small glbl Tokens", Quantity: 2_500_000, Quantified: true, Cost: 50_000_000, Priced: true},
	}
	got, err := azure(t, "azure_actual_mca.csv", "")
	if err != nil || !slices.Equal(got, actual) {
		t.Errorf("actual: %v\ngot  %+v\nwant %+v", err, got, actual)
	}
	if got, err = azure(t, "azure_actual_mca.csv", "accounts/CONTOSO"); err != nil || !slices.Equal(got, actual[:3]) {
		t.Errorf("one resource: %v %+v", err, got)
	}
	amortized := []bill.Line{
		{Start: third, Model: "gpt-4o-mini-0718", Meter: "output", Text: "gpt 4o mini 0718 Batch Outp dz Tokens", Quantity: 10_000, Quantified: true, Cost: 3_000_000, Priced: true, Batch: true},
		{Start: third, Model: "gpt-5", Meter: "input", Text: "GPT-5 Inp glbl 1M Tokens", Quantity: 250_000, Quantified: true, Cost: 312_500_000, Priced: true},
	}
	if got, err = azure(t, "azure_amortized_ea.csv", ""); err != nil || !slices.Equal(got, amortized) {
		t.Errorf("amortized: %v\ngot  %+v\nwant %+v", err, got, amortized)
	}
}

func TestAzureRefuses(t *testing.T) {
	none := func(*bill.Line) error { return nil }
	for name, c := range map[string]struct{ text, want string }{
		"nothing":      {"", "header"},
		"another file": {"a,b\n1,2\n", "no cost export"},
		"euros":        {"Date,MeterName,MeterCategory,MeterSubCategory,Quantity,Cost,Currency\n2026-11-02,x Tokens,Cognitive Services,Azure OpenAI,1,1,EUR\n", "USD"},
		"no date":      {"Date,MeterName,MeterCategory,Quantity,Cost\nsoon,x Tokens,Azure OpenAI,1,1\n", "line 2"},
		"no number":    {"Date,MeterName,MeterCategory,Quantity,Cost\n2026-11-02,x Tokens,Azure OpenAI,1,=1+1\n", "line 2: cost"},
		"open quote":   {"Date,MeterName,MeterCategory,Quantity,Cost\n\"" + strings.Repeat("x", 3<<20), "quote"},
	} {
		if err := bill.Azure(strings.NewReader(c.text), "", none); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	stop := errors.New("stop")
	if _, err := os.Stat("testdata/azure_actual_mca.csv"); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile("testdata/azure_actual_mca.csv") // looked at just now
	if err := bill.Azure(bytes.NewReader(append([]byte("\ufeff"), text...)), "", func(*bill.Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("with a byte order mark: %v", err)
	}
}

func FuzzAzure(f *testing.F) {
	for _, name := range []string{"azure_actual_mca.csv", "azure_amortized_ea.csv"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = bill.Azure(bytes.NewReader(text), "", func(l *bill.Line) error { // most input is no export
			if l.Start < 0 || l.Meter != "" && l.Text == "" {
				t.Errorf("%+v", l)
			}
			return nil
		})
	})
}

func FuzzCosts(f *testing.F) {
	f.Add([]byte(costsPage))
	f.Add([]byte(`{"data":[{"start_time":1,"results":[{"amount":{"value":1e400},"quantity":1e-300,"seconds":9e9}]}]}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		_, _, _ = bill.Costs(page) // neither panics
		_, _, _ = bill.ReadUsage(page)
	})
}
