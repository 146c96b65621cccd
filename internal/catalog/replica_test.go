package catalog

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"gatehouse"
)

func testKey(i int) *gatehouse.Key {
	return &gatehouse.Key{
		ID:           fmt.Sprintf("key_%011d", i),
		Class:        gatehouse.ClassProject,
		Organization: "org-1", Project: "proj_1", OwnerUser: "user-1",
		PepperVersion: 1,
		Rev:           1,
	}
}

func TestKeyIsWhatItsRowWas(t *testing.T) {
	r := newReplica()
	r.putOrganization(&gatehouse.Organization{ID: "org-1", Rev: 1})
	row := &gatehouse.Key{
		ID: "key_abcdefghijk", Class: gatehouse.ClassService, Organization: "org-1", Project: "proj_1", OwnerServiceAccount: "svc_acct_1",
		Scopes: []string{"model.request"}, Models: []string{"gpt-4o"}, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		ExpiresAt: 1000, Digest: [32]byte{1, 2, 3}, PepperVersion: 7, Rev: 3,
	}
	if got := r.putKey(row); got != added {
		t.Fatalf("putKey = %v, want added", got)
	}
	c := &Catalog{replica: r}
	k := c.Key("abcdefghijk")
	if k == nil {
		t.Fatal("the key is not found by its public id")
	}
	type view struct {
		id, public, org, project, user, account string
		class                                   gatehouse.Class
		digest                                  [32]byte
		version                                 int32
		rev                                     int64
		before, after                           gatehouse.State
	}
	got := view{k.ID(), k.PublicID(), k.Organization, k.Project, k.OwnerUser(), k.OwnerServiceAccount(), k.Class, k.Digest, k.PepperVersion, k.Rev, k.State(999), k.State(1000)}
	want := view{"key_abcdefghijk", "abcdefghijk", "org-1", "proj_1", "", "svc_acct_1", gatehouse.ClassService, [32]byte{1, 2, 3}, 7, 3, gatehouse.Active, gatehouse.Expired}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if k.Policy == nil || k.Policy.Scopes[0] != "model.request" || k.Policy.Models[0] != "gpt-4o" || k.Policy.AllowedIPs[0].String() != "10.0.0.0/8" {
		t.Errorf("policy = %+v", k.Policy)
	}
	row2 := *row
	row2.ID, row2.Rev = "key_bbbbbbbbbbb", 1
	r.putKey(&row2)
	if other := c.Key("bbbbbbbbbbb"); other.Policy != k.Policy {
		t.Error("keys with equal policies do not share one")
	}

	revoked := *row
	revoked.RevokedAt, revoked.Rev = 5, 4
	if got := r.putKey(&revoked); got != replaced {
		t.Fatalf("putKey of a newer row = %v, want replaced", got)
	}
	if k := c.Key("abcdefghijk"); k == nil || k.State(0) != gatehouse.Revoked {
		t.Errorf("a revoked key must stay known as revoked, got %+v", k)
	}
	for _, id := range []string{"", "abcdefghij", "abcdefghijkl", "key_abcdefghijk"} {
		if c.Key(id) != nil {
			t.Errorf("Key(%q) found something", id)
		}
	}
	for _, id := range []string{"abcdefghijk", "key_short", "key_muchtoolongforit"} {
		bad := *row
		bad.ID, bad.Rev = id, 99
		if got := r.putKey(&bad); got != ignored {
			t.Errorf("putKey(%q) = %v, want ignored", id, got)
		}
	}
}

func TestKeySize(t *testing.T) {
	if size := unsafe.Sizeof(Key{}); size > 128 {
		t.Errorf("a Key takes %d bytes, want at most 128", size)
	}
}

