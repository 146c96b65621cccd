package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret string. However it is formatted, encoded or logged, as itself or inside another value, it shows as
// [redacted]; where a formatter cannot be told so, as for an unexported field, it shows as an address. Only Reveal gives the
// string. It cannot be compared with == and cannot be decoded into: read a string and call NewText. The zero Text is empty.
type Text struct {
	// A function, because reflection reads strings and follows pointers but cannot call what it finds in an unexported field.
	reveal func() string
}

// NewText returns s as a secret.
func NewText(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{reveal: func() string { return s }}
}

// Reveal returns the secret. Call it only where the secret crosses the wire or enters a cipher.
func (t Text) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.reveal == nil }

// Format writes [redacted] whatever the verb.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(redacted)) // fmt.State has no way to report a failed write
}

// String returns [redacted].
func (t Text) String() string { return redacted }

// GoString returns [redacted].
func (t Text) GoString() string { return redacted }

// LogValue returns [redacted].
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns [redacted].
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]".
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalBinary returns [redacted].
func (t Text) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// GobEncode returns [redacted].
func (t Text) GobEncode() ([]byte, error) { return []byte(redacted), nil }
