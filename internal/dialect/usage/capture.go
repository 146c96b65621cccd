package usage

import (
	"bytes"

	"github.com/tidwall/gjson"

	"gatehouse"
)

// maxValue is the size in bytes up to which a captured value is kept; a longer one counts as absent.
const maxValue = 8 << 10

// Slot names a small value that an answer may hold. Each is looked for at the top level of the JSON and inside a top-level
// member "response", which is where the events of a Responses stream carry theirs, and of a "body" in that, which is where a line of
// a batch's output does; the last occurrence stands.
type Slot uint8

// The slots, by the name of their member.
const (
	Usage        Slot = iota // usage
	ID                       // id
	Object                   // object
	Model                    // model
	ServiceTier              // service_tier
	Status                   // status
	Error                    // error
	Type                     // type
	Duration                 // duration: seconds of audio in a verbose transcription or translation
	Conversation             // conversation: an id or {"id"}
	Thread                   // thread_id
	OutputFile               // output_file_id of a batch
	ErrorFile                // error_file_id of a batch
	Seconds                  // seconds of a video
	Trained                  // trained_tokens of a fine-tuning job
	InputFile                // input_file_id of a batch
	Created                  // created
	Size                     // size of an image or a video
	Quality                  // quality of an image
	slots
)

var slotNames = [slots]string{"usage", "id", "object", "model", "service_tier", "status", "error", "type", "duration", "conversation",
	"thread_id", "output_file_id", "error_file_id", "seconds", "trained_tokens", "input_file_id", "created", "size", "quality"}

// Count names members that Capture counts.
type Count uint8

// The counts.
const (
	ChoiceLists   Count = iota // a member "choices", empty or not
	Choices                    // elements of choices
	Deltas                     // elements of choices that have a member "delta"
	Data                       // elements of data
	PromptFilters              // Azure's prompt_filter_results, once prompt_annotations

	// What follows counts strings by what they say, see words.
	webSearchCalls  // searches of the web, and pages that were opened
	webPages        // of those the ones that opened or searched a page, which cost nothing
	fileSearchCalls // searches of vector stores
	previewTools    // the preview tool for searches of the web, among the tools of a response
	searchTools     // its successor
	counts
)

var countPaths = [counts][]string{
	ChoiceLists:   {"choices"},
	Choices:       {"choices[]"},
	Deltas:        {"choices[].delta"},
	Data:          {"data[]", "response.body.data[]"},
	PromptFilters: {"prompt_filter_results", "prompt_annotations"},
}

// textPaths are the strings that hold what a model wrote, in answers and in the events of streams. No text is at two of them.
var textPaths = []string{
	"choices[].text",
	"choices[].message.content", "choices[].message.refusal", "choices[].message.reasoning_content", "choices[].message.reasoning",
	"choices[].message.tool_calls[].function.arguments", "choices[].message.function_call.arguments",
	"choices[].delta.content", "choices[].delta.refusal", "choices[].delta.reasoning_content", "choices[].delta.reasoning",
	"choices[].delta.tool_calls[].function.arguments", "choices[].delta.function_call.arguments",
	"output[].content[].text", "output[].content[].refusal", "output[].summary[].text", "output[].arguments", "output[].input",
	"delta", "delta.content[].text.value", // events of Responses and transcriptions; of Assistants
	"text", // a transcription
}

