package steward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/ledger"
	"gatehouse/internal/store"
)

const (
	// maxObject bounds an object: a response may hold pictures. None of it is kept in memory.
	maxObject = 256 << 20
	// maxOutput bounds one file of a batch's answers.
	maxOutput = 4 << 30
)

// read reads the object of a piece of work, and records what it says was made: files of results, a model.
func (s *Steward) read(ctx context.Context, w *gatehouse.Work) (work.Report, error) {
	ctx, stop := context.WithTimeout(ctx, lookTimeout)
	defer stop()
	s.metrics.polled(w.Kind)
	c := usage.Capture{Want: usage.MadeFile | usage.MadeModel | usage.MadeContainer}
	if err := s.fetch(ctx, w, w.Poll, maxObject, &c); err != nil {
		return work.Report{}, err
	}
	r, ok := work.Read(w.Kind, w.ID, &c)
	if !ok {
		return work.Report{}, errors.New("the upstream's answer is not the object")
	}
	for kind, id := range c.Made {
		err := s.cfg.Ledger.Own(gatehouse.Object{ID: id, Project: w.Project, Upstream: w.UpstreamID, Kind: kind.Kind(), CreatedAt: gatehouse.MillisOf(s.cfg.Now())})
		if err != nil {
			return work.Report{}, err
		}
	}
	return r, nil
}

// fetch copies what is at a path into to.
func (s *Steward) fetch(ctx context.Context, w *gatehouse.Work, path string, most int64, to io.Writer) error {
	status, body, err := s.cfg.Fetch(ctx, w, path)
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		return errRemoved
	case err != nil:
		return err
	}
	defer func() { _ = body.Close() }() // what was read of it counts
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return errGone
	case status != http.StatusOK:
		return fmt.Errorf("the upstream answered with status %d", status)
	}
	n, err := io.Copy(to, io.LimitReader(body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("the upstream's answer broke off: %w", err)
	case n > most:
		return fmt.Errorf("the upstream's answer is longer than %d bytes", most)
	}
	return nil
}

// settle journals what ended work used.
func (s *Steward) settle(ctx context.Context, w *gatehouse.Work, r *work.Report) error {
	if w.Kind == gatehouse.WorkBatch {
		return s.settleBatch(ctx, w, r)
	}
	o := ledger.Outcome{Units: r.Units, Confidence: gatehouse.Reported, UpstreamModel: r.Model, ServiceTier: r.ServiceTier, Size: r.Size}
	if w.Model == "" {
		o.Model = r.Model // the caller left it to the upstream
	}
	switch {
	case r.Reported:
	case w.Kind == gatehouse.WorkVideo:
		return s.settleReserve(w) // it was made, and does not say how long it is
	default:
		o.Confidence = gatehouse.Estimated
		o.Units.Input = usage.Estimate(w.Input)
	}
	return s.journal(w, &o)
}

// settleReserve journals the reserve as what the work used.
func (s *Steward) settleReserve(w *gatehouse.Work) error {
	return s.journal(w, &ledger.Outcome{Confidence: gatehouse.Estimated, AtBound: true,
		Units: gatehouse.Units{Input: w.Input, Output: w.Output, VideoMilliseconds: w.VideoMilliseconds}})
}

func (s *Steward) journal(w *gatehouse.Work, o *ledger.Outcome) error {
	if err := s.cfg.Ledger.SettleWork(w, o); err != nil {
		return errors.Join(errJournal, err)
	}
	s.metrics.settled(o.Confidence)
	return nil
}

// settleBatch journals what a batch used: what it says itself, where one model answered and it says something, else what its lines
// say. Each model counts under a name of its own; the first under the batch's id, which ends it.
func (s *Steward) settleBatch(ctx context.Context, w *gatehouse.Work, r *work.Report) error {
	said := r.Reported && (r.Units.Input > 0 || r.Units.Output > 0)
	if said && w.Model != "" || r.OutputFile == "" && r.ErrorFile == "" {
		return s.journal(w, &ledger.Outcome{Units: r.Units, Confidence: gatehouse.Reported, UpstreamModel: r.Model})
	}
	ctx, stop := context.WithTimeout(ctx, filesTimeout)
	defer stop()
	lines := work.NewLines(w.Product)
	for _, file := range []string{r.OutputFile, r.ErrorFile} {
		if file == "" {
			continue
		}
		if err := s.fetch(ctx, w, "/files/"+url.PathEscape(file)+"/content", maxOutput, lines); err != nil {
			return fmt.Errorf("read file %s of the batch: %w", file, err)
		}
		lines.End()
	}
	names, err := s.modelsOf(ctx, r.InputFile)
	if err != nil {
		return err
	}
	sums := lines.Sums()
	switch {
	case len(sums) == 0 && said:
		return s.journal(w, &ledger.Outcome{Units: r.Units, Confidence: gatehouse.Reported, UpstreamModel: r.Model})
	case len(sums) == 0:
		return s.journal(w, &ledger.Outcome{Confidence: gatehouse.Reported}) // every line failed, or what it calls costs nothing
	}
	for i, sum := range slices.Backward(sums) { // the last one ends the work
		o := ledger.Outcome{Units: sum.Units, Confidence: gatehouse.Reported, UpstreamModel: sum.Model, Model: deploymentOf(names, sum.Model)}
		if i > 0 {
			o.Part = sum.Model
		}
		if err := s.journal(w, &o); err != nil {
			return err
		}
	}
	return nil
}

// modelsOf returns what was read of a batch's input file, nothing where it is not on record.
func (s *Steward) modelsOf(ctx context.Context, file string) (models []gatehouse.BatchModel, err error) {
	if file == "" {
		return nil, nil
	}
	err = s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		in, err := tx.BatchInput(file)
		if gatehouse.KindOf(err) == gatehouse.NotFound {
			return nil
		}
		if err == nil {
			models = in.Models
		}
		return err
	})
	return models, err
}

// deploymentOf returns the deployment that the lines of a model asked for. An upstream says which version of a model answered: the
// longest name that it begins with is the one that was asked for.
func deploymentOf(models []gatehouse.BatchModel, answered string) string {
	name, longest := "", -1
	for _, m := range models {
		if len(m.Upstream) > longest && strings.HasPrefix(answered, m.Upstream) {
			name, longest = m.Name, len(m.Upstream)
		}
	}
	switch {
	case name != "":
		return name
	case len(models) == 1:
		return models[0].Name
	}
	return answered
}
