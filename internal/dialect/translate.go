package dialect

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxErrorBody is the longest error body that is read; a longer one is no error of either vendor's.
const maxErrorBody = 1 << 20

// TranslateError returns an upstream's error body, of the wire from, as a client of the face to can read it. Between faces of one
// wire a body with an object `error` is returned as it is, byte for byte. Otherwise message, param and everything neither wire
// knows (innererror above all, the verdicts of Azure's content filter) are kept as they stand, and code and type become the
// other wire's word where it has one. What has no object `error` (a bare string, Azure's flat form, a page of a proxy) gets one:
// SDKs decode nothing else.
func TranslateError(from, to Face, status int, body []byte) []byte {
	members := envelope(body)
	if members == nil {
		members = wrapped(status, body)
	} else if from.IsAzure() == to.IsAzure() {
		return body
	}
	code := textOf(members["code"])
	typ := textOf(members["type"])
	if to.IsAzure() {
		members["code"] = quote(codeForAzure(status, code))
	} else {
		members["type"] = quote(typeForOpenAI(status, typ, textOf(members["message"])))
		if code = codeForOpenAI(status, code); code != "" {
			members["code"] = quote(code)
		} else {
			members["code"] = json.RawMessage("null")
		}
		if members["param"] == nil {
			members["param"] = json.RawMessage("null")
		}
	}
	if raw := members["message"]; len(raw) == 0 || raw[0] != '"' || textOf(raw) == "" {
		said := plain(raw)
		if said == "null" || said == `""` {
			said = ""
		}
		members["message"] = quote(upstreamSaid(status, said))
	}
	order := []string{"message", "type", "param", "code"}
	if to.IsAzure() {
		order = []string{"code", "message", "type", "param"}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	out := []byte(`{"error":{`)
	for i, name := range order {
		if members[name] == nil {
			continue
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		out = append(out, members[name]...)
	}
	return append(out, `}}`...)
}

// HasErrorObject reports whether a body is JSON whose `error` is an object, which is what SDKs of both wires decode.
func HasErrorObject(body []byte) bool { return envelope(body) != nil }

// envelope returns the members of a body's object `error`, nil when it has none.
func envelope(body []byte) map[string]json.RawMessage {
	var outer map[string]json.RawMessage
	var members map[string]json.RawMessage
	if len(body) > maxErrorBody || json.Unmarshal(body, &outer) != nil || json.Unmarshal(outer["error"], &members) != nil {
		return nil
	}
	return members
}

// wrapped makes the members of an error out of whatever else a server answered with.
func wrapped(status int, body []byte) map[string]json.RawMessage {
	members := map[string]json.RawMessage{}
	var flat map[string]json.RawMessage
	if len(body) > maxErrorBody || json.Unmarshal(body, &flat) != nil {
		members["message"] = quote(upstreamSaid(status, plain(body)))
		return members
	}
	// A bare string; Azure's flat form and vLLM's old one; FastAPI's; OAuth's.
	for _, name := range []string{"error", "message", "detail", "error_description"} {
		if s := textOf(flat[name]); s != "" {
			members["message"] = quote(s)
			break
		}
	}
	for _, name := range []string{"code", "type", "param", "innererror"} {
		if v := flat[name]; v != nil {
			members[name] = v
		}
	}
	return members
}

// plain returns a body as a short line of text, "" when it is a page or not text.
func plain(body []byte) string {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] == '<' || len(body) > 500 || !utf8.Valid(body) {
		return ""
	}
	return strings.Join(strings.Fields(string(body)), " ")
}

func upstreamSaid(status int, said string) string {
	if said != "" {
		return said
	}
	return "The upstream answered with status " + strconv.Itoa(status) + " and no error that can be read. Try again, and if it persists give the administrator of this gateway the x-request-id of this answer."
}

// codeForAzure returns OpenAI's code, or the status where there is none, in Azure's words.
func codeForAzure(status int, code string) string {
	if word := azureCode(status, code); word != "" {
		return word
	}
	switch {
	case code == "rate_limit_exceeded":
		return "429"
	case code != "":
		return code
	}
	for _, l := range looks {
		if l.status == status {
			return l.azure
		}
	}
	return strconv.Itoa(status)
}

// codeForOpenAI returns Azure's code in OpenAI's words, "" for null: a code that only repeats the status says nothing.
func codeForOpenAI(status int, code string) string {
	switch {
	case code == "DeploymentNotFound":
		return "model_not_found"
	case status == 429 && (code == "429" || code == "RateLimitReached" || code == "too_many_requests"):
		return "rate_limit_exceeded"
	case code == strconv.Itoa(status):
		return ""
	}
	return code
}

func typeForOpenAI(status int, typ, message string) string {
	if typ != "" {
		return typ
	}
	if status == 429 && strings.Contains(message, "token rate limit") {
		return "tokens"
	}
	for _, l := range looks {
		if l.status == status {
			return l.kind
		}
	}
	if status >= 500 {
		return "server_error"
	}
	return "invalid_request_error"
}

// textOf returns a JSON string's or number's text, "" for everything else.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

func quote(s string) json.RawMessage { return appendString(nil, s) }
