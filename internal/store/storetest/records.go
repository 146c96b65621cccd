package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse"
	"gatehouse/internal/store"
)

// day is the begin of a day in UTC.
const day gatehouse.Millis = 20_000 * 86_400_000

// fullUsage returns a usage with a different number in every field.
func fullUsage(id string) gatehouse.Usage {
	u := gatehouse.Usage{ID: id, At: day + 3_600_000 + 61_001, Organization: "org-a", Project: "proj_1", Key: "key_1", User: "user-1", Product: "completions",
		Model: "gpt-4o", UpstreamModel: "gpt-4o-2024", Upstream: "upst_1", ServiceTier: "flex", Batch: true, Cost: 1_234_567_890_123, CostKnown: true,
		Confidence: gatehouse.Reported}
	units := reflect.ValueOf(&u.Units).Elem()
	for i := range units.NumField() {
		units.Field(i).SetInt(int64(i+1) * 1_000_000_007)
	}
	return u
}

// total returns what has been recorded, per width, and checks that the widths agree.
func total(t testing.TB, db *store.DB, organization string) store.Sums {
	t.Helper()
	var sums []store.Sums
	look(t, db, func(tx *store.Tx) error {
		for _, width := range []string{"1m", "1h", "1d"} {
			buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: organization, Product: "completions", Start: day, End: day + 86_400_000, Width: width})
			if err != nil {
				return err
			}
			var sum store.Sums
			for _, b := range buckets {
				for _, r := range b.Results {
					add(&sum, &r.Sums)
				}
			}
			sums = append(sums, sum)
		}
		return nil
	})
	if sums[0] != sums[1] || sums[1] != sums[2] {
		t.Errorf("minutes, hours and days disagree: %+v", sums)
	}
	return sums[0]
}

func add(to, from *store.Sums) {
	to.Requests += from.Requests
	to.Unpriced += from.Unpriced
	to.Cost += from.Cost
	a, b := reflect.ValueOf(&to.Units).Elem(), reflect.ValueOf(&from.Units).Elem()
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

func testUsageOnce(t *testing.T, db *store.DB) {
	want := fullUsage("req_1")
	late := want
	late.Cost, late.Units.Input, late.Model = 1, 1, "late"
	for _, b := range []store.Batch{{Usage: []gatehouse.Usage{want, late}}, {Usage: []gatehouse.Usage{want}}, {Usage: []gatehouse.Usage{late}}, {}} {
		record(t, db, b)
	}
	look(t, db, func(tx *store.Tx) error {
		got, err := tx.Usage("req_1")
		if err != nil {
			return err
		}
		if *got != want {
			t.Errorf("usage\n got %+v\nwant %+v", *got, want)
		}
		if n, err := tx.CountUsage(); n != 1 || err != nil {
			t.Errorf("count %d, %v; want 1", n, err)
		}
		if _, err := tx.Usage("req_2"); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("usage of nothing: %v, want NotFound", err)
		}
		if seq, err := tx.LastSeq(); seq != 0 || err != nil {
			t.Errorf("a measurement made event %d (%v)", seq, err)
		}
		return nil
	})
	if got, want := total(t, db, "org-a"), (store.Sums{Requests: 1, Cost: want.Cost, Units: want.Units}); got != want {
		t.Errorf("sums\n got %+v\nwant %+v", got, want)
	}
	unpriced := gatehouse.Usage{ID: "req_2", At: day, Organization: "org-a", Product: "completions", Cost: 5, Units: gatehouse.Units{Input: 3}}
	record(t, db, store.Batch{Usage: []gatehouse.Usage{unpriced}})
	if got := total(t, db, "org-a"); got.Requests != 2 || got.Unpriced != 1 || got.Cost != want.Cost {
		t.Errorf("sums with an unpriced request: %+v", got)
	}
}

