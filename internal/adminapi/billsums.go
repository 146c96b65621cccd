package adminapi

import (
	"cmp"
	"slices"

	"gatehouse"
	"gatehouse/internal/dialect/bill"
	"gatehouse/internal/finance"
)

// billSums adds up the lines of a bill by model, meter and project, so that what is kept does not grow with days and resources.
// Quantities of a usage report fill in where a bill names none.
type billSums struct {
	sums     map[billKey]*bill.Line
	missing  map[billKey]bool  // has a cost without a quantity
	reported map[billKey]int64 // quantities of the usage report
}

type billKey struct{ model, meter, project, text string }

func keyOf(l *bill.Line) billKey {
	k := billKey{l.Model, l.Meter, l.Project, ""}
	if l.Meter == "" {
		k.text = l.Text
	}
	return k
}

func (b *billSums) add(l *bill.Line) {
	if b.sums == nil {
		b.sums, b.missing, b.reported = map[billKey]*bill.Line{}, map[billKey]bool{}, map[billKey]int64{}
	}
	k := keyOf(l)
	s := b.sums[k]
	if s == nil {
		kept := *l
		kept.Cost, kept.Quantity, kept.Start = 0, 0, 0
		s = &kept
		b.sums[k] = s
	}
	s.Cost += l.Cost
	s.Quantity += l.Quantity
	s.Quantified = s.Quantified && l.Quantified
	if !l.Quantified && l.Cost != 0 && l.Meter != "" {
		b.missing[k] = true
	}
}

func (b *billSums) full() bool { return len(b.sums) > maxBillLines }

// lack reports whether something of the bill has no quantity.
func (b *billSums) lack() bool { return len(b.missing) > 0 }

// quantities notes what a usage report says.
func (b *billSums) quantities(u *bill.Usage) {
	for _, m := range finance.Meters {
		if n := m.Of(&u.Units); n != 0 {
			b.reported[billKey{u.Model, m.Name, u.Project, ""}] += n
		}
	}
}

// lines returns the sums in one order.
func (b *billSums) lines() ([]bill.Line, error) {
	if b.full() {
		return nil, &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_bill_refused", Message: "The bill has too many different lines. Ask for fewer days."}
	}
	out := make([]bill.Line, 0, len(b.sums))
	for k, l := range b.sums {
		if n, ok := b.reported[k]; ok && b.missing[k] {
			l.Quantity, l.Quantified = n, true
		}
		out = append(out, *l)
	}
	slices.SortFunc(out, func(x, y bill.Line) int {
		return cmp.Or(cmp.Compare(x.Model, y.Model), cmp.Compare(x.Meter, y.Meter), cmp.Compare(x.Project, y.Project), cmp.Compare(x.Text, y.Text))
	})
	return out, nil
}