// Capture reads JSON that arrives in pieces of any size, keeps the small values of its slots and forgets the rest: it never
// buffers an answer. It does not validate; from bytes that are not JSON it captures nothing of use and does no harm. The zero
// value is ready; Reset makes it ready for the next answer without allocating.
type Capture struct {
	// Want says which ids Made shall find. Reset makes it none; it is set before the first Write.
	Want Made
	// Alike says that one answer mostly begins as the one before did, as the events of a stream do. Reset leaves it as it is.
	Alike bool
	// TextBytes is the size of the text that the model wrote, as it stands in the JSON, escapes included.
	TextBytes int64

	standing
	buf  []byte // the captured values, one after another
	made []made

	state  captureState
	odd    bool // inside a string: the next byte is escaped
	done   bool // the top-level value has ended
	text   bool // the string being read is counted in TextBytes
	begun  bool // something has been read
	begins bool // what is being read is the beginning of an answer that is to be remembered
	keyLen int
	skip   int        // open containers inside a value that is not followed
	last   *beginning // of an answer before; nil: there is none

	// texts are what the slots' texts were when they were last asked for: most often the next answer says the same.
	texts [slots]string

	place *node // where the value being read stands, when keep is set
	keep  keeping
	start int // its beginning in buf
	key   [maxKey]byte

	// read is what the usage at readAt says, when it is plain and came whole: to find its end takes as long as to read it.
	read   plain
	readAt piece
}

const (
	maxDepth = 12
	maxKey   = 32
	maxMade  = 1000 // ids of one answer that are kept
	maxID    = 256  // bytes of one
)

type captureState uint8

const (
	between captureState = iota // outside every token, in a container that is followed
	inKey
	inString
	inScalar
	inSkipped       // inside a container that is not followed
	inSkippedString // inside a string inside it
)

// keeping is what a value is kept for; it may be several things.
type keeping uint8

const (
	keepNothing keeping = 0
	keepSlot    keeping = 1 << 0
	keepMade    keeping = 1 << 1
	keepWord    keeping = 1 << 2
)

// piece is a part of what was kept, which is far smaller than 2 GiB: so short, they are half of what a Reset clears.
type piece struct{ start, end int32 }

type made struct {
	piece
	kind Made
}

type open struct {
	node  *node
	array bool
}

// standing is what was found and where the reading stands, between two tokens.
type standing struct {
	counts [counts]int32
	found  [slots]piece
	value  bool // inside an object: the colon has passed, a value comes next
	depth  int
	next   *node          // what the value that comes next is, in an object
	stack  [maxDepth]open // the containers being followed
}

// Reset forgets everything.
func (c *Capture) Reset() {
	buf, made := c.buf[:0], c.made[:0]
	c.Want, c.TextBytes, c.counts, c.found, c.readAt = 0, 0, [counts]int32{}, [slots]piece{}, piece{}
	c.state, c.odd, c.value, c.done, c.text, c.begun, c.keep = between, false, false, false, false, false, keepNothing
	c.keyLen, c.depth, c.skip, c.next = 0, 0, 0, nil
	c.buf, c.made = buf, made
}

// Get returns the JSON of a slot's value, strings with their quotes, or nil when it is absent or longer than 8 KiB. It is valid
// until the next Write or Reset.
func (c *Capture) Get(s Slot) []byte {
	at := c.found[s]
	if at.end == 0 {
		return nil
	}
	return c.buf[at.start:at.end]
}

// Text returns the text of a slot whose value is a string, else "".
func (c *Capture) Text(s Slot) string {
	raw := c.Get(s)
	if len(raw) > maxRemembered || bytes.IndexByte(raw, '\\') >= 0 {
		return text(raw)
	}
	if n := len(raw); n > 2 && raw[0] == '"' {
		if string(raw[1:n-1]) != c.texts[s] {
			c.texts[s] = text(raw)
		}
		return c.texts[s]
	}
	return ""
}

// maxRemembered is the longest text that is remembered, quotes included.
const maxRemembered = 64

// units returns what the slot of usage says.
func (c *Capture) units(shape Shape) (gatehouse.Units, bool) {
	if at := c.found[Usage]; at.end != 0 && at == c.readAt && shape != None {
		return c.read.units(shape)
	}
	return Extract(shape, c.Get(Usage))
}

// Count returns how often something occurred.
func (c *Capture) Count(n Count) int { return int(c.counts[n]) }

// Complete reports whether a whole JSON value has been read.
func (c *Capture) Complete() bool { return c.done }

// Made calls yield with each id at the place of something that an answer may have made, and what that would be. An id may come
// more than once.
func (c *Capture) Made(yield func(kind Made, id string) bool) {
	for _, at := range c.made {
		if id := text(c.buf[at.start:at.end]); id != "" && !yield(at.kind, id) {
			return
		}
	}
}

