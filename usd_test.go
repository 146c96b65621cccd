package gatehouse_test

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"gatehouse"
)

func TestUSD(t *testing.T) {
	for text, want := range map[string]gatehouse.USD{"0": 0, "150": 150e9, "99.99": 99_990_000_000, "0.000000001": 1, "007.5": 7_500_000_000, "-0.5": -500_000_000,
		"1000000000": gatehouse.MaxUSD, "9223372036.854775807": 1<<63 - 1} {
		if got, err := gatehouse.ParseUSD(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "1e3", "1E3", "+1", "--1", "1,5", " 1", "1 ", "0x10", "1_000", "NaN", "1.0000000001", "9223372036.854775808", "99999999999", "$5", "٣"} {
		if got, err := gatehouse.ParseUSD(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
	for want, u := range map[string]gatehouse.USD{"0.00": 0, "0.10": 1e8, "150.00": 150e9, "0.000000001": 1, "-1.50": -1.5e9, "-9223372036.854775808": -1 << 63} {
		if got := u.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	// 0.1 + 0.2 as a binary fraction is not 0.3: a number is read from its digits.
	var v struct{ A, B gatehouse.USD }
	if err := json.Unmarshal([]byte(`{"A":0.3,"B":"0.3"}`), &v); err != nil || v.A != 300_000_000 || v.A != v.B {
		t.Errorf("from JSON: %+v, %v", v, err)
	}
	v.A, v.B = 0, 0
	if err := yaml.Unmarshal([]byte("a: 0.3\nb: \"0.3\"\n"), &v); err != nil || v.A != 300_000_000 || v.A != v.B {
		t.Errorf("from YAML: %+v, %v", v, err)
	}
	for _, text := range []string{`{"A":1e2}`, `{"A":true}`, `{"A":[1]}`, `{"A":"x"}`} {
		if err := json.Unmarshal([]byte(text), &v); err == nil {
			t.Errorf("%s was read as %s", text, v.A)
		}
	}
}

// TestUSDRoundTrip holds writing and reading to each other for every amount.
func TestUSDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := gatehouse.USD(rapid.Int64Range(-1<<63+1, 1<<63-1).Draw(t, "nano"))
		if got, err := gatehouse.ParseUSD(want.String()); err != nil || got != want {
			t.Fatalf("%d is written %s and read %d, %v", want, want, got, err)
		}
	})
}
