package sums_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

type key struct {
	dims   [sums.Dims]string
	minute int
}

// usage draws one settled request and the minute of its page that it belongs to.
func usage(t *rapid.T) (*gatehouse.Usage, int) {
	text := func(name string) string { return rapid.SampledFrom([]string{"", "a", "b", "ä", "zz"}).Draw(t, name) }
	u := &gatehouse.Usage{Product: text("product"), Project: text("project"), Model: text("model"), Key: text("key"), User: text("user"), Batch: rapid.Bool().Draw(t, "batch"),
		Cost: gatehouse.NanoUSD(rapid.Int64Range(-5, 1<<60).Draw(t, "cost")), CostKnown: rapid.Bool().Draw(t, "priced")}
	for _, n := range sums.UnitFields(&u.Units) {
		*n = rapid.SampledFrom([]int64{0, 0, 1, 1 << 40}).Draw(t, "units")
	}
	return u, rapid.IntRange(0, 59).Draw(t, "minute")
}

// read returns what pages hold.
func read(t *rapid.T, pages []sums.Page) map[key]sums.Sums {
	got := map[key]sums.Sums{}
	for _, p := range pages {
		n := 0
		err := sums.Each(p.Body, func(dims [sums.Dims]string, minute int, s *sums.Sums) {
			k := key{dims, minute}
			if _, twice := got[k]; twice {
				t.Fatalf("%v is there twice", k)
			}
			got[k] = *s
			n++
		})
		if err != nil || n != p.Records {
			t.Fatalf("a page of %d sums has %d: %v", p.Records, n, err)
		}
	}
	return got
}

// TestMergeAddsUp compares pages and what is merged of them with plain addition.
func TestMergeAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		full, hours, keyless := map[key]sums.Sums{}, map[key]sums.Sums{}, map[key]sums.Sums{}
		put := func(to map[key]sums.Sums, k key, u *gatehouse.Usage) {
			s := to[k]
			s.Add(u)
			to[k] = s
		}
		var pages [][]byte
		for range rapid.IntRange(1, 5).Draw(t, "pages") {
			var b sums.Builder
			own := map[key]sums.Sums{}
			for range rapid.IntRange(0, 30).Draw(t, "rows") {
				u, minute := usage(t)
				b.Add(u, minute)
				dims := sums.Of(u)
				put(own, key{dims, minute}, u)
				put(full, key{dims, minute}, u)
				put(hours, key{dims, 0}, u)
				for i := sums.Keyless; i < sums.Dims; i++ {
					dims[i] = ""
				}
				put(keyless, key{dims, 0}, u)
			}
			made := b.Pages()
			if got := read(t, made); !maps.Equal(got, own) {
				t.Fatalf("a page\n got %v\nwant %v", got, own)
			}
			for _, p := range made {
				pages = append(pages, p.Body)
			}
		}
		out, err := sums.Merge(pages, sums.Keep{Minutes: true, Keys: true}, sums.Keep{Keys: true}, sums.Keep{})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []map[key]sums.Sums{full, hours, keyless} {
			if got := read(t, out[i]); !maps.Equal(got, want) {
				t.Fatalf("merge %d\n got %v\nwant %v", i, got, want)
			}
		}
	})
}

// TestManySums makes more sums than a page holds.
func TestManySums(t *testing.T) {
	var b sums.Builder
	const n = 40_000
	for i := range n {
		b.Add(&gatehouse.Usage{Product: "completions", Key: fmt.Sprintf("key_%d", i), Units: gatehouse.Units{Input: int64(i)}, CostKnown: true}, 7)
	}
	pages := b.Pages()
	var bodies [][]byte
	for _, p := range pages {
		bodies = append(bodies, p.Body)
	}
	out, err := sums.Merge(append(bodies, bodies...), sums.Keep{Minutes: true, Keys: true})
	if err != nil || len(pages) != 3 || len(out[0]) != 3 {
		t.Fatalf("%d pages, merged %d: %v", len(pages), len(out[0]), err)
	}
	r := sums.NewReport(0, 3_600_000, 3_600_000, []sums.Column{{Dim: sums.Product}}, nil)
	for _, p := range out[0] {
		if err := r.Add(p.Body, 0); err != nil {
			t.Fatal(err)
		}
	}
	want := sums.Sums{Requests: 2 * n, Units: gatehouse.Units{Input: n * (n - 1)}}
	groups := 0
	r.Each(func(bucket int, texts []string, s *sums.Sums) {
		groups++
		if bucket != 0 || !slices.Equal(texts, []string{"completions"}) || *s != want {
			t.Errorf("%d %q: %+v, want %+v", bucket, texts, *s, want)
		}
	})
	if groups != 1 || !r.Keyless() {
		t.Errorf("%d groups, keyless %v", groups, r.Keyless())
	}
}

// FuzzPage reads pages that may be anything: it must end, with an error or without.
func FuzzPage(f *testing.F) {
	var b sums.Builder
	for i := range 5 {
		b.Add(&gatehouse.Usage{Product: "completions", Key: fmt.Sprint(i), Cost: 1, CostKnown: true, Units: gatehouse.Units{Input: 7}}, i)
	}
	page := b.Pages()[0].Body
	f.Add(page)
	f.Add(page[:len(page)-3])
	f.Add([]byte{1, 1, 'p', 1, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, page []byte) {
		_ = sums.Each(page, func([sums.Dims]string, int, *sums.Sums) {})
		out, err := sums.Merge([][]byte{page, page}, sums.Keep{Minutes: true, Keys: true})
		if err != nil {
			return
		}
		for _, p := range out[0] {
			if err := sums.Each(p.Body, func([sums.Dims]string, int, *sums.Sums) {}); err != nil {
				t.Errorf("what was merged cannot be read: %v", err)
			}
		}
	})
}
