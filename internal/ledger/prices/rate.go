package prices

import (
	"fmt"
	"slices"
	"strings"

	"gatehouse"
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

// Cost is prices by the names of their units, in USD for 1,000,000 of each.
type Cost map[string]gatehouse.USD

// read reads prices exactly.
func (c Cost) read() (out rates, err error) {
	for name, price := range c {
		x := rate(slices.Index(rateNames[:], name))
		nano := int64(price)
		switch {
		case x >= rateCount:
			return rates{}, fmt.Errorf("%q is not a unit that has a price; the units are %s", name, strings.Join(rateNames[:], ", "))
		case nano < 0:
			return rates{}, fmt.Errorf("%s: a price is not negative", name)
		case (x == audioTime || x == videoTime) && nano%1000 != 0:
			return rates{}, fmt.Errorf("%s: %s USD for 1,000,000 seconds has more than six decimal places", name, price)
		case x == audioTime || x == videoTime:
			nano /= 1000
		}
		out.set(x, nano)
	}
	return out, nil
}
