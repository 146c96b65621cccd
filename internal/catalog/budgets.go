package catalog

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // a binary in an image without anything else knows time zones too

	"gatehouse"
)

// chain is the budgets that bind one key in one project. It is found by the very rows it was made of: a key or project that changed is
// another one, so that a chain need not be looked for to be forgotten.
type chain struct {
	by      chainOf
	budgets []*gatehouse.Budget
}

type chainOf struct {
	key     *Key
	project *gatehouse.Project
}

// budgeting is an organization's live budgets, compiled so that the ones that bind a key are found once and kept. It is immutable but
// for the chains, which fill as keys are used; a change of a budget or of the organization compiles it again.
type budgeting struct {
	organization string
	rev          int64                                              // rises with every compilation
	bySubject    map[gatehouse.Scope]map[string][]*gatehouse.Budget // by the id of what Scope says
	labels       []string                                           // the subjects of budgets for labels
	groups       map[string][]string                                // by user: the groups they are in, where some group has a budget

	mu     sync.Mutex // held by whoever makes a chain
	chains table[chainOf, chain]
}

// maxChains bounds the chains that one compilation keeps: those of keys that have changed since are still among them.
const maxChains = 1 << 20

// Budgets returns the budgets, hard and soft, that bind what a key does in a project (the key's own, or the one that a user's key acts
// in): those of the organization, of the project, of the key's owner and of the groups that the owner is in, of the key, and of the labels of key and project. The slice and
// what it points at are shared: do not change them. It allocates only the first time a key is seen since one of them changed.
func (c *Catalog) Budgets(k *Key, project string) []*gatehouse.Budget {
	b := c.replica.budgets.get(k.Organization)
	if b == nil || len(b.bySubject) == 0 {
		return nil
	}
	of := chainOf{k, c.replica.projects.get(project)}
	if made := b.chains.get(of); made != nil {
		return made.budgets
	}
	return b.chain(of)
}

// chain makes the chain of a key in a project.
func (b *budgeting) chain(of chainOf) []*gatehouse.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if made := b.chains.get(of); made != nil {
		return made.budgets
	}
	k := of.key
	var all []*gatehouse.Budget
	bind := func(scope gatehouse.Scope, subject string) {
		if subject != "" {
			all = append(all, b.bySubject[scope][subject]...)
		}
	}
	bind(gatehouse.ScopeOrganization, k.Organization)
	if of.project != nil {
		bind(gatehouse.ScopeProject, of.project.ID)
	}
	bind(gatehouse.ScopeUser, k.OwnerUser())
	for _, group := range b.groups[k.OwnerUser()] {
		bind(gatehouse.ScopeGroup, group)
	}
	bind(gatehouse.ScopeServiceAccount, k.OwnerServiceAccount())
	bind(gatehouse.ScopeKey, k.ID())
	for _, subject := range b.labels {
		name, value, _ := gatehouse.CutLabelSubject(subject)
		bound := k.Policy != nil && slices.Contains(k.Policy.Labels, subject)
		if !bound && of.project != nil {
			v, has := of.project.Labels[name]
			bound = has && v == value
		}
		if bound {
			bind(gatehouse.ScopeLabel, subject)
		}
	}
	if b.chains.live.Load() < maxChains {
		b.chains.put(&chain{by: of, budgets: all})
	}
	return all
}

// hashChain spreads chains over slots by their key alone: few keys act in more than one project.
func hashChain(of chainOf) uint64 { return hashKeyID(keyID(of.key.id[len(gatehouse.PrefixKey):])) }

// compileBudgets makes the budgeting of an organization from all its budgets, removed ones too, and from who is in which group.
func compileBudgets(o *gatehouse.Organization, organization string, all map[string]*gatehouse.Budget, in *access, rev int64) *budgeting {
	b := &budgeting{
		organization: organization, rev: rev, bySubject: map[gatehouse.Scope]map[string][]*gatehouse.Budget{},
		chains: newTable(hashChain, func(c *chain) chainOf { return c.by }, func(*chain) int64 { return 0 }),
	}
	zone := time.UTC
	if o != nil && o.TimeZone != "" {
		// What is no zone is refused where it is set. One that this binary does not know counts in UTC on every node alike.
		if known, err := time.LoadLocation(o.TimeZone); err == nil {
			zone = known
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if all[id].RemovedAt != 0 {
			continue
		}
		budget := *all[id]
		budget.Zone = zone
		of := b.bySubject[budget.Scope]
		if of == nil {
			of = map[string][]*gatehouse.Budget{}
			b.bySubject[budget.Scope] = of
		}
		of[budget.Subject] = append(of[budget.Subject], &budget)
	}
	if len(b.bySubject[gatehouse.ScopeGroup]) > 0 && in != nil {
		b.groups = in.groups
	}
	b.labels = slices.Sorted(maps.Keys(b.bySubject[gatehouse.ScopeLabel]))
	return b
}

// OrganizationBudgets returns an organization's live budgets, oldest first. Unlike the lookups it allocates its answer.
func (c *Catalog) OrganizationBudgets(organization string) []*gatehouse.Budget {
	b := c.replica.budgets.get(organization)
	if b == nil {
		return nil
	}
	var all []*gatehouse.Budget
	for _, of := range b.bySubject {
		for _, budgets := range of {
			all = append(all, budgets...)
		}
	}
	slices.SortFunc(all, func(x, y *gatehouse.Budget) int {
		return cmp.Or(cmp.Compare(x.CreatedAt, y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return all
}
