package bill

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gatehouse"
)

// The columns of Azure's cost exports that matter, in lower case and without separators, under every name they have had: actual and
// amortized costs of Enterprise Agreements, Microsoft Customer Agreements and pay-as-you-go subscriptions, and the FOCUS exports.
// Where an export has several, the first counts: a cost in USD before one in the billing currency.
var azureColumns = map[string][]string{
	"cost":     {"costinusd", "costinbillingcurrency", "cost", "pretaxcost", "effectivecost", "billedcost", "costinpricingcurrency"},
	"currency": {"billingcurrencycode", "billingcurrency", "currency", "currencycode"},
	"quantity": {"quantity", "usagequantity", "consumedquantity"},
	"unit":     {"unitofmeasure", "xpricingunitdescription", "pricingunit"},
	"meter":    {"metername", "xskumetername", "skumeter", "meter"},
	"subclass": {"metersubcategory", "xskumetersubcategory", "productname", "product"},
	"class":    {"metercategory", "xskumetercategory", "servicename", "consumedservice"},
	"date":     {"date", "usagedatetime", "usagedate", "chargeperiodstart"},
	"charge":   {"chargetype", "chargecategory"},
	"resource": {"resourceid", "instanceid", "resourcename", "instancename"},
}

// dateForms are how exports write days.
var dateForms = []string{"2006-01-02", "01/02/2006", "1/2/2006", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "01/02/2006 15:04:05", "20060102"}

// maxColumns bounds a header.
const maxColumns = 500

// ErrCurrency is returned for an export that has no cost in US dollars.
var ErrCurrency = errors.New("the export has no costs in USD: export with the column costInUsd, or in a billing currency of USD")

// Azure reads a cost export and calls fn with each line that is Azure OpenAI's (Cognitive Services, AI Services, Foundry models).
// resource, where it is not empty, is a part of the resource id or name that a line must have. It holds one line in memory.
func Azure(r io.Reader, resource string, fn func(*Line) error) error {
	bound := &bounded{r: r, left: maxLine}
	in := csv.NewReader(skipMark(bound))
	in.ReuseRecord, in.FieldsPerRecord, in.LazyQuotes = true, -1, true
	header, err := in.Read()
	if err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	columns, err := locate(header)
	if err != nil {
		return err
	}
	for n := 2; ; n++ {
		bound.left = maxLine
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		l, ok, err := columns.line(record, resource)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if ok {
			if err := fn(l); err != nil {
				return err
			}
		}
	}
}

// azureHeader is where an export's columns are, -1 where it has none.
type azureHeader struct {
	at  map[string]int
	usd bool // the cost is in USD, whatever the billing currency is
}

func locate(header []string) (*azureHeader, error) {
	if len(header) > maxColumns {
		return nil, fmt.Errorf("the header has more than %d columns", maxColumns)
	}
	places := map[string]int{}
	for i, name := range header {
		name = strings.Map(func(r rune) rune {
			if r == ' ' || r == '_' || r == '-' || r == '(' || r == ')' {
				return -1
			}
			return r
		}, strings.ToLower(strings.TrimSpace(name)))
		if _, twice := places[name]; !twice {
			places[name] = i
		}
	}
	h := &azureHeader{at: map[string]int{}}
	for what, known := range azureColumns {
		h.at[what] = -1
		for _, name := range known {
			if i, ok := places[name]; ok {
				h.at[what] = i
				h.usd = h.usd || name == "costinusd"
				break
			}
		}
	}
	for _, what := range []string{"cost", "quantity", "meter", "date"} {
		if h.at[what] < 0 {
			return nil, fmt.Errorf("this is no cost export of Azure: it has no column for the %s (one of %s)", what, strings.Join(azureColumns[what], ", "))
		}
	}
	return h, nil
}

func (h *azureHeader) get(record []string, what string) string {
	if i := h.at[what]; i >= 0 && i < len(record) {
		return strings.TrimSpace(record[i])
	}
	return ""
}

// line reads one line; ok is false where it is not for models.
func (h *azureHeader) line(record []string, resource string) (*Line, bool, error) {
	meter, class := h.get(record, "meter"), strings.ToLower(h.get(record, "class")+" "+h.get(record, "subclass"))
	if !strings.Contains(class, "openai") && !strings.Contains(class, "cognitive") && !strings.Contains(class, "foundry") && !strings.Contains(class, "ai services") {
		return nil, false, nil
	}
	if resource != "" && !strings.Contains(strings.ToLower(h.get(record, "resource")), strings.ToLower(resource)) {
		return nil, false, nil
	}
	if charge := strings.ToLower(h.get(record, "charge")); charge != "" && charge != "usage" {
		return nil, false, nil // purchases, refunds, unused reservations: no traffic's
	}
	if currency := h.get(record, "currency"); !h.usd && currency != "" && !strings.EqualFold(currency, "usd") {
		return nil, false, ErrCurrency
	}
	at, err := dayOf(h.get(record, "date"))
	if err != nil {
		return nil, false, err
	}
	cost, err := Scaled(or0(h.get(record, "cost")), nanoScale)
	if err != nil {
		return nil, false, fmt.Errorf("cost: %w", err)
	}
	l := azureMeter(meter)
	l.Start, l.Cost, l.Priced = at, gatehouse.NanoUSD(cost), true
	l.Quantity, l.Quantified, err = azureQuantity(h.get(record, "quantity"), h.get(record, "unit"), meter, l.Meter)
	if err != nil {
		return nil, false, fmt.Errorf("quantity: %w", err)
	}
	return &l, true, nil
}

