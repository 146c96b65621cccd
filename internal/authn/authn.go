// Package authn owns the step from a presented credential to who is calling: it checks a key's text, its secret and its state, that
// its owner and its project still stand, where the request comes from, and which organization and project it names; and it says
// what a key may do (scopes and models). Every reason to refuse has a Rule and a text that says what to do.
//
// It does not own where in a request a credential stands (dialect), the data it decides by (catalog) or the format of keys
// (secret). It does no I/O and a success allocates nothing.
//
// # What a refusal tells
//
// A caller who does not know the secret learns nothing about the key: an id nobody issued, a wrong secret, and a wrong secret for
// a key that is revoked, expired or suspended all get the same answer after the same work. Only who knows the secret is told what
// became of the key. What can be told from the text alone, a checksum that does not hold or the tag of another installation, is
// told to everybody, because everybody can compute it.
//
// # Failures are limited, keys are not
//
// Wrong secrets are counted for each address and for each id, after the check. A bucket that is empty turns the 401 of a wrong
// secret into a 429; it is never asked about a right one, so nobody can lock out the holder of a key.
package authn

import (
	"net/netip"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
)

// Config is what an Authenticator decides by. Catalog, Peppers, Install and Now are required.
type Config struct {
	Catalog *catalog.Catalog
	Peppers *secret.Peppers
	Install string // this installation's tag, which stands in every key's text
	Now     func() time.Time

	// AddressFailures and IDFailures are how many wrong secrets one address (for IPv6 one /64) and one key's id may present before
	// they are answered 429. The zero value means 300 and 60 a minute for at most 65,536 addresses and ids.
	AddressFailures limit.Config
	IDFailures      limit.Config

	// MissingPepper, when not nil, is called for an active key whose pepper version is not known, on the goroutine of the request.
	// It looks for the version, which another node may have got sooner, and reports whether it is known now.
	MissingPepper func(version int) bool
	// OnOldPepper, when not nil, is called when the secret of a key was right whose digest is under an older pepper than the
	// current one, on the goroutine of the request: it must be quick. Where it reports true, OnRewrap is called with the digest
	// under the current one.
	OnOldPepper func(keyID string) bool
	OnRewrap    func(secret.Rewrap)

	// OnFailure, when not nil, is called for every refusal, on the goroutine of the request: it must be quick, and it is called as
	// often as somebody cares to fail, so it counts rather than writes.
	OnFailure func(Failure)
	// OnIncident, when not nil, is called when another provider's credential was presented, at most 5 times a minute for one
	// address and 60 times a minute in all, on the goroutine of the request.
	OnIncident func(Incident)
}

// Presented is a credential as a request bears it.
type Presented struct {
	Key          string
	Organization string     // OpenAI-Organization, "" when absent
	Project      string     // OpenAI-Project, "" when absent
	Addr         netip.Addr // where the request comes from; the zero Addr when that is no IP address
	Certificate  ClientCertificate
}

// Identity is who is calling. What it points to belongs to the catalog and is immutable.
type Identity struct {
	// Principal has no RequestID, IP and UserAgent: they are the caller's to fill in.
	Principal gatehouse.Principal
	Key       *catalog.Key
	Project   *gatehouse.Project // nil for administration
	Org       *gatehouse.Organization
	Resource  *gatehouse.Resource // for a resource's key, else nil

	plane       plane
	addr        netip.Addr
	certificate ClientCertificate

	// What Authorize was asked for, for Recheck.
	authorized bool
	scope      string
	model      string
	within     string // AuthorizeAdmin: the project the call is about
}

// plane is which of the two surfaces a credential is used on.
type plane uint8

const (
	dataPlane plane = iota
	adminPlane
)

// Authenticator checks credentials. It is safe for concurrent use.
type Authenticator struct {
	cfg       Config
	addresses *limit.Buckets[netip.Addr]
	ids       *limit.Buckets[publicID]
	incidents *incidentBuckets
	verdicts  verdicts
}

// publicID is the public part of a key's text as a key of the failure buckets: a copy, so that a bucket keeps no header alive.
type publicID [11]byte

// New returns an Authenticator.
func New(c Config) *Authenticator {
	if c.AddressFailures == (limit.Config{}) {
		c.AddressFailures = limit.Config{Burst: 300, Per: time.Minute, MaxKeys: 1 << 16}
	}
	if c.IDFailures == (limit.Config{}) {
		c.IDFailures = limit.Config{Burst: 60, Per: time.Minute, MaxKeys: 1 << 16}
	}
	return &Authenticator{
		cfg:       c,
		addresses: limit.New[netip.Addr](c.AddressFailures),
		ids:       limit.New[publicID](c.IDFailures),
		incidents: newIncidentBuckets(),
	}
}

