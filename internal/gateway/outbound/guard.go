package outbound

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// verdict is what the guard thinks of an address.
type verdict uint8

const (
	public  verdict = iota // may be dialled
	private                // may be dialled when the operator allowed private addresses for this upstream
	never                  // may not be dialled whatever the operator says
)

// ranges are the addresses that are not simply public. The first match decides, so what is refused always stands before the
// range around it. No predicate of netip knows the metadata services among them, and IsGlobalUnicast is true for most: the table
// is explicit. Sources: the IANA special-purpose registries (RFC 6890), and the cloud providers' documents for their metadata
// services, which hand credentials to whoever can reach them.
var ranges = []struct {
	prefix  netip.Prefix
	verdict verdict
}{
	// Metadata and platform services.
	{netip.MustParsePrefix("169.254.0.0/16"), never},     // link-local: 169.254.169.254 of most clouds, 169.254.170.2 and .23 of AWS containers
	{netip.MustParsePrefix("100.100.100.200/32"), never}, // Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), never},   // Azure's wire server, a public address
	{netip.MustParsePrefix("192.0.0.0/24"), never},       // protocol assignments; 192.0.0.192 is Oracle's metadata
	{netip.MustParsePrefix("fe80::/10"), never},          // link-local; fe80::a9fe:a9fe of OpenStack
	{netip.MustParsePrefix("fd00:ec2::/32"), never},      // AWS: fd00:ec2::254, fd00:ec2::23
	{netip.MustParsePrefix("fd20:ce::254/128"), never},   // Google
	{netip.MustParsePrefix("fd00:42::42/128"), never},    // Scaleway
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), never},

	// An operator may have an upstream here.
	{netip.MustParsePrefix("127.0.0.0/8"), private},
	{netip.MustParsePrefix("10.0.0.0/8"), private},
	{netip.MustParsePrefix("172.16.0.0/12"), private},
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("100.64.0.0/10"), private}, // carrier-grade NAT, and what overlay networks use
	{netip.MustParsePrefix("198.18.0.0/15"), private}, // benchmarks
	{netip.MustParsePrefix("::1/128"), private},
	{netip.MustParsePrefix("fc00::/7"), private},

	// Nobody has.
	{netip.MustParsePrefix("0.0.0.0/8"), never},
	{netip.MustParsePrefix("192.0.2.0/24"), never},    // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), never},  // 6to4 relays
	{netip.MustParsePrefix("198.51.100.0/24"), never}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), never},  // documentation
	{netip.MustParsePrefix("224.0.0.0/4"), never},     // multicast
	{netip.MustParsePrefix("240.0.0.0/4"), never},     // reserved, broadcast
	{netip.MustParsePrefix("64:ff9b:1::/48"), never},  // NAT64 of a local network, RFC 8215: where the IPv4 address stands in it varies
	{netip.MustParsePrefix("2001::/23"), never},       // protocol assignments, Teredo
	{netip.MustParsePrefix("2001:db8::/32"), never},   // documentation
	{netip.MustParsePrefix("3fff::/20"), never},       // documentation

	// What remains of IPv4, and the part of IPv6 that is assigned as global unicast. Everything else is refused.
	{netip.MustParsePrefix("0.0.0.0/0"), public},
	{netip.MustParsePrefix("2000::/3"), public},
}

// Prefixes of IPv6 that carry an IPv4 address, and at which byte. A translator or relay may deliver to that address, so they are
// not public; an operator who allows private addresses may sit behind such a translator, but not to reach what is never dialled.
var embeddings = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // SIIT, RFC 2765
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291; ::1 lies in it and is decided before
}

// judge decides about one address as it will be dialled.
func judge(a netip.Addr) verdict {
	// IPv4 written as IPv6 is the IPv4 address. An address with a zone is in no prefix, and so it is refused below.
	a = a.Unmap()
	if a.Is6() && !a.IsLoopback() {
		for _, e := range embeddings {
			if e.prefix.Contains(a) {
				b := a.As16()
				if judge(netip.AddrFrom4([4]byte(b[e.at:e.at+4]))) == never {
					return never
				}
				return private
			}
		}
	}
	for _, r := range ranges {
		if r.prefix.Contains(a) {
			return r.verdict
		}
	}
	return never
}

// refusedError says which address the guard refused.
type refusedError struct {
	address string
	verdict verdict
}

func (e *refusedError) Error() string {
	if e.verdict == private {
		return fmt.Sprintf("%s is a private address, which is not allowed here", e.address)
	}
	return fmt.Sprintf("%s is an address that is never called", e.address)
}

// guard is called by the dialer for each address it is about to connect to, after the name was looked up: what a name meant when
// it was configured, and what it will mean next, does not matter.
func (e *Endpoint) guard(_ context.Context, network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return &refusedError{address: network + " " + address, verdict: never}
	}
	if v := judge(at.Addr()); v == never || v == private && !e.allowPrivate {
		return &refusedError{address: at.Addr().String(), verdict: v}
	}
	return nil
}
