package catalog

import (
	"cmp"
	"slices"
	"sync"

	"gatehouse"
	"gatehouse/internal/limit"
)

// limits are the rate limits of an organization, compiled so that those that bind a key are found once and kept. They are immutable but
// for what is kept, which fills as keys are used; a change of a limit of the organization compiles them again.
type limits struct {
	organization string
	rev          int64 // rises with every compilation
	bySubject    map[subject][]*bound
	byLabel      []*bound
	all          []*bound // by scope, subject and model

	mu      sync.Mutex // held by whoever makes one of binding
	binding table[chainOf, binding]
}

// binding is the counters of the limits that bind one key in one project, found as a chain of budgets is by the very rows it was made of.
type binding struct {
	by       chainOf
	counters []*limit.Counter // of limits of all models together
	models   []*limit.Counter // of limits of one model
}

// subject is whom a limit binds.
type subject struct {
	scope gatehouse.Scope
	id    string
}

// bound is one limit with its counters.
type bound struct {
	rule        *gatehouse.Limit
	counters    []*limit.Counter
	name, value string // of a label
}

// Amounts are what a request takes of each metric; one that is negative is not of its kind.
type Amounts [limit.Metrics]int64

// Charges appends the charges of a request: one for each counter of every limit that binds the key in its project, of all models
// together and, where model is not empty, of that model. The project is the catalog's own. It allocates only the first time a key is seen
// since it, its project or a limit changed, and where dst has no room.
func (c *Catalog) Charges(dst []limit.Charge, key *Key, project *gatehouse.Project, model string, amounts *Amounts) []limit.Charge {
	b := c.replica.limits.get(key.Organization).of(key, project)
	if b == nil {
		return dst
	}
	for _, counter := range b.counters {
		if amount := amounts[counter.Metric]; amount >= 0 {
			dst = append(dst, limit.Charge{Counter: counter, Amount: amount})
		}
	}
	if model != "" {
		dst = b.charges(dst, model, amounts)
	}
	return dst
}

// ModelCharges appends the charges of limits of a model alone.
func (c *Catalog) ModelCharges(dst []limit.Charge, key *Key, project *gatehouse.Project, model string, amounts *Amounts) []limit.Charge {
	if b := c.replica.limits.get(key.Organization).of(key, project); b != nil {
		return b.charges(dst, model, amounts)
	}
	return dst
}

func (b *binding) charges(dst []limit.Charge, model string, amounts *Amounts) []limit.Charge {
	for _, counter := range b.models {
		if amount := amounts[counter.Metric]; amount >= 0 && counter.Rule.Model == model {
			dst = append(dst, limit.Charge{Counter: counter, Amount: amount})
		}
	}
	return dst
}

// of returns what binds a key in a project, nil where the organization has no limits.
func (l *limits) of(key *Key, project *gatehouse.Project) *binding {
	if l == nil || len(l.all) == 0 {
		return nil
	}
	of := chainOf{key, project}
	if made := l.binding.get(of); made != nil {
		return made
	}
	return l.bind(of)
}

// bind makes what binds a key in a project.
func (l *limits) bind(of chainOf) *binding {
	l.mu.Lock()
	defer l.mu.Unlock()
	if made := l.binding.get(of); made != nil {
		return made
	}
	made := &binding{by: of}
	key, project := of.key, of.project
	owner := subject{gatehouse.ScopeUser, key.Owner}
	if key.serviceOwned {
		owner.scope = gatehouse.ScopeServiceAccount
	}
	for _, s := range [...]subject{{gatehouse.ScopeOrganization, key.Organization}, {gatehouse.ScopeProject, project.ID}, owner, {gatehouse.ScopeKey, key.ID()}} {
		for _, b := range l.bySubject[s] {
			made.add(b)
		}
	}
	for _, b := range l.byLabel {
		if project.Labels[b.name] == b.value || key.Policy != nil && slices.Contains(key.Policy.Labels, b.rule.Subject) {
			made.add(b)
		}
	}
	if l.binding.live.Load() < maxChains {
		l.binding.put(made)
	}
	return made
}

func (b *binding) add(l *bound) {
	if l.rule.Model == "" {
		b.counters = append(b.counters, l.counters...)
	} else {
		b.models = append(b.models, l.counters...)
	}
}

// Counters returns the counters of an organization's limits, by scope, subject, model and metric.
func (c *Catalog) Counters(organization string) []*limit.Counter {
	l := c.replica.limits.get(organization)
	if l == nil {
		return nil
	}
	var out []*limit.Counter
	for _, b := range l.all {
		out = append(out, b.counters...)
	}
	return out
}

// putLimit also marks the organization's limits; compile renews them.
func (r *replica) putLimit(l *gatehouse.Limit) outcome {
	l.Organization = r.organizationID(l.Organization)
	rows := r.limitRows[l.Organization]
	if rows == nil {
		rows = map[string]*gatehouse.Limit{}
		r.limitRows[l.Organization] = rows
	}
	if prev := rows[l.ID]; prev != nil && l.Rev <= prev.Rev {
		return ignored
	}
	rows[l.ID] = l
	r.staleLimits[l.Organization] = true
	return added // what is under way goes on: nobody's authority is narrower
}

func (r *replica) dropLimit(id string) {
	for organization, rows := range r.limitRows {
		if rows[id] != nil {
			delete(rows, id)
			r.staleLimits[organization] = true
		}
	}
}

// compileLimits makes the limits of an organization's rows.
func compileLimits(organization string, rows map[string]*gatehouse.Limit, rev int64) *limits {
	l := &limits{
		organization: organization, rev: rev, bySubject: map[subject][]*bound{},
		binding: newTable(hashChain, func(b *binding) chainOf { return b.by }, func(*binding) int64 { return 0 }),
	}
	for _, row := range rows {
		if row.RemovedAt == 0 {
			l.all = append(l.all, &bound{rule: row, counters: limit.CountersOf(row)})
		}
	}
	slices.SortFunc(l.all, func(a, b *bound) int {
		return cmp.Or(cmp.Compare(a.rule.Scope, b.rule.Scope), cmp.Compare(a.rule.Subject, b.rule.Subject), cmp.Compare(a.rule.Model, b.rule.Model))
	})
	for _, b := range l.all {
		if b.rule.Scope != gatehouse.ScopeLabel {
			s := subject{b.rule.Scope, b.rule.Subject}
			l.bySubject[s] = append(l.bySubject[s], b)
			continue
		}
		var ok bool
		if b.name, b.value, ok = gatehouse.CutLabelSubject(b.rule.Subject); ok && b.value != "" {
			l.byLabel = append(l.byLabel, b)
		}
	}
	return l
}