// testForeignText records what callers and upstreams may write into ids and names: none of it may stop a batch, nor make one of two
// ids.
func testForeignText(t *testing.T, db *store.DB) {
	long := strings.Repeat("é\x00\xff", 20_000)
	names := []string{"a\x00b\xffc", "a\uFFFDb\uFFFDc", long, long + "x", strings.Repeat("x", 256), strings.Repeat("x", 257), strings.Repeat("é", 300)}
	var b store.Batch
	for i, name := range names {
		b.Usage = append(b.Usage, gatehouse.Usage{ID: name, At: day, Organization: "org-a", Product: "completions", Project: name, Key: name, ServiceAccount: name,
			Model: name, UpstreamModel: name, Upstream: name, ServiceTier: name, Units: gatehouse.Units{Input: int64(i + 1)}})
		b.Requests = append(b.Requests, gatehouse.Request{ID: numbered("req_", i), ClientRequestID: name, Organization: "org-a", Model: name, UserAgent: name, Detail: name})
		b.Objects = append(b.Objects, gatehouse.Object{ID: name, Project: "proj_1", Upstream: name, Kind: name, Deployment: name, Model: name, CreatedAt: gatehouse.Millis(i + 1)})
	}
	record(t, db, b)
	record(t, db, b)
	look(t, db, func(tx *store.Tx) error {
		for i, name := range names {
			u, err := tx.Usage(name)
			if err != nil || u.ID != name || u.Units.Input != int64(i+1) || !utf8.ValidString(u.Model) || len(u.Model) > 256 {
				t.Errorf("usage %d: %+v, %v", i, u, err)
			}
			q, err := tx.Request(numbered("req_", i))
			if err != nil || q.ID != numbered("req_", i) || !utf8.ValidString(q.Detail+q.Model+q.ClientRequestID) {
				t.Errorf("request %d: %+v, %v", i, q, err)
			}
			o, err := tx.Object(name)
			if err != nil || o.ID != name || o.CreatedAt != gatehouse.Millis(i+1) {
				t.Errorf("object %d: %+v, %v", i, o, err)
			}
			q, err = tx.RequestNamed("org-a", name)
			if err != nil || q.ID != numbered("req_", i) {
				t.Errorf("request by client id %d: %+v, %v", i, q, err)
			}
		}
		u, err := tx.Usage(names[0])
		if err == nil && u.Model != names[1] {
			t.Errorf("model is %q, want %q", u.Model, names[1])
		}
		return err
	})
	if got := total(t, db, "org-a"); got.Requests != int64(len(names)) || got.Units.Input != 28 {
		t.Errorf("sums %+v, want 7 requests and 28 tokens", got)
	}
	record(t, db, store.Batch{Deleted: []store.ObjectRef{{ID: long, Project: "proj_1", At: 9}}})
	look(t, db, func(tx *store.Tx) error {
		a, errA := tx.Object(long)
		b, errB := tx.Object(long + "x")
		if errA == nil && errB == nil && (a.DeletedAt != 9 || b.DeletedAt != 0) {
			t.Errorf("deleted at %d and %d, want 9 and 0", a.DeletedAt, b.DeletedAt)
		}
		return errors.Join(errA, errB)
	})
}

// testUsageOnceAtOnce records overlapping batches from many at once, each more than once.
func testUsageOnceAtOnce(t *testing.T, db *store.DB) {
	const writers, n = 8, 400
	ctx := context.WithoutCancel(t.Context())
	usage := func(i int) gatehouse.Usage {
		return gatehouse.Usage{ID: numbered("req_", i), At: day + gatehouse.Millis(i)*7_000, Organization: "org-a", Product: "completions", Project: numbered("proj_", i%3),
			Key: numbered("key_", i%7), CostKnown: true, Cost: gatehouse.NanoUSD(i), Units: gatehouse.Units{Input: int64(i), Output: 1}}
	}
	atOnce(writers, func(w int) {
		for range 2 {
			for from := w * 17 % n; from < n; from += 61 {
				var b store.Batch
				for i := from; i < min(n, from+100); i++ {
					b.Usage = append(b.Usage, usage(i))
				}
				if w%2 == 1 {
					slices.Reverse(b.Usage)
				}
				if err := db.Record(ctx, b); err != nil {
					t.Error(err)
				}
			}
		}
	})
	var all store.Batch
	var want store.Sums
	for i := range n {
		u := usage(i)
		all.Usage = append(all.Usage, u)
		add(&want, &store.Sums{Requests: 1, Cost: u.Cost, Units: u.Units})
	}
	record(t, db, all)
	if got := total(t, db, "org-a"); got != want {
		t.Errorf("sums\n got %+v\nwant %+v", got, want)
	}
	look(t, db, func(tx *store.Tx) error {
		count, err := tx.CountUsage()
		if count != n {
			t.Errorf("%d rows, want %d", count, n)
		}
		return err
	})
}

