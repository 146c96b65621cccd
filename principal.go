package gatehouse

import (
	"net/netip"
)

// Class is what kind of key a credential is; it decides what the key may be used for at all.
type Class byte

// The classes, each the byte that enters the key's digest.
const (
	ClassProject Class = 'p' // sk-proj-: owned by a user, one project
	ClassService Class = 's' // sk-svcacct-: owned by a service account, one project
	ClassUser    Class = 'u' // sk-user-: a user's own; acts in the project the request names, else the organization's default
	ClassAdmin   Class = 'a' // sk-admin-: administration only, never calls models
	ClassAzure   Class = 'z' // sk-azure-: KEY1 or KEY2 of a Resource
)

// Prefix returns the text a key of this class begins with, "" for an unknown class.
func (c Class) Prefix() string {
	switch c {
	case ClassProject:
		return "sk-proj-"
	case ClassService:
		return "sk-svcacct-"
	case ClassUser:
		return "sk-user-"
	case ClassAdmin:
		return "sk-admin-"
	case ClassAzure:
		return "sk-azure-"
	}
	return ""
}

// Classes lists every class.
var Classes = []Class{ClassProject, ClassService, ClassUser, ClassAdmin, ClassAzure}

// State is what a key is worth at a moment. It is derived by Key.State, never stored.
type State uint8

// The states. Revoked and Expired are terminal: no later moment makes such a key usable again.
const (
	Active State = iota
	Suspended
	Expired
	Revoked
)

// String returns the state as the API shows it.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Suspended:
		return "suspended"
	case Expired:
		return "expired"
	}
	return "revoked"
}

// Key is a credential Gatehouse issued. The secret itself is not in it: only its digest under a pepper.
type Key struct {
	ID           string // PrefixKey and the 11-character public id that stands in the key's text
	Class        Class
	Organization string
	Project      string // empty for ClassUser and ClassAdmin
	// Exactly one of the owners is set for ClassProject (user), ClassService (service account), ClassUser (user) and ClassAzure
	// (resource); an admin key may have a user or a service account.
	OwnerUser           string
	OwnerServiceAccount string
	OwnerResource       string
	Slot                KeySlot // which of the resource's keys it is; 0 for every other class
	Name                string
	Labels              map[string]string
	Scopes              []string       // empty: everything the class allows
	Models              []string       // deployment names this key may use; empty: every one its project may use
	AllowedIPs          []netip.Prefix // empty: any address
	CreatedAt           Millis
	ExpiresAt           Millis // 0: never
	SuspendedAt         Millis
	RevokedAt           Millis
	LastUsedAt          Millis // durable with a lag of at most 60 s
	Redacted            string // the key's text with its secret left out, e.g. sk-proj-...sQoA
	Digest              [32]byte
	PepperVersion       int
	Rev                 int64 // rises with every change of this row
}

// State returns the key's state at now.
func (k *Key) State(now Millis) State {
	switch {
	case k.RevokedAt != 0:
		return Revoked
	case k.ExpiresAt != 0 && now >= k.ExpiresAt:
		return Expired
	case k.SuspendedAt != 0:
		return Suspended
	}
	return Active
}

// Owner returns the id of the user, service account or resource the key belongs to.
func (k *Key) Owner() string {
	switch {
	case k.OwnerServiceAccount != "":
		return k.OwnerServiceAccount
	case k.OwnerResource != "":
		return k.OwnerResource
	}
	return k.OwnerUser
}

// ActorKind is what kind of principal acts.
type ActorKind string

// The kinds of actors an Event knows.
const (
	ActorKey    ActorKind = "api_key" // somebody who presented a key
	ActorHost   ActorKind = "host"    // the command line on the host itself: init, dev, apply at start
	ActorSystem ActorKind = "system"  // Gatehouse itself: recovery, expiry, node leases
	ActorNobody ActorKind = "nobody"  // a caller whose credential was refused
)

// Actor is who did something, as the audit log keeps it.
type Actor struct {
	Kind           ActorKind `json:"kind"`
	Key            string    `json:"key,omitempty"`
	User           string    `json:"user,omitempty"`
	ServiceAccount string    `json:"service_account,omitempty"`
	IP             string    `json:"ip,omitempty"`
	UserAgent      string    `json:"user_agent,omitempty"`
}

// Principal is who is calling: the outcome of authentication, an argument of everything that needs to know. A mutation cannot be
// called without one.
type Principal struct {
	Actor        Actor
	Organization string
	Project      string // the project the call acts in; empty for administration
	Class        Class  // 0 for the host and the system
	Scopes       []string
	RequestID    string
	// Need is the permission that the call needs, and Within the project it is about, "" for none: an administrative call is checked
	// against them once more where it reads and writes.
	Need   string
	Within string
	// Once is set where the call has an Idempotency-Key.
	Once *Once
	// IfVersion are the versions of its subject that a change is for; none: whatever it is by now.
	IfVersion []string
}

// Once is what keeps a call from being made twice: the name its caller gave it, and a hash of what is asked.
type Once struct {
	Name, Hash string
	Made       bool // it has changed something
}

// Host returns the principal of a command run on the host itself, which acts in one organization (empty while it creates one).
func Host(organization string) *Principal {
	return &Principal{Actor: Actor{Kind: ActorHost}, Organization: organization}
}

// IsAdmin reports whether the principal may administer its organization.
func (p *Principal) IsAdmin() bool {
	return p.Actor.Kind == ActorHost || p.Actor.Kind == ActorSystem || p.Class == ClassAdmin
}
