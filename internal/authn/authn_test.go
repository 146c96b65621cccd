package authn_test

import (
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// resum replaces the checksum at the end of a key's text by the right one.
func resum(text string) string {
	body := text[:len(text)-6]
	sum := crc32.ChecksumIEEE([]byte(body))
	var d [6]byte
	for i := 5; i >= 0; i-- {
		d[i] = gatehouse.Base62[sum%62]
		sum /= 62
	}
	return body + string(d[:])
}

// refusal fails unless err is a refusal by a rule with a code and a kind, whose text does not show the key.
func refusal(tb testing.TB, what string, err error, in *authn.Presented, kind gatehouse.Kind, code string, rule authn.Rule) {
	tb.Helper()
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok || e.Kind != kind || e.Code != code || authn.RuleOf(err) != rule {
		tb.Errorf("%s: got %v of kind %v, rule %q; want kind %v, code %s, rule %s", what, err, gatehouse.KindOf(err), authn.RuleOf(err), kind, code, rule)
		return
	}
	if len(in.Key) > 30 && strings.Contains(err.Error(), in.Key[len(in.Key)-30:len(in.Key)-6]) {
		tb.Errorf("%s: the error shows the secret: %v", what, err)
	}
	for _, url := range []string{"openai.com", "azure.com", "microsoft.com", "http"} {
		if strings.Contains(e.Message, url) {
			tb.Errorf("%s: the error points elsewhere: %s", what, e.Message)
		}
	}
}

// Every class identifies its owner and its project on its own plane and is refused on the other.
func TestClasses(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		class   gatehouse.Class
		project string
		actor   gatehouse.Actor
	}{
		{gatehouse.ClassProject, w.project.ID, gatehouse.Actor{User: w.member.ID}},
		{gatehouse.ClassService, w.project.ID, gatehouse.Actor{ServiceAccount: w.account.ID}},
		{gatehouse.ClassUser, w.defaultProject.ID, gatehouse.Actor{User: w.member.ID}},
		{gatehouse.ClassAzure, w.project.ID, gatehouse.Actor{}},
		{gatehouse.ClassAdmin, "", gatehouse.Actor{User: w.owner.ID}},
	} {
		k := w.issue(c.class, func(k *gatehouse.Key) { k.Scopes = []string{"a", "b"} })
		own, other := w.auth.Authenticate, w.auth.AuthenticateAdmin
		if c.class == gatehouse.ClassAdmin {
			own, other = other, own
		}
		var id authn.Identity
		if err := own(k.in(), &id); err != nil {
			t.Errorf("%s: %v", c.class.Prefix(), err)
			continue
		}
		c.actor.Kind, c.actor.Key = gatehouse.ActorKey, k.ID
		want := gatehouse.Principal{Actor: c.actor, Organization: w.org.ID, Project: c.project, Class: c.class, Scopes: []string{"a", "b"}}
		if !reflect.DeepEqual(id.Principal, want) {
			t.Errorf("%s: got %+v, want %+v", c.class.Prefix(), id.Principal, want)
		}
		if id.Key.ID() != k.ID || id.Org.ID != w.org.ID || (id.Project == nil) != (c.project == "") || id.Project != nil && id.Project.ID != c.project {
			t.Errorf("%s: identity %+v", c.class.Prefix(), id)
		}
		if err := w.auth.Recheck(&id); err != nil {
			t.Errorf("%s: recheck: %v", c.class.Prefix(), err)
		}
		kind := gatehouse.Forbidden
		if c.class == gatehouse.ClassAdmin {
			kind = gatehouse.Unauthenticated
		}
		refusal(t, c.class.Prefix()+" on the other plane", other(k.in(), &id), k.in(), kind, "missing_scope", authn.KeyClass)
		if id.Key != nil || id.Principal.Class != 0 || id.Principal.Actor.Kind != gatehouse.ActorNobody || id.Principal.Actor.Key != k.ID {
			t.Errorf("%s: a refused caller's identity is %+v", c.class.Prefix(), id)
		}
	}
}

// Who does not know the secret gets the same answer for an id nobody issued and for any key in any state; who knows it is told.
func TestOnlyTheSecretTells(t *testing.T) {
	w := newWorld(t)
	now := gatehouse.Millis(w.now.Load())
	keys := map[authn.Rule]*issued{
		"":                 w.issue(gatehouse.ClassProject),
		authn.KeyRevoked:   w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.RevokedAt = now }),
		authn.KeySuspended: w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.SuspendedAt = now }),
		authn.KeyExpired:   w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.ExpiresAt = now }),
		authn.OwnerLeftProject: w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) {
			k.OwnerUser = w.stranger.ID
		}),
		authn.IPNotAllowed: w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }),
	}
	unknown := w.draft(gatehouse.ClassProject)
	var id authn.Identity
	err := w.auth.Authenticate(unknown.in(), &id)
	refusal(t, "unknown id", err, unknown.in(), gatehouse.Unauthenticated, "invalid_api_key", authn.KeyUnknown)
	want, _ := errors.AsType[*gatehouse.Error](err)
	anonymous := func(e *gatehouse.Error, text string) gatehouse.Error {
		plain := *e
		plain.Message, plain.Err = strings.ReplaceAll(e.Message, secret.Mask(text), "MASKED"), nil
		return plain
	}
	for rule, k := range keys {
		in := &authn.Presented{Key: wrongSecret(k), Addr: here, Organization: "org-wrong", Project: "proj_wrong"}
		err := w.auth.Authenticate(in, &id)
		refusal(t, "wrong secret, "+string(rule), err, in, gatehouse.Unauthenticated, "invalid_api_key", authn.SecretWrong)
		got, _ := errors.AsType[*gatehouse.Error](err)
		if got == nil || anonymous(got, in.Key) != anonymous(want, unknown.text) {
			t.Errorf("%s: a wrong secret is answered %+v, an unknown id %+v", rule, got, want)
		}
		if rule == "" {
			continue
		}
		code := map[authn.Rule]string{
			authn.KeyRevoked: "api_key_revoked", authn.KeySuspended: "api_key_suspended", authn.KeyExpired: "api_key_expired",
			authn.OwnerLeftProject: "owner_left_project", authn.IPNotAllowed: "ip_not_authorized",
		}[rule]
		refusal(t, "right secret, "+string(rule), w.auth.Authenticate(k.in(), &id), k.in(), gatehouse.Unauthenticated, code, rule)
	}
}