// TestPoliciesDiffer proves that a policy's fields cannot run into each other in the text they are shared by.
func TestPoliciesDiffer(t *testing.T) {
	r := newReplica()
	rows := []*gatehouse.Key{
		{Scopes: []string{"a", "b"}}, {Scopes: []string{"ab"}}, {Models: []string{"a", "b"}}, {Scopes: []string{"a"}, Models: []string{"b"}},
		{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, {Scopes: []string{"10.0.0.0/8"}},
	}
	seen := map[*Policy]int{}
	for i, row := range rows {
		p := r.policy(row)
		if j, ok := seen[p]; ok {
			t.Errorf("rows %d and %d share a policy", j, i)
		}
		seen[p] = i
	}
	if r.policy(&gatehouse.Key{}) != nil {
		t.Error("a key that nothing narrows has a policy")
	}
}

// TestK4 applies the rows of a history in any order, with repetition, each possibly through a load: what stands at the end, and
// at each moment, is never older than what stood before, and what is revoked or removed never comes back.
func TestK4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const revisions = 8
		end := rapid.IntRange(2, revisions).Draw(t, "revision of the end")
		key := func(rev int) *gatehouse.Key {
			k := testKey(1)
			k.Rev = int64(rev)
			if rev >= end {
				k.RevokedAt = 1
			}
			return k
		}
		removed := func(rev int) gatehouse.Millis {
			if rev >= end {
				return 1
			}
			return 0
		}
		r := newReplica()
		c := &Catalog{replica: r}
		highest := 0
		order := rapid.SliceOfN(rapid.IntRange(1, revisions), 1, 40).Draw(t, "order")
		for _, rev := range order {
			r.putKey(key(rev))
			r.putProject(&gatehouse.Project{ID: "proj_1", ArchivedAt: removed(rev), Rev: int64(rev)})
			r.putUser(&gatehouse.User{ID: "user-1", RemovedAt: removed(rev), Rev: int64(rev)})
			r.putMember(&gatehouse.ProjectUser{Project: "proj_1", User: "user-1", RemovedAt: removed(rev), Rev: int64(rev)})
			r.putAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", RemovedAt: removed(rev), Rev: int64(rev)})
			r.putUpstream(&gatehouse.Upstream{ID: "upst_1", Organization: "org-1", RemovedAt: removed(rev), Rev: int64(rev)})
			r.putDeployment(&gatehouse.Deployment{ID: "dep_1", Organization: "org-1", Name: "m", RemovedAt: removed(rev), Rev: int64(rev)})
			r.compile()
			highest = max(highest, rev)
			live := highest < end
			got := map[string]bool{
				"key":             c.Key("00000000001").State(0) == gatehouse.Active,
				"project":         c.Project("proj_1").ArchivedAt == 0,
				"user":            c.User("user-1") != nil,
				"member":          c.Member("proj_1", "user-1") != nil,
				"service account": c.ServiceAccount("svc_acct_1") != nil,
				"upstream":        c.Upstream("upst_1") != nil && len(c.Upstreams("org-1")) == 1,
				"deployment":      c.Deployment("org-1", "proj_1", "m") != nil,
			}
			for what, is := range got {
				if is != live {
					t.Fatalf("after revisions %v the %s is live: %v, want %v", order, what, is, live)
				}
			}
			if rev := c.Key("00000000001").Rev; rev != int64(highest) {
				t.Fatalf("revision %d stands, want %d", rev, highest)
			}
		}
	})
}