func testUsageBuckets(t *testing.T, db *store.DB) {
	yes, no := true, false
	var b store.Batch
	for i, u := range []gatehouse.Usage{
		{At: day, Project: "proj_1", Key: "key_1", User: "user-1", Model: "m1", ServiceTier: "default", Units: gatehouse.Units{Input: 1}},
		{At: day + 86_399_999, Project: "proj_1", Key: "key_2", ServiceAccount: "svc_1", Model: "m2", Units: gatehouse.Units{Input: 10}},
		{At: day + 86_400_000, Project: "proj_2", Key: "key_3", ServiceAccount: "svc_2", Model: "m1", Batch: true, Units: gatehouse.Units{Input: 100}},
		{At: day - 1, Project: "proj_2", Key: "key_1", User: "user-1", Model: "m1", Units: gatehouse.Units{Input: 1000}},
		{At: day, Project: "proj_1", Key: "key_1", Product: "embeddings", Model: "m1", Units: gatehouse.Units{Input: 10_000}},
		{At: day, Project: "proj_1", Key: "key_1", Organization: "org-b", Model: "m1", Units: gatehouse.Units{Input: 100_000}},
	} {
		u.ID = numbered("req_", i)
		if u.Organization == "" {
			u.Organization = "org-a"
		}
		if u.Product == "" {
			u.Product = "completions"
		}
		b.Usage = append(b.Usage, u)
	}
	record(t, db, b)
	// A result is written "dimensions=input tokens".
	show := func(r *store.UsageResult) string {
		return fmt.Sprintf("%s|%s|%s|%s|%v|%s=%d", r.Project, r.User, r.Key, r.Model, r.Batch, r.ServiceTier, r.Units.Input)
	}
	for _, c := range []struct {
		name  string
		query store.UsageQuery
		want  [][]string
	}{
		{"three days", store.UsageQuery{Start: day - 1, End: day + 86_400_001}, [][]string{{"||||false|=1000"}, {"||||false|=11"}, {"||||false|=100"}}},
		{"end is exclusive", store.UsageQuery{Start: day, End: day + 86_400_000}, [][]string{{"||||false|=11"}}},
		{"empty buckets are there", store.UsageQuery{Start: day + 2*86_400_000, End: day + 4*86_400_000}, [][]string{{}, {}}},
		{"by project", store.UsageQuery{Start: day - 1, End: day + 86_400_001, GroupBy: []string{store.ByProject}},
			[][]string{{"proj_2||||false|=1000"}, {"proj_1||||false|=11"}, {"proj_2||||false|=100"}}},
		{"by user", store.UsageQuery{Start: day, End: day + 1, GroupBy: []string{store.ByUser}}, [][]string{{"||||false|=10", "|user-1|||false|=1"}}},
		{"by key and model, twice", store.UsageQuery{Start: day, End: day + 1, GroupBy: []string{store.ByModel, store.ByKey, store.ByModel}},
			[][]string{{"||key_1|m1|false|=1", "||key_2|m2|false|=10"}}},
		{"by batch and tier", store.UsageQuery{Start: day, End: day + 86_400_001, GroupBy: []string{store.ByBatch, store.ByServiceTier}},
			[][]string{{"||||false|=10", "||||false|default=1"}, {"||||true|=100"}}},
		{"of projects", store.UsageQuery{Start: day - 1, End: day + 86_400_001, Projects: []string{"proj_2", "proj_9"}}, [][]string{{"||||false|=1000"}, {}, {"||||false|=100"}}},
		{"of a user", store.UsageQuery{Start: day, End: day + 1, Users: []string{"user-1"}}, [][]string{{"||||false|=1"}}},
		{"of keys", store.UsageQuery{Start: day, End: day + 1, Keys: []string{"key_1", "key_2"}}, [][]string{{"||||false|=11"}}},
		{"of a model", store.UsageQuery{Start: day, End: day + 1, Models: []string{"m2"}}, [][]string{{"||||false|=10"}}},
		{"batch only", store.UsageQuery{Start: day, End: day + 86_400_001, Batch: &yes}, [][]string{{}, {"||||false|=100"}}},
		{"no batch", store.UsageQuery{Start: day, End: day + 86_400_001, Batch: &no}, [][]string{{"||||false|=11"}, {}}},
		{"by hour", store.UsageQuery{Start: day + 23*3_600_000, End: day + 86_400_001, Width: "1h"}, [][]string{{"||||false|=10"}, {"||||false|=100"}}},
		{"by minute", store.UsageQuery{Start: day - 1, End: day + 60_001, Width: "1m"}, [][]string{{"||||false|=1000"}, {"||||false|=1"}, {}}},
		{"another product", store.UsageQuery{Product: "embeddings", Start: day, End: day + 1}, [][]string{{"||||false|=10000"}}},
		{"another organization", store.UsageQuery{Organization: "org-b", Start: day, End: day + 1}, [][]string{{"||||false|=100000"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := c.query
			q.Width = cmpOr(q.Width, "1d")
			q.Organization = cmpOr(q.Organization, "org-a")
			q.Product = cmpOr(q.Product, "completions")
			look(t, db, func(tx *store.Tx) error {
				buckets, err := tx.UsageBuckets(q)
				got := [][]string{}
				for i, b := range buckets {
					got = append(got, ids(b.Results, show))
					if i > 0 && buckets[i-1].End != b.Start || b.Start >= b.End {
						t.Errorf("bucket %d is [%d, %d)", i, b.Start, b.End)
					}
				}
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				return err
			})
		})
	}
	for _, q := range []store.UsageQuery{{Width: "2d", Start: 1, End: 2}, {Width: "1d", Start: 2, End: 2}, {Width: "1m", End: 86_400_000 * 365}, {Width: "1d", End: 1, GroupBy: []string{"line_item"}},
		{Width: "1d", Start: math.MinInt64, End: math.MaxInt64}, {Width: "1m", Start: 0, End: math.MaxInt64}, {Width: "1h", Start: math.MinInt64, End: 0},
		{Width: "1d", End: 1, Models: make([]string, 1001)}} {
		err := db.View(t.Context(), func(tx *store.Tx) error { _, err := tx.UsageBuckets(q); return err })
		if gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("query %+v: %v, want Invalid", q, err)
		}
	}
}

