package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// standing is what a subject is allowed at a moment: what a restore needs to take away again what a backup still grants.
type standing struct {
	Gone       bool                    `json:"gone,omitempty"` // revoked, archived or removed
	Suspended  bool                    `json:"suspended,omitempty"`
	ExpiresAt  gatehouse.Millis        `json:"expires_at,omitempty"`
	Scopes     []string                `json:"scopes,omitempty"`
	Models     []string                `json:"models,omitempty"`
	AllowedIPs []netip.Prefix          `json:"allowed_ips,omitempty"`
	Role       gatehouse.Role          `json:"role,omitempty"`
	Region     string                  `json:"region,omitempty"`
	Policy     gatehouse.ProjectPolicy `json:"policy,omitzero"`
	Upstream   *gatehouse.Upstream     `json:"upstream,omitempty"`
	Deployment *gatehouse.Deployment   `json:"deployment,omitempty"`
	Limit      *gatehouse.Limit        `json:"limit,omitempty"`
	Budget     *gatehouse.Budget       `json:"budget,omitempty"`
	Channel    *gatehouse.AlertChannel `json:"alert_channel,omitempty"`
	// Permissions are a role's.
	Permissions []string `json:"permissions,omitempty"`
	// Certificates are those of which an organization's callers must show one.
	Certificates []string                    `json:"certificates,omitempty"`
	Certificate  *gatehouse.Certificate      `json:"certificate,omitempty"`
	Provider     *gatehouse.IdentityProvider `json:"identity_provider,omitempty"`
	Endpoint     *gatehouse.WebhookEndpoint  `json:"webhook_endpoint,omitempty"`
	Rule         *gatehouse.FederationRule   `json:"federation_rule,omitempty"`
	Prepaid      bool                        `json:"prepaid,omitempty"` // of credits: nothing is spent that they do not cover
}

// Standing returns what a subject is allowed now, to be kept beside the event that is about it; nil for kinds that grant nothing.
func Standing(tx *store.Tx, kind gatehouse.SubjectKind, id string) (json.RawMessage, error) {
	if harmless(kind) {
		return detail(standing{}), nil
	}
	if !grants(kind) {
		return nil, nil
	}
	var st standing
	s, err := readSubject(tx, kind, id)
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		st.Gone = true
	case err != nil:
		return nil, err
	default:
		st = s.standing()
	}
	return detail(st), nil
}

func grants(kind gatehouse.SubjectKind) bool {
	switch kind {
	case gatehouse.SubjectOrganization, gatehouse.SubjectCertificate, gatehouse.SubjectProvider, gatehouse.SubjectRule, gatehouse.SubjectExternal, gatehouse.SubjectEndpoint, gatehouse.SubjectProject, gatehouse.SubjectUser, gatehouse.SubjectProjectUser, gatehouse.SubjectServiceAccount, gatehouse.SubjectKey,
		gatehouse.SubjectUpstream, gatehouse.SubjectDeployment, gatehouse.SubjectResource, gatehouse.SubjectSealed, gatehouse.SubjectLimit,
		gatehouse.SubjectGroup, gatehouse.SubjectGroupUser, gatehouse.SubjectRole, gatehouse.SubjectAssignment, gatehouse.SubjectInvite,
		gatehouse.SubjectBudget, gatehouse.SubjectGrant, gatehouse.SubjectCredits, gatehouse.SubjectAlertRule, gatehouse.SubjectAlertChannel:
		return true
	}
	return false
}

// harmless are kinds of subjects that give nobody anything: as the backup has them they may stay.
func harmless(kind gatehouse.SubjectKind) bool {
	return kind == gatehouse.SubjectSpendAlert || kind == gatehouse.SubjectPrice
}

// Reapplied is what came of making a change again.
type Reapplied uint8

// The outcomes of Reapply.
const (
	AsItWas   Reapplied = iota // nothing had to be taken away
	Narrowed                   // something was
	Unknown                    // the subject is not in the backup: it was made later and is no more
	NotByThis                  // a kind of subject of which this Gatehouse does not know how
)

