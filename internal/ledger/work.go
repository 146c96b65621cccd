package ledger

import (
	"encoding/binary"
	"errors"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
)

// Outcome is what a piece of work turned out to be.
type Outcome struct {
	Units      gatehouse.Units
	Confidence gatehouse.Confidence
	// What follows replaces the work's value when it is not empty.
	Model         string // the deployment, for one of several models of a batch
	UpstreamModel string
	ServiceTier   string
	Size          string
	Quality       string
	// Part, when not empty, says that this is one of several usages of the work: it counts under the work's id, a slash and Part, and
	// the work goes on until one without a part is settled.
	Part string
	// AtBound says that nobody knows what the work used, so that it costs what was reserved for it, where that is known.
	AtBound bool
}

// SettleWork journals what work cost, as [Hold.Settle] does for a request. Its usage counts under the work's id, so that it counts
// once however many nodes see the end; recording it ends the work. An error is [gatehouse.Unavailable]: it is not on disk, and the
// work is to be settled again later.
func (l *Ledger) SettleWork(w *gatehouse.Work, o *Outcome) error {
	if w.ID == "" {
		return errors.New("settle work: it has no id")
	}
	c := Charge{
		RequestID: w.Request, UsageID: w.ID, Organization: w.Organization, Project: w.Project, Key: w.Key, User: w.User, ServiceAccount: w.ServiceAccount,
		Product: w.Product, Model: w.Model, Dialect: w.Dialect, Upstream: w.Upstream, UpstreamModel: w.UpstreamModel, ServiceTier: w.ServiceTier,
		Batch: w.Batch, At: w.At, PricedAs: w.PricedAs, Size: w.Size, Quality: w.Quality, Labels: w.Labels, work: true,
	}
	if len(w.Budgets) > 0 {
		c.chain = budget.NewChain(w.Node, w.Budgets)
	}
	if o.Part != "" {
		c.UsageID += "/" + o.Part
	}
	if o.Model != "" {
		c.Model = o.Model
	}
	s := Settlement{Units: o.Units, Confidence: o.Confidence, UpstreamModel: o.UpstreamModel, ServiceTier: o.ServiceTier, Size: o.Size, Quality: o.Quality}
	c.settle(&s)
	c.Bound, c.BoundKnown, s.Bound = w.Bound, w.Bound > 0, o.AtBound
	l.price(&c, &s)
	b, start := beginFrame(nil, kindSettled)
	return l.append(endFrame(appendSettled(b, &c, &s), start), c.chain)
}

// maxBatchModels bounds the models one record of a batch's input keeps.
const maxBatchModels = 64

// KeepBatchInput journals what was read of a batch's input file. An error is [gatehouse.Unavailable]: the answer that names the
// file must not be completed.
func (l *Ledger) KeepBatchInput(in *gatehouse.BatchInput) error {
	if in.File == "" {
		return errors.New("journal a batch's input: it has no file")
	}
	if len(in.Models) > maxBatchModels {
		return errors.New("journal a batch's input: it has too many models")
	}
	b, start := beginFrame(nil, kindBatchInput)
	return l.append(endFrame(appendBatchInput(b, in), start), nil)
}

// append writes one record and waits for the disk where every record does.
func (l *Ledger) append(b []byte, chain *budget.Chain) error {
	end, err := l.journal.write(b, chain)
	if err != nil || l.cfg.Sync > 0 {
		return err
	}
	return l.journal.syncTo(end)
}

// appendWork appends what work says beyond the charge of the request that began it.
func appendWork(b []byte, w *gatehouse.Work) []byte {
	b = appendText(b, w.ID)
	b = appendText(b, string(w.Kind))
	b = appendText(b, w.UpstreamID)
	b = appendText(b, w.Poll)
	b = binary.AppendVarint(b, int64(w.Expires))
	return binary.AppendVarint(b, int64(w.Next))
}

func (f *fields) work(w *gatehouse.Work) {
	w.ID = f.text()
	w.Kind = gatehouse.WorkKind(f.text())
	w.UpstreamID = f.text()
	w.Poll = f.text()
	w.Expires = gatehouse.Millis(f.number())
	w.Next = gatehouse.Millis(f.number())
}

// appendBatchInput is the payload of a batch input record.
func appendBatchInput(b []byte, in *gatehouse.BatchInput) []byte {
	b = appendText(b, in.File)
	b = appendText(b, in.Project)
	b = appendText(b, in.Upstream)
	b = appendText(b, in.Endpoint)
	b = binary.AppendVarint(b, in.Lines)
	b = binary.AppendVarint(b, in.Input)
	b = binary.AppendVarint(b, in.Output)
	b = binary.AppendVarint(b, int64(in.CreatedAt))
	b = binary.AppendUvarint(b, uint64(len(in.Models)))
	for i := range in.Models {
		m := &in.Models[i]
		b = appendText(b, m.Name)
		b = appendText(b, m.Upstream)
		b = binary.AppendVarint(b, m.Lines)
		b = appendUnits(b, &m.Most)
		b = binary.AppendVarint(b, m.Open)
	}
	return b
}

func decodeBatchInput(payload []byte, version byte) (*gatehouse.BatchInput, error) {
	f := fieldsOf(payload)
	in := &gatehouse.BatchInput{File: f.text(), Project: f.text(), Upstream: f.text(), Endpoint: f.text()}
	in.Lines, in.Input, in.Output = f.number(), f.number(), f.number()
	in.CreatedAt = gatehouse.Millis(f.number())
	n := f.count()
	if n > maxBatchModels {
		return nil, errPayload
	}
	for range n {
		m := gatehouse.BatchModel{Name: f.text(), Upstream: f.text(), Lines: f.number()}
		if version >= 5 {
			f.units(&m.Most, version)
			m.Open = f.number()
		}
		in.Models = append(in.Models, m)
	}
	return in, f.done()
}