// What is no key of this installation is refused by its text, with a text that helps.
func TestTexts(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassProject)
	elsewhere := secret.Mint(gatehouse.ClassProject, "0ther"[:4], w.peppers).Text.Reveal()
	var id authn.Identity
	for name, c := range map[string]struct {
		key  string
		code string
		rule authn.Rule
		part string
	}{
		"empty":        {"", "invalid_api_key", authn.KeyMalformed, "This gateway accepts"},
		"a word":       {"hello", "invalid_api_key", authn.KeyMalformed, "Incorrect API key provided: .... "},
		"cut":          {k.text[:len(k.text)-1], "invalid_api_key", authn.KeyMalformed, "has 75 characters, this one has 74"},
		"mistyped":     {strings.Replace(k.text, "gtk", "gtk0", 1), "invalid_api_key", authn.KeyMalformed, "checksum does not hold"},
		"one letter":   {k.text[:60] + swapped(k.text[60]) + k.text[61:], "invalid_api_key", authn.KeyMalformed, "has the right length"},
		"masked":       {k.text[:60] + "!" + k.text[61:], "invalid_api_key", authn.KeyMalformed, "Incorrect API key provided: sk-proj-..." + k.text[71:] + ". "},
		"elsewhere":    {elsewhere, "invalid_api_key", authn.KeyOtherInstallation, "another Gatehouse installation"},
		"unknown":      {w.draft(gatehouse.ClassProject).text, "invalid_api_key", authn.KeyUnknown, "Check that you use the key exactly"},
		"wrong secret": {wrongSecret(k), "invalid_api_key", authn.SecretWrong, "Incorrect API key provided: sk-proj-..." + wrongSecret(k)[71:] + ". "},
		"other class":  {resum("sk-user-" + strings.TrimPrefix(k.text, "sk-proj-")), "invalid_api_key", authn.SecretWrong, "Incorrect API key"},
		"foreign":      {"sk-ant-api03-" + strings.Repeat("a", 95), "foreign_credential", authn.KeyForeign, "neither forwarded nor logged"},
	} {
		in := &authn.Presented{Key: c.key, Addr: here}
		for plane, f := range map[string]func(*authn.Presented, *authn.Identity) error{"data": w.auth.Authenticate, "admin": w.auth.AuthenticateAdmin} {
			err := f(in, &id)
			refusal(t, name+" "+plane, err, in, gatehouse.Unauthenticated, c.code, c.rule)
			if err != nil && !strings.Contains(err.Error(), c.part) {
				t.Errorf("%s: got %q, want it to say %q", name, err, c.part)
			}
		}
	}
}

// Expiry is exact, to the millisecond, with no job running.
func TestExpiryIsExact(t *testing.T) {
	w := newWorld(t)
	at := gatehouse.MillisOf(time.Now().Add(time.Hour))
	k := w.issue(gatehouse.ClassService, func(k *gatehouse.Key) { k.ExpiresAt = at })
	var id authn.Identity
	w.now.Store(int64(at) - 1)
	must(t, w.auth.Authenticate(k.in(), &id))
	must(t, w.auth.Recheck(&id))
	w.now.Store(int64(at))
	refusal(t, "recheck", w.auth.Recheck(&id), k.in(), gatehouse.Unauthenticated, "api_key_expired", authn.KeyExpired)
	refusal(t, "authenticate", w.auth.Authenticate(k.in(), &id), k.in(), gatehouse.Unauthenticated, "api_key_expired", authn.KeyExpired)
}

