package gatehouse

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName returns an Invalid error about param unless name is 1 to 255 characters of printable text without bidirectional,
// zero-width or control characters and without space at either end.
func CheckName(param, name string) error {
	switch {
	case name == "":
		return &Error{Kind: Invalid, Code: "missing_required_parameter", Param: param, Message: "Missing required parameter: '" + param + "'."}
	case !utf8.ValidString(name):
		return InvalidParam(param, "Invalid '%s': not valid UTF-8.", param)
	case utf8.RuneCountInString(name) > 255:
		return InvalidParam(param, "Invalid '%s': at most 255 characters are allowed.", param)
	case strings.TrimSpace(name) != name:
		return InvalidParam(param, "Invalid '%s': remove the white space at its beginning or end.", param)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return InvalidParam(param, "Invalid '%s': character U+%04X is not allowed in a name.", param, r)
		}
	}
	return nil
}

// CheckLabels returns an Invalid error unless there are at most 32 labels, with keys of 1 to 63 characters from [a-z0-9_.-] and
// values of at most 255 characters.
func CheckLabels(labels map[string]string) error {
	if len(labels) > 32 {
		return InvalidParam("labels", "Invalid 'labels': at most 32 labels are allowed.")
	}
	for k, v := range labels {
		if k == "" || len(k) > 63 || strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			return InvalidParam("labels", "Invalid 'labels': the key %q must be 1 to 63 characters of a-z, 0-9, '_', '.' and '-'.", k)
		}
		if v == "" {
			continue
		}
		if err := CheckName("labels", v); err != nil {
			return InvalidParam("labels", "Invalid 'labels': the value of %q must be at most 255 printable characters.", k)
		}
	}
	return nil
}
