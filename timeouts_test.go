package gatehouse_test

import (
	"strings"
	"testing"

	"gatehouse"
)

func TestTimeouts(t *testing.T) {
	spec := gatehouse.TimeoutSpec{Connect: "5s", FirstByte: "1500ms", Idle: "2m", Total: "24h"}
	got, err := spec.Timeouts()
	want := gatehouse.Timeouts{ConnectMillis: 5000, FirstByteMillis: 1500, IdleMillis: 120_000, TotalMillis: 86_400_000}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if back := got.Spec(); back != (gatehouse.TimeoutSpec{Connect: "5s", FirstByte: "1.5s", Idle: "2m", Total: "24h"}) {
		t.Errorf("written down: %+v", back)
	}
	if got := (gatehouse.Timeouts{IdleMillis: 1}).Or(want); got != (gatehouse.Timeouts{ConnectMillis: 5000, FirstByteMillis: 1500, IdleMillis: 1, TotalMillis: 86_400_000}) {
		t.Errorf("merged: %+v", got)
	}
	for _, bad := range []string{"30", "-1s", "0s", "9ms", "25h", "soon"} {
		_, err := (gatehouse.TimeoutSpec{FirstByte: bad}).Timeouts()
		if gatehouse.KindOf(err) != gatehouse.Invalid || !strings.Contains(err.Error(), "timeouts.first_byte") || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
