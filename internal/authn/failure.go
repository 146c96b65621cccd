package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"gatehouse"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
)

// Failure is one refused credential, for counting and for the audit log. It holds nothing secret.
type Failure struct {
	Rule         Rule
	Key          string // the key's id as presented, "" when the text is not a key's; it need not exist
	Organization string // of the key, when the id is known
	Project      string
	Addr         netip.Addr
}

// Incident is another provider's credential presented to the gateway: it has leaked out of where it belongs.
type Incident struct {
	Provider string
	// Fingerprint is the first 12 hexadecimal digits of the credential's SHA-256, by which its owner finds it: they have the
	// credential and can compute it; nobody can compute the credential from it.
	Fingerprint string
	Addr        netip.Addr
}

// The bounds on incidents, for one address and for all.
const (
	incidentsPerAddress = 5
	incidentsInAll      = 60
)

func newIncidentBuckets() *incidentBuckets {
	return &incidentBuckets{
		address: limit.New[netip.Addr](limit.Config{Burst: incidentsPerAddress, Per: time.Minute, MaxKeys: 4096}),
		all:     limit.New[struct{}](limit.Config{Burst: incidentsInAll, Per: time.Minute, MaxKeys: 1}),
	}
}

// incidentBuckets bound how often OnIncident is called.
type incidentBuckets struct {
	address *limit.Buckets[netip.Addr]
	all     *limit.Buckets[struct{}]
}

// refuse reports a refusal and returns it.
func (a *Authenticator) refuse(in *Presented, out *Identity, err *gatehouse.Error) error {
	out.Principal.Actor.Kind = gatehouse.ActorNobody
	if a.cfg.OnFailure != nil {
		p := &out.Principal
		a.cfg.OnFailure(Failure{Rule: RuleOf(err), Key: p.Actor.Key, Organization: p.Organization, Project: p.Project, Addr: in.Addr})
	}
	return err
}

// refuseText refuses what is no key of this installation, by its text alone.
func (a *Authenticator) refuseText(in *Presented, out *Identity, now time.Time, parsed secret.Parsed, isKey bool) error {
	provider, foreign := "", false
	if isKey {
		out.Principal.Actor.Key = gatehouse.PrefixKey + parsed.PublicID
	} else if provider, foreign = secret.Foreign(in.Key); foreign {
		a.incident(in, provider, now)
	}
	if wait := a.addresses.Take(network(in.Addr), now); wait > 0 {
		return a.refuse(in, out, tooMany(wait))
	}
	if foreign {
		return a.refuse(in, out, foreignCredential(provider))
	}
	masked := secret.Mask(in.Key)
	if isKey {
		return a.refuse(in, out, incorrect(KeyOtherInstallation, masked, hintElsewhere))
	}
	switch length := secret.KeyLength(in.Key); length {
	case 0:
	case len(in.Key):
		return a.refuse(in, out, incorrect(KeyMalformed, masked, hintMistyped))
	default:
		return a.refuse(in, out, incorrect(KeyMalformed, masked, fmt.Sprintf(hintChecksum, length, len(in.Key))))
	}
	return a.refuse(in, out, incorrect(KeyMalformed, masked, hintMalformed))
}

// refuseSecret refuses a well-formed key whose id is unknown or whose secret is wrong. The two differ in the rule alone, also in
// which buckets they charge: a bucket that only known ids have would tell which ids are known.
func (a *Authenticator) refuseSecret(in *Presented, out *Identity, now time.Time, parsed secret.Parsed, rule Rule) error {
	if rule == KeyUnknown {
		out.Principal.Actor.Key = gatehouse.PrefixKey + parsed.PublicID
	}
	var id publicID
	copy(id[:], parsed.PublicID)
	wait := max(a.addresses.Take(network(in.Addr), now), a.ids.Take(id, now))
	if wait > 0 {
		return a.refuse(in, out, tooMany(wait))
	}
	return a.refuse(in, out, incorrect(rule, secret.Mask(in.Key), hintWrong))
}

// incident reports another provider's credential, at a bounded rate.
func (a *Authenticator) incident(in *Presented, provider string, now time.Time) {
	if a.cfg.OnIncident == nil || a.incidents.address.Take(network(in.Addr), now) > 0 || a.incidents.all.Take(struct{}{}, now) > 0 {
		return
	}
	sum := sha256.Sum256([]byte(in.Key))
	a.cfg.OnIncident(Incident{Provider: provider, Fingerprint: hex.EncodeToString(sum[:6]), Addr: in.Addr})
}

// network returns what failures of an address are counted under: the address itself, for IPv6 its /64, which one customer has to
// themselves.
func network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil { // only for an address without 64 bits, which this one has
		return addr
	}
	return prefix.Addr()
}