// OpenAI-Organization and OpenAI-Project must agree with the key; a user's own key acts where its owner is a member, and nobody
// learns whether a project exists.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	bound, own, admin := w.issue(gatehouse.ClassProject), w.issue(gatehouse.ClassUser), w.issue(gatehouse.ClassAdmin)
	strange := w.issue(gatehouse.ClassUser, func(k *gatehouse.Key) { k.OwnerUser = w.stranger.ID })
	var id authn.Identity
	for _, c := range []struct {
		name         string
		key          *issued
		org, project string
		want         string // the project, or the rule
	}{
		{"bound, none", bound, "", "", w.project.ID},
		{"bound, both", bound, w.org.ID, w.project.ID, w.project.ID},
		{"bound, wrong org", bound, w.otherOrg.ID, "", "organization_mismatch"},
		{"bound, wrong org and project", bound, "org-x", "proj_x", "organization_mismatch"},
		{"bound, wrong project", bound, "", w.defaultProject.ID, "project_mismatch"},
		{"bound, foreign project", bound, "", w.foreign.ID, "project_mismatch"},
		{"own, none", own, "", "", w.defaultProject.ID},
		{"own, default", own, w.org.ID, w.defaultProject.ID, w.defaultProject.ID},
		{"own, member", own, "", w.project.ID, w.project.ID},
		{"own, foreign", own, "", w.foreign.ID, "project_mismatch"},
		{"own, nonexistent", own, "", "proj_nowhere", "project_mismatch"},
		{"own, wrong org", own, w.otherOrg.ID, w.foreign.ID, "organization_mismatch"},
		{"stranger, default", strange, "", "", w.defaultProject.ID},
		{"stranger, not a member", strange, "", w.project.ID, "project_mismatch"},
	} {
		in := &authn.Presented{Key: c.key.text, Addr: here, Organization: c.org, Project: c.project}
		err := w.auth.Authenticate(in, &id)
		switch c.want {
		case "organization_mismatch":
			refusal(t, c.name, err, in, gatehouse.Unauthenticated, "mismatched_organization", authn.OrganizationMismatch)
		case "project_mismatch":
			refusal(t, c.name, err, in, gatehouse.Unauthenticated, "mismatched_project", authn.ProjectMismatch)
		default:
			if err != nil || id.Principal.Project != c.want || id.Project.ID != c.want {
				t.Errorf("%s: got project %q, %v; want %s", c.name, id.Principal.Project, err, c.want)
			}
		}
	}
	in := &authn.Presented{Key: admin.text, Addr: here, Project: "proj_any"}
	if err := w.auth.AuthenticateAdmin(in, &id); err != nil || id.Project != nil {
		t.Errorf("administration ignores OpenAI-Project: %v", err)
	}
	in.Organization = w.otherOrg.ID
	refusal(t, "admin, wrong org", w.auth.AuthenticateAdmin(in, &id), in, gatehouse.Unauthenticated, "mismatched_organization", authn.OrganizationMismatch)
}

func TestAllowedAddresses(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) {
		k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	})
	var id authn.Identity
	for addr, ok := range map[string]bool{
		"203.0.113.5": true, "::ffff:203.0.113.5": true, "2001:db8::1": true, "2001:db8::1%eth0": true,
		"203.0.114.5": false, "::1": false, "::ffff:203.0.114.5": false, "2001:db9::1": false, "": false,
	} {
		in := &authn.Presented{Key: k.text}
		if addr != "" {
			in.Addr = netip.MustParseAddr(addr)
		}
		err := w.auth.Authenticate(in, &id)
		if ok && err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		if !ok {
			refusal(t, addr, err, in, gatehouse.Unauthenticated, "ip_not_authorized", authn.IPNotAllowed)
			if addr != "" && !strings.Contains(err.Error(), in.Addr.Unmap().String()) {
				t.Errorf("%s: the message does not name the address: %v", addr, err)
			}
		}
	}
}