// Failed reports whether there is an error by the rule of OpenAI's SDKs: a top-level "error" that is true for JavaScript.
func (c *Capture) Failed() bool {
	switch raw := c.Get(Error); string(raw) {
	case "", "null", "false", `""`, "0":
		return false
	}
	return true
}

func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	return gjson.ParseBytes(raw).String()
}

// Write reads the next piece. It takes all of it and never fails.
func (c *Capture) Write(p []byte) (int, error) {
	from, i := 0, 0 // where the kept part of p begins, when c.keep is set
	if c.Alike && !c.begun && len(p) > 0 {
		i = c.recall(p)
		c.begins = i == 0
	}
	c.begun = true
	for i < len(p) && !c.done {
		switch c.state {
		case between:
			if i = c.values(p, i); i < len(p) && !c.done && c.state == between {
				from = i
				c.begin(p[i])
				i++
			}
		case inKey:
			end, closed := c.stringEnd(p, i)
			c.addKey(p[i:end])
			i = end
			if closed {
				i++
				c.state = between
				c.next = nil
				if c.keyLen <= maxKey {
					c.next = c.stack[c.depth-1].node.find(c.key[:c.keyLen])
				}
			}
		case inString, inSkippedString:
			end, closed := c.stringEnd(p, i)
			if c.text {
				c.TextBytes += int64(end - i)
			}
			i = end
			if !closed {
				continue
			}
			i++
			if c.state == inSkippedString {
				c.state = inSkipped
				continue
			}
			c.finish(p[from:i])
		case inScalar:
			for i < len(p) && !ends[p[i]] {
				i++
			}
			if i < len(p) {
				c.finish(p[from:i])
			}
		case inSkipped:
			for i < len(p) && !structural[p[i]] {
				i++
			}
			if i == len(p) {
				continue
			}
			b := p[i]
			i++
			switch b {
			case '"':
				c.state = inSkippedString
			case '{', '[':
				c.skip++
			default:
				c.skip--
				if c.skip == 0 {
					c.finish(p[from:i])
				}
			}
		}
	}
	c.begins = false
	if c.keep != keepNothing {
		c.add(p[from:])
	}
	return len(p), nil
}

// values reads keys and values that p holds whole, from p[i] on, and what is between them. It returns where it stopped: at the end of
// p or of the answer, inside a key, or at a value that goes on beyond p. Most answers come in one piece, and are read here alone.
func (c *Capture) values(p []byte, i int) int {
	var top open
	if c.depth > 0 {
		top = c.stack[c.depth-1]
	}
	for i < len(p) {
		b := p[i]
		switch b {
		case ' ', '\t', '\r', '\n', ',':
			i++
			continue
		case ':':
			c.value = true
			i++
			continue
		case '}', ']':
			i++
			if c.depth > 0 {
				c.depth--
			}
			if c.ended(); c.done {
				return i
			}
			top = c.stack[c.depth-1]
			continue
		}
		if b == '"' && c.depth > 0 && !top.array && !c.value {
			i++
			end := near(p, i)
			if end == len(p) || p[end] != '"' { // it goes on beyond p, has a backslash or is long
				c.state, c.keyLen = inKey, 0
				return i
			}
			c.next = top.node.find(p[i:end])
			if i = end + 1; i < len(p) && p[i] == ':' {
				c.value = true
				i++
			}
			continue
		}

		n := c.coming()
		if c.begins && n != nil && n.text {
			c.remember(p[:i])
		}
		if c.opens(n, b) {
			c.meet(n, b)
			c.push(n, b)
			top = c.stack[c.depth-1]
			i++
			continue
		}
		end, read := 0, false
		if b == '{' && n != nil && n.keep&keepSlot != 0 && n.slot == Usage {
			c.read, c.readAt = plain{}, piece{}
			end, read = c.read.object(p, i, 0)
		}
		if !read {
			end = valueEnd(p, i)
		}
		if end < 0 {
			return i
		}
		if n == nil {
			c.ended()
		} else {
			c.meet(n, b)
			if c.text {
				c.TextBytes += int64(end-i) - 2
			}
			c.finish(p[i:end])
			if read {
				c.readAt = c.found[Usage]
			}
		}
		if i = end; c.done {
			return i
		}
	}
	return i
}

