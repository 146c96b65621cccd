package authn_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse/internal/authn"
)

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		scopes string
		need   string
		want   bool
	}{
		{"", "model.request", true},
		{"", "api.files.write", true},
		{"", "", true},
		{"model.request", "model.request", true},
		{"api.model.request", "model.request", true},
		{"model.request", "api.model.request", true},
		{"model.request", "api.files.read", false},
		{"model.request", "", false},
		{"api.all.read", "", false},
		{"api.all.read", "api.files.read", true},
		{"api.all.read", "api.management.read", true},
		{"api.all.read", "api.files.write", false},
		{"api.all.read", "model.request", false},
		{"api.all.read", "api.all.read", true},
		{"api.all.read", "api.all.write", false},
		{"api.files.read", "api.files.read", true},
		{"api.files.read", "api.files.write", false},
		{"api.files.write", "api.files.read", true},
		{"api.files.write", "api.file.read", false},
		{"api.files.write", "api.files.content.read", false},
		{"api.vector_stores.write", "api.files.read", false},
		{"api.files.read api.responses.write", "api.responses.read", true},
		{"api.files.read api.responses.write", "api.responses.write", true},
		{"api.files.read api.responses.write", "model.request", false},
		{"API.FILES.READ", "api.files.read", false},
		{"api.files", "api.files.read", false},
		{"api.*.read", "api.files.read", false},
		{"*", "model.request", false},
		{".read", "api.files.read", false},
		{"read", "api.files.read", false},
	} {
		if got := authn.Allowed(strings.Fields(c.scopes), c.need); got != c.want {
			t.Errorf("scopes [%s], need %q: %v, want %v", c.scopes, c.need, got, c.want)
		}
	}
	// A list with one empty entry restricts: it is not the empty list.
	if authn.Allowed([]string{""}, "model.request") || authn.Allowed([]string{""}, "") {
		t.Error("an empty scope granted something")
	}
}

// More scopes never allow less, the order of scopes never matters, and a read-only key never gets more than reading.
func TestAllowedIsMonotone(t *testing.T) {
	scope := rapid.SampledFrom([]string{"model.request", "api.model.request", "api.all.read", "api.files.read", "api.files.write", "api.responses.write", "api.management.read", "x", ""})
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(scope, 1, 5).Draw(t, "some")
		more := append(slices.Clone(some), rapid.SliceOfN(scope, 0, 3).Draw(t, "more")...)
		need := scope.Draw(t, "need")
		if authn.Allowed(some, need) && !authn.Allowed(more, need) {
			t.Fatalf("%q allow %q, %q do not", some, need, more)
		}
		reversed := slices.Clone(some)
		slices.Reverse(reversed)
		if authn.Allowed(some, need) != authn.Allowed(reversed, need) {
			t.Fatalf("%q and %q differ on %q", some, reversed, need)
		}
		if authn.Allowed([]string{"api.all.read"}, need) && !strings.HasSuffix(need, ".read") {
			t.Fatalf("api.all.read allows %q", need)
		}
	})
}

func TestAllowedDoesNotAllocate(t *testing.T) {
	scopes := []string{"api.files.write", "api.all.read", "model.request"}
	if n := testing.AllocsPerRun(1000, func() { authn.Allowed(scopes, "model.request"); authn.Allowed(scopes, "api.files.read") }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
