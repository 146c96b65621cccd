package secret

import (
	"hash/crc32"
	"strings"
	"unsafe"

	"gatehouse"
)

// KeyPattern finds every key Gatehouse ever issued, in any text. It is RE2 and works unchanged in PCRE, ripgrep, gitleaks and
// GitHub's custom patterns. It has no word boundaries on purpose: a key in escaped JSON follows the n of \n. A match whose
// checksum holds (ParseKey) is a key; any other is a look-alike.
const KeyPattern = `sk-(?:proj|svcacct|user|admin|azure)-gtk[0-9A-Za-z]{64}`

const (
	mark       = "gtk"
	installLen = 4
	idLen      = 11
	secretLen  = 43
	sumLen     = 6
	bodyLen    = installLen + idLen + secretLen + sumLen

	// macInLen is what enters the digest: class byte, public id, secret.
	macInLen = 1 + idLen + secretLen
)

// Parsed is a well-formed key whose checksum holds. Install and PublicID are parts of the parsed text, which must not be changed
// while Parsed is in use. It says nothing about whether the key exists.
type Parsed struct {
	Class    gatehouse.Class
	Install  string
	PublicID string
	// secret points at the public id in the parsed text, where the secret follows at once. A pointer and no string, so that a
	// Parsed that is printed shows an address.
	secret *byte
}

// material returns the public id and the secret, as they stand in the key.
func (p *Parsed) material() string { return unsafe.String(p.secret, idLen+secretLen) }

// ParseKey takes a key's text apart. It reports false unless prefix, length, checksum and alphabet are those of a key; the
// checksum comes before the alphabet because it is what refuses junk soonest. It does not allocate.
func ParseKey(text string) (Parsed, bool) {
	n := len(text) - bodyLen - len(mark)
	class := classOf(text, n)
	if class == 0 {
		return Parsed{}, false
	}
	n += len(mark)
	if text[n-len(mark):n] != mark {
		return Parsed{}, false
	}
	sum := len(text) - sumLen
	if !sumHolds(text[:sum], text[sum:]) {
		return Parsed{}, false
	}
	for i := n; i < sum; i++ {
		if !base62[text[i]] {
			return Parsed{}, false
		}
	}
	id := n + installLen
	return Parsed{
		Class:    class,
		Install:  text[n:id],
		PublicID: text[id : id+idLen],
		secret:   unsafe.StringData(text[id:]),
	}, true
}

// classOf returns the class whose prefix is exactly the first n bytes of text, or 0.
func classOf(text string, n int) gatehouse.Class {
	if n <= 0 {
		return 0
	}
	for _, c := range gatehouse.Classes {
		if text[:n] == c.Prefix() {
			return c
		}
	}
	return 0
}

// Minted is a new key. Text is the only copy of the secret there will ever be.
type Minted struct {
	Text          Text
	ID            string // gatehouse.PrefixKey and the public id
	Redacted      string
	Digest        [32]byte
	PepperVersion int
}

// Mint makes a key of a class for the installation whose tag is install, digested under the current pepper. It panics when the
// class is unknown or the tag is not one (ValidInstall): neither comes from a caller.
func Mint(class gatehouse.Class, install string, p *Peppers) Minted {
	if class.Prefix() == "" || !ValidInstall(install) {
		panic("secret: mint with an unknown class or a malformed install tag")
	}
	body := class.Prefix() + mark + install + gatehouse.RandomBase62(idLen+secretLen)
	text := body + sumDigits(body)
	parsed, ok := ParseKey(text)
	if !ok {
		panic("secret: a minted key does not parse")
	}
	digest, version := p.Digest(parsed)
	return Minted{
		Text:          NewText(text),
		ID:            gatehouse.PrefixKey + strings.Clone(parsed.PublicID),
		Redacted:      Mask(text),
		Digest:        digest,
		PepperVersion: version,
	}
}

// NewInstall returns a random tag for a new installation.
func NewInstall() string { return gatehouse.RandomBase62(installLen) }

// ValidInstall reports whether tag is an installation's tag: four base62 characters.
func ValidInstall(tag string) bool {
	if len(tag) != installLen {
		return false
	}
	for i := range len(tag) {
		if !base62[tag[i]] {
			return false
		}
	}
	return true
}

// KeyLength returns how many characters a whole key has that begins as text does, and 0 when no key begins so. It is for telling
// somebody that their key was cut.
func KeyLength(text string) int {
	for _, c := range gatehouse.Classes {
		if rest, ok := strings.CutPrefix(text, c.Prefix()); ok && strings.HasPrefix(rest, mark) {
			return len(c.Prefix()) + len(mark) + bodyLen
		}
	}
	return 0
}

// maskPrefixes are the beginnings a masked credential keeps, longest first where one begins another.
var maskPrefixes = []string{"sk-proj-", "sk-svcacct-", "sk-user-", "sk-admin-", "sk-azure-", "ek_", "sk-"}

// Mask returns a credential so that its holder recognises it and nobody else can use it: a well-known prefix, dots and the last
// four characters, as OpenAI shows keys. In a key of ours those four are checksum digits. Of anything shorter than 24 characters
// nothing but the prefix is shown. The result is printable ASCII whatever was presented.
func Mask(text string) string {
	prefix := ""
	for _, p := range maskPrefixes {
		if strings.HasPrefix(text, p) {
			prefix = p
			break
		}
	}
	if len(text) < 24 {
		return prefix + "..."
	}
	last := []byte(text[len(text)-4:])
	for i, c := range last {
		if !base62[c] && c != '-' && c != '_' && c != '=' {
			last[i] = '*'
		}
	}
	return prefix + "..." + string(last)
}

// base62 tells the alphabet's bytes from all others.
var base62 = func() (t [256]bool) {
	for i := range len(gatehouse.Base62) {
		t[gatehouse.Base62[i]] = true
	}
	return t
}()

// checksum returns the IEEE CRC-32 of text without copying it.
func checksum(text string) uint32 {
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// sumDigits returns the checksum of body as it ends a key.
func sumDigits(body string) string {
	var d [sumLen]byte
	sum := checksum(body)
	for i := sumLen - 1; i >= 0; i-- {
		d[i] = gatehouse.Base62[sum%62]
		sum /= 62
	}
	return string(d[:])
}

// sumHolds reports whether digits are the checksum of body.
func sumHolds(body, digits string) bool {
	sum := checksum(body)
	for i := sumLen - 1; i >= 0; i-- {
		if digits[i] != gatehouse.Base62[sum%62] {
			return false
		}
		sum /= 62
	}
	return true
}
