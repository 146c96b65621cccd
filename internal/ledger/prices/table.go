package prices

import (
	"slices"
	"strings"

	"gatehouse"
)

// Table is an immutable table of what models cost. Its methods may be called from any goroutine, and allocate nothing for what was asked
// for lately.
type Table struct {
	builtIn map[gatehouse.Dialect]map[string][]*version
	// own are the prices of operators.
	own   map[ownKey][]*version
	cache cache
}

// ownKey is whose price it is and of what: either of an upstream, by its name, or of a dialect.
type ownKey struct {
	organization string
	upstream     string
	dialect      gatehouse.Dialect
	model        string
}

// AnyModel is the name under which a table keeps what holds for every model of a provider: calls of hosted tools, and what a service
// tier costs of the standard one.
const AnyModel = "*"

// Of says what is priced.
type Of struct {
	Organization string
	Dialect      gatehouse.Dialect
	Upstream     string // its name
	Model        string // as the upstream calls it, or what the route says it is priced as
	// Tier is the service tier: for Cost the one that answered, for Bound the one that was asked for. [Batch] is a batch's.
	Tier    string
	Size    string // of images and videos, e.g. "1024x1024"
	Quality string // of images, e.g. "hd"
	At      gatehouse.Millis
}

// Override is a price of an operator, which stands in the place of the built-in one from a time on.
type Override struct {
	Organization string
	Upstream     string            // the name of one upstream; empty: every upstream of Dialect
	Dialect      gatehouse.Dialect // of no meaning where Upstream is set
	Model        string            // or AnyModel
	From         gatehouse.Millis
	Terms        *Terms
}

// With returns the table with these overrides and no others. An override replaces a built-in price whole from its time on, but for the
// limits of the model where it says nothing of them. An error names the override that cannot be read.
func (t *Table) With(overrides []Override) (*Table, error) {
	out := &Table{builtIn: t.builtIn, own: make(map[ownKey][]*version, len(overrides))}
	for _, o := range overrides {
		v, err := o.Terms.compile()
		if err != nil {
			return nil, err
		}
		if err := v.check(o.Model); err != nil {
			return nil, err
		}
		v.from = o.From
		v.pictures = v.pictures || pictures(o.Model)
		key := ownKey{o.Organization, o.Upstream, o.Dialect, o.Model}
		if o.Upstream != "" {
			key.dialect = ""
		}
		out.own[key] = append(out.own[key], v)
	}
	for _, list := range out.own {
		slices.SortStableFunc(list, byFrom)
	}
	return out, nil
}

func byFrom(a, b *version) int {
	switch {
	case a.from < b.from:
		return -1
	case a.from > b.from:
		return 1
	}
	return 0
}

// Limits returns what the table knows of a model's limits.
func (t *Table) Limits(of *Of) (Limits, bool) {
	f := t.find(of)
	switch {
	case f.own != nil && f.own.limited:
		return f.own.limits, true
	case f.builtIn != nil:
		return f.builtIn.limits, true
	}
	return Limits{}, false
}

// Models returns the names of every built-in model, sorted, each once.
func (t *Table) Models() []string {
	var names []string
	for _, models := range t.builtIn {
		for name := range models {
			if name != AnyModel {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ownVersion finds an operator's price as builtInVersion does, first by upstream.
func (t *Table) ownVersion(of *Of, model string, s *span) *version {
	if len(t.own) == 0 {
		return nil
	}
	if of.Upstream != "" {
		if v := t.ownNamed(ownKey{of.Organization, of.Upstream, "", model}, of.At, s); v != nil {
			return v
		}
	}
	if v := t.ownNamed(ownKey{of.Organization, "", of.Dialect, model}, of.At, s); v != nil || of.Dialect != gatehouse.Mock {
		return v
	}
	if v := t.ownNamed(ownKey{of.Organization, "", gatehouse.OpenAI, model}, of.At, s); v != nil {
		return v
	}
	return t.ownNamed(ownKey{of.Organization, "", gatehouse.Azure, model}, of.At, s)
}

func (t *Table) ownNamed(key ownKey, at gatehouse.Millis, s *span) *version {
	for {
		if v := current(t.own[key], at, s); v != nil {
			return v
		}
		next := shorter(key.model)
		if next == key.model {
			return nil
		}
		key.model = next
	}
}

// builtInVersion finds a model by its exact name, else by the next shorter ones. The mock is priced as the provider whose model it
// plays, OpenAI first.
func (t *Table) builtInVersion(of *Of, model string, s *span) *version {
	if of.Dialect != gatehouse.Mock {
		return t.builtInNamed(of.Dialect, model, of.At, s)
	}
	if v := t.builtInNamed(gatehouse.OpenAI, model, of.At, s); v != nil {
		return v
	}
	return t.builtInNamed(gatehouse.Azure, model, of.At, s)
}

func (t *Table) builtInNamed(provider gatehouse.Dialect, model string, at gatehouse.Millis, s *span) *version {
	models := t.builtIn[provider]
	for {
		if v := current(models[model], at, s); v != nil {
			return v
		}
		next := shorter(model)
		if next == model {
			return nil
		}
		model = next
	}
}

// current returns the last version that has begun, and narrows a span to when that is it.
func current(list []*version, at gatehouse.Millis, s *span) *version {
	for _, v := range slices.Backward(list) {
		if v.from <= at {
			s.from = max(s.from, v.from)
			return v
		}
		s.until = min(s.until, v.from)
	}
	return nil
}

// shorter returns the next shorter name under which a table may have a model: what a fine-tuned one was made from, "ft:gpt-4o-2024-08-06"
// of "ft:gpt-4o-2024-08-06:acme::1", then the name without the date at its end. It returns model itself when there is none.
func shorter(model string) string {
	if rest, tuned := strings.CutPrefix(model, "ft:"); tuned {
		if i := strings.IndexByte(rest, ':'); i >= 0 {
			return model[:len("ft:")+i]
		}
	}
	return undated(model)
}

// undated returns model without the date at its end: -2024-08-06 as OpenAI writes it, -20240806, or -0613 as it once did.
func undated(model string) string {
	for _, form := range [...]string{"-dddd-dd-dd", "-dddddddd", "-dddd"} {
		at := len(model) - len(form)
		if at > 0 && dated(model[at:], form) {
			return model[:at]
		}
	}
	return model
}

func dated(s, form string) bool {
	for i := range len(form) {
		if form[i] == 'd' && (s[i] < '0' || s[i] > '9') || form[i] != 'd' && s[i] != form[i] {
			return false
		}
	}
	return true
}
