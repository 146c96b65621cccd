// Package sums owns the format in which usage is kept added up: pages of sums, sorted, so that many are merged into one or read for a
// report in a single pass and without a sort. It knows no database: package store says which pages there are and when they are merged.
//
// A sum is kept by its dimensions (Dim) and, in pages of minutes, by its minute. Pages add up: the sums of a stretch of time are those
// of all its pages together, whichever of them hold the same dimensions. So usage is recorded by adding a page and never by changing
// one, and merging changes how many pages there are but no sum.
package sums

import "gatehouse"

// Dim is one of the texts that a sum is kept by. Their order is the order of sums in a page.
type Dim uint8

// The dimensions. Those from Key on are left out of pages without keys.
const (
	Product Dim = iota
	Project
	Model
	ServiceTier
	Batch // "1" for a batch's
	Upstream
	UpstreamModel
	Confidence
	Source
	Size
	Key
	User
	ServiceAccount
	Labels // as gatehouse.Usage.Labels

	Dims    = int(Labels) + 1
	Keyless = int(Key) // how many of them a page without keys has
)

// letters are the dimensions' names in a page. A new one takes a letter that none has had.
var letters = [Dims]byte{Product: 'p', Project: 'j', Model: 'm', ServiceTier: 't', Batch: 'b', Upstream: 'u', UpstreamModel: 'n', Confidence: 'c', Source: 'o', Size: 's',
	Key: 'k', User: 'w', ServiceAccount: 'a', Labels: 'l'}

// Of returns the dimensions of one settled request.
func Of(u *gatehouse.Usage) [Dims]string {
	batch := ""
	if u.Batch {
		batch = "1"
	}
	return [Dims]string{Product: u.Product, Project: u.Project, Model: u.Model, ServiceTier: u.ServiceTier, Batch: batch, Upstream: u.Upstream,
		UpstreamModel: u.UpstreamModel, Confidence: string(u.Confidence), Source: u.Source, Size: u.Size,
		Key: u.Key, User: u.User, ServiceAccount: u.ServiceAccount, Labels: u.Labels}
}

// Sums is usage added up.
type Sums struct {
	Requests int64
	Unpriced int64             // how many of the requests had no known price and are not in Cost
	Cost     gatehouse.NanoUSD // of the priced ones
	Parts    gatehouse.Parts   // of the cost
	Searches int64             // how many of the requests searched the web
	Units    gatehouse.Units
}

// Add adds one settled request.
func (s *Sums) Add(u *gatehouse.Usage) {
	s.Requests++
	if u.CostKnown {
		s.Cost += u.Cost
		s.Parts.Add(&u.Parts)
	} else {
		s.Unpriced++
	}
	if searched(u) {
		s.Searches++
	}
	s.Units.Add(u.Units)
}

// Merge adds other sums.
func (s *Sums) Merge(o *Sums) {
	s.Requests += o.Requests
	s.Unpriced += o.Unpriced
	s.Cost += o.Cost
	s.Parts.Add(&o.Parts)
	s.Searches += o.Searches
	s.Units.Add(o.Units)
}

func searched(u *gatehouse.Usage) bool { return u.Units.WebSearches+u.Units.WebSearchPreviews > 0 }

// UnitFields returns u's counters in the order that they have wherever they are stored. A new one goes last.
func UnitFields(u *gatehouse.Units) [units]*int64 {
	return [...]*int64{&u.Input, &u.Cached, &u.CacheWrite, &u.InputText, &u.InputAudio, &u.InputImage, &u.CachedAudio, &u.CachedImage,
		&u.Output, &u.Reasoning, &u.OutputText, &u.OutputAudio, &u.OutputImage, &u.Images, &u.Characters, &u.Milliseconds, &u.VideoMilliseconds, &u.Trained,
		&u.WebSearches, &u.WebSearchPreviews, &u.FileSearches, &u.Containers}
}

// tally is Sums as a row of numbers: what pages are read into. Pages name the places; new units take the places behind the others, and
// the last places before the parts are for what is counted beside units, from the end.
type tally [fields]int64

const (
	units = 22

	fieldRequests = 0
	fieldUnpriced = 1
	fieldCost     = 2
	fieldUnits    = 3
	fieldSearches = fieldParts - 1
	fieldParts    = 44
	fields        = fieldParts + gatehouse.PartCount
)

const _ = uint(fieldSearches - fieldUnits - units) // units and what is beside them do not meet

func (t *tally) add(o *tally) {
	for i := range t {
		t[i] += o[i]
	}
}

func (t *tally) usage(u *gatehouse.Usage) {
	t[fieldRequests]++
	if u.CostKnown {
		t[fieldCost] += int64(u.Cost)
		for i, n := range u.Parts.Fields() {
			t[fieldParts+i] += int64(*n)
		}
	} else {
		t[fieldUnpriced]++
	}
	if searched(u) {
		t[fieldSearches]++
	}
	for i, n := range UnitFields(&u.Units) {
		t[fieldUnits+i] += *n
	}
}

func (t *tally) sums() Sums {
	s := Sums{Requests: t[fieldRequests], Unpriced: t[fieldUnpriced], Cost: gatehouse.NanoUSD(t[fieldCost]), Searches: t[fieldSearches]}
	for i, n := range s.Parts.Fields() {
		*n = gatehouse.NanoUSD(t[fieldParts+i])
	}
	for i, n := range UnitFields(&s.Units) {
		*n = t[fieldUnits+i]
	}
	return s
}

// mask returns which of the numbers are not zero.
func (t *tally) mask() (m uint64) {
	for i, n := range t {
		if n != 0 {
			m |= 1 << i
		}
	}
	return m
}

const _ = uint(64 - fields) // a mask is 64 bits