// Each change ends what depended on it, for new requests and for those on their way, and its undoing brings it back.
func TestAuthorityOnlyNarrows(t *testing.T) {
	now := func() gatehouse.Millis { return gatehouse.MillisOf(time.Now()) }
	for name, c := range map[string]struct {
		class  gatehouse.Class
		narrow func(*world, *issued)
		widen  func(*world, *issued) // nil: there is no way back
		code   string
		rule   authn.Rule
	}{
		"revoke": {gatehouse.ClassProject, func(w *world, k *issued) { w.change(k, func(k *gatehouse.Key) { k.RevokedAt = now() }) }, nil, "api_key_revoked", authn.KeyRevoked},
		"suspend": {gatehouse.ClassProject, func(w *world, k *issued) { w.change(k, func(k *gatehouse.Key) { k.SuspendedAt = now() }) },
			func(w *world, k *issued) { w.change(k, func(k *gatehouse.Key) { k.SuspendedAt = 0 }) }, "api_key_suspended", authn.KeySuspended},
		"revoke an admin key": {gatehouse.ClassAdmin, func(w *world, k *issued) { w.change(k, func(k *gatehouse.Key) { k.RevokedAt = now() }) }, nil, "api_key_revoked", authn.KeyRevoked},
		"address": {gatehouse.ClassService, func(w *world, k *issued) {
			w.change(k, func(k *gatehouse.Key) { k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		}, func(w *world, k *issued) { w.change(k, func(k *gatehouse.Key) { k.AllowedIPs = nil }) }, "ip_not_authorized", authn.IPNotAllowed},
		"archive": {gatehouse.ClassProject, func(w *world, _ *issued) {
			w.project.ArchivedAt = now()
			w.update(gatehouse.SubjectProject, w.project.ID, func(tx *store.Tx) error { return tx.SaveProject(w.project) })
		}, nil, "project_archived", authn.ProjectArchived},
		"archive, azure": {gatehouse.ClassAzure, func(w *world, _ *issued) {
			w.project.ArchivedAt = now()
			w.update(gatehouse.SubjectProject, w.project.ID, func(tx *store.Tx) error { return tx.SaveProject(w.project) })
		}, nil, "project_archived", authn.ProjectArchived},
		"remove the resource": {gatehouse.ClassAzure, func(w *world, _ *issued) {
			w.resource.RemovedAt = now()
			w.update(gatehouse.SubjectResource, w.resource.ID, func(tx *store.Tx) error { return tx.SaveResource(w.resource) })
		}, nil, "owner_removed", authn.OwnerRemoved},
		"remove the account": {gatehouse.ClassService, func(w *world, _ *issued) {
			w.account.RemovedAt = now()
			w.update(gatehouse.SubjectServiceAccount, w.account.ID, func(tx *store.Tx) error { return tx.SaveServiceAccount(w.account) })
		}, nil, "owner_removed", authn.OwnerRemoved},
		"remove the user":          {gatehouse.ClassProject, func(w *world, _ *issued) { w.member.RemovedAt = now(); saveUser(w, w.member) }, nil, "owner_removed", authn.OwnerRemoved},
		"remove the user, own key": {gatehouse.ClassUser, func(w *world, _ *issued) { w.member.RemovedAt = now(); saveUser(w, w.member) }, nil, "owner_removed", authn.OwnerRemoved},
		"leave the project": {gatehouse.ClassProject, func(w *world, _ *issued) {
			m := &gatehouse.ProjectUser{Project: w.project.ID, User: w.member.ID, Role: gatehouse.RoleMember, RemovedAt: now(), Rev: 1}
			w.update(gatehouse.SubjectProjectUser, m.Project+"/"+m.User, func(tx *store.Tx) error { return tx.SaveProjectUser(m) })
		}, func(w *world, _ *issued) {
			m := &gatehouse.ProjectUser{Project: w.project.ID, User: w.member.ID, Role: gatehouse.RoleMember, Rev: 2}
			w.update(gatehouse.SubjectProjectUser, m.Project+"/"+m.User, func(tx *store.Tx) error { return tx.SaveProjectUser(m) })
		}, "owner_left_project", authn.OwnerLeftProject},
		"role none": {gatehouse.ClassProject, func(w *world, _ *issued) {
			m := &gatehouse.ProjectUser{Project: w.project.ID, User: w.member.ID, Role: gatehouse.RoleNone, Rev: 1}
			w.update(gatehouse.SubjectProjectUser, m.Project+"/"+m.User, func(tx *store.Tx) error { return tx.SaveProjectUser(m) })
		}, nil, "owner_left_project", authn.OwnerLeftProject},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k, bystander := w.issue(c.class), w.issue(gatehouse.ClassUser, func(k *gatehouse.Key) { k.OwnerUser = w.stranger.ID })
			authenticate := w.auth.Authenticate
			if c.class == gatehouse.ClassAdmin {
				authenticate = w.auth.AuthenticateAdmin
			}
			var id, other, again authn.Identity
			must(t, authenticate(k.in(), &id))
			must(t, w.auth.Authenticate(bystander.in(), &other))
			c.narrow(w, k)
			refusal(t, "recheck", w.auth.Recheck(&id), k.in(), gatehouse.Unauthenticated, c.code, c.rule)
			refusal(t, "authenticate", authenticate(k.in(), &again), k.in(), gatehouse.Unauthenticated, c.code, c.rule)
			if err := w.auth.Recheck(&other); err != nil {
				t.Errorf("somebody else was cut: %v", err)
			}
			if c.widen == nil {
				return
			}
			c.widen(w, k)
			if err := authenticate(k.in(), &again); err != nil {
				t.Errorf("after the undoing: %v", err)
			}
			if err := w.auth.Recheck(&again); err != nil {
				t.Errorf("recheck after the undoing: %v", err)
			}
		})
	}
}

// A change that takes nothing away leaves requests on their way alone.
func TestRecheckLetsHarmlessChangesPass(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.Scopes = []string{"model.request"}; k.Models = []string{"gpt-4o"} })
	var id authn.Identity
	must(t, w.auth.Authenticate(k.in(), &id))
	must(t, w.auth.Authorize(&id, "model.request", "gpt-4o"))
	for name, change := range map[string]func(*gatehouse.Key){
		"rename":       func(k *gatehouse.Key) { k.Name = "renamed" },
		"labels":       func(k *gatehouse.Key) { k.Labels = map[string]string{"a": "b"} },
		"more scopes":  func(k *gatehouse.Key) { k.Scopes = []string{"api.files.read", "model.request"} },
		"more models":  func(k *gatehouse.Key) { k.Models = []string{"gpt-4o", "gpt-4o-mini"} },
		"later expiry": func(k *gatehouse.Key) { k.ExpiresAt = gatehouse.MillisOf(time.Now().Add(time.Hour)) },
		"its address":  func(k *gatehouse.Key) { k.AllowedIPs = []netip.Prefix{netip.PrefixFrom(here, 32)} },
	} {
		w.change(k, change)
		if err := w.auth.Recheck(&id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		change func(*gatehouse.Key)
		kind   gatehouse.Kind
		code   string
		rule   authn.Rule
	}{
		"fewer scopes": {func(k *gatehouse.Key) { k.Scopes = []string{"api.files.read"} }, gatehouse.Unauthenticated, "missing_scope", authn.ScopeMissing},
		"fewer models": {func(k *gatehouse.Key) { k.Models, k.Scopes = []string{"gpt-4o-mini"}, nil }, gatehouse.Forbidden, "model_not_found", authn.ModelNotAllowed},
	} {
		w.change(k, c.change)
		refusal(t, name, w.auth.Recheck(&id), k.in(), c.kind, c.code, c.rule)
	}
}

