package gatehouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// USD is an amount of money as people and interfaces write it: a decimal number of US dollars with at most nine places, exactly.
// It is written as text ("0.10"), because many readers of JSON take a number for a binary fraction, and read as text or as a number.
type USD NanoUSD

// MaxUSD is the largest amount that may be set: a thousand million dollars. Nine of them still fit into a NanoUSD.
const MaxUSD = USD(1_000_000_000) * nanosPerUSD

const nanosPerUSD = 1_000_000_000

// Cents is a hundredth of a dollar.
const Cents NanoUSD = nanosPerUSD / 100

// ParseUSD reads a plain decimal number of dollars: digits, and behind a point at most nine more. A sign is read where it is a minus.
// Anything else, an exponent too, is an error, because what is not read exactly would be charged wrongly.
func ParseUSD(text string) (USD, error) {
	bad := fmt.Errorf("%q is not an amount of US dollars such as 150 or 99.99 (at most nine decimal places)", text)
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || len(whole) > 10 || point && fraction == "" || len(fraction) > 9 || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole+fraction+"000000000"[len(fraction):], 10, 64)
	if err != nil || n > math.MaxInt64 {
		return 0, bad
	}
	if negative {
		return -USD(n), nil
	}
	return USD(n), nil
}

// String returns the amount with two decimal places, and more where it has them.
func (u USD) String() string {
	sign, n := "", uint64(u)
	if u < 0 {
		sign, n = "-", -n
	}
	fraction := fmt.Sprintf("%09d", n%nanosPerUSD)
	fraction = fraction[:2] + strings.TrimRight(fraction[2:], "0")
	return sign + strconv.FormatUint(n/nanosPerUSD, 10) + "." + fraction
}

// MarshalJSON writes the amount as text.
func (u USD) MarshalJSON() ([]byte, error) { return []byte(`"` + u.String() + `"`), nil }

// UnmarshalJSON reads the amount from text or a number, exactly. null leaves it as it is.
func (u *USD) UnmarshalJSON(raw []byte) (err error) {
	text := string(raw)
	switch {
	case text == "null":
		return nil
	case bytes.HasPrefix(raw, []byte(`"`)):
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
	}
	*u, err = ParseUSD(text)
	return err
}

// MarshalYAML writes the amount as text.
func (u USD) MarshalYAML() ([]byte, error) { return u.MarshalJSON() }

// UnmarshalYAML reads the amount from a scalar as it stands in the file, before anything takes it for a binary fraction.
func (u *USD) UnmarshalYAML(raw []byte) (err error) {
	*u, err = ParseUSD(strings.Trim(string(bytes.TrimSpace(raw)), `"'`))
	return err
}