// Authenticate checks a credential for the data plane and fills out, replacing all that was in it. It returns a *gatehouse.Error
// of kind Unauthenticated, RateLimited (too many wrong secrets) or Unavailable (the node may not decide now), for which RuleOf
// gives the rule. After an error out holds an actor of kind ActorNobody, with the id, organization and project of the key when the
// id is known; it identifies nobody.
func (a *Authenticator) Authenticate(in *Presented, out *Identity) error {
	return a.authenticate(in, out, dataPlane)
}

// AuthenticateAdmin checks a credential for the administration API; OpenAI-Project is ignored there. It decides by the catalog as
// Authenticate does. A change must therefore check the key once more in its own transaction: an admin key is worth nothing from
// the moment its revocation commits.
func (a *Authenticator) AuthenticateAdmin(in *Presented, out *Identity) error {
	return a.authenticate(in, out, adminPlane)
}

func (a *Authenticator) authenticate(in *Presented, out *Identity, pl plane) error {
	now := a.cfg.Now()
	parsed, ok := secret.ParseKey(in.Key)
	if !ok || parsed.Install != a.cfg.Install {
		*out = Identity{}
		return a.refuseText(in, out, now, parsed, ok)
	}
	// Freshness comes before the lookups it covers: see catalog.
	if !a.cfg.Catalog.Fresh() {
		*out = Identity{}
		return a.refuse(in, out, stale())
	}
	key := a.cfg.Catalog.Key(parsed.PublicID)
	if key == nil {
		a.cfg.Peppers.Dummy(parsed)
		*out = Identity{}
		return a.refuseSecret(in, out, now, parsed, KeyUnknown)
	}
	if version := int(key.PepperVersion); !a.cfg.Peppers.Has(version) && key.State(gatehouse.MillisOf(now)) == gatehouse.Active {
		// Whether the secret is right cannot be known; that of a key which is good for nothing need not be.
		if a.cfg.MissingPepper == nil || !a.cfg.MissingPepper(version) {
			*out = nobody(key)
			return a.refuse(in, out, pepperMissing())
		}
	}
	if !a.cfg.Peppers.Verify(parsed, int(key.PepperVersion), &key.Digest) || key.Class != parsed.Class {
		*out = nobody(key)
		return a.refuseSecret(in, out, now, parsed, SecretWrong)
	}
	*out = Identity{Key: key, plane: pl, addr: in.Addr, certificate: in.Certificate}
	out.Principal = gatehouse.Principal{
		Actor:        gatehouse.Actor{Kind: gatehouse.ActorKey, Key: key.ID(), User: key.OwnerUser(), ServiceAccount: key.OwnerServiceAccount()},
		Organization: key.Organization,
		Class:        key.Class,
	}
	if key.Policy != nil {
		out.Principal.Scopes = key.Policy.Scopes
	}
	if err := a.admit(in, out, gatehouse.MillisOf(now)); err != nil {
		*out = nobody(key)
		return a.refuse(in, out, err)
	}
	if a.cfg.OnOldPepper != nil && int(key.PepperVersion) < a.cfg.Peppers.Current() && a.cfg.OnOldPepper(key.ID()) {
		digest, version := a.cfg.Peppers.Digest(parsed)
		a.cfg.OnRewrap(secret.Rewrap{Key: key.ID(), Organization: key.Organization, Was: key.Digest, Digest: digest, Version: version})
	}
	return nil
}

// admit checks all that follows the secret, for a key whose secret was right, and finds the organization and the project.
func (a *Authenticator) admit(in *Presented, out *Identity, now gatehouse.Millis) *gatehouse.Error {
	key := out.Key
	if err := usable(key, out.plane, now); err != nil {
		return err
	}
	if out.Org = a.cfg.Catalog.Organization(key.Organization); out.Org == nil {
		return organizationGone()
	}
	if in.Organization != "" && in.Organization != key.Organization {
		return mismatchedOrganization()
	}
	if out.plane == dataPlane {
		id, err := projectFor(in, out)
		if err != nil {
			return err
		}
		if out.Project = a.cfg.Catalog.Project(id); out.Project == nil || out.Project.Organization != key.Organization {
			// A project of another organization and one that does not exist are the same to this caller.
			return mismatchedProject(key.Class)
		}
		out.Principal.Project = out.Project.ID
	}
	if err := a.stands(key, out.Project, out.Org); err != nil {
		return err
	}
	if owner := key.OwnerResource(); owner != "" {
		out.Resource = a.cfg.Catalog.Resource(owner)
	}
	if !addressAllowed(key.Policy, in.Addr) {
		return addressRefused(in.Addr)
	}
	return a.certified(&in.Certificate, out.Org, out.Project)
}