func or0(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func dayOf(text string) (gatehouse.Millis, error) {
	if len(text) > maxNumber {
		return 0, fmt.Errorf("%q is not a date", clip(text))
	}
	for _, form := range dateForms {
		if t, err := time.Parse(form, text); err == nil && t.Year() >= 1970 && t.Year() < 10_000 {
			return gatehouse.MillisOf(t.UTC().Truncate(24 * time.Hour)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a date", clip(text))
}

// noise are the words of a meter's name that say where or how, not what.
var noise = map[string]bool{"tokens": true, "token": true, "glbl": true, "global": true, "gl": true, "regnl": true, "regional": true, "rgnl": true, "rg": true,
	"dz": true, "dzone": true, "dzn": true, "data": true, "zone": true, "datazone": true, "inp": true, "input": true, "in": true, "outp": true, "output": true, "out": true, "opt": true,
	"cchd": true, "cached": true, "cd": true, "cache": true, "write": true, "wr": true, "batch": true, "btch": true, "1k": true, "1m": true, "1000": true, "std": true, "txt": true,
	"pp": true, "priority": true, "az": true, "azure": true, "openai": true, "aud": true, "img": true, "training": true, "characters": true, "images": true,
	"hour": true, "hours": true, "unit": true}

// azureMeter reads "gpt 4o 0806 cchd Inp glbl Tokens": a model and what is billed of it.
func azureMeter(name string) Line {
	l := Line{Text: name}
	var model []string
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '-' || r == '_' }) {
		w = strings.ToLower(w)
		words[w] = true
		if !noise[w] {
			model = append(model, w)
		}
	}
	l.Batch = words["batch"] || words["btch"]
	if l.Meter = meterOf(words, words["tokens"] || words["token"]); l.Meter != "" {
		l.Model = strings.Join(model, "-")
	}
	return l
}

// azureQuantity turns a quantity into tokens, images, characters or milliseconds. The unit says how many one is: "1K", "1M", "1000
// Tokens", "10K Characters", "1 Hour"; where it is only "1", the meter's name may say ("1M Tokens").
func azureQuantity(text, unit, name, meter string) (int64, bool, error) {
	if text == "" || meter == "" {
		return 0, false, nil
	}
	scale := 0
	lower := strings.ToLower(unit)
	switch {
	case meter == "audio" && strings.Contains(lower, "hour"):
		n, err := Scaled(text, 6)
		if err != nil || n > 1<<40 || n < -(1<<40) {
			return 0, false, errors.Join(err, tooMuch(err == nil))
		}
		return n * 3600 / 1000, true, nil
	case strings.HasPrefix(lower, "10k"):
		scale = 4
	case strings.HasPrefix(lower, "1k"), strings.HasPrefix(lower, "1000 "), lower == "1000", strings.HasPrefix(lower, "1,000"):
		scale = 3
	case strings.HasPrefix(lower, "1m"), strings.HasPrefix(lower, "1000000"), strings.HasPrefix(lower, "1,000,000"):
		scale = 6
	case strings.Contains(strings.ToLower(name), "1m "):
		scale = 6
	case strings.Contains(strings.ToLower(name), "1k "):
		scale = 3
	}
	n, err := Scaled(text, scale)
	return n, err == nil, err
}

func tooMuch(yes bool) error {
	if yes {
		return ErrTooMuch
	}
	return nil
}

// skipMark leaves out the byte order mark that exports may begin with.
func skipMark(r io.Reader) io.Reader {
	var head [3]byte
	n, err := io.ReadFull(r, head[:])
	if n == 3 && string(head[:]) == "\ufeff" {
		return r
	}
	rest := io.MultiReader(strings.NewReader(string(head[:n])), r)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.MultiReader(strings.NewReader(string(head[:n])), failing{err})
	}
	return rest
}

// bounded fails where one line is longer than any is: a quote that nobody closed would have the rest of the file as one field.
type bounded struct {
	r    io.Reader
	left int
}

// maxLine is the most bytes of a line.
const maxLine = 1 << 20

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("a line is longer than %d bytes: is a quote not closed?", maxLine)
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
