package prices

import (
	"hash/maphash"
	"math"
	"sync/atomic"

	"gatehouse"
)

// found is the versions that price a model: an operator's and the built-in one, of the model itself and of every model. Any may be nil.
type found struct {
	own, builtIn           *version
	ownEvery, builtInEvery *version
	text                   *[]ceiling // what follows from them for text, where that was worked out
}

// priced returns the version that prices of, an operator's first.
func (f *found) priced(of *Of) *version {
	if of.Model == AnyModel {
		return nil
	}
	if f.own != nil {
		return f.own
	}
	return f.builtIn
}

// everywhere returns what a provider says of a tier for every model.
func (f *found) everywhere(at tier) *plan {
	if v := f.ownEvery; v != nil && v.tiers[at] != nil {
		return v.tiers[at]
	}
	if v := f.builtInEvery; v != nil {
		return v.tiers[at]
	}
	return nil
}

// tool returns what a call of a hosted tool costs with every model of a provider.
func (f *found) tool(x rate) (int64, bool) {
	if v := f.ownEvery; v != nil && v.standard.has(x) {
		return v.standard.per[x], true
	}
	if v := f.builtInEvery; v != nil && v.standard.has(x) {
		return v.standard.per[x], true
	}
	return 0, false
}

// span is the time for which what was found is what is found: from included, until not.
type span struct{ from, until gatehouse.Millis }

// cache keeps what was found lately. The same few models of the same few organizations and upstreams are asked for again and again, each
// several times a request, and finding one goes through many maps.
//
// It has a fixed size, and what it keeps is immutable. Callers may make names up, until every place of a model is taken: then one miss
// in keepEvery takes the place of another, so that names nobody asks for twice hardly push out others or cost memory, and one that is
// asked for often finds its place.
type cache struct {
	places [cachePlaces]atomic.Pointer[kept]
	misses atomic.Uint32 // with every place taken
}

const (
	cachePlaces = 512
	cacheWays   = 2 // places of one model
	keepEvery   = 32
	maxKeptName = 512 // bytes of names that something is kept by
)

// kept is what was found for whom, and when that holds.
type kept struct {
	organization, upstream, model string
	dialect                       gatehouse.Dialect
	span
	found
}

func (k *kept) is(of *Of) bool {
	return k.from <= of.At && of.At < k.until && k.model == of.Model && k.upstream == of.Upstream && k.organization == of.Organization && k.dialect == of.Dialect
}

var seed = maphash.MakeSeed()

// find returns what prices of.
func (t *Table) find(of *Of) found {
	h := maphash.String(seed, of.Model) ^ 3*maphash.String(seed, of.Upstream) ^ 5*maphash.String(seed, of.Organization)
	ways := t.cache.places[h%(cachePlaces/cacheWays)*cacheWays:][:cacheWays]
	for i := range ways {
		if k := ways[i].Load(); k != nil && k.is(of) {
			return k.found
		}
	}
	f, s := t.search(of)
	for i := range ways {
		if ways[i].Load() == nil {
			keep(&ways[i], of, &f, s)
			return f
		}
	}
	if n := t.cache.misses.Add(1); n%keepEvery == 0 {
		keep(&ways[n/keepEvery%cacheWays], of, &f, s)
	}
	return f
}

// keep copies what it keeps: a name may be part of a request, which is larger and does not last.
func keep(place *atomic.Pointer[kept], of *Of, f *found, s span) {
	if len(of.Organization)+len(of.Upstream)+len(of.Model) > maxKeptName {
		return
	}
	names := of.Organization + of.Upstream + string(of.Dialect) + of.Model
	cut := func(n int) (name string) {
		name, names = names[:n], names[n:]
		return name
	}
	k := &kept{organization: cut(len(of.Organization)), upstream: cut(len(of.Upstream)), dialect: gatehouse.Dialect(cut(len(of.Dialect))),
		model: names, span: s, found: *f}
	if list := f.ceilings(f.priced(of)); list != nil {
		k.text = &list
	}
	place.Store(k)
}

// search finds what prices of in the table, and for how long.
func (t *Table) search(of *Of) (f found, s span) {
	s = span{math.MinInt64, math.MaxInt64}
	f.own, f.builtIn = t.ownVersion(of, of.Model, &s), t.builtInVersion(of, of.Model, &s)
	f.ownEvery, f.builtInEvery = t.ownVersion(of, AnyModel, &s), t.builtInVersion(of, AnyModel, &s)
	return f, s
}
