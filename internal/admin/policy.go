package admin

import (
	"context"
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// PolicyUpdate changes what a project's requests may do; absent fields stay.
type PolicyUpdate struct {
	Models        Optional[gatehouse.ModelPermissions] // the zero value: every model
	Deny, Allow   gatehouse.ToolSet                    // tools that are denied, and tools that are no longer
	DataRetention Optional[gatehouse.DataRetention]
	DefaultTier   Optional[string]                 // of gatehouse.ServiceTiers; empty: what the upstream gives
	EnabledTiers  Optional[gatehouse.ServiceTiers] // which tiers may be asked for; its default is not looked at
}

// UpdateProjectPolicy changes what a project's requests may do. When it returns with Effect.Everywhere, no node serves what is denied.
func (s *Service) UpdateProjectPolicy(ctx context.Context, who *gatehouse.Principal, id string, u PolicyUpdate) (p *gatehouse.Project, effect Effect, err error) {
	effect, err = s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		if p, err = s.activeProject(tx, who, id); err != nil {
			return nil, err
		}
		return setPolicy(tx, p, u)
	})
	return p, effect, err
}

// setPolicy applies an update to a project that was read, and stores it.
func setPolicy(tx *store.Tx, p *gatehouse.Project, u PolicyUpdate) (*outcome, error) {
	out := &outcome{kind: "project", name: p.Name}
	changes, before, err := u.apply(p)
	if err != nil || len(changes) == 0 {
		return out, err
	}
	out.changes = slices.Sorted(maps.Keys(changes))
	changes["before"] = before
	out.action, out.event = "update", &gatehouse.Event{Type: "project.updated", Project: p.ID, Subject: gatehouse.SubjectProject, SubjectID: p.ID, Change: detail(changes)}
	return out, tx.SaveProject(p)
}

// apply changes a project's policy, and returns what changed, as events have it, and what that was before.
func (u *PolicyUpdate) apply(p *gatehouse.Project) (changes, before map[string]any, err error) {
	old, now := p.Policy, p.Policy
	if u.Models.Set {
		now.Models = gatehouse.ModelPermissions{Mode: u.Models.Value.Mode, Models: slices.Clone(u.Models.Value.Models)}
		if now.Models.Mode == "" {
			now.Models = gatehouse.ModelPermissions{}
		} else if err := now.Models.Check(); err != nil {
			return nil, nil, err
		}
	}
	now.DeniedTools = now.DeniedTools&^u.Allow | u.Deny
	if u.DataRetention.Set {
		if now.DataRetention = u.DataRetention.Value; now.DataRetention == gatehouse.OrganizationDefault {
			now.DataRetention = ""
		} else if err := now.DataRetention.CheckProject(); err != nil {
			return nil, nil, err
		}
	}
	if u.DefaultTier.Set || u.EnabledTiers.Set {
		if u.DefaultTier.Set {
			now.ServiceTiers.Default = u.DefaultTier.Value
		}
		if u.EnabledTiers.Set {
			now.ServiceTiers.Restricted, now.ServiceTiers.Enabled = u.EnabledTiers.Value.Restricted, slices.Clone(u.EnabledTiers.Value.Enabled)
		}
		if err := now.ServiceTiers.Check(); err != nil {
			return nil, nil, err
		}
	}
	changes, before = map[string]any{}, map[string]any{}
	note := func(name string, from, to any) { changes[name], before[name] = to, from }
	if !old.Models.Equal(now.Models) {
		note("model_permissions", listed(old.Models), listed(now.Models))
	}
	if old.DeniedTools != now.DeniedTools {
		note("denied_tools", old.DeniedTools, now.DeniedTools)
	}
	if old.DataRetention != now.DataRetention {
		note("data_retention", retentionName(old.DataRetention), retentionName(now.DataRetention))
	}
	if !old.ServiceTiers.Equal(now.ServiceTiers) {
		note("service_tiers", tiersListed(&old.ServiceTiers), tiersListed(&now.ServiceTiers))
	}
	p.Policy = now
	return changes, before, nil
}

// listed returns permissions as events have them, nil where every model is allowed.
func listed(m gatehouse.ModelPermissions) any {
	if m.Mode == "" {
		return nil
	}
	return m
}

func retentionName(d gatehouse.DataRetention) gatehouse.DataRetention {
	if d == "" {
		return gatehouse.OrganizationDefault
	}
	return d
}

// tiersListed returns service tiers as events have them, and OpenAI's API.
func tiersListed(t *gatehouse.ServiceTiers) map[string]any {
	listed := map[string]any{"enabled_tiers": t.Listed()}
	if t.Default != "" {
		listed["default"] = t.Default
	}
	return listed
}

// narrowedPolicy returns what both policies allow.
func narrowedPolicy(p, q gatehouse.ProjectPolicy) gatehouse.ProjectPolicy {
	p.Models = narrowedModels(p.Models, q.Models)
	p.DeniedTools |= q.DeniedTools
	if !q.DataRetention.KeepsCallers() {
		p.DataRetention = q.DataRetention
	}
	p.Certificates = narrowed(p.Certificates, q.Certificates, equal)
	p.ServiceTiers = narrowedTiers(p.ServiceTiers, q.ServiceTiers)
	return p
}

// narrowedTiers returns the tiers that both allow, and the default of the first where that may still be had.
func narrowedTiers(p, q gatehouse.ServiceTiers) gatehouse.ServiceTiers {
	switch {
	case !q.Restricted:
		return p
	case !p.Restricted:
		p.Enabled = slices.Clone(q.Enabled)
	default:
		p.Enabled = slices.DeleteFunc(slices.Clone(p.Enabled), func(tier string) bool { return !slices.Contains(q.Enabled, tier) })
	}
	p.Restricted = true
	if p.Default == gatehouse.TierFast && !p.Allows(gatehouse.TierFast) {
		p.Default = q.Default
	}
	return p
}

// narrowedModels returns the permissions that allow what both do.
func narrowedModels(p, q gatehouse.ModelPermissions) gatehouse.ModelPermissions {
	switch {
	case q.Mode == "":
		return p
	case p.Mode == "":
		return q
	case p.Mode == gatehouse.DenyList && q.Mode == gatehouse.DenyList:
		both := append(slices.Clone(p.Models), q.Models...)
		slices.Sort(both)
		return gatehouse.ModelPermissions{Mode: gatehouse.DenyList, Models: slices.Compact(both)}
	case p.Mode == gatehouse.DenyList:
		p, q = q, p
	}
	return gatehouse.ModelPermissions{Mode: gatehouse.AllowList, Models: slices.DeleteFunc(slices.Clone(p.Models), func(m string) bool { return !q.Allows(m) })}
}
