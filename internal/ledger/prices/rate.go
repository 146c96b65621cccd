package prices

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// rate is one of the units that have a price.
type rate uint8

// The rates. Tokens come first, then what is counted in items, then calls of hosted tools.
const (
	input rate = iota
	cached
	cacheWrite
	inputAudio
	cachedAudio
	inputImage
	cachedImage
	output
	outputAudio
	outputImage

	images
	characters
	audioTime
	videoTime
	trained

	webSearches
	webSearchPreviews
	fileSearches
	containers

	rateCount
)

const (
	firstItem = images
	firstTool = webSearches
)

// rateNames are the names of rates in tables, manifests and the API. Each is the price of 1,000,000 of its unit.
var rateNames = [rateCount]string{
	input: "input", cached: "cache_read", cacheWrite: "cache_write", inputAudio: "input_audio", cachedAudio: "cache_read_audio",
	inputImage: "input_image", cachedImage: "cache_read_image", output: "output", outputAudio: "output_audio", outputImage: "output_image",
	images: "images", characters: "characters", audioTime: "audio_seconds", videoTime: "video_seconds", trained: "trained",
	webSearches: "web_searches", webSearchPreviews: "web_search_previews", fileSearches: "file_searches", containers: "containers",
}

// Names returns the names that a [Cost] may have.
func Names() []string { return slices.Clone(rateNames[:]) }

// rates are what a version of a price says: nano-USD for 1,000,000 units, where it says anything.
type rates struct {
	per   [rateCount]int64
	known uint32 // a bit for each rate that is said, since a price may be zero
}

func (r *rates) has(x rate) bool { return r.known&(1<<x) != 0 }

func (r *rates) set(x rate, nano int64) {
	r.per[x] = nano
	r.known |= 1 << x
}

// over lays what r says over what was said before.
func (r *rates) over(before *rates) rates {
	out := *before
	for x := range rateCount {
		if r.has(x) {
			out.set(x, r.per[x])
		}
	}
	return out
}

// tokens reports whether there is a price for tokens.
func (r *rates) tokens() bool { return r.known&(1<<firstItem-1) != 0 }

// items reports whether there is a price for something that is counted in items.
func (r *rates) items() bool { return r.known&(1<<firstTool-1)&^(1<<firstItem-1) != 0 }

// Cost is prices by the names of their units, in decimal USD for 1,000,000 of each.
type Cost map[string]json.Number

// read reads prices exactly.
func (c Cost) read() (out rates, err error) {
	for name, text := range c {
		x := rate(slices.Index(rateNames[:], name))
		if x >= rateCount {
			return rates{}, fmt.Errorf("%q is not a unit that has a price; the units are %s", name, strings.Join(rateNames[:], ", "))
		}
		nano, err := ParseUSD(string(text))
		if err != nil {
			return rates{}, fmt.Errorf("%s: %w", name, err)
		}
		if x == audioTime || x == videoTime {
			if nano%1000 != 0 {
				return rates{}, fmt.Errorf("%s: price %q of 1,000,000 seconds has more than six decimal places", name, text)
			}
			nano /= 1000
		}
		out.set(x, nano)
	}
	return out, nil
}

// ParseUSD reads a plain decimal number of USD as nano-USD, exactly: at most nine decimal places, no sign, no exponent.
func ParseUSD(s string) (int64, error) {
	whole, frac, point := strings.Cut(s, ".")
	if whole == "" || point && frac == "" {
		return 0, fmt.Errorf("price %q is not a plain decimal number such as 2.50", s)
	}
	if len(frac) > 9 {
		if strings.Trim(frac[9:], "0123456789") == "" && strings.Trim(frac[9:], "0") != "" {
			return 0, fmt.Errorf("price %q has more than nine decimal places", s)
		}
		if strings.Trim(frac[9:], "0") != "" {
			return 0, fmt.Errorf("price %q is not a plain decimal number such as 2.50", s)
		}
		frac = frac[:9]
	}
	digits := whole + frac + "000000000"[len(frac):]
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("price %q is not a plain decimal number such as 2.50", s)
		}
		if n > (math.MaxInt64-9)/10 {
			return 0, fmt.Errorf("price %q is too large", s)
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// FormatUSD writes nano-USD as the shortest decimal number of USD that [ParseUSD] reads as the same.
func FormatUSD(nano int64) string {
	s := fmt.Sprintf("%d.%09d", nano/1_000_000_000, nano%1_000_000_000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
