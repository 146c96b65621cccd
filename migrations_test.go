package gatehouse_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMigrations are numbered one after another, each number once: two that were written at the same time would leave no way to
// open a database.
func TestMigrations(t *testing.T) {
	files, err := os.ReadDir("internal/store/migrations")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(f.Name(), want) {
			t.Errorf("%s: its name must begin with %s", f.Name(), want)
		}
	}
}