// begin starts the value whose first byte is b, which goes on beyond what has been read.
func (c *Capture) begin(b byte) {
	n := c.coming()
	c.meet(n, b)
	switch {
	case b == '"':
		c.state, c.odd = inString, false
	case b != '{' && b != '[':
		c.state = inScalar
	case c.opens(n, b):
		c.push(n, b)
	default:
		c.state, c.skip = inSkipped, 1
	}
}

// coming returns the place of the value that comes next, nil when it is none.
func (c *Capture) coming() *node {
	if c.depth == 0 {
		return root
	}
	if top := &c.stack[c.depth-1]; top.array {
		return top.node.elem
	}
	return c.next
}

// meet counts the value whose first byte is b, and says what is to be kept of it.
func (c *Capture) meet(n *node, b byte) {
	c.text = false
	if n == nil {
		return
	}
	if n.counts {
		c.counts[n.count]++
	}
	c.text = n.text && b == '"'
	if c.keep = n.keep; c.keep == keepNothing {
		return
	}
	if c.keep&keepMade != 0 && (n.made&c.Want == 0 || b != '"' || len(c.made) >= maxMade) {
		c.keep &^= keepMade
	}
	if b != '"' {
		c.keep &^= keepWord
	}
	c.place, c.start = n, len(c.buf)
}

// opens reports whether the value whose first byte is b is a container to be followed: of those that are kept none is.
func (c *Capture) opens(n *node, b byte) bool {
	return n != nil && (b == '{' && n.keys != nil || b == '[' && n.elem != nil) && n.keep&keepSlot == 0 && c.depth < maxDepth
}

func (c *Capture) push(n *node, b byte) {
	c.stack[c.depth] = open{n, b == '['}
	c.depth++
	c.value, c.next = false, nil
}

// finish ends a value; last is what of it was not yet kept.
func (c *Capture) finish(last []byte) {
	if c.keep != keepNothing {
		c.add(last)
	}
	at := piece{int32(c.start), int32(len(c.buf))}
	if c.keep&keepSlot != 0 {
		c.found[c.place.slot] = at
	}
	if c.keep&keepMade != 0 {
		c.made = append(c.made, made{at, c.place.made})
	}
	if c.keep&keepWord != 0 {
		if n, ok := wordLists[c.place.words][string(c.buf[at.start:at.end])]; ok {
			c.counts[n]++
		}
		c.buf = c.buf[:at.start] // no place that counts words keeps them
	}
	c.keep, c.text = keepNothing, false
	c.state = between
	c.ended()
}

// ended notes that a value has ended, in whatever held it.
func (c *Capture) ended() {
	c.value, c.next = false, nil
	c.done = c.depth == 0
}

// add keeps more of the current value, or gives it up when it grows too long.
func (c *Capture) add(part []byte) {
	limit := maxValue
	if c.keep&(keepMade|keepWord) != 0 {
		limit = maxID
	}
	if len(c.buf)-c.start+len(part) > limit {
		c.buf = c.buf[:c.start]
		if c.keep&keepSlot != 0 {
			c.found[c.place.slot] = piece{}
		}
		c.keep = keepNothing
		return
	}
	c.buf = append(c.buf, part...)
}

func (c *Capture) addKey(part []byte) {
	if c.keyLen+len(part) <= maxKey {
		copy(c.key[c.keyLen:], part)
	}
	c.keyLen = min(c.keyLen+len(part), maxKey+1)
}

// stringEnd returns the offset of the quote that ends the string going on at p[i], or len(p) and false when it goes on beyond p.
func (c *Capture) stringEnd(p []byte, i int) (end int, closed bool) {
	if c.odd {
		i++
	}
	end, c.odd = quote(p, i)
	return end, end < len(p)
}
