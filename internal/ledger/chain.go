package ledger

import (
	"encoding/binary"
	"errors"
	"io"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
)

// chains is what the numbers of one segment stand for.
//
// Most requests of a key count in the same windows of budgets, which would be a third of what their records say. So a record names them by
// a number, [budget.Chain.Number], and its segment says once what that is: in a record of kindChain, written together with the first record
// that needs it. A number means nothing outside of its segment, whose process gave it: a hold and its settlement may lie in two segments,
// and each finds its chain in its own. A chain that nothing names is harmless. A record that names one its segment does not have does not
// decode.
type chains map[uint64]*budget.Chain

// appendChain is the payload of a chain's record.
func appendChain(b []byte, c *budget.Chain) []byte {
	b = binary.AppendUvarint(b, c.Number)
	b = appendText(b, c.Node)
	b = binary.AppendUvarint(b, uint64(len(c.Windows)))
	for i := range c.Windows {
		w := &c.Windows[i]
		b = appendText(b, w.Budget)
		b = binary.AppendVarint(b, int64(w.Start))
		b = binary.AppendVarint(b, int64(w.End))
	}
	return b
}

// define takes in the payload of a chain's record.
func (c chains) define(payload []byte) error {
	f := fieldsOf(payload)
	number, node := f.count(), f.text()
	windows := f.windows(f.count())
	if err := f.done(); err != nil {
		return err
	}
	if number == 0 || len(windows) == 0 {
		return errPayload
	}
	c[number] = budget.NewChain(node, windows)
	return nil
}

// maxBudgets bounds the budgets of one record.
const maxBudgets = 4096

func (f *fields) windows(n uint64) []gatehouse.BudgetWindow {
	if n > maxBudgets {
		f.bad = true
	}
	if n == 0 || f.bad {
		return nil
	}
	windows := make([]gatehouse.BudgetWindow, n)
	for i := range windows {
		windows[i] = gatehouse.BudgetWindow{Budget: f.text(), Start: gatehouse.Millis(f.number()), End: gatehouse.Millis(f.number())}
	}
	return windows
}

// chains reads what the segment f defines before an offset, for whoever reads on from there.
func (r *reader) chains(f io.ReaderAt, before int64) (chains, error) {
	found := chains{}
	r.open(f, 0, before)
	for {
		rec, err := r.next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if rec.kind == kindChain {
			_ = found.define(rec.payload) // one that does not decode was set aside by whoever read it first; what names it does not decode either
		}
	}
}

// chained returns b behind the records of those of its chains that the active segment does not define yet. It says of them that it does:
// where the result is not written, they must be forgotten. What it returns is good until the next call. The caller holds mu.
func (j *journal) chained(b []byte, used []*budget.Chain) []byte {
	segment := j.segments[len(j.segments)-1].number
	all := j.joined[:0]
	for _, c := range used {
		if c == nil || c.Segment == segment {
			continue
		}
		c.Segment = segment
		var start int
		all, start = beginFrame(all, kindChain)
		all = endFrame(appendChain(all, c), start)
	}
	if len(all) == 0 {
		return b
	}
	j.joined = append(all, b...)
	return j.joined
}

// forget makes the next record that names one of these chains define it again, which it may need or not. The caller holds mu.
func forget(used []*budget.Chain) {
	for _, c := range used {
		if c != nil {
			c.Segment = 0
		}
	}
}
