package gatehouse_test

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse"
)

// TestUnitsAdd holds Add to every field there is, so that a new unit cannot be forgotten in sums.
func TestUnitsAdd(t *testing.T) {
	var a, b gatehouse.Units
	va, vb := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem()
	for i := range va.NumField() {
		va.Field(i).SetInt(int64(i + 1))
		vb.Field(i).SetInt(1000)
	}
	a.Add(b)
	for i := range va.NumField() {
		if got, want := va.Field(i).Int(), int64(i+1001); got != want {
			t.Errorf("%s: got %d, want %d", va.Type().Field(i).Name, got, want)
		}
	}
}

func TestKeyState(t *testing.T) {
	for _, tt := range []struct {
		key  gatehouse.Key
		now  gatehouse.Millis
		want gatehouse.State
	}{
		{gatehouse.Key{}, 1000, gatehouse.Active},
		{gatehouse.Key{ExpiresAt: 1000}, 999, gatehouse.Active},
		{gatehouse.Key{ExpiresAt: 1000}, 1000, gatehouse.Expired},
		{gatehouse.Key{SuspendedAt: 1}, 1000, gatehouse.Suspended},
		{gatehouse.Key{SuspendedAt: 1, ExpiresAt: 500}, 1000, gatehouse.Expired},
		{gatehouse.Key{RevokedAt: 1, SuspendedAt: 1, ExpiresAt: 500}, 1000, gatehouse.Revoked},
	} {
		if got := tt.key.State(tt.now); got != tt.want {
			t.Errorf("%+v at %d: got %v, want %v", tt.key, tt.now, got, tt.want)
		}
	}
}

func TestIDs(t *testing.T) {
	form := regexp.MustCompile(`^proj_[0-9A-Za-z]{24}$`)
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for range 2000 {
		id := gatehouse.NewID(gatehouse.PrefixProject)
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		for _, r := range id[len("proj_"):] {
			letters[r] = true
		}
	}
	if len(letters) != len(gatehouse.Base62) {
		t.Errorf("%d letters are used, want %d", len(letters), len(gatehouse.Base62))
	}
}

// TestRequestIDs checks that request ids have OpenAI's form, differ, and sort by the time they were made.
func TestRequestIDs(t *testing.T) {
	form := regexp.MustCompile(`^req_[0-9a-f]{32}$`)
	var last string
	seen := map[string]bool{}
	for range 1000 {
		at := gatehouse.MillisOf(time.Now())
		id := gatehouse.NewRequestID(at)
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		if first := fmt.Sprintf("req_%012x", int64(at)); id[:16] != first || last != "" && id[:16] < last[:16] {
			t.Fatalf("id %q is older than %q or not of its moment", id, last)
		}
		last = id
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"checkout-prod": true, "Ägypten 7 🚀": true, strings.Repeat("a", 255): true,
		"": false, " a": false, "a ": false, "a\nb": false, "a\u202eb": false, "a\u200bb": false, "a\u2028b": false, "\xff": false, strings.Repeat("a", 256): false,
	} {
		err := gatehouse.CheckName("name", name)
		if (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %v", name, err, ok)
		}
		if e, is := errors.AsType[*gatehouse.Error](err); err != nil && (!is || e.Kind != gatehouse.Invalid || e.Param != "name") {
			t.Errorf("%q: got %#v", name, err)
		}
	}
	for key, ok := range map[string]bool{"env": true, "cost_center.eu-1": true, "": false, "Env": false, "a b": false, strings.Repeat("a", 64): false} {
		if err := gatehouse.CheckLabels(map[string]string{key: "v"}); (err == nil) != ok {
			t.Errorf("label %q: got %v, want ok %v", key, err, ok)
		}
	}
}

func TestKindOf(t *testing.T) {
	inner := gatehouse.Errorf(gatehouse.NotFound, "no such %s", "thing")
	if got := gatehouse.KindOf(fmt.Errorf("load: %w", inner)); got != gatehouse.NotFound {
		t.Errorf("wrapped: got %v", got)
	}
	if got := gatehouse.KindOf(errors.New("disk")); got != gatehouse.Internal {
		t.Errorf("unclassified: got %v", got)
	}
}
