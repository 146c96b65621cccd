// Package bound says what a request may use at most, before a byte of it goes upstream.
//
// It owns the rules by which the bytes of a request bound what a model is given and makes: text by its bytes, pictures and recordings
// by what no model takes more of, what is kept elsewhere by the model's context, output by what caps it. It reads what strictjson and
// form found already and never the body again; it is pure, and does not know prices: package prices turns a [Most] into money.
//
// docs/bounds.md is the same in words, for those whose requests are refused.
package bound

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/form"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
)

// Ask is what a request asks for, whichever model serves it.
type Ask struct {
	Shape    usage.Shape
	Product  string // the operation's
	Text     int64  // tokens of the text it brings along, at most
	Pictures int64  // pictures it brings along or says where to fetch
	Audio    int64  // tokens of the audio in it
	Kept     bool   // it refers to content that is kept or fetched elsewhere
	Prompts  int64  // how many inputs it has that are answered apart; 1 but for legacy completions
	Answers  int64  // to each of them: the greater of n and best_of
	Cap      int64  // output tokens of each answer; 0: nothing caps them
	Beside   int64  // output tokens that may be billed beside an answer: of a prediction that was wrong
	Input    int64  // what caps the input of a run; 0: nothing
	Spoken   bool   // answers may be audio
	Hosted   Tools  // what the upstream may call by itself
	Calls    int64  // how often, at most; less than 0: nothing caps it

	Size, Quality string // of pictures and videos to be made
	Partials      int64  // partial pictures of each
	Tool          Picture
	Seconds       int64 // length of an audio file, in milliseconds
	Video         int64 // length of the video to be made, in milliseconds
	Characters    int64 // of text to be spoken
	Unknown       bool  // nobody knows what the operation does
}

// Picture is what an image generation tool is asked for; of several tools, the most of each.
type Picture struct {
	Size, Quality string
	Partials      int64
	Given         int64 // pictures it may be given to work from; filled in by Ask.Of
}

// Tools is a set of tools that run at the upstream, which calls its model again with what they found.
type Tools uint8

// The tools that a fee or a price of their own stands for.
const (
	WebSearch        Tools = 1 << iota
	WebSearchPreview       // which has another price
	FileSearch
	Container // of a code interpreter or a shell
	ImageTool
	OtherTool // without a fee of its own, or unknown

	anyTool = WebSearch | WebSearchPreview | FileSearch | Container | ImageTool | OtherTool
)

// hosted returns what a tool costs beside tokens: nothing where it runs at the caller.
func hosted(t dialect.Tool) Tools {
	switch t {
	case dialect.CallerTool:
		return 0
	case dialect.WebSearchTool:
		return WebSearch
	case dialect.WebSearchPreview:
		return WebSearchPreview
	case dialect.FileSearchTool:
		return FileSearch
	case dialect.ContainerTool:
		return Container
	case dialect.ImageTool:
		return ImageTool
	}
	return OtherTool
}

const (
	// framing is what a request has beside its text: what a model's own format puts around messages, tools and the answer. A message
	// costs it a few tokens and its JSON a score of bytes, so that a constant for what nobody wrote is enough.
	framing = 1024
	// audioBytes is how many bytes of base64 a token of audio has at least: a tenth of a second, and MP3 has 8 kbit/s or more.
	audioBytes = 128
	// audioSlack is for a recording too short to say anything.
	audioSlack = 16
	// most bounds every number here, so that sums and products of them stay numbers.
	most = 1 << 40
)

// role is what a field that may be there several times means for the bound.
type role uint8

const (
	noRole role = iota
	picture
	pictureAsked // a picture, whose bytes are no text among the messages of a chat
	pictureHere  // a picture that another role counts, whose bytes are no text
	result       // perhaps a picture that was made before
	recording
	recordingAsked // among the messages of a chat
	elsewhere
	tool
	toolSize
	toolQuality
	toolPartials
)

