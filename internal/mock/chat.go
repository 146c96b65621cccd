package mock

import (
	"bytes"
	"encoding/json"
	"strconv"

	"gatehouse/internal/mock/media"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// maxChoices bounds n, as OpenAI does.
const maxChoices = 128

const fingerprint = "fp_gatehousemock"

// chatRequest is what the mock reads of a chat request; it passes over everything else.
type chatRequest struct {
	model       string
	effort      string
	tier        string
	limit       int
	n           int
	messages    int
	stream      bool
	usage       bool // stream_options.include_usage
	obfuscate   bool
	options     bool // stream_options is there
	store       bool
	json        bool // response_format asks for JSON
	prompt      int
	audio       int // tokens of sound, part of prompt
	seed        uint64
	metadata    []byte
	rawMessages []byte
	scratch     []byte
	fileIDs     []string
}

// chat answers POST /chat/completions.
func (c *call) chat() error {
	return c.body(func(b []byte) error {
		scratch := buffers.Get().(*[]byte)
		q := chatRequest{n: 1, obfuscate: true, seed: prose.Seed, scratch: *scratch}
		err := q.parse(b)
		if *scratch, q.scratch = q.scratch, nil; cap(*scratch) <= maxPooled {
			buffers.Put(scratch)
		}
		if err != nil {
			if err == scan.ErrSyntax {
				return badJSON
			}
			return err
		}
		if err := c.model(q.model); err != nil {
			return err
		}
		if err := c.checkFiles(q.fileIDs); err != nil {
			return err
		}
		return c.answerChat(&q)
	})
}

func (q *chatRequest) parse(b []byte) error {
	s := scan.New(b)
	if s.Peek() != '{' {
		return scan.ErrSyntax
	}
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "model":
			q.model, err = readText(s, "model")
		case "messages":
			err = q.parseMessages(s, b)
		case "stream":
			q.stream, err = readBool(s, "stream")
		case "stream_options":
			err = q.parseOptions(s)
		case "max_tokens", "max_completion_tokens":
			q.limit, err = readInt(s, string(key), 1, 1<<31-1)
		case "n":
			q.n, err = readInt(s, "n", 1, maxChoices)
			q.n = max(q.n, 1)
		case "store":
			q.store, err = readBool(s, "store")
		case "service_tier":
			q.tier, err = readText(s, "service_tier")
		case "reasoning_effort":
			q.effort, err = readText(s, "reasoning_effort")
		case "metadata":
			q.metadata, err = s.Raw()
		case "tools", "functions":
			var raw []byte
			raw, err = s.Raw()
			if !scan.IsNull(raw) {
				q.prompt += prose.Tokens(raw)
				q.seed = prose.Hash(q.seed, raw)
			}
		case "response_format":
			var raw []byte
			raw, err = s.Raw()
			q.json = wantsJSON(raw)
		default:
			_, err = s.Raw()
		}
		return err
	})
	if err == nil {
		err = s.End()
	}
	switch {
	case err != nil:
		return err
	case q.model == "":
		return missing("model")
	case q.rawMessages == nil:
		return missing("messages")
	case q.messages == 0:
		return &apiError{status: 400, code: "empty_array", param: "messages", message: "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."}
	case q.options && !q.stream:
		return &apiError{status: 400, param: "stream_options", message: "The 'stream_options' parameter is only allowed when 'stream' is enabled."}
	}
	if _, ok := efforts[q.effort]; !ok {
		return invalid("reasoning_effort", "%q is no effort the mock knows.", q.effort)
	}
	q.prompt += 3*q.messages + 3
	return nil
}

func (q *chatRequest) parseOptions(s *scan.Scanner) error {
	if s.Peek() != '{' {
		raw, err := s.Raw()
		if err == nil && !scan.IsNull(raw) {
			err = invalidType("stream_options", "an object")
		}
		return err
	}
	q.options = true
	return s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "include_usage":
			q.usage, err = readBool(s, "stream_options.include_usage")
		case "include_obfuscation":
			q.obfuscate, err = readBool(s, "stream_options.include_obfuscation")
		default:
			_, err = s.Raw()
		}
		return err
	})
}

