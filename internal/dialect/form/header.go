package form

import (
	"bytes"
	"mime"
	"strings"
)

// disposition is what a part's header says.
type disposition struct {
	name    string
	file    bool // it has a file name
	encoded bool // its bytes are not its text: it has a transfer encoding or another charset than UTF-8
}

// parseHeader reads the header of a part, without its blank line.
func parseHeader(b []byte) (disposition, error) {
	var d disposition
	seen := false
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		if bytes.ContainsFunc(line, isControl) {
			return d, malformed("a part's header has a control character")
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(key) { // a folded line begins with a space, which is no token
			return d, malformed("a line of a part's header is not of the form 'name: value'")
		}
		text := strings.Trim(string(value), " \t")
		switch strings.ToLower(string(key)) {
		case "content-disposition":
			if seen {
				return d, malformed("a part has two Content-Disposition lines")
			}
			seen = true
			if err := d.parse(text); err != nil {
				return d, err
			}
		case "content-transfer-encoding":
			switch strings.ToLower(text) {
			case "7bit", "8bit", "binary":
			default:
				d.encoded = true
			}
		case "content-type":
			_, params, err := mime.ParseMediaType(text)
			charset := strings.ToLower(params["charset"])
			d.encoded = d.encoded || err != nil || charset != "" && charset != "utf-8" && charset != "us-ascii"
		}
	}
	if !seen {
		return d, malformed("a part has no Content-Disposition")
	}
	return d, nil
}

// parse reads a Content-Disposition: form-data; name="model"; filename="a.png". A value may be a token or a quoted string. Only
// a file name may have escapes or be encoded (filename*): what a name would then be depends on the reader.
func (d *disposition) parse(text string) error {
	kind, rest, _ := strings.Cut(text, ";")
	if !strings.EqualFold(strings.Trim(kind, " \t"), "form-data") {
		return malformed("a part's Content-Disposition is not form-data")
	}
	named := false
	for rest = strings.Trim(rest, " \t"); rest != ""; {
		key, after, ok := strings.Cut(rest, "=")
		if !ok || !isToken([]byte(key)) {
			return malformed("a part's Content-Disposition is malformed")
		}
		value, raw, tail, ok := cutValue(after)
		if !ok {
			return malformed("a part's Content-Disposition is malformed")
		}
		key = strings.ToLower(key)
		base, _, starred := strings.Cut(key, "*")
		switch {
		case base == "name" && (starred || named):
			return malformed("a part's name must be given once, as name")
		case base == "name" && strings.Contains(raw, `\`):
			return malformed("a part's name has escapes")
		case base == "name":
			d.name, named = value, true
		case base == "filename":
			d.file = true
		}
		// A reader that takes no backslash for an escape ends the string earlier and goes on to read parameters.
		if strings.Contains(raw, `\"`) && strings.Contains(strings.ToLower(raw), "name") {
			return malformed("a part's Content-Disposition can be read in two ways")
		}
		rest = tail
	}
	if !named {
		return malformed("a part has no name")
	}
	return nil
}

// cutValue cuts the value of a parameter, a token or a quoted string, and what separates it from the next.
func cutValue(text string) (value, raw, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		raw, rest, _ = strings.Cut(text, ";")
		raw = strings.TrimRight(raw, " \t")
		return raw, raw, strings.Trim(rest, " \t"), isToken([]byte(raw))
	}
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i == len(text) {
				return "", "", "", false
			}
			out.WriteByte(text[i])
		case '"':
			raw = text[1:i]
			rest = strings.TrimLeft(text[i+1:], " \t")
			if rest != "" && rest[0] != ';' {
				return "", "", "", false
			}
			return out.String(), raw, strings.Trim(strings.TrimPrefix(rest, ";"), " \t"), true
		default:
			out.WriteByte(text[i])
		}
	}
	return "", "", "", false
}

// isControl reports the characters that may not be in a header line; tab may.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

// isToken reports whether b is a token of RFC 9110 section 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return len(b) > 0
}
