package admin

import (
	"net/netip"
	"slices"
	"testing"

	"gatehouse"
)

func TestNarrowed(t *testing.T) {
	for _, test := range []struct{ have, want, both []string }{
		{nil, nil, nil},
		{nil, []string{"a"}, []string{"a"}},
		{[]string{"a"}, nil, []string{"a"}},
		{[]string{"a", "b"}, []string{"b", "c"}, []string{"b"}},
		{[]string{"a"}, []string{"a", "b"}, []string{"a"}},
		{[]string{"a"}, []string{"b"}, []string{"b"}}, // an empty list would allow everything
	} {
		if got := narrowed(test.have, test.want, equal); !slices.Equal(got, test.both) {
			t.Errorf("narrowed(%v, %v) = %v, want %v", test.have, test.want, got, test.both)
		}
	}
	ips := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	have, want := ips("10.0.0.0/8", "192.0.2.1/32"), ips("10.1.0.0/16", "192.0.2.0/24", "203.0.113.0/24")
	if got, both := narrowed(have, want, within), ips("10.1.0.0/16", "192.0.2.1/32"); !slices.Equal(got, both) {
		t.Errorf("narrowed(%v, %v) = %v, want %v", have, want, got, both)
	}
}

// TestRanks proves that every role has a place in the order by what it allows.
func TestRanks(t *testing.T) {
	for _, r := range []gatehouse.Role{gatehouse.RoleOwner, gatehouse.RoleReader, gatehouse.RoleMember, gatehouse.RoleViewer, gatehouse.RoleNone} {
		if rank(r) < 0 {
			t.Errorf("role %s has no rank", r)
		}
	}
}