func (q *chatRequest) parseMessages(s *scan.Scanner, b []byte) error {
	if s.Peek() != '[' {
		raw, err := s.Raw()
		if err == nil && !scan.IsNull(raw) {
			err = invalidType("messages", "an array of objects")
		}
		return err
	}
	s.Peek()
	start := s.Pos()
	q.messages = 0
	err := s.Array(func() error {
		if s.Peek() != '{' {
			if _, err := s.Raw(); err != nil {
				return err
			}
			return invalidType("messages["+strconv.Itoa(q.messages)+"]", "an object")
		}
		role := false
		err := s.Object(func(key []byte) error {
			switch string(key) {
			case "role":
				role = true
				return q.count(s, 0)
			case "content", "tool_calls":
				return q.content(s)
			case "name", "refusal":
				return q.count(s, 1)
			}
			_, err := s.Raw()
			return err
		})
		if err == nil && !role {
			return missing("messages[" + strconv.Itoa(q.messages) + "].role")
		}
		q.messages++
		return err
	})
	q.rawMessages = b[start:s.Pos()]
	return err
}

// count folds the text that comes next into the seed and counts each of its tokens by weight times; other values are passed over.
func (q *chatRequest) count(s *scan.Scanner, weight int) error {
	raw, err := s.Raw()
	if err != nil || raw[0] != '"' {
		return err
	}
	var t []byte
	t, q.scratch = scan.Unquote(raw, q.scratch)
	q.seed = prose.Hash(q.seed, t)
	q.prompt += weight * prose.Tokens(t)
	return nil
}

// content reads a message's content: a string, or an array of parts, each with its text or what else it brings. Calls of tools
// have the same form, as far as counting goes.
func (q *chatRequest) content(s *scan.Scanner) error {
	switch s.Peek() {
	case '[':
		return s.Array(func() error { return q.content(s) })
	case '{':
		return s.Object(func(key []byte) error {
			switch string(key) {
			case "text", "refusal", "arguments", "name":
				return q.count(s, 1)
			case "function":
				return q.content(s)
			case "image_url", "file":
				q.prompt += 85
				raw, err := s.Raw()
				q.seed = prose.Hash(q.seed, raw)
				q.noteFile(raw)
				return err
			case "input_audio":
				raw, err := s.Raw()
				q.seed = prose.Hash(q.seed, raw)
				n := media.SoundTokens(len(raw) * 3 / 4)
				q.audio += n
				q.prompt += n
				return err
			}
			_, err := s.Raw()
			return err
		})
	}
	return q.count(s, 1)
}

// noteFile remembers the id of an uploaded file that a content part names.
func (q *chatRequest) noteFile(raw []byte) {
	if !bytes.Contains(raw, []byte(`"file_id"`)) {
		return
	}
	var part struct {
		FileID string `json:"file_id"`
	}
	if json.Unmarshal(raw, &part) == nil && part.FileID != "" {
		q.fileIDs = append(q.fileIDs, part.FileID)
	}
}

// readText, readBool and readInt return what the parameter param holds; null is the zero value.

func readText(s *scan.Scanner, param string) (string, error) {
	raw, err := s.Raw()
	if err != nil || scan.IsNull(raw) {
		return "", err
	}
	if raw[0] != '"' {
		return "", invalidType(param, "a string")
	}
	t, _ := scan.Unquote(raw, nil)
	return string(t), nil
}

func readBool(s *scan.Scanner, param string) (bool, error) {
	raw, err := s.Raw()
	if err != nil || scan.IsNull(raw) {
		return false, err
	}
	if raw[0] != 't' && raw[0] != 'f' {
		return false, invalidType(param, "a boolean")
	}
	return raw[0] == 't', nil
}

// readInt reads a whole number from low to high; null is 0.
func readInt(s *scan.Scanner, param string, low, high int) (int, error) {
	raw, err := s.Raw()
	if err != nil || scan.IsNull(raw) {
		return 0, err
	}
	n, convErr := strconv.Atoi(string(raw))
	if convErr != nil {
		return 0, invalidType(param, "an integer")
	}
	if n < low || n > high {
		return 0, invalid(param, "must be an integer from %d to %d.", low, high)
	}
	return n, nil
}

func invalidType(param, want string) *apiError {
	return &apiError{status: 400, code: "invalid_type", param: param, message: "Invalid type for '" + param + "': expected " + want + "."}
}
