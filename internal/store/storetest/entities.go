package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// entity is how one kind of entity is exercised.
type entity[T any] struct {
	value  func() *T // a full one that can be created
	change func(*T)  // changes every field that may change
	rev    func(*T) *int64
	create func(*store.Tx, *T) error
	save   func(*store.Tx, *T) error
	get    func(*store.Tx, *T) (*T, error) // by the id of an example
	each   func(*store.Tx, func(*T) error) error
	rename func(*T) // gives it an id that does not exist
}

// testEntities takes an entity of every kind through its life.
func testEntities(t *testing.T, db *store.DB) {
	seed(t, db)
	t.Run("Organization", func(t *testing.T) {
		run(t, db, entity[gatehouse.Organization]{
			value: func() *gatehouse.Organization {
				return &gatehouse.Organization{ID: "org-x", Name: "Ünï 会社", DefaultProject: "proj_1", TimeZone: "Asia/Tokyo", CreatedAt: 1_700_000_000_000}
			},
			change: func(o *gatehouse.Organization) { o.Name, o.DefaultProject, o.TimeZone = "other", "", "" },
			rev:    func(o *gatehouse.Organization) *int64 { return &o.Rev },
			create: (*store.Tx).CreateOrganization, save: (*store.Tx).SaveOrganization, each: (*store.Tx).EachOrganization,
			get: func(tx *store.Tx, o *gatehouse.Organization) (*gatehouse.Organization, error) {
				return tx.Organization(o.ID)
			},
			rename: func(o *gatehouse.Organization) { o.ID = "org-none" },
		})
	})
	t.Run("Project", func(t *testing.T) {
		run(t, db, entity[gatehouse.Project]{
			value: func() *gatehouse.Project {
				return &gatehouse.Project{ID: "proj_x", Organization: "org-a", Name: "Прое́кт", Labels: map[string]string{"a": "b\"<"}, Residency: "GLOBAL",
					Region: "eu", Upstream: "upst_1", CreatedAt: 5,
					Policy: gatehouse.ProjectPolicy{Models: gatehouse.ModelPermissions{Mode: gatehouse.DenyList, Models: []string{"gpt-4o", "ü\"x"}},
						DeniedTools: gatehouse.ToolMCP | gatehouse.ToolCodeInterpreter, DataRetention: gatehouse.ZeroDataRetention}}
			},
			change: func(p *gatehouse.Project) {
				p.Name, p.Labels, p.Residency, p.Region, p.Upstream, p.ArchivedAt = "n", nil, "EU", "", "", 77
				p.Policy = gatehouse.ProjectPolicy{}
			},
			rev:    func(p *gatehouse.Project) *int64 { return &p.Rev },
			create: (*store.Tx).CreateProject, save: (*store.Tx).SaveProject, each: (*store.Tx).EachProject,
			get:    func(tx *store.Tx, p *gatehouse.Project) (*gatehouse.Project, error) { return tx.Project(p.ID) },
			rename: func(p *gatehouse.Project) { p.ID = "proj_none" },
		})
	})
	t.Run("User", func(t *testing.T) {
		run(t, db, entity[gatehouse.User]{
			value: func() *gatehouse.User {
				return &gatehouse.User{ID: "user-x", Organization: "org-a", Name: "Zoë", Email: "zoe@example.com", Role: gatehouse.RoleReader, TechnicalLevel: "a lot", DeveloperPersona: "ü", CreatedAt: 5}
			},
			change: func(u *gatehouse.User) {
				u.Name, u.Email, u.Role, u.RemovedAt = "Z", "z@example.com", gatehouse.RoleOwner, 9
				u.TechnicalLevel, u.DeveloperPersona = "", "x"
			},
			rev:    func(u *gatehouse.User) *int64 { return &u.Rev },
			create: (*store.Tx).CreateUser, save: (*store.Tx).SaveUser, each: (*store.Tx).EachUser,
			get:    func(tx *store.Tx, u *gatehouse.User) (*gatehouse.User, error) { return tx.User(u.ID) },
			rename: func(u *gatehouse.User) { u.ID = "user-none" },
		})
	})
	t.Run("ProjectUser", func(t *testing.T) {
		run(t, db, entity[gatehouse.ProjectUser]{
			value: func() *gatehouse.ProjectUser {
				return &gatehouse.ProjectUser{Project: "proj_1", User: "user-a", Role: gatehouse.RoleMember, AddedAt: 5}
			},
			change: func(m *gatehouse.ProjectUser) { m.Role, m.AddedAt, m.RemovedAt = gatehouse.RoleViewer, 6, 9 },
			rev:    func(m *gatehouse.ProjectUser) *int64 { return &m.Rev },
			create: (*store.Tx).CreateProjectUser, save: (*store.Tx).SaveProjectUser, each: (*store.Tx).EachProjectUser,
			get: func(tx *store.Tx, m *gatehouse.ProjectUser) (*gatehouse.ProjectUser, error) {
				return tx.ProjectUser(m.Project, m.User)
			},
			rename: func(m *gatehouse.ProjectUser) { m.User = "user-none" },
		})
	})
	t.Run("Group", func(t *testing.T) {
		run(t, db, entity[gatehouse.Group]{
			value: func() *gatehouse.Group {
				return &gatehouse.Group{ID: "group_x", Organization: "org-a", Name: "Größe", CreatedAt: 5}
			},
			change: func(g *gatehouse.Group) { g.Name, g.RemovedAt = "n", 9 },
			rev:    func(g *gatehouse.Group) *int64 { return &g.Rev },
			create: (*store.Tx).CreateGroup, save: (*store.Tx).SaveGroup, each: (*store.Tx).EachGroup,
			get:    func(tx *store.Tx, g *gatehouse.Group) (*gatehouse.Group, error) { return tx.Group(g.ID) },
			rename: func(g *gatehouse.Group) { g.ID = "group_none" },
		})
	})
	t.Run("GroupUser", func(t *testing.T) {
		change(t, db, func(tx *store.Tx) error {
			return tx.CreateGroup(&gatehouse.Group{ID: "group_y", Organization: "org-a", Name: "y"})
		})
		run(t, db, entity[gatehouse.GroupUser]{
			value: func() *gatehouse.GroupUser {
				return &gatehouse.GroupUser{Group: "group_y", User: "user-a", Organization: "org-a", AddedAt: 5}
			},
			change: func(m *gatehouse.GroupUser) { m.AddedAt, m.RemovedAt = 6, 9 },
			rev:    func(m *gatehouse.GroupUser) *int64 { return &m.Rev },
			create: (*store.Tx).CreateGroupUser, save: (*store.Tx).SaveGroupUser, each: (*store.Tx).EachGroupUser,
			get: func(tx *store.Tx, m *gatehouse.GroupUser) (*gatehouse.GroupUser, error) {
				return tx.GroupUser(m.Group, m.User)
			},
			rename: func(m *gatehouse.GroupUser) { m.User = "user-none" },
		})
	})
	t.Run("AccessRole", func(t *testing.T) {
		run(t, db, entity[gatehouse.AccessRole]{
			value: func() *gatehouse.AccessRole {
				return &gatehouse.AccessRole{ID: "role_x", Organization: "org-a", Project: "proj_1", Name: "r", Description: "ü", Permissions: []string{"a", "b\"<"}, CreatedAt: 5}
			},
			change: func(v *gatehouse.AccessRole) { v.Name, v.Description, v.Permissions, v.RemovedAt = "n", "", nil, 9 },
			rev:    func(v *gatehouse.AccessRole) *int64 { return &v.Rev },
			create: (*store.Tx).CreateRole, save: (*store.Tx).SaveRole, each: (*store.Tx).EachRole,
			get:    func(tx *store.Tx, v *gatehouse.AccessRole) (*gatehouse.AccessRole, error) { return tx.Role(v.ID) },
			rename: func(v *gatehouse.AccessRole) { v.ID = "role_none" },
		})
	})
	t.Run("RoleAssignment", func(t *testing.T) {
		run(t, db, entity[gatehouse.RoleAssignment]{
			value: func() *gatehouse.RoleAssignment {
				return &gatehouse.RoleAssignment{ID: "role_assignment_x", Organization: "org-a", Project: "proj_1", Role: "role_x", Group: "group_y", By: "user-a", CreatedAt: 5}
			},
			change: func(a *gatehouse.RoleAssignment) { a.RemovedAt = 9 },
			rev:    func(a *gatehouse.RoleAssignment) *int64 { return &a.Rev },
			create: (*store.Tx).CreateAssignment, save: (*store.Tx).SaveAssignment, each: (*store.Tx).EachAssignment,
			get: func(tx *store.Tx, a *gatehouse.RoleAssignment) (*gatehouse.RoleAssignment, error) {
				return tx.Assignment(a.ID)
			},
			rename: func(a *gatehouse.RoleAssignment) { a.ID = "role_assignment_none" },
		})
	})
	t.Run("Invite", func(t *testing.T) {
		run(t, db, entity[gatehouse.Invite]{
			value: func() *gatehouse.Invite {
				return &gatehouse.Invite{ID: "invite-x", Organization: "org-a", Email: "ü@example.com", Role: gatehouse.RoleReader, Projects: []gatehouse.InviteProject{{ID: "proj_1", Role: gatehouse.RoleMember}},
					Digest: "d", By: "user-a", CreatedAt: 5, ExpiresAt: 6}
			},
			change: func(v *gatehouse.Invite) { v.AcceptedAt, v.AcceptedBy, v.RemovedAt = 7, "user-b", 9 },
			rev:    func(v *gatehouse.Invite) *int64 { return &v.Rev },
			create: (*store.Tx).CreateInvite, save: (*store.Tx).SaveInvite, each: (*store.Tx).EachInvite,
			get:    func(tx *store.Tx, v *gatehouse.Invite) (*gatehouse.Invite, error) { return tx.Invite(v.ID) },
			rename: func(v *gatehouse.Invite) { v.ID, v.Digest = "invite-none", "none" },
		})
	})
	t.Run("Certificate", func(t *testing.T) {
		run(t, db, entity[gatehouse.Certificate]{
			value: func() *gatehouse.Certificate {
				return &gatehouse.Certificate{ID: "cert_x", Organization: "org-a", Name: "ü", Content: "pem", Fingerprint: "f", ValidAt: 1, ExpiresAt: 2, CreatedAt: 5}
			},
			change: func(c *gatehouse.Certificate) { c.Name, c.RemovedAt = "", 9 },
			rev:    func(c *gatehouse.Certificate) *int64 { return &c.Rev },
			create: (*store.Tx).CreateCertificate, save: (*store.Tx).SaveCertificate, each: (*store.Tx).EachCertificate,
			get: func(tx *store.Tx, c *gatehouse.Certificate) (*gatehouse.Certificate, error) {
				return tx.Certificate(c.ID)
			},
			rename: func(c *gatehouse.Certificate) { c.ID, c.Fingerprint = "cert_none", "none" },
		})
	})
	t.Run("WebhookEndpoint", func(t *testing.T) {
		run(t, db, entity[gatehouse.WebhookEndpoint]{
			value: func() *gatehouse.WebhookEndpoint {
				return &gatehouse.WebhookEndpoint{ID: "whe_x", Organization: "org-a", Project: "proj_1", Name: "ü", URL: "https://e", EventTypes: []string{"a"}, Secret: "s", Hint: "h", CreatedAt: 5, UpdatedAt: 6}
			},
			change: func(e *gatehouse.WebhookEndpoint) {
				e.Name, e.URL, e.EventTypes, e.Secret, e.OldSecret, e.OldUntil, e.Hint, e.UpdatedAt, e.RemovedAt = "n", "https://f", []string{"b", "c"}, "t", "s", 7, "i", 8, 9
			},
			rev:    func(e *gatehouse.WebhookEndpoint) *int64 { return &e.Rev },
			create: (*store.Tx).CreateWebhookEndpoint, save: (*store.Tx).SaveWebhookEndpoint, each: (*store.Tx).EachWebhookEndpoint,
			get: func(tx *store.Tx, e *gatehouse.WebhookEndpoint) (*gatehouse.WebhookEndpoint, error) {
				return tx.WebhookEndpoint(e.ID)
			},
			rename: func(e *gatehouse.WebhookEndpoint) { e.ID = "whe_none" },
		})
		// An event is raised once, for the endpoints that ask for it and are there.
		change(t, db, func(tx *store.Tx) error {
			for _, e := range []gatehouse.WebhookEndpoint{{ID: "whe_1", EventTypes: []string{"response.completed"}}, {ID: "whe_2", EventTypes: []string{"batch.completed", "response.completed"}},
				{ID: "whe_3", EventTypes: []string{"batch.completed"}}, {ID: "whe_4", EventTypes: []string{"response.completed"}, RemovedAt: 1}, {ID: "whe_5", EventTypes: []string{"response.completed"}, Project: "proj_other"}} {
				if e.Organization = "org-a"; e.Project == "" {
					e.Project = "proj_hooks"
				}
				if err := tx.CreateWebhookEndpoint(&e); err != nil {
					return err
				}
			}
			return nil
		})
		ev := &gatehouse.ProjectEvent{ID: "evt_1", Organization: "org-a", Project: "proj_hooks", Type: "response.completed", Data: []byte(`{"id":"resp_1"}`), At: 5}
		for i := range 2 {
			if raised, err := db.RaiseProjectEvent(t.Context(), ev); err != nil || raised != (i == 0) {
				t.Errorf("raised %v, %v", raised, err)
			}
		}
		for endpoints, want := range map[bool]int{false: 0, true: 2} {
			claimed, err := db.ClaimDeliveries(t.Context(), store.DeliveryClaim{Now: 6, Until: 7, Limit: 9, Endpoints: endpoints})
			if err != nil || len(claimed) != want {
				t.Errorf("claimed with endpoints %v: %+v, %v; want %d", endpoints, claimed, err, want)
			}
		}
		if raised, err := db.RaiseProjectEvent(t.Context(), &gatehouse.ProjectEvent{ID: "evt_2", Organization: "org-a", Project: "proj_hooks", Type: "video.failed", Data: []byte(`{}`)}); err != nil || raised {
			t.Errorf("nobody asks: %v, %v", raised, err)
		}
		if err := db.View(t.Context(), func(tx *store.Tx) error {
			list, err := tx.AlertDeliveries("evt_1")
			if err != nil || len(list) != 2 || list[0].Channel == list[1].Channel {
				t.Errorf("deliveries %+v, %v", list, err)
			}
			got, err := tx.ProjectEvent("evt_1")
			if err != nil || string(got.Data) != string(ev.Data) || got.Type != ev.Type {
				t.Errorf("event %+v, %v", got, err)
			}
			if _, err := tx.ProjectEvent("evt_2"); gatehouse.KindOf(err) != gatehouse.NotFound {
				t.Errorf("an event that nobody asked for: %v", err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("IdentityProvider", func(t *testing.T) {
		run(t, db, entity[gatehouse.IdentityProvider]{
			value: func() *gatehouse.IdentityProvider {
				return &gatehouse.IdentityProvider{ID: "wip_x", Organization: "org-a", Name: "ü", Issuer: "https://i", Audience: "a", Description: "d", Disabled: true, CreatedAt: 5, UpdatedAt: 6,
					Transformations: []gatehouse.AttributeTransformation{{Attribute: "a", Expression: "b\"<"}}, Verification: gatehouse.TokenVerification{JWKS: []byte(`{"keys":[]}`)}}
			},
			change: func(p *gatehouse.IdentityProvider) {
				p.Name, p.Issuer, p.Audience, p.Description, p.Disabled, p.Transformations, p.UpdatedAt, p.RemovedAt = "n", "j", "b", "", false, nil, 7, 9
				p.Verification = gatehouse.TokenVerification{DiscoveryURL: "https://d"}
			},
			rev:    func(p *gatehouse.IdentityProvider) *int64 { return &p.Rev },
			create: (*store.Tx).CreateIdentityProvider, save: (*store.Tx).SaveIdentityProvider, each: (*store.Tx).EachIdentityProvider,
			get: func(tx *store.Tx, p *gatehouse.IdentityProvider) (*gatehouse.IdentityProvider, error) {
				return tx.IdentityProvider(p.ID)
			},
			rename: func(p *gatehouse.IdentityProvider) { p.ID = "wip_none" },
		})
	})
	t.Run("FederationRule", func(t *testing.T) {
		change(t, db, func(tx *store.Tx) error {
			return tx.CreateIdentityProvider(&gatehouse.IdentityProvider{ID: "wip_y", Organization: "org-a", Name: "y"})
		})
		run(t, db, entity[gatehouse.FederationRule]{
			value: func() *gatehouse.FederationRule {
				return &gatehouse.FederationRule{ID: "wifr_x", Organization: "org-a", Provider: "wip_y", Project: "proj_1", ServiceAccount: "svc_acct_x", Matchers: map[string]any{"sub": "ü", "n": 1.5, "b": true},
					Name: "n", Description: "d", Disabled: true, Scopes: []string{"model.request"}, CreatedAt: 5, UpdatedAt: 6}
			},
			change: func(v *gatehouse.FederationRule) {
				v.Matchers, v.Name, v.Description, v.Disabled, v.Scopes, v.UpdatedAt, v.RemovedAt = map[string]any{"x": "y"}, "", "", false, nil, 7, 9
			},
			rev:    func(v *gatehouse.FederationRule) *int64 { return &v.Rev },
			create: (*store.Tx).CreateFederationRule, save: (*store.Tx).SaveFederationRule, each: (*store.Tx).EachFederationRule,
			get: func(tx *store.Tx, v *gatehouse.FederationRule) (*gatehouse.FederationRule, error) {
				return tx.FederationRule(v.ID)
			},
			rename: func(v *gatehouse.FederationRule) { v.ID = "wifr_none" },
		})
	})
	t.Run("External", func(t *testing.T) {
		run(t, db, entity[gatehouse.External]{
			value: func() *gatehouse.External {
				return &gatehouse.External{ID: "extkey_x", Organization: "org-a", Kind: gatehouse.ExternalKey, Project: "proj_1", Name: "ü", Provider: "aws", Purpose: "ekm", Settings: map[string]string{"a": "b"}, Status: "s", CreatedAt: 5}
			},
			change: func(e *gatehouse.External) { e.Status, e.RemovedAt = "t", 9 },
			rev:    func(e *gatehouse.External) *int64 { return &e.Rev },
			create: (*store.Tx).CreateExternal, save: (*store.Tx).SaveExternal, each: (*store.Tx).EachExternal,
			get:    func(tx *store.Tx, e *gatehouse.External) (*gatehouse.External, error) { return tx.External(e.ID) },
			rename: func(e *gatehouse.External) { e.ID = "extkey_none" },
		})
	})
	t.Run("ServiceAccount", func(t *testing.T) {
		run(t, db, entity[gatehouse.ServiceAccount]{
			value: func() *gatehouse.ServiceAccount {
				return &gatehouse.ServiceAccount{ID: "svc_acct_x", Organization: "org-a", Project: "proj_1", Name: "bot", Role: gatehouse.RoleMember, CreatedAt: 5}
			},
			change: func(s *gatehouse.ServiceAccount) { s.Name, s.Role, s.RemovedAt = "robot", gatehouse.RoleOwner, 9 },
			rev:    func(s *gatehouse.ServiceAccount) *int64 { return &s.Rev },
			create: (*store.Tx).CreateServiceAccount, save: (*store.Tx).SaveServiceAccount, each: (*store.Tx).EachServiceAccount,
			get: func(tx *store.Tx, s *gatehouse.ServiceAccount) (*gatehouse.ServiceAccount, error) {
				return tx.ServiceAccount(s.ID)
			},
			rename: func(s *gatehouse.ServiceAccount) { s.ID = "svc_acct_none" },
		})
	})
	t.Run("Resource", func(t *testing.T) {
		run(t, db, entity[gatehouse.Resource]{
			value: func() *gatehouse.Resource {
				return &gatehouse.Resource{ID: "res_x", Organization: "org-a", Project: "proj_1", Name: "contoso", Region: "eu", CreatedAt: 5}
			},
			change: func(r *gatehouse.Resource) { r.Name, r.Region, r.RemovedAt = "fabrikam", "", 9 },
			rev:    func(r *gatehouse.Resource) *int64 { return &r.Rev },
			create: (*store.Tx).CreateResource, save: (*store.Tx).SaveResource, each: (*store.Tx).EachResource,
			get: func(tx *store.Tx, r *gatehouse.Resource) (*gatehouse.Resource, error) {
				return tx.Resource(r.ID)
			},
			rename: func(r *gatehouse.Resource) { r.ID = "res_none" },
		})
	})
	t.Run("Limit", func(t *testing.T) {
		run(t, db, entity[gatehouse.Limit]{
			value: func() *gatehouse.Limit {
				return &gatehouse.Limit{ID: "rl-x", Organization: "org-a", Scope: gatehouse.ScopeLabel, Subject: "team=a\"ü", Model: "gpt-4o", CreatedAt: 5,
					Rates: gatehouse.Rates{RequestsPerMinute: 1, TokensPerMinute: 2, RequestsPerDay: 3, ImagesPerMinute: 4, AudioMegabytesPerMinute: 5, BatchInputTokensPerDay: 6}}
			},
			change: func(l *gatehouse.Limit) {
				l.RemovedAt = 9
				l.Rates = gatehouse.Rates{RequestsPerMinute: 7, TokensPerMinute: 8, RequestsPerDay: 9, ImagesPerMinute: 10, AudioMegabytesPerMinute: 11, BatchInputTokensPerDay: 12}
			},
			rev:    func(l *gatehouse.Limit) *int64 { return &l.Rev },
			create: (*store.Tx).CreateLimit, save: (*store.Tx).SaveLimit, each: (*store.Tx).EachLimit,
			get:    func(tx *store.Tx, l *gatehouse.Limit) (*gatehouse.Limit, error) { return tx.Limit(l.ID) },
			rename: func(l *gatehouse.Limit) { l.ID = "rl-none" },
		})
	})
	t.Run("Key", func(t *testing.T) {
		run(t, db, entity[gatehouse.Key]{
			value: func() *gatehouse.Key { return fullKey("key_x") },
			change: func(k *gatehouse.Key) {
				k.Name, k.Labels, k.Scopes, k.Models, k.AllowedIPs = "n", nil, nil, nil, nil
				k.ExpiresAt, k.SuspendedAt, k.RevokedAt, k.Redacted, k.PepperVersion = 0, 0, 9, "r", 8
				k.Digest[0] = 1
			},
			rev:    func(k *gatehouse.Key) *int64 { return &k.Rev },
			create: (*store.Tx).CreateKey, save: (*store.Tx).SaveKey, each: (*store.Tx).EachKey,
			get:    func(tx *store.Tx, k *gatehouse.Key) (*gatehouse.Key, error) { return tx.Key(k.ID) },
			rename: func(k *gatehouse.Key) { k.ID = "key_none" },
		})
	})
	t.Run("Upstream", func(t *testing.T) {
		run(t, db, entity[gatehouse.Upstream]{
			value: func() *gatehouse.Upstream {
				return &gatehouse.Upstream{ID: "upst_x", Organization: "org-a", Name: "contoso", Dialect: gatehouse.Azure, BaseURL: "https://contoso.openai.azure.com",
					APIVersion: "2024-10-21", Region: "eastus", Credential: "env://AZURE_API_KEY", CredentialHeader: "Ocp-Apim-Subscription-Key",
					Projects: []string{"proj_1", "proj_2"}, AllowPrivate: true, HTTP2: true, Timeouts: gatehouse.Timeouts{ConnectMillis: 5000, TotalMillis: 7}, Served: map[string]string{"env://A": "proj_1", "https://example.com/v1": gatehouse.ServedMany}, CreatedAt: 5}
			},
			change: func(u *gatehouse.Upstream) {
				u.Name, u.Dialect, u.BaseURL, u.APIVersion, u.Region, u.Credential, u.CredentialHeader = "n", gatehouse.Mock, "", "", "", "", ""
				u.Projects, u.AllowPrivate, u.Timeouts, u.RemovedAt = nil, false, gatehouse.Timeouts{}, 9
			},
			rev:    func(u *gatehouse.Upstream) *int64 { return &u.Rev },
			create: (*store.Tx).CreateUpstream, save: (*store.Tx).SaveUpstream, each: (*store.Tx).EachUpstream,
			get:    func(tx *store.Tx, u *gatehouse.Upstream) (*gatehouse.Upstream, error) { return tx.Upstream(u.ID) },
			rename: func(u *gatehouse.Upstream) { u.ID = "upst_none" },
		})
	})
	t.Run("Deployment", func(t *testing.T) {
		run(t, db, entity[gatehouse.Deployment]{
			value: func() *gatehouse.Deployment {
				return &gatehouse.Deployment{ID: "dep_x", Organization: "org-a", Name: "*", Projects: []string{"proj_1"},
					Routes: []gatehouse.Route{{Upstream: "upst_1", Model: "gpt-4o-eu", Weight: 3, Priority: 1}, {Upstream: "upst_2", Timeouts: gatehouse.Timeouts{FirstByteMillis: 9}}},
					Sticky: gatehouse.StickyKey, CreatedAt: 5}
			},
			change: func(d *gatehouse.Deployment) {
				d.Name, d.Projects, d.Routes, d.Sticky, d.RemovedAt = "n", nil, nil, "", 9
			},
			rev:    func(d *gatehouse.Deployment) *int64 { return &d.Rev },
			create: (*store.Tx).CreateDeployment, save: (*store.Tx).SaveDeployment, each: (*store.Tx).EachDeployment,
			get:    func(tx *store.Tx, d *gatehouse.Deployment) (*gatehouse.Deployment, error) { return tx.Deployment(d.ID) },
			rename: func(d *gatehouse.Deployment) { d.ID = "dep_none" },
		})
	})
	t.Run("Sealed", func(t *testing.T) {
		run(t, db, entity[store.Sealed]{
			value: func() *store.Sealed {
				return &store.Sealed{ID: "seal_x", Organization: "org-a", Name: "openai", Ciphertext: []byte{0, 255, 1, 254, 0}, CreatedAt: 5}
			},
			change: func(s *store.Sealed) { s.Name, s.Ciphertext = "n", []byte{0xC3, 0x28} },
			rev:    func(s *store.Sealed) *int64 { return &s.Rev },
			create: (*store.Tx).CreateSealed, save: (*store.Tx).SaveSealed, each: (*store.Tx).EachSealed,
			get:    func(tx *store.Tx, s *store.Sealed) (*store.Sealed, error) { return tx.Sealed(s.ID) },
			rename: func(s *store.Sealed) { s.ID = "seal_none" },
		})
		look(t, db, func(tx *store.Tx) error {
			s, err := tx.Sealed("seal_x")
			if err != nil {
				return err
			}
			stale := *s
			stale.Rev--
			refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { return tx.DeleteSealed(&stale) })
			change(t, db, func(tx *store.Tx) error { return tx.DeleteSealed(s) })
			return nil
		})
		refused(t, db, gatehouse.NotFound, func(tx *store.Tx) error { _, err := tx.Sealed("seal_x"); return err })
	})
}

func run[T any](t *testing.T, db *store.DB, e entity[T]) {
	t.Helper()
	check := func(want *T) {
		t.Helper()
		look(t, db, func(tx *store.Tx) error {
			got, err := e.get(tx, want)
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read back\n got %+v\nwant %+v", got, want)
			}
			found := 0
			err = e.each(tx, func(v *T) error {
				if reflect.DeepEqual(v, want) {
					found++
				}
				return nil
			})
			if found != 1 {
				t.Errorf("each found it %d times, want 1", found)
			}
			return err
		})
	}

	v := e.value()
	missing := e.value()
	e.rename(missing)
	look(t, db, func(tx *store.Tx) error {
		if _, err := e.get(tx, missing); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("get of what does not exist: %v, want NotFound", err)
		}
		return nil
	})
	change(t, db, func(tx *store.Tx) error { return e.create(tx, v) })
	if got := *e.rev(v); got != 1 {
		t.Errorf("rev after create is %d, want 1", got)
	}
	check(v)

	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { return e.create(tx, e.value()) })
	refused(t, db, gatehouse.NotFound, func(tx *store.Tx) error { *e.rev(missing) = 1; return e.save(tx, missing) })

	stale := *v
	change(t, db, func(tx *store.Tx) error { e.change(v); return e.save(tx, v) })
	if got := *e.rev(v); got != 2 {
		t.Errorf("rev after save is %d, want 2", got)
	}
	check(v)
	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { return e.save(tx, &stale) })

	// A save that is taken back leaves the caller's struct and the row alone.
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "test.changed"}, func(tx *store.Tx) error {
		for range 2 {
			if err := e.save(tx, v); err != nil {
				return err
			}
		}
		if got := *e.rev(v); got != 4 {
			t.Errorf("rev after two saves in one change is %d, want 4", got)
		}
		return errStop
	})
	if err != errStop {
		t.Errorf("update: %v, want the function's own error", err)
	}
	if got := *e.rev(v); got != 2 {
		t.Errorf("rev after a change that was taken back is %d, want 2", got)
	}
	check(v)
}