func TestAuthorize(t *testing.T) {
	w := newWorld(t)
	restricted := w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.Scopes = []string{"model.request"}; k.Models = []string{"gpt-4o"} })
	free := w.issue(gatehouse.ClassService)
	viewer := w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.OwnerUser = w.viewer.ID })
	admin := w.issue(gatehouse.ClassAdmin, func(k *gatehouse.Key) { k.Scopes = []string{"api.all.read"} })
	for _, c := range []struct {
		name         string
		key          *issued
		scope, model string
		kind         gatehouse.Kind
		code         string
		rule         authn.Rule
	}{
		{"restricted, its scope", restricted, "model.request", "gpt-4o", 0, "", ""},
		{"restricted, no model", restricted, "model.request", "", 0, "", ""},
		{"restricted, another scope", restricted, "api.files.read", "", gatehouse.Unauthenticated, "missing_scope", authn.ScopeMissing},
		{"restricted, another model", restricted, "model.request", "gpt-4", gatehouse.Forbidden, "model_not_found", authn.ModelNotAllowed},
		{"restricted, a scope that was forgotten", restricted, "", "gpt-4o", gatehouse.Unauthenticated, "missing_scope", authn.ScopeMissing},
		{"free", free, "api.files.write", "anything", 0, "", ""},
		{"viewer reads", viewer, "api.files.read", "", 0, "", ""},
		{"viewer calls a model", viewer, "model.request", "gpt-4o", gatehouse.Unauthenticated, "missing_scope", authn.OwnerRole},
		{"viewer writes", viewer, "api.files.write", "", gatehouse.Unauthenticated, "missing_scope", authn.OwnerRole},
		{"admin reads", admin, "api.management.read", "", 0, "", ""},
		{"admin writes", admin, "api.management.write", "", gatehouse.Forbidden, "missing_scope", authn.ScopeMissing},
	} {
		var id authn.Identity
		if c.key == admin {
			must(t, w.auth.AuthenticateAdmin(c.key.in(), &id))
		} else {
			must(t, w.auth.Authenticate(c.key.in(), &id))
		}
		err := w.auth.Authorize(&id, c.scope, c.model)
		if c.key == admin {
			err = w.auth.AuthorizeAdmin(&id, c.scope, "")
		}
		if c.rule == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		refusal(t, c.name, err, c.key.in(), c.kind, c.code, c.rule)
	}
	var id authn.Identity
	must(t, w.auth.Authenticate(restricted.in(), &id))
	if err := w.auth.Authorize(&id, "model.request", "`\x1b[31m\n"+strings.Repeat("x", 5000)); err == nil || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("a client's model stands in the message as it came: %q", err)
	}
}

func saveUser(w *world, u *gatehouse.User) {
	w.update(gatehouse.SubjectUser, u.ID, func(tx *store.Tx) error { return tx.SaveUser(u) })
}

// TestAdminKeyOfAnOwnerNoMore: an admin key may do what its owner's role permits at the moment, whatever it was when the key was made.
func TestAdminKeyOfAnOwnerNoMore(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassAdmin)
	var id authn.Identity
	must(t, w.auth.AuthenticateAdmin(k.in(), &id))
	must(t, w.auth.AuthorizeAdmin(&id, "api.users.write", ""))
	w.owner.Role = gatehouse.RoleReader
	saveUser(w, w.owner)
	refusal(t, "recheck", w.auth.Recheck(&id), k.in(), gatehouse.Forbidden, "missing_scope", authn.OwnerRole)
	must(t, w.auth.AuthenticateAdmin(k.in(), &id))
	refusal(t, "a reader", w.auth.AuthorizeAdmin(&id, "api.users.write", ""), k.in(), gatehouse.Forbidden, "missing_scope", authn.OwnerRole)
	refusal(t, "a reader in a project", w.auth.AuthorizeAdmin(&id, "api.routing.read", w.project.ID), k.in(), gatehouse.Forbidden, "missing_scope", authn.OwnerRole)
	w.owner.Role = gatehouse.RoleOwner
	saveUser(w, w.owner)
	must(t, w.auth.AuthorizeAdmin(&id, "api.users.write", ""))
}