func cmpOr(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

func testRequests(t *testing.T, db *store.DB) {
	full := gatehouse.Request{ID: "req_1", ClientRequestID: "mine", At: day, Organization: "org-a", Project: "proj_1", Key: "key_1", Owner: "user-1", IP: "::1",
		UserAgent: "ünï <&>", Dialect: "openai", Method: "POST", Route: "/v1/chat/completions", Model: "gpt-4o", Deployment: "dep_1", Stream: true, Status: 200,
		Rule: "served", Detail: "d", Attempts: []gatehouse.Attempt{{Upstream: "upst_1", Model: "m", Status: 503, Error: "busy", Millis: 12, RequestID: "up"}, {Upstream: "upst_2", Status: 200}},
		UpstreamModel: "m", Units: &gatehouse.Units{Input: 5}, Confidence: gatehouse.Reported, Cost: 9, CostKnown: true, BytesIn: 1, BytesOut: 2, Millis: 3, FirstByteMillis: 1, ClientLeft: true}
	late := full
	late.Status, late.Units = 0, nil
	var b store.Batch
	b.Requests = []gatehouse.Request{full, late}
	for i := range 9 {
		q := gatehouse.Request{ID: numbered("req_n", i), At: day + gatehouse.Millis(i/2), Organization: "org-a", Project: numbered("proj_", i%2), Key: numbered("key_", i%3), ClientRequestID: "again"}
		if i == 8 {
			q.Organization = "org-b"
		}
		b.Requests = append(b.Requests, q)
	}
	b.Requests = append(b.Requests, gatehouse.Request{ID: "req_nobody", At: day, Rule: "key_unknown", ClientRequestID: "x\x00\xff"})
	// One whose usage is counted with it, one whose usage is counted under another id, and one whose usage came before it.
	paid, work, alone := full, full, full
	paid.ID, paid.ClientRequestID = "req_paid", ""
	work.ID, work.ClientRequestID, work.Work = "req_work", "", "video_1"
	alone.ID, alone.ClientRequestID = "req_alone", ""
	b.Requests = append(b.Requests, paid, work)
	b.Usage = []gatehouse.Usage{fullUsage("req_paid"), fullUsage("video_1")}
	record(t, db, store.Batch{Requests: []gatehouse.Request{full}})
	record(t, db, store.Batch{Usage: []gatehouse.Usage{fullUsage("req_alone")}})
	record(t, db, b)
	record(t, db, b)
	record(t, db, store.Batch{Usage: []gatehouse.Usage{fullUsage("req_alone")}, Requests: []gatehouse.Request{alone}})

	look(t, db, func(tx *store.Tx) error {
		for _, want := range []gatehouse.Request{full, paid, work, alone} {
			got, err := tx.Request(want.ID)
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("request %s\n got %+v\nwant %+v", want.ID, *got, want)
			}
		}
		for _, id := range []string{"none", "", "video_1", "mine"} {
			if _, err := tx.Request(id); gatehouse.KindOf(err) != gatehouse.NotFound {
				t.Errorf("request %q: %v, want NotFound", id, err)
			}
		}
		for _, c := range []struct{ organization, name, want string }{
			{"org-a", "mine", "req_1"}, {"org-a", "again", "req_n007"}, {"org-b", "again", "req_n008"}, {"", "x\x00\xff", "req_nobody"}, {"org-b", "mine", ""}, {"org-a", "", ""},
		} {
			got, err := tx.RequestNamed(c.organization, c.name)
			if c.want == "" {
				if gatehouse.KindOf(err) != gatehouse.NotFound {
					t.Errorf("%q of %q: %v, want NotFound", c.name, c.organization, err)
				}
			} else if err != nil || got.ID != c.want {
				t.Errorf("%q of %q: %+v, %v; want %s", c.name, c.organization, got, err, c.want)
			}
		}
		seen := map[string]int{}
		err := tx.EachRequest(func(q *gatehouse.Request) error { seen[q.ID]++; return nil })
		if seen["req_1"] != 1 || seen["req_n003"] != 1 || seen["req_nobody"] != 1 || len(seen) != 14 {
			t.Errorf("each request: %v", seen)
		}
		return err
	})
}

