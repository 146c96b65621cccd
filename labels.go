package gatehouse

import (
	"slices"
	"strings"
)

// LabelHeader begins the name of a header by which a caller labels the usage of its request: X-Gatehouse-Label-Team: search. Only
// labels whose names its organization or project allows are looked at, none is forwarded, and none moves a budget or a limit.
const LabelHeader = "X-Gatehouse-Label-"

// The values that a header's label has when its own cannot be kept.
const (
	LabelInvalid = "(invalid)" // longer than MaxLabelValue, or with characters that a value may not have
	LabelOther   = "(other)"   // one too many: a node keeps MaxLabelValues different ones of a name and day
)

// Bounds of labels by header.
const (
	MaxHeaderLabels = 8    // names that an organization, or a project, may allow
	MaxLabelValue   = 64   // bytes of a value
	MaxLabelValues  = 1000 // different values of a name, in an organization, on a node, in a day
)

// CheckHeaderLabels returns an Invalid error unless names are at most MaxHeaderLabels different names of 1 to 40 characters a-z, 0-9, '_'
// and '-'.
func CheckHeaderLabels(names []string) error {
	if len(names) > MaxHeaderLabels {
		return InvalidParam("header_labels", "Invalid 'header_labels': at most %d names are allowed.", MaxHeaderLabels)
	}
	for i, name := range names {
		if name == "" || len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return InvalidParam("header_labels", "Invalid 'header_labels': the name %q must be 1 to 40 characters of a-z, 0-9, '_' and '-'.", name)
		}
		if slices.Contains(names[:i], name) {
			return InvalidParam("header_labels", "Invalid 'header_labels': %q is there twice.", name)
		}
	}
	return nil
}

// LabelValue returns a header's value as it is kept: itself, or LabelInvalid. A value has letters, digits, spaces and ._:/@+- only.
func LabelValue(value string) string {
	value = strings.TrimSpace(value)
	if len(value) > MaxLabelValue {
		return LabelInvalid
	}
	for i := range len(value) {
		c := value[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(" ._:/@+-", c) < 0 {
			return LabelInvalid
		}
	}
	return value
}

// AppendLabel appends a label to the text that Usage.Labels is: "name=value", separated by commas, in the order of names. Names come
// in that order.
func AppendLabel(labels []byte, name, value string) []byte {
	if len(labels) > 0 {
		labels = append(labels, ',')
	}
	return append(append(append(labels, name...), '='), value...)
}

// CutLabel returns the value of a label in such a text.
func CutLabel(labels, name string) (value string, ok bool) {
	for labels != "" {
		var one string
		one, labels, _ = strings.Cut(labels, ",")
		if n, v, _ := strings.Cut(one, "="); n == name {
			return v, true
		}
	}
	return "", false
}
