package authn

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddress returns the address a request comes from: the peer's, or, when the peer is a trusted proxy, the last address of
// X-Forwarded-For that is not one. What a client writes into that header itself stands left of what proxies append, so reading
// from the right cannot be misled. The zero Addr means that the peer has no IP address.
func ClientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := parsePeer(r.RemoteAddr)
	if len(trusted) == 0 || !contains(trusted, peer) {
		return peer
	}
	values := r.Header.Values("X-Forwarded-For")
	for i := len(values) - 1; i >= 0; i-- {
		rest := values[i]
		for rest != "" {
			var last string
			if j := strings.LastIndexByte(rest, ','); j >= 0 {
				rest, last = rest[:j], rest[j+1:]
			} else {
				rest, last = "", rest
			}
			addr, err := netip.ParseAddr(strings.TrimSpace(last))
			if err != nil {
				return peer
			}
			if addr = addr.Unmap(); !contains(trusted, addr) {
				return addr
			}
			peer = addr
		}
	}
	return peer
}

func parsePeer(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