func TestRouting(t *testing.T) {
	r := newReplica()
	deployments := []*gatehouse.Deployment{
		{ID: "dep_any", Organization: "org-1", Name: "*"},
		{ID: "dep_general", Organization: "org-1", Name: "m", CreatedAt: 1},
		{ID: "dep_p1", Organization: "org-1", Name: "m", Projects: []string{"proj_1"}, CreatedAt: 2},
		{ID: "dep_p2", Organization: "org-1", Name: "only2", Projects: []string{"proj_2"}},
		{ID: "dep_gone", Organization: "org-1", Name: "gone", RemovedAt: 1},
		{ID: "dep_other", Organization: "org-2", Name: "other"},
	}
	for _, d := range deployments {
		d.Rev = 1
		r.putDeployment(d)
	}
	for _, u := range []*gatehouse.Upstream{{ID: "upst_b", Name: "b"}, {ID: "upst_a", Name: "a"}, {ID: "upst_x", Name: "x", RemovedAt: 1}} {
		u.Organization, u.Rev = "org-1", 1
		r.putUpstream(u)
	}
	r.compile()
	c := &Catalog{replica: r}
	tests := []struct{ organization, project, name, want string }{
		{"org-1", "proj_1", "m", "dep_p1"},
		{"org-1", "proj_2", "m", "dep_general"},
		{"org-1", "proj_1", "only2", "dep_any"},
		{"org-1", "proj_2", "only2", "dep_p2"},
		{"org-1", "proj_1", "gone", "dep_any"},
		{"org-1", "proj_1", "other", "dep_any"},
		{"org-2", "proj_9", "other", "dep_other"},
		{"org-2", "proj_9", "m", ""},
		{"org-3", "proj_9", "m", ""},
	}
	for _, tt := range tests {
		got := ""
		if d := c.Deployment(tt.organization, tt.project, tt.name); d != nil {
			got = d.ID
		}
		if got != tt.want {
			t.Errorf("Deployment(%s, %s, %s) = %q, want %q", tt.organization, tt.project, tt.name, got, tt.want)
		}
	}
	ids := func(ds []*gatehouse.Deployment) (out string) {
		for _, d := range ds {
			out += d.ID + " "
		}
		return out
	}
	if got, want := ids(c.Deployments("org-1", "proj_1")), "dep_any dep_p1 "; got != want {
		t.Errorf("Deployments for proj_1 = %q, want %q", got, want)
	}
	if got, want := ids(c.Deployments("org-1", "proj_2")), "dep_any dep_general dep_p2 "; got != want {
		t.Errorf("Deployments for proj_2 = %q, want %q", got, want)
	}
	if us := c.Upstreams("org-1"); len(us) != 2 || us[0].ID != "upst_a" || us[1].ID != "upst_b" {
		t.Errorf("Upstreams = %v", us)
	}
	r.dropDeployment("dep_p1")
	r.dropUpstream("upst_a")
	r.compile()
	if d := c.Deployment("org-1", "proj_1", "m"); d == nil || d.ID != "dep_general" {
		t.Errorf("after its deployment is gone the project gets %v, want dep_general", d)
	}
	if us := c.Upstreams("org-1"); len(us) != 1 || us[0].ID != "upst_b" {
		t.Errorf("Upstreams = %v", us)
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r := newReplica()
	r.putOrganization(&gatehouse.Organization{ID: "org-1", Rev: 1})
	r.putProject(&gatehouse.Project{ID: "proj_1", Organization: "org-1", Rev: 1})
	r.putUser(&gatehouse.User{ID: "user-1", Organization: "org-1", Rev: 1})
	r.putMember(&gatehouse.ProjectUser{Project: "proj_1", User: "user-1", Rev: 1})
	r.putAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", Rev: 1})
	r.putUpstream(&gatehouse.Upstream{ID: "upst_1", Organization: "org-1", Rev: 1})
	r.putDeployment(&gatehouse.Deployment{ID: "dep_1", Organization: "org-1", Name: "*", Rev: 1})
	r.compile()
	r.putKey(testKey(1))
	c := &Catalog{replica: r}
	c.lease.clock = clock{boot: bootTime, wall: time.Now}
	c.lease.length = DefaultMaxStaleness
	c.lease.renew(c.lease.clock.read(), 0)
	c.lease.grant(0)
	single := &Catalog{single: true, replica: r}
	text := "sk-proj-gtkAAAA00000000001rest"
	found := true
	allocs := testing.AllocsPerRun(1000, func() {
		k := c.Key(text[15:26])
		found = found && c.Fresh() && single.Fresh() && k != nil && k.ID() == "key_00000000001" && k.State(1) == gatehouse.Active &&
			c.Organization(k.Organization) != nil && c.Project(k.Project) != nil && c.User(k.OwnerUser()) != nil &&
			c.Member(k.Project, k.OwnerUser()) != nil && c.ServiceAccount("svc_acct_1") != nil && c.Upstream("upst_1") != nil &&
			c.Deployment(k.Organization, k.Project, "any") != nil && len(c.Upstreams(k.Organization)) == 1
	})
	if !found {
		t.Fatal("a lookup found nothing")
	}
	if allocs != 0 {
		t.Errorf("the lookups of a request allocate %v times, want 0", allocs)
	}
}

// TestTable compares a table with a map under any sequence of changes, small enough that values collide and marks pile up.
func TestTable(t *testing.T) {
	type value struct{ key, n int }
	rapid.Check(t, func(t *rapid.T) {
		spread := rapid.SampledFrom([]uint64{0, 1 << 60, 0x9E3779B97F4A7C15}).Draw(t, "spread")
		table := newTable(func(k int) uint64 { return uint64(k) * spread }, func(v *value) int { return v.key }, func(v *value) int64 { return int64(v.n) })
		model := map[int]int{}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n++
				k := rapid.IntRange(0, 300).Draw(t, "key")
				table.put(&value{k, n})
				table.put(&value{k, n - 1}) // older: ignored
				model[k] = n
			},
			"remove": func(t *rapid.T) {
				k := rapid.IntRange(0, 300).Draw(t, "key")
				table.remove(k)
				delete(model, k)
			},
			"": func(t *rapid.T) {
				if int(table.live.Load()) != len(model) {
					t.Fatalf("%d values, want %d", table.live.Load(), len(model))
				}
				for k := range 301 {
					v := table.get(k)
					if want, ok := model[k]; ok != (v != nil) || ok && v.n != want {
						t.Fatalf("key %d: got %v, want %d, %v", k, v, want, ok)
					}
				}
			},
		})
	})
}

