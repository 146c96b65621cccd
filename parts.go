package gatehouse

// Parts is what a usage's cost is made of: the share of each kind of unit that has a price of its own. They sum to the cost exactly.
type Parts struct {
	Input       NanoUSD `json:"input,omitempty"` // text that was neither read from a cache nor written to one
	Cached      NanoUSD `json:"cached,omitempty"`
	CacheWrite  NanoUSD `json:"cache_write,omitempty"`
	InputAudio  NanoUSD `json:"input_audio,omitempty"`
	CachedAudio NanoUSD `json:"cached_audio,omitempty"`
	InputImage  NanoUSD `json:"input_image,omitempty"`
	CachedImage NanoUSD `json:"cached_image,omitempty"`
	Output      NanoUSD `json:"output,omitempty"`
	OutputAudio NanoUSD `json:"output_audio,omitempty"`
	OutputImage NanoUSD `json:"output_image,omitempty"`
	Images      NanoUSD `json:"images,omitempty"`
	Characters  NanoUSD `json:"characters,omitempty"`
	Audio       NanoUSD `json:"audio,omitempty"` // by its length
	Video       NanoUSD `json:"video,omitempty"`
	Trained     NanoUSD `json:"trained,omitempty"`
	WebSearches NanoUSD `json:"web_searches,omitempty"`
	// WebSearchPreviews are searches with the preview of that tool.
	WebSearchPreviews NanoUSD `json:"web_search_previews,omitempty"`
	FileSearches      NanoUSD `json:"file_searches,omitempty"`
	Containers        NanoUSD `json:"containers,omitempty"`
}

// PartCount is how many parts a cost can have.
const PartCount = 19

// Fields returns the parts in their order. A new one goes last.
func (p *Parts) Fields() [PartCount]*NanoUSD {
	return [...]*NanoUSD{&p.Input, &p.Cached, &p.CacheWrite, &p.InputAudio, &p.CachedAudio, &p.InputImage, &p.CachedImage, &p.Output, &p.OutputAudio, &p.OutputImage,
		&p.Images, &p.Characters, &p.Audio, &p.Video, &p.Trained, &p.WebSearches, &p.WebSearchPreviews, &p.FileSearches, &p.Containers}
}

// Add adds q to p, part by part.
func (p *Parts) Add(q *Parts) {
	to, from := p.Fields(), q.Fields()
	for i := range to {
		*to[i] += *from[i]
	}
}

// Sum returns what the parts come to.
func (p *Parts) Sum() (sum NanoUSD) {
	for _, n := range p.Fields() {
		sum += *n
	}
	return sum
}

// PartUnit is what the quantity of a part counts.
type PartUnit string

// The units of parts.
const (
	PartTokens       PartUnit = "tokens"
	PartImages       PartUnit = "images"
	PartCharacters   PartUnit = "characters"
	PartMilliseconds PartUnit = "milliseconds"
	PartCalls        PartUnit = "calls"
)

// PartNames are what each part is called in reports, and PartUnits what its quantity counts, in the order of Parts.Fields.
var (
	PartNames = [PartCount]string{"input", "cached input", "cache write", "audio input", "cached audio input", "image input", "cached image input",
		"output", "audio output", "image output", "images", "characters", "audio", "video", "training",
		"web search", "web search preview", "file search", "code interpreter"}
	PartUnits = [PartCount]PartUnit{PartTokens, PartTokens, PartTokens, PartTokens, PartTokens, PartTokens, PartTokens,
		PartTokens, PartTokens, PartTokens, PartImages, PartCharacters, PartMilliseconds, PartMilliseconds, PartTokens,
		PartCalls, PartCalls, PartCalls, PartCalls}
)

// The first parts that are no tokens of a model, and the first that are no model's: calls of hosted tools.
const (
	FirstItemPart = 10
	FirstToolPart = 15
)

// Quantities returns how much there is of each part, in the order of Parts.Fields: tokens counted once each, cached and cache-write
// ones apart from the rest of the input, sound and pictures apart from text.
func (u *Units) Quantities() [PartCount]int64 {
	audio := min(u.InputAudio, u.Input)
	image := min(u.InputImage, u.Input-audio)
	text := u.Input - audio - image
	cachedAudio, cachedImage := min(u.CachedAudio, audio), min(u.CachedImage, image)
	cached := min(max(u.Cached-cachedAudio-cachedImage, 0), text)
	written := min(u.CacheWrite, text-cached)
	spoken := min(u.OutputAudio, u.Output)
	drawn := min(u.OutputImage, u.Output-spoken)
	return [...]int64{text - cached - written, cached, written, audio - cachedAudio, cachedAudio, image - cachedImage, cachedImage,
		u.Output - spoken - drawn, spoken, drawn, u.Images, u.Characters, u.Milliseconds, u.VideoMilliseconds, u.Trained,
		u.WebSearches, u.WebSearchPreviews, u.FileSearches, u.Containers}
}