var errStop = fmt.Errorf("stop")

// testTerminalStates proves that nothing leads out of a terminal state (K1).
func testTerminalStates(t *testing.T, db *store.DB) {
	seed(t, db)
	const past, future = 1_000, 4_000_000_000_000
	upstream := &gatehouse.Upstream{ID: "upst_1", Organization: "org-a", Name: "u", RemovedAt: past}
	deployment := &gatehouse.Deployment{ID: "dep_1", Organization: "org-a", Name: "d", RemovedAt: past}
	revoked, expired, expiring := serviceKey("key_revoked"), serviceKey("key_expired"), serviceKey("key_expiring")
	revoked.RevokedAt, expired.ExpiresAt, expiring.ExpiresAt = past, past, future
	project := &gatehouse.Project{ID: "proj_old", Organization: "org-a", ArchivedAt: past}
	user := &gatehouse.User{ID: "user-old", Organization: "org-a", RemovedAt: past}
	account := &gatehouse.ServiceAccount{ID: "svc_acct_old", Organization: "org-a", Project: "proj_1", RemovedAt: past}
	resource := &gatehouse.Resource{ID: "res_old", Organization: "org-a", Project: "proj_1", RemovedAt: past}
	change(t, db, func(tx *store.Tx) error {
		for _, err := range []error{tx.CreateUpstream(upstream), tx.CreateDeployment(deployment), tx.CreateKey(revoked), tx.CreateKey(expired),
			tx.CreateKey(expiring), tx.CreateProject(project), tx.CreateUser(user), tx.CreateServiceAccount(account), tx.CreateResource(resource)} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		name string
		try  func(*store.Tx, gatehouse.Millis) error
	}{
		{"revoked key", func(tx *store.Tx, at gatehouse.Millis) error { k := *revoked; k.RevokedAt = at; return tx.SaveKey(&k) }},
		{"expired key", func(tx *store.Tx, at gatehouse.Millis) error { k := *expired; k.ExpiresAt = at; return tx.SaveKey(&k) }},
		{"archived project", func(tx *store.Tx, at gatehouse.Millis) error {
			p := *project
			p.ArchivedAt = at
			return tx.SaveProject(&p)
		}},
		{"removed user", func(tx *store.Tx, at gatehouse.Millis) error { u := *user; u.RemovedAt = at; return tx.SaveUser(&u) }},
		{"removed service account", func(tx *store.Tx, at gatehouse.Millis) error {
			s := *account
			s.RemovedAt = at
			return tx.SaveServiceAccount(&s)
		}},
		{"removed resource", func(tx *store.Tx, at gatehouse.Millis) error {
			r := *resource
			r.RemovedAt = at
			return tx.SaveResource(&r)
		}},
		{"removed upstream", func(tx *store.Tx, at gatehouse.Millis) error {
			u := *upstream
			u.RemovedAt = at
			return tx.SaveUpstream(&u)
		}},
		{"removed deployment", func(tx *store.Tx, at gatehouse.Millis) error {
			d := *deployment
			d.RemovedAt = at
			return tx.SaveDeployment(&d)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, at := range []gatehouse.Millis{0, past + 1, future} {
				refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { return c.try(tx, at) })
			}
			// What does not touch the state is allowed: a tombstone can be renamed.
			change(t, db, func(tx *store.Tx) error { return c.try(tx, past) })
		})
	}
	// A key that has not expired may get any expiry.
	for _, at := range []gatehouse.Millis{future + 1, 0, future} {
		expiring.ExpiresAt = at
		change(t, db, func(tx *store.Tx) error { return tx.SaveKey(expiring) })
	}
	// A membership is no terminal state: its user may come back.
	member := &gatehouse.ProjectUser{Project: "proj_1", User: "user-a", RemovedAt: past}
	change(t, db, func(tx *store.Tx) error { return tx.CreateProjectUser(member) })
	member.RemovedAt = 0
	change(t, db, func(tx *store.Tx) error { return tx.SaveProjectUser(member) })
}

