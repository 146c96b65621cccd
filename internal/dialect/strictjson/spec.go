// Package strictjson reads the fields of a JSON request body that policy or money depends on, and nothing else.
//
// It owns one pass over the bytes of a body: [Scan] checks the whole of it against RFC 8259, finds the fields of a [Spec] and
// refuses every spelling of them that another parser could read differently; [Result.Splice] says which bytes to forward. It
// builds no tree, keeps no copy and does no I/O. It does not know which endpoint reads which field (package dialect does) and
// does not judge values beyond their kind.
package strictjson

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// MaxDepth is how many objects and arrays may be open at once.
const MaxDepth = 64

// maxName is the longest field name a Spec may hold, so that a length fits the bits of a filter word.
const maxName = 63

// Kind is a set of JSON kinds.
type Kind uint8

// The kinds of JSON values.
const (
	String Kind = 1 << iota
	Number
	Bool
	Null
	Object
	Array
)

// kindNames are the kinds as messages show them, in the order of their bits.
var kindNames = [...]string{"a string", "a number", "a boolean", "null", "an object", "an array"}

// String returns the set as a message shows it, for example "a string or null".
func (k Kind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// Field is one place that is read.
//
// Path is made of names joined by dots; "[]" after a name stands for every element of that array: "model",
// "stream_options.include_usage", "tools[].type". A path that begins with "**." matches at any depth, the top level included:
// "**.file_id", "**.file_ids[]", "**.prompt.id"; after "**." at most two names may follow.
//
// Kinds is what may stand there. At a path with a fixed place another kind is an error; at any depth, where the same name may be
// a key of somebody's schema, a value of another kind is passed over.
type Field struct {
	Path  string
	Kinds Kind
}

// Spec is the closed list of fields that an endpoint reads. It may be shared.
type Spec struct {
	fields   []Field
	many     []bool // the field may occur more than once: its path has "[]" or "**."
	patterns []pattern
	// The automaton is built when a body is first read: a program has many Specs, and one run of it needs few of them.
	once sync.Once
	root *state
	// What Splice changes, as indexes into fields; -1 when the Spec does not read it.
	model, streamOptions, includeUsage, serviceTier int
}

// state is what can be read inside one container: a state of the automaton that NewSpec builds from all paths at once, so that
// the scan follows one pointer per level however many paths there are.
type state struct {
	names  []edge     // ordered by their first letters
	filter [32]uint64 // by the first letter, case folded: the lengths of the names that begin with it
	first  [33]uint8  // by the first letter: where in names those begin
	elem   edge       // for every element, when the container is an array
	other  *state     // for every key that is not in names; nil when nothing below it can be read
}

// edge is a step to a member that is read, or on the way to one.
type edge struct {
	name    string
	param   string // the member as errors name it
	next    *state // what is read inside it
	accepts []int  // the fields found here
	fixed   bool   // the member has a fixed place; otherwise only patterns of any depth lead here
}

// step is one part of a parsed path: a name, or "" for every element of an array.
type step string

type pattern struct {
	steps    []step
	anyDepth bool
}

// NewSpec reads a list of fields. It panics on a path that is not in the form described at Field: a Spec is part of the program.
func NewSpec(fields ...Field) *Spec {
	s := &Spec{fields: slices.Clone(fields), many: make([]bool, len(fields)), patterns: make([]pattern, len(fields))}
	for i, f := range fields {
		s.patterns[i] = parsePath(f.Path)
		s.many[i] = s.patterns[i].anyDepth || strings.Contains(f.Path, "[]")
	}
	s.model, s.streamOptions, s.includeUsage = s.Index("model"), s.Index("stream_options"), s.Index("stream_options.include_usage")
	s.serviceTier = s.Index("service_tier")
	return s
}

// start returns the state in which a scan begins.
func (s *Spec) start() *state {
	s.once.Do(func() {
		b := builder{patterns: s.patterns, built: map[string]*state{}}
		all := make([]place, len(s.patterns))
		for i, p := range s.patterns {
			all[i] = place{i, 0}
			if p.anyDepth {
				b.restart = append(b.restart, place{i, 0})
			}
		}
		s.root = b.state(all)
	})
	return s.root
}

// Index returns the position of a path among the fields, by which a Result is asked, or -1.
func (s *Spec) Index(path string) int {
	return slices.IndexFunc(s.fields, func(f Field) bool { return f.Path == path })
}

func parsePath(path string) pattern {
	rest, anyDepth := strings.CutPrefix(path, "**.")
	p := pattern{anyDepth: anyDepth}
	names := strings.Split(rest, ".")
	for _, part := range names {
		name, suffix, _ := strings.Cut(part, "[")
		if name == "" || len(name) > maxName || strings.Trim(suffix, "[]") != "" || strings.ContainsFunc(name, notNameRune) {
			panic(fmt.Sprintf("strictjson: bad path %q", path))
		}
		p.steps = append(p.steps, step(name))
		for range strings.Count(suffix, "]") {
			p.steps = append(p.steps, "")
		}
	}
	if anyDepth && len(names) > 2 {
		panic(fmt.Sprintf("strictjson: path %q has more than two names at any depth", path))
	}
	return p
}

func notNameRune(r rune) bool {
	return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
}

// place is how far one pattern has come.
type place struct{ pattern, step int }

// builder is the subset construction: a state for every set of places that can be reached.
type builder struct {
	patterns []pattern
	restart  []place // the places that every container has: the start of each pattern of any depth
	built    map[string]*state
}

func (b *builder) state(places []place) *state {
	if len(places) == 0 {
		return nil
	}
	slices.SortFunc(places, func(x, y place) int { return (x.pattern-y.pattern)*1000 + x.step - y.step })
	places = slices.Compact(places)
	id := make([]byte, 0, 4*len(places))
	for _, at := range places {
		id = binary.AppendUvarint(binary.AppendUvarint(id, uint64(at.pattern)), uint64(at.step))
	}
	if s, ok := b.built[string(id)]; ok {
		return s
	}
	s := &state{}
	b.built[string(id)] = s
	s.other = b.state(slices.Clone(b.restart))
	s.elem = b.edge(places, "")
	for _, name := range b.names(places) {
		e := b.edge(places, step(name))
		letter := name[0] & 31
		s.filter[letter] |= 1 << len(name)
		for next := letter + 1; int(next) < len(s.first); next++ {
			s.first[next]++
		}
		s.names = append(s.names, e)
	}
	slices.SortStableFunc(s.names, func(x, y edge) int { return int(x.name[0]&31) - int(y.name[0]&31) })
	if len(s.names) > 64 {
		panic("strictjson: more than 64 names in one object")
	}
	return s
}

func (b *builder) names(places []place) []string {
	var out []string
	for _, at := range places {
		name := string(b.patterns[at.pattern].steps[at.step])
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (b *builder) edge(places []place, by step) edge {
	e := edge{name: string(by)}
	next := slices.Clone(b.restart)
	for _, at := range places {
		p := b.patterns[at.pattern]
		if p.steps[at.step] != by {
			continue
		}
		e.param = param(p.steps[:at.step+1])
		e.fixed = e.fixed || !p.anyDepth
		if at.step+1 == len(p.steps) {
			e.accepts = append(e.accepts, at.pattern)
			continue
		}
		next = append(next, place{at.pattern, at.step + 1})
	}
	e.next = b.state(next)
	return e
}

// param joins steps as errors name a field: "tools[].type".
func param(steps []step) string {
	var out strings.Builder
	for i, s := range steps {
		switch {
		case s == "":
			out.WriteString("[]")
		case i > 0:
			out.WriteString("." + string(s))
		default:
			out.WriteString(string(s))
		}
	}
	return out.String()
}