// TestRolesThroughGroups: somebody who is no member of a project has what a role permits that a group is assigned there, for as long as
// the group has the role, the role permits it, and they are in the group.
func TestRolesThroughGroups(t *testing.T) {
	w := newWorld(t)
	group := &gatehouse.Group{ID: "group_1", Organization: w.project.Organization, Name: "callers"}
	in := &gatehouse.GroupUser{Group: group.ID, User: w.stranger.ID, Organization: w.project.Organization}
	role := &gatehouse.AccessRole{ID: "role_1", Organization: w.project.Organization, Project: w.project.ID, Name: "caller", Permissions: []string{"api.files.read", "model.request"}}
	of := &gatehouse.RoleAssignment{ID: "role_assignment_1", Organization: w.project.Organization, Project: w.project.ID, Role: role.ID, Group: group.ID}
	k := w.issue(gatehouse.ClassProject, func(k *gatehouse.Key) { k.OwnerUser = w.stranger.ID })
	var id authn.Identity
	refused := func(name string, err error, code string, rule authn.Rule) {
		t.Helper()
		refusal(t, name, err, k.in(), gatehouse.Unauthenticated, code, rule)
	}
	outside := func(name string) {
		t.Helper()
		refused(name, w.auth.Authenticate(k.in(), &id), "owner_left_project", authn.OwnerLeftProject)
	}
	outside("before anything")
	w.update(gatehouse.SubjectGroup, group.ID, func(tx *store.Tx) error { return tx.CreateGroup(group) })
	w.update(gatehouse.SubjectGroupUser, group.ID+"/"+in.User, func(tx *store.Tx) error { return tx.CreateGroupUser(in) })
	w.update(gatehouse.SubjectRole, role.ID, func(tx *store.Tx) error { return tx.CreateRole(role) })
	outside("in a group without a role")
	w.update(gatehouse.SubjectAssignment, of.ID, func(tx *store.Tx) error { return tx.CreateAssignment(of) })
	must(t, w.auth.Authenticate(k.in(), &id))
	must(t, w.auth.Authorize(&id, "api.files.read", ""))
	refused("what the role does not permit", w.auth.Authorize(&id, "api.files.write", ""), "missing_scope", authn.OwnerRole)
	must(t, w.auth.Authorize(&id, "model.request", "gpt-4o"))
	must(t, w.auth.Recheck(&id))

	role.Permissions = []string{"api.files.read"}
	w.update(gatehouse.SubjectRole, role.ID, func(tx *store.Tx) error { return tx.SaveRole(role) })
	refused("the role permits less", w.auth.Recheck(&id), "missing_scope", authn.OwnerRole)
	role.Permissions = []string{"model.request"}
	w.update(gatehouse.SubjectRole, role.ID, func(tx *store.Tx) error { return tx.SaveRole(role) })
	must(t, w.auth.Recheck(&id))

	in.RemovedAt = gatehouse.MillisOf(time.Now())
	w.update(gatehouse.SubjectGroupUser, group.ID+"/"+in.User, func(tx *store.Tx) error { return tx.SaveGroupUser(in) })
	refused("out of the group", w.auth.Recheck(&id), "owner_left_project", authn.OwnerLeftProject)
	outside("out of the group")
	in.RemovedAt = 0
	w.update(gatehouse.SubjectGroupUser, group.ID+"/"+in.User, func(tx *store.Tx) error { return tx.SaveGroupUser(in) })
	must(t, w.auth.Authenticate(k.in(), &id))
	must(t, w.auth.Authorize(&id, "model.request", ""))
	of.RemovedAt = gatehouse.MillisOf(time.Now())
	w.update(gatehouse.SubjectAssignment, of.ID, func(tx *store.Tx) error { return tx.SaveAssignment(of) })
	refused("the group has the role no more", w.auth.Recheck(&id), "owner_left_project", authn.OwnerLeftProject)
	outside("the group has the role no more")
}

// Wrong secrets are limited for each address and each id, known or not, and the right secret is never held up.
func TestFailuresAreLimited(t *testing.T) {
	w := newWorld(t, func(c *authn.Config) {
		c.AddressFailures = limit.Config{Burst: 5, Per: time.Minute, MaxKeys: 1000}
		c.IDFailures = limit.Config{Burst: 10, Per: time.Minute, MaxKeys: 1000}
	})
	k := w.issue(gatehouse.ClassProject)
	var id authn.Identity
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}) }
	limited := func(err error) bool {
		e, ok := errors.AsType[*gatehouse.Error](err)
		return ok && e.Kind == gatehouse.RateLimited && e.RetryAfterMillis > 0 && authn.RuleOf(err) == authn.TooManyFailures
	}
	for name, text := range map[string]string{
		"junk": "hello", "cut": k.text[:70], "elsewhere": secret.Mint(gatehouse.ClassProject, "0the", w.peppers).Text.Reveal(),
		"foreign": "ghp_" + strings.Repeat("aB3", 12), "unknown": w.draft(gatehouse.ClassUser).text,
	} {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, name[0]})
		for i := range 8 {
			err := w.auth.Authenticate(&authn.Presented{Key: text, Addr: addr}, &id)
			if limited(err) != (i >= 5) {
				t.Errorf("%s, attempt %d from one address: %v", name, i, err)
			}
		}
		if err := w.auth.Authenticate(&authn.Presented{Key: k.text, Addr: addr}, &id); err != nil {
			t.Errorf("%s: the right key from an address that failed: %v", name, err)
		}
	}
	// One id from many addresses: known and unknown ids are limited alike.
	for n, text := range []string{wrongSecret(k), w.draft(gatehouse.ClassProject).text} {
		for i := range 15 {
			err := w.auth.Authenticate(&authn.Presented{Key: text, Addr: address(n*100 + i)}, &id)
			if limited(err) != (i >= 10) {
				t.Errorf("id %d, attempt %d: %v", n, i, err)
			}
			must(t, w.auth.Authenticate(&authn.Presented{Key: k.text, Addr: address(n*100 + i)}, &id))
		}
	}
	// IPv6 addresses of one /64 count together, those of another do not.
	for i := range 8 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
		if err := w.auth.Authenticate(&authn.Presented{Key: "hello", Addr: addr}, &id); limited(err) != (i >= 5) {
			t.Errorf("attempt %d from a /64: %v", i, err)
		}
	}
	if err := w.auth.Authenticate(&authn.Presented{Key: "hello", Addr: netip.MustParseAddr("2001:db8:0:1::1")}, &id); limited(err) {
		t.Errorf("another /64: %v", err)
	}
	// Time passes and the bucket fills.
	w.now.Add(time.Minute.Milliseconds())
	if err := w.auth.Authenticate(&authn.Presented{Key: "hello", Addr: netip.MustParseAddr("2001:db8::1")}, &id); limited(err) {
		t.Errorf("a minute later: %v", err)
	}
}

