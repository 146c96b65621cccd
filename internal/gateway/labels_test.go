package gateway

import (
	"fmt"
	"testing"

	"gatehouse"
)

// TestLabelsAreBounded gives a label more values than it may have, on one day and on the next.
func TestLabelsAreBounded(t *testing.T) {
	var v labelValues
	const day = 20_000 * 86_400_000
	for i := range gatehouse.MaxLabelValues + 10 {
		want := fmt.Sprint(i)
		if i >= gatehouse.MaxLabelValues {
			want = gatehouse.LabelOther
		}
		if got := v.keep("org-1", "run", fmt.Sprint(i), day); got != want {
			t.Fatalf("value %d is kept as %q, want %q", i, got, want)
		}
	}
	for _, c := range []struct {
		organization, name, value string
		at                        gatehouse.Millis
		want                      string
	}{
		{"org-1", "run", "7", day, "7"}, {"org-1", "team", "new", day, "new"}, {"org-2", "run", "new", day, "new"},
		{"org-1", "run", "new", day - 1, gatehouse.LabelOther}, {"org-1", "run", "new", day + 86_400_000, "new"},
	} {
		if got := v.keep(c.organization, c.name, c.value, c.at); got != c.want {
			t.Errorf("%+v is kept as %q", c, got)
		}
	}
}