// testReferences proves that a row names only what exists in its own organization, and keys only the owners their class allows.
func testReferences(t *testing.T, db *store.DB) {
	seed(t, db)
	key := func(change func(*gatehouse.Key)) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			k := serviceKey("key_" + gatehouse.RandomBase62(11))
			change(k)
			return tx.CreateKey(k)
		}
	}
	azure := func(change func(*gatehouse.Key)) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			k := resourceKey("key_"+gatehouse.RandomBase62(11), "res_1", gatehouse.Key1)
			change(k)
			return tx.CreateKey(k)
		}
	}
	change(t, db, func(tx *store.Tx) error {
		for i, r := range []gatehouse.Resource{{Organization: "org-a", Project: "proj_1"}, {Organization: "org-a", Project: "proj_2"}, {Organization: "org-b", Project: "proj_3"}} {
			r.ID = fmt.Sprintf("res_%d", i+1)
			if err := tx.CreateResource(&r); err != nil {
				return err
			}
		}
		return tx.CreateKey(resourceKey("key_2", "res_1", gatehouse.Key2))
	})
	for _, c := range []struct {
		name string
		want gatehouse.Kind
		try  func(*store.Tx) error
	}{
		{"project of no organization", gatehouse.NotFound, func(tx *store.Tx) error {
			return tx.CreateProject(&gatehouse.Project{ID: "proj_n", Organization: "org-none"})
		}},
		{"member of another organization", gatehouse.NotFound, func(tx *store.Tx) error {
			return tx.CreateProjectUser(&gatehouse.ProjectUser{Project: "proj_1", User: "user-b"})
		}},
		{"member of no project", gatehouse.NotFound, func(tx *store.Tx) error {
			return tx.CreateProjectUser(&gatehouse.ProjectUser{Project: "proj_none", User: "user-a"})
		}},
		{"service account in another organization's project", gatehouse.NotFound, func(tx *store.Tx) error {
			return tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: "svc_acct_n", Organization: "org-a", Project: "proj_3"})
		}},
		{"key in another organization's project", gatehouse.NotFound, key(func(k *gatehouse.Key) { k.Project = "proj_3" })},
		{"key of another organization's service account", gatehouse.NotFound, key(func(k *gatehouse.Key) { k.OwnerServiceAccount = "svc_acct_3" })},
		{"key of another organization's user", gatehouse.NotFound, key(func(k *gatehouse.Key) {
			k.Class, k.OwnerServiceAccount, k.OwnerUser = gatehouse.ClassProject, "", "user-b"
		})},
		{"key of two owners", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.OwnerUser = "user-a" })},
		{"service key of a user", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.OwnerServiceAccount, k.OwnerUser = "", "user-a" })},
		{"service key without a project", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Project = "" })},
		{"project key of a service account", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Class = gatehouse.ClassProject })},
		{"user key in a project", gatehouse.Invalid, key(func(k *gatehouse.Key) {
			k.Class, k.OwnerServiceAccount, k.OwnerUser = gatehouse.ClassUser, "", "user-a"
		})},
		{"admin key in a project", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Class = gatehouse.ClassAdmin })},
		{"azure key without a project", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Class, k.Project = gatehouse.ClassAzure, "" })},
		{"resource in another organization's project", gatehouse.NotFound, func(tx *store.Tx) error {
			return tx.CreateResource(&gatehouse.Resource{ID: "res_n", Organization: "org-a", Project: "proj_3", Name: "n"})
		}},
		{"azure key without a resource", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Class, k.OwnerServiceAccount, k.Slot = gatehouse.ClassAzure, "", 1 })},
		{"azure key of a service account", gatehouse.Invalid, azure(func(k *gatehouse.Key) { k.OwnerServiceAccount = "svc_acct_1" })},
		{"azure key of no resource there is", gatehouse.NotFound, azure(func(k *gatehouse.Key) { k.OwnerResource = "res_none" })},
		{"azure key of another organization's resource", gatehouse.NotFound, azure(func(k *gatehouse.Key) { k.OwnerResource = "res_3" })},
		{"azure key of another project's resource", gatehouse.NotFound, azure(func(k *gatehouse.Key) { k.OwnerResource = "res_2" })},
		{"azure key in no slot", gatehouse.Invalid, azure(func(k *gatehouse.Key) { k.Slot = 0 })},
		{"azure key in a third slot", gatehouse.Invalid, azure(func(k *gatehouse.Key) { k.Slot = 3 })},
		{"second key in a slot", gatehouse.Conflict, azure(func(k *gatehouse.Key) { k.Slot = 2 })},
		{"service key of a resource", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.OwnerResource = "res_1" })},
		{"service key in a slot", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Slot = 1 })},
		{"second resource of a name", gatehouse.Conflict, func(tx *store.Tx) error {
			for _, id := range []string{"res_m", "res_n"} {
				if err := tx.CreateResource(&gatehouse.Resource{ID: id, Organization: "org-a", Project: "proj_1", Name: "m"}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"key of no class", gatehouse.Invalid, key(func(k *gatehouse.Key) { k.Class = 'x' })},
		{"second user of an address", gatehouse.Conflict, func(tx *store.Tx) error {
			for _, id := range []string{"user-m", "user-n"} {
				if err := tx.CreateUser(&gatehouse.User{ID: id, Organization: "org-a", Email: "m@example.com"}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"second upstream of a name", gatehouse.Conflict, func(tx *store.Tx) error {
			for _, id := range []string{"upst_m", "upst_n"} {
				if err := tx.CreateUpstream(&gatehouse.Upstream{ID: id, Organization: "org-a", Name: "m"}); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, db, c.want, c.try) })
	}
	// The names of removed ones are free again, and other organizations' are no matter.
	change(t, db, func(tx *store.Tx) error {
		for _, u := range []gatehouse.Upstream{{ID: "upst_1", Organization: "org-a", Name: "m", RemovedAt: 1}, {ID: "upst_2", Organization: "org-a", Name: "m"},
			{ID: "upst_3", Organization: "org-b", Name: "m"}} {
			if err := tx.CreateUpstream(&u); err != nil {
				return err
			}
		}
		for _, u := range []gatehouse.User{{ID: "user-1", Organization: "org-a", Email: "m@example.com", RemovedAt: 1}, {ID: "user-2", Organization: "org-a", Email: "m@example.com"},
			{ID: "user-3", Organization: "org-b", Email: "m@example.com"}, {ID: "user-4", Organization: "org-a"}, {ID: "user-5", Organization: "org-a"}} {
			if err := tx.CreateUser(&u); err != nil {
				return err
			}
		}
		for _, r := range []gatehouse.Resource{{ID: "res_4", Project: "proj_1", RemovedAt: 1}, {ID: "res_5", Project: "proj_1"}, {ID: "res_6", Project: "proj_2"}} {
			r.Organization, r.Name = "org-a", "m"
			if err := tx.CreateResource(&r); err != nil {
				return err
			}
		}
		// An admin key may have either owner or none.
		for i, k := range []gatehouse.Key{{OwnerUser: "user-a"}, {OwnerServiceAccount: "svc_acct_1"}, {}} {
			k.ID, k.Class, k.Organization = numbered("key_admin", i), gatehouse.ClassAdmin, "org-a"
			if err := tx.CreateKey(&k); err != nil {
				return err
			}
		}
		return nil
	})
}

// testBadText proves that both engines refuse the same text in a control change.
func testBadText(t *testing.T, db *store.DB) {
	seed(t, db)
	for _, name := range []string{"a\x00b", "a\xffb", "\xed\xa0\x80"} {
		refused(t, db, gatehouse.Invalid, func(tx *store.Tx) error {
			return tx.CreateProject(&gatehouse.Project{ID: "proj_n", Organization: "org-a", Name: name})
		})
	}
}

// testBadSearches proves that what cannot be stored is not found, rather than an error of the engine.
func testBadSearches(t *testing.T, db *store.DB) {
	seed(t, db)
	look(t, db, func(tx *store.Tx) error {
		for _, bad := range []string{"proj_1\x00", "\x00", "\xff", "proj_1\xed\xa0\x80", strings.Repeat("x", 100_000)} {
			_, errProject := tx.Project(bad)
			_, errKey := tx.Key(bad)
			_, errRequest := tx.Request(bad)
			_, errObject := tx.Object(bad)
			_, errMember := tx.ProjectUser("proj_1", bad)
			for _, err := range []error{errProject, errKey, errRequest, errObject, errMember} {
				if gatehouse.KindOf(err) != gatehouse.NotFound {
					t.Errorf("search for %.20q: %v, want NotFound", bad, err)
				}
			}
			if _, _, err := tx.Projects("org-a", true, store.Page{After: bad}); gatehouse.KindOf(err) != gatehouse.Invalid {
				t.Errorf("page after %.20q: %v, want Invalid", bad, err)
			}
			keys, _, err := tx.Keys(store.KeyFilter{Organization: bad}, store.Page{})
			if len(keys) != 0 || err != nil {
				t.Errorf("keys of %.20q: %v, %v", bad, keys, err)
			}
			if _, err := tx.UsageBuckets(store.UsageQuery{Organization: bad, Product: bad, Start: 1, End: 2, Width: "1d", Models: []string{bad}}); err != nil {
				t.Errorf("usage of %.20q: %v", bad, err)
			}
		}
		return nil
	})
}

func testMeta(t *testing.T, db *store.DB) {
	look(t, db, func(tx *store.Tx) error {
		if _, err := tx.Meta("install"); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("meta before it is set: %v, want NotFound", err)
		}
		return nil
	})
	for _, want := range []string{"aB3x", "other", ""} {
		change(t, db, func(tx *store.Tx) error { return tx.SetMeta("install", want) })
		look(t, db, func(tx *store.Tx) error {
			got, err := tx.Meta("install")
			if got != want {
				t.Errorf("meta is %q, want %q", got, want)
			}
			return err
		})
	}
}