// A provider's credential is an incident: reported with a fingerprint at a bounded rate, refused, and shown nowhere.
func TestIncidents(t *testing.T) {
	w := newWorld(t)
	leaked := "sk-proj-" + strings.Repeat("q", 74) + "T3BlbkFJ" + strings.Repeat("z", 74)
	in := &authn.Presented{Key: leaked, Addr: here}
	var id authn.Identity
	err := w.auth.Authenticate(in, &id)
	refusal(t, "openai", err, in, gatehouse.Unauthenticated, "foreign_credential", authn.KeyForeign)
	if err == nil || strings.Contains(err.Error(), "zzzz") || strings.Contains(err.Error(), "qqqq") {
		t.Errorf("the error shows the credential: %v", err)
	}
	want := authn.Incident{Provider: "openai", Fingerprint: "87e0b515438e", Addr: here}
	if len(w.incidents) != 1 || w.incidents[0] != want {
		t.Fatalf("got %+v, want %+v", w.incidents, want)
	}
	for range 100 {
		refusal(t, "again", w.auth.Authenticate(in, &id), in, gatehouse.Unauthenticated, "foreign_credential", authn.KeyForeign)
	}
	if n := len(w.incidents); n != 5 {
		t.Errorf("%d incidents of one address within a minute, want 5", n)
	}
	for i := range 200 {
		_ = w.auth.Authenticate(&authn.Presented{Key: leaked, Addr: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})}, &id) // refused above
	}
	if n := len(w.incidents); n != 60 {
		t.Errorf("%d incidents in all within a minute, want 60", n)
	}
	if n := len(w.failures); n != 301 {
		t.Errorf("%d failures reported, want each of 301", n)
	}
}

// Every refusal is reported once, with what is known about the key and nothing secret.
func TestFailuresAreReported(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassProject)
	unknown := w.draft(gatehouse.ClassProject)
	var id authn.Identity
	_ = w.auth.Authenticate(&authn.Presented{Key: "hello", Addr: here}, &id)
	_ = w.auth.Authenticate(unknown.in(), &id)
	_ = w.auth.Authenticate(&authn.Presented{Key: wrongSecret(k), Addr: here}, &id)
	_ = w.auth.Authenticate(&authn.Presented{Key: k.text, Project: "proj_x", Addr: here}, &id)
	must(t, w.auth.Authenticate(k.in(), &id))
	want := []authn.Failure{
		{Rule: authn.KeyMalformed, Addr: here},
		{Rule: authn.KeyUnknown, Key: unknown.ID, Addr: here},
		{Rule: authn.SecretWrong, Key: k.ID, Organization: w.org.ID, Project: w.project.ID, Addr: here},
		{Rule: authn.ProjectMismatch, Key: k.ID, Organization: w.org.ID, Project: w.project.ID, Addr: here},
	}
	if !reflect.DeepEqual(w.failures, want) {
		t.Errorf("got %+v\nwant %+v", w.failures, want)
	}
}

// While goroutines authenticate without a pause, a key is revoked; none that begins after the revocation has settled is let in,
// and nobody else's request fails.
func TestNoAcceptAfterRevoke(t *testing.T) {
	w := newWorld(t, func(c *authn.Config) { c.OnFailure, c.OnIncident = nil, nil })
	bystander := w.issue(gatehouse.ClassService)
	for range 3 {
		k := w.issue(gatehouse.ClassProject)
		var id authn.Identity
		must(t, w.auth.Authenticate(k.in(), &id))
		var settled atomic.Bool
		var running, done sync.WaitGroup
		running.Add(4)
		for range 4 {
			done.Go(func() {
				var again, other authn.Identity
				for round, after := 0, 0; after < 50; round++ {
					runtime.Gosched() // the catalog's follower needs a processor too
					begun := settled.Load()
					stood, accepted := w.auth.Recheck(&id) == nil, w.auth.Authenticate(k.in(), &again) == nil
					if err := w.auth.Authenticate(bystander.in(), &other); err != nil {
						t.Errorf("somebody else was refused: %v", err)
					}
					if round == 0 {
						if !stood || !accepted {
							t.Error("refused before the revocation")
						}
						running.Done()
					}
					if begun {
						after++
						if stood || accepted {
							t.Errorf("after the revocation had settled an open stream stood: %v, a new request was accepted: %v", stood, accepted)
							return
						}
					}
				}
			})
		}
		running.Wait()
		w.change(k, func(k *gatehouse.Key) { k.RevokedAt = gatehouse.MillisOf(time.Now()) }) // returns when it has settled
		settled.Store(true)
		done.Wait()
	}
}