var roles = map[string]role{
	"**.image_url": picture, "**.image_url.url": pictureAsked,
	"input[].content[].image_url": pictureHere,
	"input[].output[].image_url":  pictureHere, "input[].output.image_url": pictureHere,
	"input[].result":      result,
	"**.input_audio.data": recordingAsked, "input[].content[].input_audio.data": recording,
	"**.file_data": elsewhere, "**.file_url": elsewhere,
	"tools[].type": tool, "input[].tools[].type": tool,
	"tools[].size": toolSize, "tools[].quality": toolQuality, "tools[].partial_images": toolPartials,
}

// places are the roles of each operation's fields, by their index.
var places = func() map[*dialect.Op]*place {
	all := map[*dialect.Op]*place{}
	for _, op := range dialect.Ops() {
		p := &place{roles: make([]role, len(op.Fields()))}
		p.images, p.maxPrompt, p.sources, p.messages = -1, -1, -1, -1
		for i, f := range op.Fields() {
			p.roles[i] = roles[f.Path]
			switch f.Path {
			case "images":
				p.images = i
			case "max_prompt_tokens":
				p.maxPrompt = i
			case "messages":
				p.messages = i
			case "data_sources":
				p.sources = i
			}
		}
		all[op] = p
	}
	return all
}()

type place struct {
	roles                                []role
	images, maxPrompt, sources, messages int // fields by index, -1 where they are not read
}

// Read reads the ask of a call with a JSON body of a size; f is what a scan of it found, and refers says that it names objects whose
// content a model may be given. It allocates nothing but the names of tools, and of a picture's size and quality.
func Read(op *dialect.Op, f *strictjson.Result, size int64, refers bool) Ask {
	at, p := &op.At, places[op]
	a := begin(op, size)
	a.Kept = refers || f.Span(p.sources).Len > 0
	for i := range f.Found {
		found := &f.Found[i]
		r := p.roles[found.Field]
		switch asked := f.Span(p.messages); {
		case r == noRole:
			continue
		case found.Span.Start > asked.Start && found.Span.End < asked.End:
		case r == pictureAsked:
			r = picture
		case r == recordingAsked:
			continue // text, if anything
		}
		a.found(r, f, found.Span)
	}
	number := func(i int) int64 {
		n, ok := f.Int(f.Span(i))
		if !ok || n < 0 {
			return 0
		}
		return min(n, most)
	}
	a.Cap = max(number(at.MaxTokens), number(at.MaxCompletionTokens), number(at.MaxOutputTokens))
	a.Input = number(p.maxPrompt)
	a.Answers = max(number(at.N), number(at.BestOf), 1)
	a.Calls = -1
	if n, ok := f.Int(f.Span(at.MaxToolCalls)); ok && n >= 0 {
		a.Calls = min(n, most)
	}
	a.Partials = number(at.PartialImages)
	a.Size, _ = f.Text(f.Span(at.Size))
	a.Quality, _ = f.Text(f.Span(at.Quality))
	if s := f.Span(at.Prediction); s.Kind == strictjson.Object {
		a.Beside = length(s)
	}
	if s := f.Span(at.Modalities); s.Kind == strictjson.Array {
		a.Spoken = bytes.Contains(f.Raw(s), []byte("audio"))
	}
	if s := f.Span(at.WebSearchOptions); s.Kind == strictjson.Object {
		a.Hosted, a.Calls = a.Hosted|WebSearch|WebSearchPreview, 1 // one search, and no tool that the model could call by itself
	}
	switch op.Usage {
	case usage.Completions:
		a.Prompts = prompts(f, f.Span(at.Prompt))
	case usage.Responses:
		if f.Span(at.Prompt).Kind == strictjson.Object {
			a.Hosted |= anyTool // which the stored prompt may bring along
		}
	case usage.Run:
		a.Kept = true
	case usage.Images:
		if s := f.Span(p.images); s.Kind == strictjson.Array {
			a.Pictures = max(a.Pictures, int64(s.Len)) + 1 // and a mask
		}
	case usage.Speech:
		if s := f.Span(at.Input); s.Kind == strictjson.String {
			a.Characters = length(s) // or fewer: a character is a byte or more
		}
	}
	return a
}

// Texts returns how many answers of text are asked for, 0 where what is made is something else.
func (a *Ask) Texts() int64 {
	switch a.Shape {
	case usage.Chat, usage.Completions, usage.Responses, usage.Run:
		return max(times(a.Answers, a.Prompts), 1)
	}
	return 0
}

