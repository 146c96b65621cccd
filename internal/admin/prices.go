package admin

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"gatehouse"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// PriceSpec is a price as it is declared.
type PriceSpec struct {
	Upstream string            // the name of the one upstream it holds for
	Dialect  gatehouse.Dialect // or every upstream that speaks this; openai where both are empty
	Model    string            // as the upstream calls it, or what a route says it is priced as; "*": see prices.AnyModel
	From     gatehouse.Millis  // 0: always
	Terms    prices.Terms
	Note     string
}

// Prices lists the organization's own prices by model.
func (s *Service) Prices(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.Price, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.Prices(who.Organization)
		return err
	})
	return list, err
}

// Price returns one of the organization's own prices.
func (s *Service) Price(ctx context.Context, who *gatehouse.Principal, id string) (p *gatehouse.Price, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		p, err = s.price(tx, who, id)
		return err
	})
	return p, err
}

// PutPrice sets what a model costs from a time on, and replaces what was set for that time. It holds for what is reserved from now on,
// and for usage of that time that is settled from now on; what is settled already keeps its cost.
func (s *Service) PutPrice(ctx context.Context, who *gatehouse.Principal, spec PriceSpec) (*gatehouse.Price, error) {
	var p *gatehouse.Price
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		p, out, err = s.putPrice(tx, who, spec)
		return out, err
	})
	return p, err
}

// RemovePrice removes a price: the one before it holds again, and where there is none the built-in one.
func (s *Service) RemovePrice(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		p, err := s.price(tx, who, id)
		if err != nil {
			return nil, err
		}
		return s.removePrice(tx, p)
	})
}

func (s *Service) price(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Price, error) {
	p, err := tx.Price(id)
	if err != nil {
		return nil, hide(err, "price", clipped(id))
	}
	if p.Organization != who.Organization || p.RemovedAt != 0 {
		return nil, notFound("price", clipped(id))
	}
	return p, nil
}

// maxTerms bounds what one price says, in bytes.
const maxTerms = 32 << 10

func (s *Service) checkPrice(tx *store.Tx, who *gatehouse.Principal, spec *PriceSpec) (terms string, err error) {
	spec.Model = strings.TrimSpace(spec.Model)
	switch {
	case spec.Model == "":
		return "", gatehouse.InvalidParam("model", "Missing 'model': the name that the upstream has for it, or that a route says it is priced as.")
	case len(spec.Model) > 256 || !utf8.ValidString(spec.Model):
		return "", gatehouse.InvalidParam("model", "Invalid 'model': it is longer than a name of a model is.")
	case len(spec.Note) > 512 || !utf8.ValidString(spec.Note):
		return "", gatehouse.InvalidParam("note", "Invalid 'note': at most 512 bytes are kept.")
	case spec.From < 0:
		return "", gatehouse.InvalidParam("effective_from", "Invalid 'effective_from': it must not be before 1970.")
	}
	if spec.Upstream != "" {
		spec.Dialect = ""
		ups, err := tx.Upstreams(who.Organization)
		if err != nil {
			return "", err
		}
		known := false
		for i := range ups {
			known = known || ups[i].Name == spec.Upstream
		}
		if !known {
			return "", gatehouse.InvalidParam("upstream", "Invalid 'upstream': there is no upstream named %q. `gatehouse upstreams list` shows the names.", clipped(spec.Upstream))
		}
	} else if spec.Dialect == "" {
		spec.Dialect = gatehouse.OpenAI
	}
	switch spec.Dialect {
	case "", gatehouse.OpenAI, gatehouse.Azure, gatehouse.Mock:
	default:
		return "", gatehouse.InvalidParam("dialect", "Invalid 'dialect': it must be openai, azure or mock.")
	}
	if err := prices.Check(spec.Model, &spec.Terms); err != nil {
		return "", gatehouse.InvalidParam("cost", "Invalid price of %q: %s.", clipped(spec.Model), err.Error())
	}
	text, err := json.Marshal(&spec.Terms)
	if err != nil {
		return "", err
	}
	if len(text) > maxTerms {
		return "", gatehouse.InvalidParam("cost", "Invalid price of %q: it says more than %d bytes.", clipped(spec.Model), maxTerms)
	}
	return string(text), nil
}