// Reapply narrows a subject to what it was allowed when an event after the backup was applied, given as Standing gave it. It never
// widens: what the backup grants less stays less. It makes an event of its own, of the type of the event it repeats, and does not
// ask whether an owner or an admin key is left: those rules held when the change was made first. Only the host or the system may.
func (s *Service) Reapply(ctx context.Context, who *gatehouse.Principal, seq int64, event string, kind gatehouse.SubjectKind, id string, state json.RawMessage) (out Reapplied, err error) {
	if who.Actor.Kind != gatehouse.ActorHost && who.Actor.Kind != gatehouse.ActorSystem {
		return 0, NotAdmin()
	}
	switch {
	case kind == gatehouse.SubjectNone || harmless(kind):
		return AsItWas, nil
	case !grants(kind) || len(state) == 0:
		return NotByThis, nil
	}
	var want standing
	if err := json.Unmarshal(state, &want); err != nil {
		return 0, err
	}
	if kind == gatehouse.SubjectCredits {
		return s.prepayAgain(ctx, who, want.Prepaid)
	}
	ev := gatehouse.Event{Type: event, Actor: who.Actor, Organization: who.Organization, Subject: kind, SubjectID: id,
		Change: detail(map[string]any{"reason": "made again after a restore", "first_seq": seq})}
	_, err = s.cfg.DB.Update(ctx, ev, func(tx *store.Tx) error {
		sub, err := readSubject(tx, kind, id)
		if gatehouse.KindOf(err) == gatehouse.NotFound {
			if want.Limit != nil && want.Limit.RemovedAt == 0 {
				out = Narrowed // a limit that is not there would be a right that nobody gave
				return limitAgain(tx, want.Limit)
			}
			if b := want.Budget; b != nil && b.RemovedAt == 0 && b.Kind != gatehouse.BudgetCredits {
				out = Narrowed
				return budgetAgain(tx, b)
			}
			if c := want.Certificate; c != nil && c.RemovedAt == 0 {
				out = Narrowed
				return certificateAgain(tx, c)
			}
			out = Unknown
			return errUnchanged
		}
		if err != nil {
			return err
		}
		before := sub.standing()
		tx.Event().Project = sub.project
		if before.Gone {
			out = AsItWas
			return errUnchanged
		}
		if err := sub.narrow(tx, &want); err != nil {
			return err
		}
		if want.Gone && kind == gatehouse.SubjectSealed {
			out = Narrowed
			return sub.save()
		}
		if reflect.DeepEqual(before, sub.standing()) {
			out = AsItWas
			return errUnchanged
		}
		out = Narrowed
		return sub.save()
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return out, err
}

// subject is a row that grants something: how to see what, how to take from it, how to store it. What standing returns shares
// nothing with the row.
type subject struct {
	project  string
	standing func() standing
	narrow   func(tx *store.Tx, to *standing) error
	save     func() error
}

func readSubject(tx *store.Tx, kind gatehouse.SubjectKind, id string) (*subject, error) {
	switch kind {
	case gatehouse.SubjectKey:
		k, err := tx.Key(id)
		return keySubject(tx, k), err
	case gatehouse.SubjectProject:
		p, err := tx.Project(id)
		if err != nil {
			return nil, err
		}
		return projectSubject(tx, p), nil
	case gatehouse.SubjectUser:
		u, err := tx.User(id)
		if err != nil {
			return nil, err
		}
		return removable("", &u.RemovedAt, &u.Role, nil, func() error { return tx.SaveUser(u) }), nil
	case gatehouse.SubjectProjectUser:
		project, user := cutPair(id)
		m, err := tx.ProjectUser(project, user)
		if err != nil {
			return nil, err
		}
		return removable(project, &m.RemovedAt, &m.Role, nil, func() error { return tx.SaveProjectUser(m) }), nil
	case gatehouse.SubjectOrganization:
		o, err := tx.Organization(id)
		return organizationSubject(tx, o), err
	case gatehouse.SubjectCertificate:
		c, err := tx.Certificate(id)
		return certificateSubject(tx, c), err
	case gatehouse.SubjectEndpoint:
		e, err := tx.WebhookEndpoint(id)
		return endpointSubject(tx, e), err
	case gatehouse.SubjectProvider:
		p, err := tx.IdentityProvider(id)
		return providerSubject(tx, p), err
	case gatehouse.SubjectRule:
		r, err := tx.FederationRule(id)
		return ruleSubject(tx, r), err
	case gatehouse.SubjectExternal:
		e, err := tx.External(id)
		if err != nil {
			return nil, err
		}
		return removable(e.Project, &e.RemovedAt, nil, nil, func() error { return tx.SaveExternal(e) }), nil
	case gatehouse.SubjectGroup:
		g, err := tx.Group(id)
		if err != nil {
			return nil, err
		}
		return removable("", &g.RemovedAt, nil, nil, func() error { return tx.SaveGroup(g) }), nil
	case gatehouse.SubjectGroupUser:
		group, user := cutPair(id)
		m, err := tx.GroupUser(group, user)
		if err != nil {
			return nil, err
		}
		return removable("", &m.RemovedAt, nil, nil, func() error { return tx.SaveGroupUser(m) }), nil
	case gatehouse.SubjectRole:
		v, err := tx.Role(id)
		return roleSubject(tx, v), err
	case gatehouse.SubjectAssignment:
		a, err := tx.Assignment(id)
		if err != nil {
			return nil, err
		}
		return removable(a.Project, &a.RemovedAt, nil, nil, func() error { return tx.SaveAssignment(a) }), nil
	case gatehouse.SubjectInvite:
		v, err := tx.Invite(id)
		if err != nil {
			return nil, err
		}
		over := v.RemovedAt
		if over == 0 {
			over = v.AcceptedAt // who accepted it once may not do so again
		}
		return removable("", &over, nil, nil, func() error {
			v.RemovedAt = over
			return tx.SaveInvite(v)
		}), nil
	case gatehouse.SubjectServiceAccount:
		a, err := tx.ServiceAccount(id)
		if err != nil {
			return nil, err
		}
		return removable(a.Project, &a.RemovedAt, &a.Role, nil, func() error { return tx.SaveServiceAccount(a) }), nil
	case gatehouse.SubjectResource:
		v, err := tx.Resource(id)
		if err != nil {
			return nil, err
		}
		return removable(v.Project, &v.RemovedAt, nil, &v.Region, func() error { return tx.SaveResource(v) }), nil
	case gatehouse.SubjectUpstream:
		u, err := tx.Upstream(id)
		return upstreamSubject(tx, u), err
	case gatehouse.SubjectDeployment:
		d, err := tx.Deployment(id)
		return deploymentSubject(tx, d), err
	case gatehouse.SubjectLimit:
		l, err := tx.Limit(id)
		return limitSubject(tx, l), err
	case gatehouse.SubjectBudget:
		b, err := tx.Budget(id)
		return budgetStanding(tx, b), err
	case gatehouse.SubjectCredits:
		c, err := tx.Credits(id)
		return &subject{standing: func() standing { return standing{Prepaid: c.Budget != ""} }}, err
	case gatehouse.SubjectGrant:
		g, err := tx.Grant(id)
		return grantStanding(tx, g), err
	case gatehouse.SubjectAlertRule:
		r, err := tx.AlertRule(id)
		if err != nil {
			return nil, err
		}
		return removable("", &r.RemovedAt, nil, nil, func() error { return tx.SaveAlertRule(r) }), nil
	case gatehouse.SubjectAlertChannel:
		c, err := tx.AlertChannel(id)
		return channelSubject(tx, c), err
	case gatehouse.SubjectSealed:
		row, err := tx.Sealed(id)
		return &subject{standing: func() standing { return standing{} }, narrow: func(*store.Tx, *standing) error { return nil },
			save: func() error { return tx.DeleteSealed(row) }}, err
	}
	return nil, gatehouse.Errorf(gatehouse.NotFound, "no such subject: %s %s", kind, id)
}

func cutPair(id string) (a, b string) {
	for i := range id {
		if id[i] == '/' {
			return id[:i], id[i+1:]
		}
	}
	return id, ""
}

func keySubject(tx *store.Tx, k *gatehouse.Key) *subject {
	if k == nil {
		return nil
	}
	return &subject{
		project: k.Project,
		standing: func() standing {
			return standing{Gone: k.RevokedAt != 0, Suspended: k.SuspendedAt != 0, ExpiresAt: k.ExpiresAt, Scopes: k.Scopes, Models: k.Models, AllowedIPs: k.AllowedIPs}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone {
				k.RevokedAt = tx.Now
				return nil
			}
			if to.Suspended && k.SuspendedAt == 0 {
				k.SuspendedAt = tx.Now
			}
			// An expiry that has passed cannot be changed any more, and need not be.
			if expired := k.ExpiresAt != 0 && k.ExpiresAt <= tx.Now; !expired && to.ExpiresAt != 0 && (k.ExpiresAt == 0 || to.ExpiresAt < k.ExpiresAt) {
				k.ExpiresAt = to.ExpiresAt
			}
			k.Scopes, k.Models = narrowed(k.Scopes, to.Scopes, equal), narrowed(k.Models, to.Models, equal)
			k.AllowedIPs = narrowed(k.AllowedIPs, to.AllowedIPs, within)
			return nil
		},
		save: func() error { return tx.SaveKey(k) },
	}
}

func equal(a, b string) bool { return a == b }

// within reports whether every address of a is in b.
func within(a, b netip.Prefix) bool { return a.Bits() >= b.Bits() && b.Contains(a.Addr()) }

// narrowed returns what both of two lists allow, where an empty one allows everything. Where that is nothing it is the second: what
// somebody decided last.
func narrowed[T any](have, want []T, in func(a, b T) bool) []T {
	if len(want) == 0 {
		return have
	}
	if len(have) == 0 {
		return want
	}
	var both []T
	for _, w := range want {
		if slices.ContainsFunc(have, func(h T) bool { return in(w, h) }) {
			both = append(both, w)
		}
	}
	for _, h := range have {
		if slices.ContainsFunc(want, func(w T) bool { return in(h, w) && !in(w, h) }) {
			both = append(both, h)
		}
	}
	if len(both) == 0 {
		return want
	}
	return both
}

// rank orders roles by what they allow.
func rank(r gatehouse.Role) int {
	return slices.Index([]gatehouse.Role{gatehouse.RoleNone, gatehouse.RoleViewer, gatehouse.RoleReader, gatehouse.RoleMember, gatehouse.RoleOwner}, r)
}

// removable is a row that can be removed, and may have a role and a region to which it keeps requests.
func removable(project string, removed *gatehouse.Millis, role *gatehouse.Role, region *string, save func() error) *subject {
	return &subject{
		project: project,
		standing: func() standing {
			st := standing{Gone: *removed != 0}
			if role != nil {
				st.Role = *role
			}
			if region != nil {
				st.Region = *region
			}
			return st
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone {
				*removed = tx.Now
				return nil
			}
			if role != nil && to.Role != "" && rank(to.Role) < rank(*role) {
				*role = to.Role
			}
			if region != nil && to.Region != "" {
				*region = to.Region
			}
			return nil
		},
		save: save,
	}
}

// roleSubject is narrowed to what it permitted last, of which the backup may know less already.
func roleSubject(tx *store.Tx, v *gatehouse.AccessRole) *subject {
	if v == nil {
		return nil
	}
	return &subject{
		project:  v.Project,
		standing: func() standing { return standing{Gone: v.RemovedAt != 0, Permissions: slices.Clone(v.Permissions)} },
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone {
				v.RemovedAt = tx.Now
				return nil
			}
			v.Permissions = slices.DeleteFunc(v.Permissions, func(p string) bool { return !slices.Contains(to.Permissions, p) })
			return nil
		},
		save: func() error { return tx.SaveRole(v) },
	}
}

// projectSubject is narrowed to its region and to what its requests could do.
func projectSubject(tx *store.Tx, p *gatehouse.Project) *subject {
	sub := removable(p.ID, &p.ArchivedAt, nil, &p.Region, func() error { return tx.SaveProject(p) })
	plain, narrow := sub.standing, sub.narrow
	sub.standing = func() standing {
		st := plain()
		st.Policy = p.Policy
		st.Policy.Models.Models = slices.Clone(p.Policy.Models.Models)
		st.Policy.Certificates, st.Policy.ServiceTiers.Enabled = slices.Clone(p.Policy.Certificates), slices.Clone(p.Policy.ServiceTiers.Enabled)
		return st
	}
	sub.narrow = func(tx *store.Tx, to *standing) error {
		p.Policy = narrowedPolicy(p.Policy, to.Policy)
		return narrow(tx, to)
	}
	return sub
}

// upstreamSubject is put back as it was last: another address or credential took the place of the backup's.
func upstreamSubject(tx *store.Tx, u *gatehouse.Upstream) *subject {
	if u == nil {
		return nil
	}
	return &subject{
		standing: func() standing {
			row := *u
			row.Rev, row.Projects = 0, slices.Clone(u.Projects)
			return standing{Gone: u.RemovedAt != 0, Upstream: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Upstream == nil {
				u.RemovedAt = tx.Now
				return nil
			}
			projects := narrowed(u.Projects, to.Upstream.Projects, equal)
			private, rev, name := u.AllowPrivate && to.Upstream.AllowPrivate, u.Rev, u.Name // another may have the later name here
			*u = *to.Upstream
			u.Rev, u.Name, u.Projects, u.AllowPrivate = rev, name, projects, private
			return nil
		},
		save: func() error { return tx.SaveUpstream(u) },
	}
}

// deploymentSubject is put back with the routes it had last, as far as the backup knows their upstreams; with none left it ends.
func deploymentSubject(tx *store.Tx, d *gatehouse.Deployment) *subject {
	if d == nil {
		return nil
	}
	return &subject{
		standing: func() standing {
			row := *d
			row.Rev, row.Projects, row.Routes = 0, slices.Clone(d.Projects), slices.Clone(d.Routes)
			return standing{Gone: d.RemovedAt != 0, Deployment: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Deployment == nil {
				d.RemovedAt = tx.Now
				return nil
			}
			d.Projects = narrowed(d.Projects, to.Deployment.Projects, equal)
			var routes []gatehouse.Route
			for _, r := range to.Deployment.Routes {
				up, err := tx.Upstream(r.Upstream)
				switch {
				case err == nil && up.RemovedAt == 0:
					routes = append(routes, r)
				case err != nil && gatehouse.KindOf(err) != gatehouse.NotFound:
					return err
				}
			}
			if d.Routes = routes; len(routes) == 0 {
				d.RemovedAt = tx.Now
			}
			return nil
		},
		save: func() error { return tx.SaveDeployment(d) },
	}
}

// channelSubject is put back to where alerts were sent last. A secret that was rotated since is not in the backup: the old one may be
// known to somebody, so that the channel is disabled until it is rotated again.
func channelSubject(tx *store.Tx, c *gatehouse.AlertChannel) *subject {
	if c == nil {
		return nil
	}
	return &subject{
		standing: func() standing {
			row := *c
			row.Rev, row.Recipients = 0, slices.Clone(c.Recipients)
			return standing{Gone: c.RemovedAt != 0, Channel: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Channel == nil {
				c.RemovedAt = tx.Now
				return nil
			}
			c.Disabled = c.Disabled || to.Channel.Disabled || c.Secret != to.Channel.Secret
			c.URL, c.Recipients, c.SubjectPrefix = to.Channel.URL, to.Channel.Recipients, to.Channel.SubjectPrefix
			c.AllowPrivate = c.AllowPrivate && to.Channel.AllowPrivate
			return nil
		},
		save: func() error { return tx.SaveAlertChannel(c) },
	}
}
