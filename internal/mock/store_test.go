package mock

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
)

func TestStoreBounds(t *testing.T) {
	s := newStore()
	s.projects, s.projectObjects, s.projectBytes, s.bytes = 3, 4, 100, 250
	put := func(project, id string, size int) {
		t.Helper()
		if err := s.put(project, kindFile, id, id, size); err != nil {
			t.Fatal(err)
		}
	}
	held := func(project string, want ...string) {
		t.Helper()
		if got := all[string](s, project, kindFile); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s holds %v, want %v", project, got, want)
		}
	}
	for i := range 6 {
		put("a", fmt.Sprint(i), 10)
	}
	held("a", "2", "3", "4", "5") // four objects
	put("a", "6", 85)
	held("a", "5", "6") // 100 bytes
	put("a", "5", 90)   // grows in its place; the other gives way
	held("a", "5")
	if err := s.put("a", kindFile, "big", "big", 101); err == nil {
		t.Error("an object larger than all a project may hold was kept")
	}
	put("b", "1", 90)
	put("c", "1", 60) // 240 of 250
	held("a", "5")    // looked at: now b is the one unused for longest
	put("c", "2", 30) // 270
	held("b")
	held("a", "5")
	held("c", "1", "2")
	put("d", "1", 1) // the fourth project; b came back when it was looked at, and goes first
	if s.recent.Len() != 3 || len(s.by) != 3 {
		t.Errorf("%d projects are kept", s.recent.Len())
	}
	total := 0
	for e := s.recent.Front(); e != nil; e = e.Next() {
		total += e.Value.(*shelf).size
	}
	if total != s.total || total > s.bytes {
		t.Errorf("total %d, shelves hold %d", s.total, total)
	}
	if _, ok := find[string](s, "d", kindResponse, "1"); ok {
		t.Error("an object was found as another kind")
	}
	if s.remove("d", kindResponse, "1") || !s.remove("d", kindFile, "1") || s.remove("d", kindFile, "1") {
		t.Error("remove does not say what it did")
	}
}

func TestStoreConcurrency(t *testing.T) {
	s := newStore()
	s.projects, s.projectObjects = 3, 5
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				project, id := fmt.Sprint(i%5), fmt.Sprint(g*i%11)
				if err := s.put(project, kindChat, id, i, i%50); err != nil {
					t.Error(err)
				}
				find[int](s, project, kindChat, id)
				s.count(project)
				if i%3 == 0 {
					s.remove(project, kindChat, id)
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for e := s.recent.Front(); e != nil; e = e.Next() {
		sh := e.Value.(*shelf)
		size := 0
		for o := sh.order.Front(); o != nil; o = o.Next() {
			size += o.Value.(*kept).size
		}
		if size != sh.size || len(sh.by) != sh.order.Len() || sh.order.Len() > 5 {
			t.Errorf("shelf of %d bytes says %d; %d ids, %d objects", size, sh.size, len(sh.by), sh.order.Len())
		}
		total += size
	}
	if total != s.total || s.recent.Len() > 3 {
		t.Errorf("total %d says %d; %d projects", total, s.total, s.recent.Len())
	}
}

func TestPage(t *testing.T) {
	items := []string{"a", "b", "c", "d", "e"}
	for _, tt := range []struct {
		query, want string
		more        bool
	}{
		{"", "[a b c]", true},
		{"limit=5", "[a b c d e]", false},
		{"after=c", "[d e]", false},
		{"after=e", "[]", false},
		{"order=desc&limit=2", "[e d]", true},
		{"order=desc&after=d&limit=3", "[c b a]", false},
	} {
		q, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		p, err := page(items, func(s string) string { return s }, q, "asc", 3, 10)
		if err != nil || fmt.Sprint(p.Data) != tt.want || p.HasMore != tt.more {
			t.Errorf("%s: %v, more %v (%v), want %s, %v", tt.query, p.Data, p.HasMore, err, tt.want, tt.more)
		}
		if len(p.Data) > 0 && (*p.FirstID != p.Data[0] || *p.LastID != p.Data[len(p.Data)-1]) || len(p.Data) == 0 && (p.FirstID != nil || p.LastID != nil) {
			t.Errorf("%s: first %v, last %v", tt.query, p.FirstID, p.LastID)
		}
	}
	if fmt.Sprint(items) != "[a b c d e]" {
		t.Errorf("page turned its argument: %v", items)
	}
}