// A node that may not decide says so, and only to who presents the text of a key.
func TestNotFresh(t *testing.T) {
	w := newWorld(t)
	k := w.issue(gatehouse.ClassProject)
	var late atomic.Int64
	lapsed, err := catalog.Open(t.Context(), catalog.Config{DB: w.db, Node: "lapsed", MaxStaleness: 2 * time.Minute,
		Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) }})
	must(t, err)
	late.Store(int64(2 * time.Minute)) // nobody calls Run, which would renew the lease
	auth := authn.New(authn.Config{Catalog: lapsed, Peppers: w.peppers, Install: install, Now: time.Now})
	var id, good authn.Identity
	err = auth.Authenticate(k.in(), &id)
	refusal(t, "authenticate", err, k.in(), gatehouse.Unavailable, "auth_unavailable", authn.NotFresh)
	if e, ok := errors.AsType[*gatehouse.Error](err); !ok || e.RetryAfterMillis == 0 || e.NoRetry {
		t.Errorf("got %+v, want an error that asks to try again", e)
	}
	must(t, w.auth.Authenticate(k.in(), &good))
	refusal(t, "recheck", auth.Recheck(&good), k.in(), gatehouse.Unavailable, "auth_unavailable", authn.NotFresh)
	in := &authn.Presented{Key: "hello", Addr: here}
	refusal(t, "junk", auth.Authenticate(in, &id), in, gatehouse.Unauthenticated, "invalid_api_key", authn.KeyMalformed)
}

// The default limits hold and hooks may be absent.
func TestDefaults(t *testing.T) {
	w := newWorld(t, func(c *authn.Config) {
		c.AddressFailures, c.IDFailures, c.OnFailure, c.OnIncident = limit.Config{}, limit.Config{}, nil, nil
	})
	var id authn.Identity
	granted := 0
	for range 400 {
		if err := w.auth.Authenticate(&authn.Presented{Key: "ghp_" + strings.Repeat("aB3", 12), Addr: here}, &id); authn.RuleOf(err) == authn.KeyForeign {
			granted++
		}
	}
	if granted != 300 {
		t.Errorf("%d failures of one address were answered 401, want 300", granted)
	}
	if w.auth.Recheck(&authn.Identity{}) == nil {
		t.Error("nobody stands")
	}
}

func TestNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items under the race detector")
	}
	w := newWorld(t)
	for _, class := range gatehouse.Classes {
		k := w.issue(class, func(k *gatehouse.Key) {
			k.Scopes, k.Models = []string{"model.request", "api.management.read"}, []string{"gpt-4o"}
			k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		})
		in, authenticate, scope := k.in(), w.auth.Authenticate, "model.request"
		if class == gatehouse.ClassAdmin {
			authenticate, scope = w.auth.AuthenticateAdmin, "api.management.read"
		}
		var id authn.Identity
		if n := testing.AllocsPerRun(1000, func() {
			if authenticate(in, &id) != nil || w.auth.Authorize(&id, scope, "gpt-4o") != nil || w.auth.Recheck(&id) != nil {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", class.Prefix(), n)
		}
	}
}

// BenchmarkAuthenticate checks keys in random order among 100,000, so that the tables are not in the processor's caches.
func BenchmarkAuthenticate(b *testing.B) {
	w, keys := crowd(b, 100_000)
	in := make([]authn.Presented, len(keys))
	for i, k := range keys {
		in[i] = authn.Presented{Key: k, Addr: here}
	}
	rand.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
	var id authn.Identity
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := w.auth.Authenticate(&in[0], &id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("random order", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := w.auth.Authenticate(&in[i%len(in)], &id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("recheck", func(b *testing.B) {
		must(b, w.auth.Authenticate(&in[0], &id))
		b.ReportAllocs()
		for b.Loop() {
			if err := w.auth.Recheck(&id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("junk", func(b *testing.B) {
		junk := authn.Presented{Key: keys[0][:60] + "!" + keys[0][61:], Addr: here}
		b.ReportAllocs()
		for b.Loop() {
			if w.auth.Authenticate(&junk, &id) == nil {
				b.Fatal("accepted")
			}
		}
	})
	b.Run("wrong secret", func(b *testing.B) {
		wrong := authn.Presented{Key: wrongSecret(&issued{text: keys[0]}), Addr: here}
		b.ReportAllocs()
		for b.Loop() {
			if w.auth.Authenticate(&wrong, &id) == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// crowd returns a world with n service account keys, stored in one transaction before the catalog is opened.
func crowd(b *testing.B, n int) (*world, []string) {
	b.Helper()
	w := newWorld(b, func(c *authn.Config) { c.OnFailure, c.OnIncident = nil, nil })
	keys := make([]string, n)
	ev := gatehouse.Event{Type: "test.changed", Organization: w.org.ID, Actor: gatehouse.Actor{Kind: gatehouse.ActorHost}, Subject: gatehouse.SubjectNone}
	_, err := w.db.Update(b.Context(), ev, func(tx *store.Tx) error {
		for i := range keys {
			k := w.draft(gatehouse.ClassService)
			keys[i] = k.text
			if err := tx.CreateKey(&k.Key); err != nil {
				return err
			}
		}
		return nil
	})
	must(b, err)
	full, err := catalog.Open(b.Context(), catalog.Config{DB: w.db, Node: "full", MaxStaleness: 2 * time.Minute, SingleNode: true})
	must(b, err)
	w.auth = authn.New(authn.Config{Catalog: full, Peppers: w.peppers, Install: install, Now: time.Now})
	return w, keys
}

// swapped returns another character of Base62.
func swapped(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}