// ReadForm reads the ask of a call with a form of a size. head are the first bytes of its audio file, where it has one.
func ReadForm(op *dialect.Op, s *form.Scanner, size int64, head []byte) Ask {
	a := begin(op, 0)
	text := func(name string) string {
		v, _ := s.Value(name)
		return strings.TrimSpace(v)
	}
	number := func(name string) int64 {
		n, ok := usage.Whole([]byte(text(name)))
		if !ok {
			return 0
		}
		return min(n, most)
	}
	a.Answers = max(number("n"), 1)
	a.Partials = number("partial_images")
	a.Size, a.Quality = text("size"), text("quality")
	switch {
	case op.Usage == usage.Transcription:
		bytes := size
		if len(s.Files) == 1 && s.Files[0].Plain {
			bytes = s.Files[0].End - s.Files[0].Start
		}
		a.Seconds = Duration(bytes, head)
		a.Text += max(size-bytes, 0)
	default:
		// Files are pictures; what else is in the form is text.
		a.Pictures = int64(s.Sent)
		a.Text += formText(s, size)
	}
	return a
}

// formText is the text of a form whose files are not text: no more than all of it, and where it has files no more than what the API
// takes as a prompt.
func formText(s *form.Scanner, size int64) int64 {
	const longestPrompt = 32_000 * utf8.UTFMax
	if s.Sent == 0 {
		return size
	}
	return min(size, longestPrompt)
}

// begin returns what every ask of an operation begins with.
func begin(op *dialect.Op, size int64) Ask {
	return Ask{Shape: op.Usage, Product: op.Meter, Text: min(size, most) + framing, Prompts: 1, Answers: 1, Calls: -1}
}

// found adds one occurrence of a field.
func (a *Ask) found(r role, f *strictjson.Result, s strictjson.Span) {
	switch r {
	case picture:
		a.Pictures++
	case pictureAsked:
		a.Pictures++
		if isData(f, s) {
			a.Text -= length(s)
		}
	case pictureHere:
		if isData(f, s) {
			a.Text -= length(s)
		}
	case result:
		if s.Kind == strictjson.String { // or the text that a program returned: both count
			a.Pictures++
		}
	case recording, recordingAsked:
		if s.Kind == strictjson.String {
			a.Text -= length(s)
			a.Audio += length(s)/audioBytes + audioSlack
		}
	case elsewhere:
		a.Kept = true
	case tool:
		kind, ok := f.Text(s)
		if !ok {
			kind = "?" // what is no text may mean anything
		}
		a.Hosted |= hosted(dialect.ToolOf(kind))
	case toolSize:
		a.Tool.Size = greater(a.Tool.Size, f, s)
	case toolQuality:
		a.Tool.Quality = greater(a.Tool.Quality, f, s)
	case toolPartials:
		if n, ok := f.Int(s); ok && n > a.Tool.Partials {
			a.Tool.Partials = min(n, most)
		}
	}
}

// greater keeps what all tools agree on, and "auto", which stands for the most, where they do not.
func greater(kept string, f *strictjson.Result, s strictjson.Span) string {
	text, ok := f.Text(s)
	if !ok || kept != "" && kept != text {
		return "auto"
	}
	return text
}

// isData reports whether a value is a URL that holds what it names.
func isData(f *strictjson.Result, s strictjson.Span) bool {
	const scheme = `"data:image/`
	raw := f.Raw(s)
	return s.Kind == strictjson.String && len(raw) > len(scheme) && string(raw[:len(scheme)]) == scheme
}

// prompts is how many prompts a legacy completion has. An array of numbers is the tokens of one.
func prompts(f *strictjson.Result, s strictjson.Span) int64 {
	if s.Kind != strictjson.Array {
		return 1
	}
	first := bytes.TrimLeft(f.Raw(s)[1:], " \t\r\n")
	if first[0] == '"' || first[0] == '[' {
		return max(int64(s.Len), 1)
	}
	return 1
}

func length(s strictjson.Span) int64 { return int64(s.End - s.Start) }
