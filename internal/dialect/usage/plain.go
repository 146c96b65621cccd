package usage

import (
	"encoding/binary"
	"math/bits"

	"gatehouse"
)

// plain is what a usage object says that is written as providers write it: names and texts without escapes, none twice, whole and
// decimal numbers, objects of such in it. It is read and validated in one pass, without a table of members: that would be larger
// than all else that is read here.
//
// It stands beside the general way, and says the same of every object that it takes: see FuzzExtract.
type plain struct {
	seen uint32         // the figures whose names occurred
	said uint32         // those of them that are not null
	n    [figures]int64 // the figures that are numbers
}

// figure is a place in plain: a total, or a detail together with the breakdown that it is in.
type figure uint8

const (
	promptTokens figure = iota
	inputTokens
	completionTokens
	outputTokens
	totalTokens
	seconds // in milliseconds
	inputDetails
	outputDetails

	ofInput  figure = 8  // to be added to a detail
	ofOutput figure = 16 // likewise
	ofCached figure = 24 // likewise
	figures  figure = 32
	nothing  figure = 0xFF
)

// The details.
const (
	cachedTokens figure = iota
	cacheWriteTokens
	textTokens
	audioTokens
	imageTokens
	reasoningTokens
	cachedDetails
)

// total returns the figure of a name in the usage object, and whether it is a breakdown.
func total(name []byte) (f figure, breakdown bool) {
	switch string(name) {
	case "prompt_tokens":
		return promptTokens, false
	case "input_tokens":
		return inputTokens, false
	case "completion_tokens":
		return completionTokens, false
	case "output_tokens":
		return outputTokens, false
	case "total_tokens":
		return totalTokens, false
	case "seconds":
		return seconds, false
	case "input_tokens_details", "prompt_tokens_details", "input_token_details":
		return inputDetails, true
	case "output_tokens_details", "completion_tokens_details", "output_token_details":
		return outputDetails, true
	}
	return nothing, false
}

// detail returns the figure of a name in a breakdown, and whether it is a breakdown itself.
func detail(name []byte, of figure) (f figure, breakdown bool) {
	switch string(name) {
	case "cached_tokens":
		return of + cachedTokens, false
	case "cache_write_tokens":
		return of + cacheWriteTokens, false
	case "text_tokens":
		return of + textTokens, false
	case "audio_tokens":
		return of + audioTokens, false
	case "image_tokens":
		return of + imageTokens, false
	case "reasoning_tokens":
		return of + reasoningTokens, false
	case "cached_tokens_details":
		if of == ofInput {
			return of + cachedDetails, true
		}
	}
	return nothing, false
}

// read takes a whole usage object. It returns false for one that is written otherwise, which may be good all the same, and for
// what is no JSON.
func (p *plain) read(object []byte) bool {
	end, ok := p.object(object, 0, 0)
	return ok && end == len(object)
}

