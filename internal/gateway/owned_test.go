package gateway

import (
	"testing"

	"gatehouse/internal/dialect"
)

// TestOwnedCostsNothing for a call that names no object, which most are.
func TestOwnedCostsNothing(t *testing.T) {
	call, err := dialect.Parse("POST", "/v1/chat/completions", "")
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{}
	x.call, x.model = call, "gpt-4o"
	if n := testing.AllocsPerRun(100, func() {
		if o, err := x.owned(); err != nil || o != (ownership{}) {
			t.Fatal(o, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
