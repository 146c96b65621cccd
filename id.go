package gatehouse

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Millis is a point in time as UTC unix milliseconds. 0 means unset.
type Millis int64

// MillisOf returns t as Millis.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns m as a time in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Seconds returns m as unix seconds, the unit of OpenAI's API.
func (m Millis) Seconds() int64 { return int64(m) / 1000 }

// NanoUSD is money: 1,000,000,000 are one US dollar.
type NanoUSD int64

// The prefixes of IDs are OpenAI's, so that clients, scripts and eyes that know one platform know the other.
const (
	PrefixOrganization   = "org-"
	PrefixProject        = "proj_"
	PrefixUser           = "user-"
	PrefixServiceAccount = "svc_acct_"
	PrefixKey            = "key_"
	PrefixResource       = "res_"
	PrefixUpstream       = "upst_"
	PrefixDeployment     = "dep_"
	PrefixEvent          = "audit_log-"
	PrefixRequest        = "req_"
	PrefixSealed         = "seal_"
	PrefixGroup          = "group_"
	PrefixRole           = "role_"
	PrefixAssignment     = "role_assignment_"
	PrefixInvite         = "invite-"
	PrefixCertificate    = "cert_"
	PrefixEndpoint       = "whe_"
	PrefixProjectEvent   = "evt_"
	PrefixProvider       = "wip_"
	PrefixRule           = "wifr_"
	PrefixExternalKey    = "extkey_"
	PrefixStorage        = "extstorage_"
)

// Base62 is the alphabet of IDs and keys, in value order.
const Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewID returns prefix and 24 random characters of Base62 (142 bits).
func NewID(prefix string) string { return prefix + RandomBase62(24) }

// NewRequestID returns a new request id in OpenAI's form: req_ and 32 hexadecimal digits. The first twelve are the time at
// in milliseconds and the rest is random (80 bits), as in a UUID of version 7 (RFC 9562): rows that are written together then stand
// together in the indexes of a database, which is what recording a request costs most of (docs/adr/0007).
func NewRequestID(at Millis) string {
	var raw [16]byte
	_, _ = rand.Read(raw[6:]) // never fails, as below
	now := uint64(at)
	raw[0], raw[1], raw[2], raw[3], raw[4], raw[5] = byte(now>>40), byte(now>>32), byte(now>>24), byte(now>>16), byte(now>>8), byte(now)
	var text [len(PrefixRequest) + 32]byte
	copy(text[:], PrefixRequest)
	hex.Encode(text[len(PrefixRequest):], raw[:])
	return string(text[:])
}

// RandomBase62 returns n characters drawn uniformly from Base62 with crypto/rand.
func RandomBase62(n int) string {
	out := make([]byte, 0, n)
	var buf [96]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:]) // crypto/rand.Read never returns an error (Go 1.24 and later): it crashes the program instead
		for _, b := range buf {
			// 248 is the largest multiple of 62 that a byte holds; higher values would bias the draw.
			if b < 248 && len(out) < n {
				out = append(out, Base62[b%62])
			}
		}
	}
	return string(out)
}