// object reads the object that begins at b[i]: the usage object, or the breakdown of a figure. It returns the offset behind it.
func (p *plain) object(b []byte, i int, of figure) (end int, ok bool) {
	if i = space(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for range maxMembers {
		name := i
		if i, ok = plainText(b, i); !ok {
			return 0, false
		}
		f, breakdown := nothing, false
		if key := b[name+1 : i-1]; of == 0 {
			f, breakdown = total(key)
		} else {
			f, breakdown = detail(key, of)
		}
		if i = space(b, i); i >= len(b) || b[i] != ':' {
			return 0, false
		}
		i = space(b, i+1)
		if f == nothing {
			i, ok = plainValue(b, i, 0)
		} else {
			i, ok = p.value(b, i, f, breakdown)
		}
		if !ok {
			return 0, false
		}
		switch i = space(b, i); {
		case i < len(b) && b[i] == '}':
			return i + 1, true
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		default:
			return 0, false
		}
	}
	return 0, false
}

// value reads the value of a figure at b[i], and returns the offset behind it.
func (p *plain) value(b []byte, i int, f figure, breakdown bool) (end int, ok bool) {
	bit := uint32(1) << f
	if i >= len(b) || p.seen&bit != 0 {
		return 0, false
	}
	p.seen |= bit
	if isNull(b[i:]) {
		return i + 4, true
	}
	p.said |= bit
	if !breakdown {
		return p.number(b, i, f)
	}
	if b[i] != '{' {
		return 0, false
	}
	of := ofInput
	switch f {
	case outputDetails:
		of = ofOutput
	case ofInput + cachedDetails:
		of = ofCached
	}
	return p.object(b, i, of)
}

// number reads the number of a figure.
func (p *plain) number(b []byte, i int, f figure) (end int, ok bool) {
	end, n := i, int64(0)
	for end < len(b) && b[end] >= '0' && b[end] <= '9' && end-i < maxFigures {
		n = n*10 + int64(b[end]-'0')
		end++
	}
	whole := end > i && (b[i] != '0' || end == i+1) && end < len(b) && (b[end] == ',' || b[end] == '}')
	if whole && f != seconds {
		p.n[f] = n
		return end, true
	}
	if i >= len(b) || b[i] < '0' || b[i] > '9' {
		return 0, false
	}
	if end, ok = plainNumber(b, i); !ok {
		return 0, false
	}
	exact := true
	if f == seconds {
		n, ok = Milliseconds(b[i:end])
	} else {
		n, exact, ok = decimal(string(b[i:end]), 0)
	}
	p.n[f] = n
	return end, ok && exact
}

// maxFigures is how many figures a number has that is surely below maxCount.
const maxFigures = 12

// has reports whether a figure is there and not null.
func (p *plain) has(f figure) bool { return p.said>>f&1 != 0 }

// first returns the first of two spellings of a total.
func (p *plain) first(f, other figure) int64 {
	if p.has(f) {
		return p.n[f]
	}
	return p.n[other]
}

// units returns what was read, as Extract does.
func (p *plain) units(shape Shape) (u gatehouse.Units, ok bool) {
	const totals = 1<<promptTokens | 1<<inputTokens | 1<<completionTokens | 1<<outputTokens
	switch {
	case p.said&totals == 0 && p.has(seconds):
		u.Milliseconds = p.n[seconds]
	case p.said&totals == 0 && p.has(totalTokens) && shape == Embeddings:
		u.Input = p.n[totalTokens]
	case p.said&totals == 0:
		return u, false
	case ofPrompt(shape):
		u.Input, u.Output = p.first(promptTokens, inputTokens), p.first(completionTokens, outputTokens)
	default:
		u.Input, u.Output = p.first(inputTokens, promptTokens), p.first(outputTokens, completionTokens)
	}
	if p.has(inputDetails) {
		u.Cached = min(p.n[ofInput+cachedTokens], u.Input)
		u.CacheWrite = min(p.n[ofInput+cacheWriteTokens], u.Input)
		u.InputText = min(p.n[ofInput+textTokens], u.Input)
		u.InputAudio = min(p.n[ofInput+audioTokens], u.Input)
		u.InputImage = min(p.n[ofInput+imageTokens], u.Input)
		u.CachedAudio = min(p.n[ofCached+audioTokens], u.Cached)
		u.CachedImage = min(p.n[ofCached+imageTokens], u.Cached)
	}
	if p.has(outputDetails) {
		u.Reasoning = min(p.n[ofOutput+reasoningTokens], u.Output)
		u.OutputText = min(p.n[ofOutput+textTokens], u.Output)
		u.OutputAudio = min(p.n[ofOutput+audioTokens], u.Output)
		u.OutputImage = min(p.n[ofOutput+imageTokens], u.Output)
		return u, true
	}
	oneKind(shape, &u)
	return u, true
}

// maxPlain is how deep objects may lie in each other that no figure is read in: usage has one level of such.
const maxPlain = 4

// plainObject returns the offset behind the object that begins at b[i].
func plainObject(b []byte, i, depth int) (end int, ok bool) {
	if i >= len(b) || b[i] != '{' || depth > maxPlain {
		return 0, false
	}
	if i = space(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for {
		if i, ok = plainText(b, i); !ok {
			return 0, false
		}
		if i = space(b, i); i >= len(b) || b[i] != ':' {
			return 0, false
		}
		if i, ok = plainValue(b, space(b, i+1), depth); !ok {
			return 0, false
		}
		switch i = space(b, i); {
		case i < len(b) && b[i] == '}':
			return i + 1, true
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		default:
			return 0, false
		}
	}
}

// plainValue returns the offset behind the value that begins at b[i].
func plainValue(b []byte, i, depth int) (end int, ok bool) {
	if i >= len(b) {
		return 0, false
	}
	switch c := b[i]; {
	case c == '{':
		return plainObject(b, i, depth+1)
	case c == '"':
		return plainText(b, i)
	case c >= '0' && c <= '9':
		return plainNumber(b, i)
	case isNull(b[i:]):
		return i + 4, true
	case len(b)-i >= 4 && string(b[i:i+4]) == "true":
		return i + 4, true
	case len(b)-i >= 5 && string(b[i:i+5]) == "false":
		return i + 5, true
	}
	return 0, false
}

func isNull(b []byte) bool { return len(b) >= 4 && string(b[:4]) == "null" }

// plainText returns the offset behind the text that begins at b[i].
func plainText(b []byte, i int) (end int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return 0, false
	}
	i++
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if m := (marks(x) | (x-spaces)&^x | x) & highs; m != 0 { // its lowest mark is exact
			i += bits.TrailingZeros64(m) >> 3
			return i + 1, b[i] == '"'
		}
		i += 8
	}
	for ; i < len(b) && b[i] >= ' ' && b[i] != '\\' && b[i] < 0x80; i++ {
		if b[i] == '"' {
			return i + 1, true
		}
	}
	return 0, false
}

// plainNumber returns the offset behind the number that begins at b[i], which is no sign.
func plainNumber(b []byte, i int) (end int, ok bool) {
	begin := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if b[begin] == '0' && i-begin > 1 {
		return 0, false
	}
	if i < len(b) && b[i] == '.' {
		point := i
		for i++; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		}
		if i-point < 2 {
			return 0, false
		}
	}
	return i, true // an exponent is not plain: what must follow a value does not
}

// space returns the offset of the first byte from b[i] on that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
