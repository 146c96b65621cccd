package mock

import (
	"container/list"
	"net/url"
	"slices"
	"strconv"
	"sync"
)

// The bounds of what is kept. A store has its own copy, so that its tests need not fill 256 MiB.
const (
	maxProjects       = 1000
	maxProjectObjects = 1000
	maxProjectBytes   = 32 << 20
	maxBytes          = 256 << 20
)

type kind uint8

const (
	kindFile kind = iota
	kindResponse
	kindConversation
	kindChat
	kindBatch
	kindVideo
	kindTuning
)

// store keeps each project's objects in memory. A value that was put is never changed, only replaced, so that readers need no
// lock once they have it.
type store struct {
	projects, projectObjects, projectBytes, bytes int // bounds

	mu     sync.Mutex
	by     map[string]*list.Element // of *shelf, by project
	recent *list.List               // front: used last
	total  int
}

// shelf is what one project holds.
type shelf struct {
	project  string
	by       map[string]*list.Element // of *kept, by id
	order    *list.List               // front: oldest
	size     int
	requests int64
}

// kept is one object of a shelf.
type kept struct {
	id    string
	kind  kind
	size  int
	value any
}

func newStore() *store {
	return &store{projects: maxProjects, projectObjects: maxProjectObjects, projectBytes: maxProjectBytes, bytes: maxBytes, by: map[string]*list.Element{}, recent: list.New()}
}

// shelf returns the project's shelf and marks it as used. The caller holds mu.
func (s *store) shelf(project string) *shelf {
	if e := s.by[project]; e != nil {
		s.recent.MoveToFront(e)
		return e.Value.(*shelf)
	}
	sh := &shelf{project: project, by: map[string]*list.Element{}, order: list.New()}
	s.by[project] = s.recent.PushFront(sh)
	s.trim()
	return sh
}

// trim forgets the projects unused for longest until the bounds hold. The project in front is never forgotten: alone it is
// within its own bound.
func (s *store) trim() {
	for s.recent.Len() > 1 && (s.recent.Len() > s.projects || s.total > s.bytes) {
		sh := s.recent.Remove(s.recent.Back()).(*shelf)
		delete(s.by, sh.project)
		s.total -= sh.size
	}
}

// drop removes one object of a shelf. The caller holds mu.
func (s *store) drop(sh *shelf, e *list.Element) {
	o := sh.order.Remove(e).(*kept)
	delete(sh.by, o.id)
	sh.size -= o.size
	s.total -= o.size
}

// count returns the number of this call for the project, from 1.
func (s *store) count(project string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shelf(project)
	sh.requests++
	return sh.requests
}

// put keeps a value of about size bytes under id, in the place of what had the id before, and evicts the oldest.
func (s *store) put(project string, k kind, id string, value any, size int) error {
	if size > s.projectBytes {
		return &apiError{status: 413, message: "The mock upstream keeps at most " + strconv.Itoa(s.projectBytes) + " bytes for a project."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shelf(project)
	if e := sh.by[id]; e != nil {
		o := e.Value.(*kept)
		sh.size += size - o.size
		s.total += size - o.size
		o.size, o.value = size, value
	} else {
		sh.by[id] = sh.order.PushBack(&kept{id: id, kind: k, size: size, value: value})
		sh.size += size
		s.total += size
	}
	for e := sh.order.Front(); e != nil && (sh.order.Len() > s.projectObjects || sh.size > s.projectBytes); {
		next := e.Next()
		if e.Value.(*kept).id != id {
			s.drop(sh, e)
		}
		e = next
	}
	s.trim()
	return nil
}

// remove forgets an object and reports whether there was one.
func (s *store) remove(project string, k kind, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shelf(project)
	e := sh.by[id]
	if e == nil || e.Value.(*kept).kind != k {
		return false
	}
	s.drop(sh, e)
	return true
}

// find returns the project's object of a kind.
func find[T any](s *store, project string, k kind, id string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var zero T
	e := s.shelf(project).by[id]
	if e == nil || e.Value.(*kept).kind != k {
		return zero, false
	}
	return e.Value.(*kept).value.(T), true
}

// all returns the project's objects of a kind, oldest first.
func all[T any](s *store, project string, k kind) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for e := s.shelf(project).order.Front(); e != nil; e = e.Next() {
		if o := e.Value.(*kept); o.kind == k {
			out = append(out, o.value.(T))
		}
	}
	return out
}

// listing is a page of a list in OpenAI's shape.
type listing[T any] struct {
	Object  string  `json:"object"`
	Data    []T     `json:"data"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

// page cuts the page that query asks for (after, limit, order) out of items, which come oldest first.
func page[T any](items []T, id func(T) string, query url.Values, order string, limit, most int) (*listing[T], error) {
	if v := query.Get("order"); v != "" {
		if v != "asc" && v != "desc" {
			return nil, invalid("order", "must be 'asc' or 'desc'.")
		}
		order = v
	}
	if v := query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return nil, invalid("limit", "must be a whole number from 1 to %d.", most)
		}
		limit = n
	}
	items = slices.Clone(items)
	if order == "desc" {
		slices.Reverse(items)
	}
	if after := query.Get("after"); after != "" {
		i := slices.IndexFunc(items, func(t T) bool { return id(t) == after })
		if i < 0 {
			return nil, invalid("after", "there is no element %q in this list.", after)
		}
		items = items[i+1:]
	}
	out := &listing[T]{Object: "list", Data: []T{}}
	if len(items) > limit {
		items, out.HasMore = items[:limit], true
	}
	if len(items) > 0 {
		first, last := id(items[0]), id(items[len(items)-1])
		out.Data, out.FirstID, out.LastID = items, &first, &last
	}
	return out, nil
}
