package bound

import (
	"strconv"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

// Model is what is known of a model that may serve a request. A limit that is 0 is not known.
type Model struct {
	Name    string // the upstream's
	Context int64  // tokens of input and output together
	Input   int64  // of input alone
	Output  int64  // of output
}

// Most is what one request may use at most when one model serves it.
type Most struct {
	// Units are upper bounds, each for itself: Input is all there may be, InputAudio and InputImage how much of that may be audio or
	// pictures, and so for Output. Any part of the input may be written to a cache.
	Units gatehouse.Units
	// Tools may be called, Calls times at most altogether.
	Tools Tools
	Calls int64
	Tool  Picture // of each picture that a tool makes
	// Open is what has no upper bound: the units leave it out.
	Open Open
	// Guessed says that nothing caps the output of an answer but what its model can make: the caller did not say how much it may be.
	Guessed bool
}

// Fees calls yield with the fees that the calls of tools may come to: each stands for all of them being of one tool, so that no more
// than the dearest is to be paid. Pictures that a tool makes are not among them.
func (m *Most) Fees(yield func(gatehouse.Units) bool) {
	if m.Calls <= 0 {
		return
	}
	for t := WebSearch; t <= Container; t <<= 1 {
		if m.Tools&t == 0 {
			continue
		}
		var u gatehouse.Units
		switch t {
		case WebSearch:
			u.WebSearches = m.Calls
		case WebSearchPreview:
			u.WebSearchPreviews = m.Calls
		case FileSearch:
			u.FileSearches = m.Calls
		case Container:
			u.Containers = m.Calls
		}
		if !yield(u) {
			return
		}
	}
}

// Pictures returns the most that the pictures may come to that a tool makes with an image model, and false where none does.
func (m *Most) Pictures(model string) (gatehouse.Units, bool) {
	if m.Tools&ImageTool == 0 || m.Calls <= 0 {
		return gatehouse.Units{}, false
	}
	made := times(MadeTokens(model, m.Tool.Size, m.Tool.Quality)+m.Tool.Partials*partialTokens, m.Calls)
	given := m.Tool.Given * inputPicture
	return gatehouse.Units{Input: times(framing+longestPrompt+given, m.Calls), InputImage: times(given, m.Calls), Output: made + times(pictureText, m.Calls), OutputImage: made, Images: m.Calls}, true
}

// toolPictures is how many pictures a tool may be given to work from, as an image model takes.
const toolPictures = 16

// Open is a set of what nothing bounds.
type Open uint8

// The parts of a request that may have no upper bound.
const (
	OpenInput  Open = 1 << iota // it refers to content of a size that nobody knows, and the model's context is not known
	OpenOutput                  // nothing caps the output, and the model's limit is not known
	OpenTools                   // tools may be called without end
	OpenWork                    // what it costs depends on what only the upstream knows
)

const (
	// speechTokens is how many tokens of audio a character may be spoken for at most: three quarters of a second at 21.3 a second, as a
	// digit may take.
	speechTokens = 16
	// heardTokens are the tokens of text that a second of speech is written down in, at most.
	heardTokens = 25
	// audioSecond are the tokens of audio that a second of input is.
	audioSecond = 10
	// partialTokens is what a partial picture costs.
	partialTokens = 100
	// pictureText are the tokens of text that an image model writes beside a picture.
	pictureText = 512
)

// Of returns what a may use at most when m serves it.
func (a *Ask) Of(m *Model) Most {
	if a.Unknown {
		return a.answers(m)
	}
	switch a.Shape {
	case usage.Images:
		return a.pictures(m)
	case usage.Speech:
		return Most{Units: gatehouse.Units{Input: a.Text, Characters: a.Characters, Output: a.Characters*speechTokens + framing, OutputAudio: a.Characters*speechTokens + framing}}
	case usage.Transcription:
		seconds := a.Seconds/1000 + 1
		heard := within(seconds*audioSecond, m.Context)
		return Most{Units: gatehouse.Units{Milliseconds: a.Seconds, Input: a.Text + heard, InputAudio: heard, Output: within(seconds*heardTokens+framing, m.Output)}}
	case usage.Embeddings:
		return Most{Units: gatehouse.Units{Input: a.Text}} // its context is each input's own
	}
	if a.Video > 0 {
		return Most{Units: gatehouse.Units{Input: a.Text, VideoMilliseconds: a.Video}}
	}
	if a.Shape == usage.None {
		return Most{Units: gatehouse.Units{Input: a.Text}}
	}
	return a.answers(m)
}

// answers is the bound of what a language model answers.
func (a *Ask) answers(m *Model) Most {
	out := Most{Tools: a.Hosted, Tool: a.Tool}
	turns := int64(1)
	if a.Hosted != 0 {
		if a.Calls < 0 {
			out.Open |= OpenTools
		} else {
			out.Calls = a.Calls
			turns += a.Calls
		}
	}
	limit := m.Input
	if limit == 0 {
		limit = m.Context
	}
	seen := a.Pictures * PictureTokens(m.Name)
	in := a.Text + a.Audio + seen
	if limit > 0 {
		in = min(in, times(limit, a.Prompts))
	}
	if a.Kept || a.Unknown {
		in = limit
	}
	if limit == 0 && (a.Kept || a.Unknown || turns > 1) {
		out.Open |= OpenInput
	}
	u := &out.Units
	u.Input = in + times(limit, turns-1) // what tools found may fill the context
	u.InputAudio, u.InputImage = min(times(a.Audio, turns), u.Input), min(times(seen, turns), u.Input)
	if a.Input > 0 { // a run says so itself, over all its turns
		u.Input, out.Open = a.Input, out.Open&^OpenInput
	}
	out.Tool.Given = min(a.Pictures+out.Calls, toolPictures)
	if a.Kept { // it may be anything that the model takes
		u.InputAudio, u.InputImage, out.Tool.Given = u.Input, u.Input, toolPictures
	}
	each, over := a.Cap, int64(1) // the caller's cap is for all turns together
	if each == 0 {
		out.Guessed = true
		each, over = m.Output, turns
		if each == 0 {
			each = m.Context
		}
		if each == 0 {
			out.Open |= OpenOutput
		}
	}
	u.Output = times(times(times(each, over)+a.Beside, a.Answers), a.Prompts)
	if a.Spoken {
		u.OutputAudio = u.Output
	}
	return out
}

// pictures is the bound of pictures that are made.
func (a *Ask) pictures(m *Model) Most {
	in := a.Text + a.Pictures*inputPicture
	if a.Text > framing+longestPrompt {
		in = framing + longestPrompt + a.Pictures*inputPicture // the rest is pictures, as data
	}
	made := times(MadeTokens(m.Name, a.Size, a.Quality)+a.Partials*partialTokens, a.Answers)
	return Most{Units: gatehouse.Units{Input: in, InputImage: a.Pictures * inputPicture, Output: made + times(pictureText, a.Answers), OutputImage: made, Images: a.Answers}}
}

const (
	// longestPrompt is the size in bytes of the longest prompt that an image model takes: 32,000 characters.
	longestPrompt = 32_000 * 4
	// inputPicture is what a picture to be edited costs an image model at most: its tiles, and 6,240 tokens for fidelity.
	inputPicture = 8_192
)

// within returns n, or the limit where it is known and less.
func within(n, limit int64) int64 {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

// times multiplies what is not negative, up to a number that no bound comes near.
func times(a, b int64) int64 {
	if b > 0 && a > most/b {
		return most
	}
	return a * b
}

// vision is what a picture costs a model at most, by the beginning of its name; the first that fits. Models of tiles: a base and eight
// tiles, which is what a picture scaled to 2,048 by 768 has. Models of patches: the most patches times the model's factor.
var vision = []struct {
	prefix string
	tokens int64
}{
	{"gpt-4o-mini", 2_833 + 8*5_667},
	{"gpt-4.1-mini", 2_489}, {"gpt-4.1-nano", 3_779}, {"o4-mini", 2_643},
	{"gpt-4", 85 + 8*170}, {"chatgpt-4o", 85 + 8*170},
	{"o1", 75 + 8*150}, {"o3", 75 + 8*150},
}

// anyPicture is what a picture costs at most where the model is not in the table: 10,000 patches at the greatest factor there is.
const anyPicture = 24_600

// PictureTokens returns the most tokens that a model of an upstream's name counts for one picture, whatever its size and detail.
func PictureTokens(model string) int64 {
	for i := range vision {
		if strings.HasPrefix(model, vision[i].prefix) {
			return vision[i].tokens
		}
	}
	return anyPicture
}

// MadeTokens returns the most tokens of a picture that an image model makes at a size and a quality; empty and "auto" stand for the
// most. The first image models have three sizes; later ones take any up to 3840x2160.
func MadeTokens(model, size, quality string) int64 {
	first := strings.HasPrefix(model, "gpt-image-1") // also -mini and 1.5
	if first && !standard(size) {
		size = "" // the upstream decides, or refuses
	}
	if !first && !standard(size) {
		switch quality {
		case "low":
			return 1_024
		case "medium":
			return 4_608
		}
		return 16_384
	}
	square := size == "1024x1024"
	switch {
	case quality == "low" && square:
		return 272
	case quality == "low":
		return 408
	case quality == "medium" && first && square:
		return 1_056
	case quality == "medium" && first:
		return 1_584
	case quality == "medium":
		return 2_048
	case first && square:
		return 4_160
	case first:
		return 6_240
	}
	return 8_192
}

func standard(size string) bool {
	return size == "1024x1024" || size == "1024x1536" || size == "1536x1024"
}

// String names what has no upper bound, for messages and records.
func (o Open) String() string {
	var parts []string
	for i, name := range [...]string{"input", "output", "tools", "work"} {
		if o&(1<<i) != 0 {
			parts = append(parts, name)
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " and ")
}

// Area returns the pixels of a size such as "1024x1792", 0 for what is none.
func Area(size string) int64 {
	w, h, _ := strings.Cut(size, "x")
	a, err := strconv.ParseUint(w, 10, 16)
	b, err2 := strconv.ParseUint(h, 10, 16)
	if err != nil || err2 != nil {
		return 0
	}
	return int64(a * b)
}
