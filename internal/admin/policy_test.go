package admin

import (
	"slices"
	"testing"

	"gatehouse"
)

// TestNarrowedPolicyAllowsWhatBothDo: whatever two policies say, a model or a tool is allowed by what is made of them exactly when both
// allow it.
func TestNarrowedPolicyAllowsWhatBothDo(t *testing.T) {
	lists := []gatehouse.ModelPermissions{{}}
	for _, mode := range []gatehouse.ModelMode{gatehouse.AllowList, gatehouse.DenyList} {
		for _, names := range [][]string{nil, {"a"}, {"a", "b"}, {"b", "c"}} {
			lists = append(lists, gatehouse.ModelPermissions{Mode: mode, Models: names})
		}
	}
	for _, p := range lists {
		for _, q := range lists {
			before := slices.Clone(p.Models)
			got := narrowedPolicy(gatehouse.ProjectPolicy{Models: p, DeniedTools: gatehouse.ToolMCP}, gatehouse.ProjectPolicy{Models: q, DeniedTools: gatehouse.ToolWebSearch})
			for _, m := range []string{"a", "b", "c", "d"} {
				if want := p.Allows(m) && q.Allows(m); got.Models.Allows(m) != want {
					t.Errorf("%v and %v make %v, which allows %s: %v, want %v", p, q, got.Models, m, !want, want)
				}
			}
			if got.DeniedTools != gatehouse.ToolMCP|gatehouse.ToolWebSearch {
				t.Errorf("denied tools: %v", got.DeniedTools)
			}
			if !slices.Equal(before, p.Models) {
				t.Errorf("%v was changed", p)
			}
		}
	}
	zero := gatehouse.ProjectPolicy{DataRetention: gatehouse.ZeroDataRetention}
	for _, p := range []gatehouse.ProjectPolicy{zero, {}, {DataRetention: gatehouse.NoControls}} {
		if got := narrowedPolicy(p, zero); got.DataRetention.KeepsCallers() {
			t.Errorf("%v and zero data retention keep callers", p)
		}
	}
	if got := narrowedPolicy(zero, gatehouse.ProjectPolicy{DataRetention: gatehouse.NoControls}); got.DataRetention.KeepsCallers() {
		t.Error("a later permission widened what the backup had")
	}
}
