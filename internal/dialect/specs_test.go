package dialect

import (
	"testing"

	"gatehouse/internal/dialect/strictjson"
)

// TestEverySpecCompiles: an automaton is built when a body is first read, and must not be what fails then.
func TestEverySpecCompiles(t *testing.T) {
	read := 0
	for _, op := range ops {
		if op.Spec == nil {
			continue
		}
		read++
		if err := strictjson.Scan([]byte(`{}`), op.Spec, new(strictjson.Result)); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	if read < 50 {
		t.Errorf("%d operations read a body", read)
	}
}
