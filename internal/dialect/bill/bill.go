// Package bill reads what providers say about money: OpenAI's costs and usage endpoints, and the cost exports of Azure Cost
// Management. It turns each into lines that name a model, a meter, a quantity and a cost.
//
// It owns the wire facts: paths, fields, column names, what a line item or a meter is called, and units. It does no I/O of its own and
// does not know what Gatehouse counted.
package bill

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"gatehouse"
)

// Line is one line of a provider's bill, or of its own usage report.
type Line struct {
	Start gatehouse.Millis // of the day
	// Model as the provider calls it, empty where the line is for no model.
	Model string
	// Meter is what was billed, in Gatehouse's words (input, input_cached, output, ...), empty where it is something else.
	Meter string
	Text  string // what the provider calls the line
	// Quantity counts tokens, images, characters or milliseconds. Quantified is false where the provider did not say.
	Quantity   int64
	Quantified bool
	Cost       gatehouse.NanoUSD
	Priced     bool // false: a line of a usage report, which says nothing about money
	Project    string
	Key        string
	Batch      bool
}

// ErrTooMuch is returned where a number is beyond all reason.
var ErrTooMuch = errors.New("the number is out of range")

// maxNumber is how long the text of a number may be, maxExponent how far from 1 it may be.
const (
	maxNumber   = 64
	maxExponent = 40
)

var numeric = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$`)

// Scaled reads a decimal number, also one with an exponent, times 10^scale, rounded half away from zero.
func Scaled(text string, scale int) (int64, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxNumber || !numeric.MatchString(text) {
		return 0, fmt.Errorf("%q is not a number", clip(text))
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		if e, err := strconv.Atoi(text[at+1:]); err != nil || e > maxExponent || e < -maxExponent {
			return 0, fmt.Errorf("%q: %w", clip(text), ErrTooMuch)
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("%q is not a number", clip(text))
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	twice := new(big.Int).Mul(r.Num(), big.NewInt(2))
	if r.Sign() < 0 {
		twice.Sub(twice, r.Denom())
	} else {
		twice.Add(twice, r.Denom())
	}
	n := twice.Quo(twice, new(big.Int).Mul(r.Denom(), big.NewInt(2)))
	if !n.IsInt64() {
		return 0, fmt.Errorf("%q: %w", clip(text), ErrTooMuch)
	}
	return n.Int64(), nil
}

// nanoScale is the decimal places of money.
const nanoScale = 9

func clip(s string) string {
	if len(s) > maxNumber {
		return s[:maxNumber] + "..."
	}
	return s
}

// meterOf reads what is billed from the words of a line item or a meter. tokens says whether it may be tokens without saying input
// or output, as it is for embeddings.
func meterOf(words map[string]bool, tokens bool) string {
	has := func(any ...string) bool {
		for _, w := range any {
			if words[w] {
				return true
			}
		}
		return false
	}
	in, out := has("input", "inp", "in", "prompt"), has("output", "outp", "out", "opt", "completion", "generated")
	cached := has("cached", "cchd", "cd", "cache", "cach")
	audio, image := has("audio", "aud"), has("image", "img")
	switch {
	case has("training", "trained", "train", "fine-tuning"):
		return "trained"
	case cached && has("write", "writes", "wr", "creation"):
		return "input_cache_write"
	case cached && audio:
		return "input_cached_audio"
	case cached && image:
		return "input_cached_image"
	case cached:
		return "input_cached"
	case in && audio:
		return "input_audio"
	case in && image:
		return "input_image"
	case in:
		return "input"
	case out && audio:
		return "output_audio"
	case out && image:
		return "output_image"
	case out:
		return "output"
	case has("characters", "chars"):
		return "characters"
	case has("images", "image", "img"):
		return "images"
	case has("seconds", "minutes", "duration", "second", "minute"):
		return "audio"
	case tokens:
		return "input"
	}
	return ""
}

var dated = regexp.MustCompile(`-(\d{4})-(\d{2})-(\d{2})$|-\d{4}(\d{4})$|-(\d{4})$`)

// Names returns what a model may be called on a bill, the most exact first: its own name, with the date's month and day alone as
// Azure's meters have it, and without a date. Case, and what separates words, do not matter.
func Names(model string) []string {
	name := strings.Trim(separators.ReplaceAllString(strings.ToLower(model), "-"), "-")
	out := []string{name}
	m := dated.FindStringSubmatchIndex(name)
	if m == nil {
		return out
	}
	base := name[:m[0]]
	if parts := dated.FindStringSubmatch(name); parts[1] != "" {
		out = append(out, base+"-"+parts[2]+parts[3])
	} else if parts[4] != "" {
		out = append(out, base+"-"+parts[4])
	}
	return append(out, base)
}

var separators = regexp.MustCompile(`[\s_./:-]+`)