// usable checks what the key says about itself: its state at now, and whether its class belongs on the plane.
func usable(key *catalog.Key, pl plane, now gatehouse.Millis) *gatehouse.Error {
	switch key.State(now) {
	case gatehouse.Active:
	case gatehouse.Suspended:
		return keySuspended()
	case gatehouse.Expired:
		return keyExpired(key.ExpiresAt)
	default:
		return keyRevoked(key.Class)
	}
	if pl == adminPlane && key.Class != gatehouse.ClassAdmin {
		return notAdminKey()
	}
	if pl == dataPlane && key.Class == gatehouse.ClassAdmin {
		return adminKeyOnData()
	}
	return nil
}

// projectFor returns the id of the project that a data-plane request acts in.
func projectFor(in *Presented, out *Identity) (string, *gatehouse.Error) {
	if out.Key.Class != gatehouse.ClassUser {
		if in.Project != "" && in.Project != out.Key.Project {
			return "", mismatchedProject(out.Key.Class)
		}
		return out.Key.Project, nil
	}
	if in.Project != "" {
		return in.Project, nil
	}
	if out.Org.DefaultProject == "" {
		return "", noProject()
	}
	return out.Org.DefaultProject, nil
}

// stands checks that what the key hangs on still stands: its owner, the owner's place in the project, and the project. The project
// is nil for administration.
func (a *Authenticator) stands(key *catalog.Key, project *gatehouse.Project, org *gatehouse.Organization) *gatehouse.Error {
	if project != nil && project.ArchivedAt != 0 {
		return projectArchived(project.ID)
	}
	if account := key.OwnerServiceAccount(); account != "" {
		sa := a.cfg.Catalog.ServiceAccount(account)
		if sa == nil || sa.Organization != key.Organization || project != nil && sa.Project != project.ID {
			return ownerRemoved("service account")
		}
		if sa.Role == gatehouse.RoleNone {
			return accountWithoutRole()
		}
		return nil
	}
	if key.Class == gatehouse.ClassAzure {
		if v := a.cfg.Catalog.Resource(key.Owner); v == nil || v.Organization != key.Organization || project != nil && v.Project != project.ID {
			return ownerRemoved("resource")
		}
		return nil
	}
	if key.Owner == "" {
		if key.Class == gatehouse.ClassAdmin { // the first one belongs to the host
			return nil
		}
		return ownerRemoved("owner")
	}
	user := a.cfg.Catalog.User(key.Owner)
	if user == nil || user.Organization != key.Organization {
		return ownerRemoved("user")
	}
	if project == nil {
		return nil // what the user's roles permit is asked for with each call: AuthorizeAdmin
	}
	if a.role(project, org, key) == gatehouse.RoleNone && len(a.cfg.Catalog.Permissions(key.Organization, project.ID, key.Owner)) == 0 {
		if key.Class == gatehouse.ClassUser {
			return mismatchedProject(key.Class)
		}
		return ownerLeft(project.ID)
	}
	return nil
}

// role returns the role in a project of the user a key belongs to. Every user of an organization is a member of its default
// project with their own keys.
func (a *Authenticator) role(project *gatehouse.Project, org *gatehouse.Organization, key *catalog.Key) gatehouse.Role {
	if m := a.cfg.Catalog.Member(project.ID, key.Owner); m != nil && m.Role != "" {
		return m.Role
	}
	if key.Class == gatehouse.ClassUser && project.ID == org.DefaultProject {
		return gatehouse.RoleMember
	}
	return gatehouse.RoleNone
}

// addressAllowed reports whether a policy lets an address call.
func addressAllowed(p *catalog.Policy, addr netip.Addr) bool {
	if p == nil || len(p.AllowedIPs) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.AllowedIPs {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// nobody is what a refused caller's Identity holds when the id is known: enough for a record, too little to act.
func nobody(key *catalog.Key) Identity {
	return Identity{Principal: gatehouse.Principal{
		Actor:        gatehouse.Actor{Kind: gatehouse.ActorNobody, Key: key.ID()},
		Organization: key.Organization,
		Project:      key.Project,
	}}
}