func testPruneRequests(t *testing.T, db *store.DB) {
	seed(t, db)
	const n = 1_300
	for from := 0; from < n; from += 100 { // a page each
		var b store.Batch
		for i := from; i < from+100; i++ {
			for _, org := range []string{"org-a", "org-b", ""} {
				if org != "org-a" && i%100 != 0 {
					continue
				}
				b.Requests = append(b.Requests, gatehouse.Request{ID: fmt.Sprintf("req_%s%d", org, i), Organization: org, At: gatehouse.Millis(1 + i), ClientRequestID: "old"})
			}
		}
		if from == 0 {
			b.Usage = []gatehouse.Usage{{ID: "req_org-a0", At: 1, Organization: "org-a", Product: "completions"}}
		}
		record(t, db, b)
	}
	record(t, db, store.Batch{Requests: []gatehouse.Request{{ID: "req_new", Organization: "org-a", At: n + 1, ClientRequestID: "new"}}})
	if err := db.Prune(t.Context(), n+1+7*86_400_000); err != nil {
		t.Fatal(err)
	}
	look(t, db, func(tx *store.Tx) error {
		for _, org := range []string{"org-a", "org-b", ""} {
			for _, i := range []int{0, 100, n - 100} {
				if _, err := tx.Request(fmt.Sprintf("req_%s%d", org, i)); gatehouse.KindOf(err) != gatehouse.NotFound {
					t.Errorf("request %d of %q: %v, want NotFound", i, org, err)
				}
			}
		}
		if q, err := tx.Request("req_new"); err != nil || q.At != n+1 {
			t.Errorf("the one that is young: %+v, %v", q, err)
		}
		for i, name := range []string{"old", "new"} {
			if _, err := tx.RequestNamed("org-a", name); (err == nil) != (i == 1) {
				t.Errorf("the newest request named %s: %v", name, err)
			}
		}
		if _, err := tx.Usage("req_org-a0"); err != nil {
			t.Errorf("usage of a request that is forgotten: %v", err)
		}
		left := 0
		if err := tx.EachRequest(func(*gatehouse.Request) error { left++; return nil }); err != nil {
			return err
		}
		if left != 1 {
			t.Errorf("%d requests are left over, want 1", left)
		}
		return nil
	})
	// Nothing is in the way of an id that is free again.
	record(t, db, store.Batch{Requests: []gatehouse.Request{{ID: "req_org-a1", Organization: "org-a", At: n + 2}}})
	look(t, db, func(tx *store.Tx) error { _, err := tx.Request("req_org-a1"); return err })
}