// TestTableWhileWriting reads while the table grows and changes: what is in it is always found, at its latest or the one before.
func TestTableWhileWriting(t *testing.T) {
	type value struct{ key, n int }
	table := newTable(func(k int) uint64 { return uint64(k) * 0x9E3779B97F4A7C15 }, func(v *value) int { return v.key }, func(v *value) int64 { return int64(v.n) })
	table.put(&value{0, -1})
	const rounds = 20_000
	var wg sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		wg.Go(func() {
			last := -1
			for !done.Load() {
				v := table.get(0)
				if v == nil || v.n < last {
					t.Errorf("got %v after %d", v, last)
					return
				}
				last = v.n
			}
		})
	}
	for n := range rounds {
		table.put(&value{0, n})
		table.put(&value{n + 1, n})
	}
	done.Store(true)
	wg.Wait()
}

// BenchmarkKeyCold looks up keys of 100,000 in random order, so that their cache lines are cold.
func BenchmarkKeyCold(b *testing.B) {
	const n = 100_000
	r := newReplica()
	ids := make([]string, n)
	for i := range n {
		k := testKey(i)
		k.ID = gatehouse.PrefixKey + gatehouse.RandomBase62(publicIDLen)
		ids[i] = k.ID[len(gatehouse.PrefixKey):]
		r.putKey(k)
	}
	c := &Catalog{replica: r}
	b.ReportAllocs()
	i, found := 0, 0
	for b.Loop() {
		if c.Key(ids[i]).State(1) == gatehouse.Active {
			found++
		}
		i = (i + 7919) % n
	}
	if found == 0 {
		b.Fatal("nothing found")
	}
}

func BenchmarkFresh(b *testing.B) {
	c := &Catalog{}
	c.lease.clock = clock{boot: bootTime, wall: time.Now}
	c.lease.length = DefaultMaxStaleness
	c.lease.renew(c.lease.clock.read(), 0)
	c.lease.grant(0)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Fresh() {
			b.Fatal("not fresh")
		}
	}
}

// BenchmarkPutKey is what one change of a key costs among a million.
func BenchmarkPutKey(b *testing.B) {
	r := newReplica()
	for i := range 1_000_000 {
		r.putKey(testKey(i))
	}
	runtime.GC()
	b.ReportAllocs()
	rev := int64(1)
	for b.Loop() {
		rev++
		k := testKey(int(rev) % 1_000_000)
		k.Rev = rev
		r.putKey(k)
	}
}