func (s *Service) putPrice(tx *store.Tx, who *gatehouse.Principal, spec PriceSpec) (*gatehouse.Price, *outcome, error) {
	terms, err := s.checkPrice(tx, who, &spec)
	if err != nil {
		return nil, nil, err
	}
	list, err := tx.Prices(who.Organization)
	if err != nil {
		return nil, nil, err
	}
	p := &gatehouse.Price{Organization: who.Organization, Upstream: spec.Upstream, Dialect: spec.Dialect, Model: spec.Model, From: spec.From}
	for i := range list {
		if have := &list[i]; have.Upstream == p.Upstream && have.Dialect == p.Dialect && have.Model == p.Model && have.From == p.From {
			p = have
		}
	}
	out := &outcome{kind: "price", name: priceName(p)}
	if p.ID != "" {
		if p.Terms != terms {
			out.changes = append(out.changes, "cost")
		}
		if p.Note != spec.Note {
			out.changes = append(out.changes, "note")
		}
		if len(out.changes) == 0 {
			return p, out, nil
		}
	}
	before := p.Terms
	p.Terms, p.Note = terms, spec.Note
	kind := "price.updated"
	if out.action = "update"; p.ID == "" {
		out.action, kind = "create", "price.created"
		p.ID, p.CreatedAt = gatehouse.NewID(gatehouse.PrefixPrice), tx.Now
		err = tx.CreatePrice(p)
	} else {
		err = tx.SavePrice(p)
	}
	out.event = priceEvent(kind, p, before)
	return p, out, err
}

func (s *Service) removePrice(tx *store.Tx, p *gatehouse.Price) (*outcome, error) {
	p.RemovedAt = tx.Now
	return &outcome{action: "delete", kind: "price", name: priceName(p), event: priceEvent("price.deleted", p, "")}, tx.SavePrice(p)
}

// prices sets the prices of a manifest and returns their ids.
func (a *application) prices(want []ManifestPrice) (map[string]bool, error) {
	set := map[string]bool{}
	for i := range want {
		w := &want[i]
		from, err := gatehouse.ParseInstant(w.From)
		if err != nil {
			return nil, gatehouse.InvalidParam("prices", "The price of %q: 'effective_from' is a day such as 2026-09-01, or an instant such as 2026-09-01T12:00:00Z.", clipped(w.Model))
		}
		p, out, err := a.s.putPrice(a.tx, a.who, PriceSpec{Upstream: w.Upstream, Dialect: w.Dialect, Model: w.Model, From: from, Terms: w.Terms, Note: w.Note})
		if err != nil {
			return nil, err
		}
		if set[p.ID] {
			return nil, gatehouse.InvalidParam("prices", "The manifest declares the price of %s twice.", priceName(p))
		}
		set[p.ID] = true
		a.note(out)
	}
	return set, nil
}

// prunePrices removes the prices that the manifest does not name.
func (a *application) prunePrices(keep map[string]bool) error {
	list, err := a.tx.Prices(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range list {
		if keep[list[i].ID] {
			continue
		}
		out, err := a.s.removePrice(a.tx, &list[i])
		if err != nil {
			return err
		}
		a.note(out)
	}
	return nil
}

// priceEvent tells a change with what the price was before, "" where there was none.
func priceEvent(kind string, p *gatehouse.Price, before string) *gatehouse.Event {
	change := map[string]any{"id": p.ID, "upstream": p.Upstream, "dialect": p.Dialect, "model": p.Model, "effective_from": p.From.Seconds(), "price": json.RawMessage(p.Terms)}
	if before != "" {
		change["before"] = json.RawMessage(before)
	}
	return &gatehouse.Event{Type: kind, Organization: p.Organization, Subject: gatehouse.SubjectPrice, SubjectID: p.ID, Change: detail(change)}
}

// priceName says in a plan which price is meant.
func priceName(p *gatehouse.Price) string {
	name := string(p.Dialect)
	if p.Upstream != "" {
		name = p.Upstream
	}
	name += " " + p.Model
	if p.From != 0 {
		name += " from " + p.From.Time().UTC().Format("2006-01-02T15:04:05Z07:00")
	}
	return name
}