func testLastUsed(t *testing.T, db *store.DB) {
	seed(t, db)
	change(t, db, func(tx *store.Tx) error {
		k := serviceKey("key_1")
		k.LastUsedAt = 5 // not a thing that a change can claim
		return tx.CreateKey(k)
	})
	var before int64
	look(t, db, func(tx *store.Tx) (err error) { before, err = tx.LastSeq(); return err })
	for _, c := range []struct{ at, want gatehouse.Millis }{{0, 0}, {100, 100}, {90, 100}, {100, 100}, {101, 101}} {
		record(t, db, store.Batch{LastUsed: map[string]gatehouse.Millis{"key_1": c.at, "key_gone": 1}})
		look(t, db, func(tx *store.Tx) error {
			k, err := tx.Key("key_1")
			if err == nil && (k.LastUsedAt != c.want || k.Rev != 1) {
				t.Errorf("after use at %d: last used %d, rev %d; want %d, rev 1", c.at, k.LastUsedAt, k.Rev, c.want)
			}
			if seq, err := tx.LastSeq(); seq != before || err != nil {
				t.Errorf("a measurement made event %d (%v)", seq, err)
			}
			return err
		})
	}
	// Saving the key leaves its last use alone.
	change(t, db, func(tx *store.Tx) error {
		k, err := tx.Key("key_1")
		if err != nil {
			return err
		}
		k.LastUsedAt = 1
		return tx.SaveKey(k)
	})
	look(t, db, func(tx *store.Tx) error {
		return tx.EachKey(func(k *gatehouse.Key) error {
			if k.LastUsedAt != 101 {
				t.Errorf("last used %d, want 101", k.LastUsedAt)
			}
			return nil
		})
	})
}

func testObjects(t *testing.T, db *store.DB) {
	mine := gatehouse.Object{ID: "file-1", Project: "proj_1", Upstream: "upst_1", Kind: "file", Deployment: "gpt-4o", Model: "gpt-4o-eu", CreatedAt: 5}
	theirs, later, other := mine, mine, gatehouse.Object{ID: "resp_1", Project: "proj_2", Kind: "response"}
	theirs.Project, theirs.Upstream = "proj_2", "upst_2"
	later.CreatedAt = 9
	for _, b := range []store.Batch{
		{Objects: []gatehouse.Object{mine, theirs}},
		{Objects: []gatehouse.Object{theirs, later, other}},
		{Deleted: []store.ObjectRef{{ID: "file-1", Project: "proj_2", At: 7}, {ID: "none", Project: "proj_1", At: 7}}},
	} {
		record(t, db, b)
		look(t, db, func(tx *store.Tx) error {
			got, err := tx.Object("file-1")
			if err == nil && *got != mine {
				t.Errorf("object is %+v, want %+v", *got, mine)
			}
			return err
		})
	}
	record(t, db, store.Batch{Deleted: []store.ObjectRef{{ID: "file-1", Project: "proj_1", At: 8}}})
	record(t, db, store.Batch{Deleted: []store.ObjectRef{{ID: "file-1", Project: "proj_1", At: 9}}, Objects: []gatehouse.Object{mine}})
	look(t, db, func(tx *store.Tx) error {
		got, err := tx.Object("file-1")
		if err == nil && got.DeletedAt != 8 {
			t.Errorf("object is %+v, want deleted at 8", *got)
		}
		if _, err := tx.Object("none"); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("object of nobody: %v, want NotFound", err)
		}
		if o, err := tx.Object("resp_1"); err != nil || *o != other {
			t.Errorf("object is %+v, %v; want %+v", o, err, other)
		}
		return err
	})
	// Made and deleted in one batch.
	record(t, db, store.Batch{Objects: []gatehouse.Object{{ID: "file-2", Project: "proj_1"}}, Deleted: []store.ObjectRef{{ID: "file-2", Project: "proj_1", At: 3}}})
	look(t, db, func(tx *store.Tx) error {
		o, err := tx.Object("file-2")
		if err == nil && o.DeletedAt != 3 {
			t.Errorf("object is %+v, want deleted at 3", *o)
		}
		return err
	})
}

