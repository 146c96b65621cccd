package work

import (
	"bytes"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

// Sum is what the lines of a batch used that one model answered.
type Sum struct {
	Model string // as the upstream called it
	Units gatehouse.Units
	Lines int64
}

// maxModels bounds the models of one batch that are told apart; what is beyond counts for the last.
const maxModels = 64

// Lines adds up the files in which a batch's answers stand, one JSON object a line. It is an io.Writer that takes pieces of any
// size and buffers no line. Make it with NewLines.
type Lines struct {
	shape   usage.Shape
	line    usage.Capture
	some    bool // of the current line
	sums    map[string]*Sum
	last    *Sum
	Counted int64 // lines that said what they used
}

// NewLines returns a sum over the files of a batch whose lines count in a product, as gatehouse.Usage names it.
func NewLines(product string) *Lines {
	shape := usage.Responses // and Chat, which says the same in other words
	switch product {
	case "embeddings":
		shape = usage.Embeddings
	case "images":
		shape = usage.Images
	}
	return &Lines{shape: shape, sums: map[string]*Sum{}}
}

// Write reads the next piece of a file. It takes all of it and never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			_, _ = l.line.Write(p) // a Capture takes everything
			l.some = true
			break
		}
		_, _ = l.line.Write(p[:end])
		l.End()
		p = p[end+1:]
	}
	return n, nil
}

// End ends the current line. The last line of a file may have no line end of its own.
func (l *Lines) End() {
	c := &l.line
	if c.Complete() || l.some {
		l.count()
	}
	c.Reset()
	l.some = false
}

func (l *Lines) count() {
	c := &l.line
	u, ok := usage.Of(l.shape, c)
	if ms, video := usage.Milliseconds(bytes.Trim(c.Get(usage.Seconds), `"`)); video && !ok {
		u, ok = gatehouse.Units{VideoMilliseconds: ms}, true
	}
	if !ok {
		return
	}
	l.Counted++
	model := c.Text(usage.Model)
	s := l.sums[model]
	if s == nil && len(l.sums) >= maxModels {
		s = l.last
	}
	if s == nil {
		s = &Sum{Model: model}
		l.sums[model], l.last = s, s
	}
	s.Lines++
	s.Units.Add(u)
}

// Sums returns what each model used, in the order of their names.
func (l *Lines) Sums() []Sum {
	list := make([]Sum, 0, len(l.sums))
	for _, s := range l.sums {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Sum) int { return strings.Compare(a.Model, b.Model) })
	return list
}
