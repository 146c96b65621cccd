package catalog

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"gatehouse"
)

// publicIDLen is the length of the public id that stands in a key's text, and keyIDLen that of the key's whole id.
const (
	publicIDLen = 11
	keyIDLen    = len(gatehouse.PrefixKey) + publicIDLen
)

// Key is a key as a node keeps it: what a check needs, in 128 bytes, so that a million fit in memory. It is immutable. A revoked
// key stays, so that its id is still recognised, without its policy.
type Key struct {
	Digest        [32]byte
	id            [keyIDLen]byte
	Class         gatehouse.Class
	ExpiresAt     gatehouse.Millis // 0: never
	Rev           int64
	Organization  string
	Project       string  // empty for ClassUser and ClassAdmin
	Owner         string  // id of the user, service account or resource it belongs to
	Policy        *Policy // nil: unrestricted
	PepperVersion int32
	serviceOwned  bool
	suspended     bool
	revoked       bool
}

// Policy is what narrows a key. An empty list restricts nothing. Keys with equal policies share one.
type Policy struct {
	Scopes     []string
	Models     []string
	AllowedIPs []netip.Prefix
	// Labels are the key's labels as budgets and limits name them (gatehouse.LabelSubject), sorted.
	Labels []string
}

// ID returns the key's id, "key_" and its public id. The string is part of the key itself: making it allocates nothing.
func (k *Key) ID() string { return unsafe.String(&k.id[0], keyIDLen) } // a Key never changes, so neither does the string

// PublicID returns the part of the id that stands in the key's text. It allocates nothing.
func (k *Key) PublicID() string { return k.ID()[len(gatehouse.PrefixKey):] }

// OwnerUser returns the id of the user the key belongs to, "" when that is a service account or a resource.
func (k *Key) OwnerUser() string {
	if k.serviceOwned || k.Class == gatehouse.ClassAzure {
		return ""
	}
	return k.Owner
}

// OwnerServiceAccount returns the id of the service account the key belongs to, "" when that is a user or a resource.
func (k *Key) OwnerServiceAccount() string {
	if k.serviceOwned {
		return k.Owner
	}
	return ""
}

// OwnerResource returns the id of the resource the key belongs to, "" for a key of any class but ClassAzure.
func (k *Key) OwnerResource() string {
	if k.Class == gatehouse.ClassAzure {
		return k.Owner
	}
	return ""
}

// State returns the key's state at now, as gatehouse.Key.State does.
func (k *Key) State(now gatehouse.Millis) gatehouse.State {
	switch {
	case k.revoked:
		return gatehouse.Revoked
	case k.ExpiresAt != 0 && now >= k.ExpiresAt:
		return gatehouse.Expired
	case k.suspended:
		return gatehouse.Suspended
	}
	return gatehouse.Active
}

// keyID is a public id as the key table knows it.
type keyID [publicIDLen]byte

// keyIDOf returns the table's form of a public id; false: it cannot be one.
func keyIDOf(publicID string) (id keyID, ok bool) {
	return id, copy(id[:], publicID) == len(publicID) && len(publicID) == publicIDLen
}

// hashKeyID spreads ids over slots. Ids in the table are random and minted here, so nobody can crowd them.
func hashKeyID(id keyID) uint64 {
	lo, hi := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[publicIDLen-8:])
	const odd = 0x9E3779B97F4A7C15 // 2^64 over the golden ratio: multiplication carries every byte into the high bits
	return (lo*odd ^ hi) * odd
}

// setKey fills k from a row. It returns false for a row whose id is not of the form of a key's id: no text can present it.
func (r *replica) setKey(k *Key, row *gatehouse.Key) bool {
	if !strings.HasPrefix(row.ID, gatehouse.PrefixKey) || len(row.ID) != keyIDLen {
		return false
	}
	*k = Key{
		Digest:        row.Digest,
		Class:         row.Class,
		ExpiresAt:     row.ExpiresAt,
		Rev:           row.Rev,
		Organization:  r.organizationID(row.Organization),
		Project:       r.projectID(row.Project),
		PepperVersion: int32(row.PepperVersion),
		serviceOwned:  row.OwnerServiceAccount != "",
		suspended:     row.SuspendedAt != 0,
		revoked:       row.RevokedAt != 0,
	}
	copy(k.id[:], row.ID)
	switch {
	case k.serviceOwned:
		k.Owner = r.accountID(row.OwnerServiceAccount)
	case row.OwnerResource != "":
		k.Owner = r.resourceID(row.OwnerResource)
	default:
		k.Owner = r.userID(row.OwnerUser)
	}
	if !k.revoked {
		k.Policy = r.policy(row)
	}
	return true
}

// maxPolicies bounds how many policies the writer remembers in order to share them. Sharing pays where a few policies repeat
// over many keys; those are found again at once after the memory was cleared.
const maxPolicies = 4096

// policy returns the shared policy of a row, nil when nothing narrows the key.
func (r *replica) policy(row *gatehouse.Key) *Policy {
	if len(row.Scopes) == 0 && len(row.Models) == 0 && len(row.AllowedIPs) == 0 && len(row.Labels) == 0 {
		return nil
	}
	labels := labelSubjects(row.Labels)
	text := r.policyText[:0]
	for _, s := range row.Scopes {
		text = append(append(text, s...), 0)
	}
	text = append(text, 1)
	for _, m := range row.Models {
		text = append(append(text, m...), 0)
	}
	text = append(text, 1)
	for _, p := range row.AllowedIPs {
		text = append(p.AppendTo(text), 0)
	}
	text = append(text, 1)
	for _, l := range labels {
		text = append(append(text, l...), 0)
	}
	r.policyText = text
	if p := r.policies[string(text)]; p != nil {
		return p
	}
	if len(r.policies) >= maxPolicies {
		clear(r.policies)
	}
	p := &Policy{Scopes: row.Scopes, Models: row.Models, AllowedIPs: row.AllowedIPs, Labels: labels}
	r.policies[string(text)] = p
	return p
}

// labelSubjects returns labels as budgets and limits name them, sorted.
func labelSubjects(labels map[string]string) []string {
	if len(labels) == 0 {
		return nil
	}
	out := make([]string, 0, len(labels))
	for name, value := range labels {
		out = append(out, gatehouse.LabelSubject(name, value))
	}
	slices.Sort(out)
	return out
}