func testNodes(t *testing.T, db *store.DB) {
	want := func(nodes ...store.Node) {
		t.Helper()
		look(t, db, func(tx *store.Tx) error {
			got, err := tx.Nodes()
			if len(got) != len(nodes) || len(got) > 0 && !slices.Equal(got, nodes) {
				t.Errorf("nodes\n got %+v\nwant %+v", got, nodes)
			}
			return err
		})
	}
	want()
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "b", AppliedSeq: 3, MaxStalenessMillis: 2000, Incarnation: "x"}})
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "a", AppliedSeq: 1, MaxStalenessMillis: 1000, Incarnation: "y"}})
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "b", AppliedSeq: 4, MaxStalenessMillis: 3000, Incarnation: "z"}})
	a := store.Node{ID: "a", AppliedSeq: 1, Beat: 1, MaxStalenessMillis: 1000, Incarnation: "y"}
	b := store.Node{ID: "b", AppliedSeq: 4, Beat: 2, MaxStalenessMillis: 3000, Incarnation: "z"}
	want(a, b)
	record(t, db, store.Batch{DropNode: "b", DropIncarnation: "x"}) // the process before
	want(a, b)
	record(t, db, store.Batch{DropNode: "b", DropIncarnation: "z"})
	want(a)
	record(t, db, store.Batch{DropNode: "a"})
	want()
}

// testRecordAllOrNothing proves that a batch with a part that cannot be recorded leaves nothing.
func testRecordAllOrNothing(t *testing.T, db *store.DB) {
	good := store.Batch{Usage: []gatehouse.Usage{fullUsage("req_1")}, Node: &store.NodeBeat{ID: "n"}, LastUsed: map[string]gatehouse.Millis{"key_1": 1},
		Requests: []gatehouse.Request{{ID: "req_1"}}}
	for _, bad := range []func(*store.Batch){
		func(b *store.Batch) { b.Objects = []gatehouse.Object{{}} },
		func(b *store.Batch) { b.Requests = append(b.Requests, gatehouse.Request{}) },
		func(b *store.Batch) { b.Usage = append(b.Usage, gatehouse.Usage{}) },
	} {
		b := good
		bad(&b)
		if err := db.Record(t.Context(), b); err == nil {
			t.Error("a batch with a row without an id was recorded")
		}
	}
	look(t, db, func(tx *store.Tx) error {
		nodes, err := tx.Nodes()
		if err != nil {
			return err
		}
		n, err := tx.CountUsage()
		if n != 0 || len(nodes) != 0 {
			t.Errorf("%d usage rows and %d nodes are left of batches that failed", n, len(nodes))
		}
		return err
	})
	if got := total(t, db, "org-a"); got != (store.Sums{}) {
		t.Errorf("sums of batches that failed: %+v", got)
	}
	record(t, db, good)
	if got := total(t, db, "org-a"); got.Requests != 1 {
		t.Errorf("sums: %+v, want 1 request", got)
	}
}
