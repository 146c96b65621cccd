package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"sync"
)

// Peppers is a versioned set of HMAC keys under which key digests are made. The highest version is current: new digests are made
// under it, older ones are still checked under theirs. It is safe for concurrent use and never changes.
//
// Its file is text: one line "N base64" for each version, N rising, 32 to 64 bytes each; lines that begin with # are comments.
// To rotate, append a line with the next number and restart. Keys minted before go on working for as long as the line of their
// version stays.
type Peppers struct {
	all []*pepper // by rising version
}

type pepper struct {
	version int
	pool    sync.Pool // of *mac, each keyed with this pepper
}

// mac is a keyed HMAC whose padded key is already absorbed, with the buffers of one computation. It is kept reset.
type mac struct {
	hash hash.Hash
	in   [macInLen]byte
	out  [sha256.Size]byte
}

// NewPeppers returns the content of a new pepper file.
func NewPeppers() Text {
	return newFile("Gatehouse peppers. Keep this file out of the database and its backups; without it no key can be checked.")
}

// ParsePeppers reads a pepper file. Its errors name the line and never show it.
func ParsePeppers(content Text) (*Peppers, error) {
	versions, err := parseFile("peppers", content, 32, 64)
	if err != nil {
		return nil, err
	}
	p := &Peppers{}
	for _, m := range versions {
		key := m.key
		p.all = append(p.all, &pepper{version: m.version, pool: sync.Pool{New: func() any {
			h := hmac.New(sha256.New, key)
			h.Reset() // absorbs the padded key once; every later Reset restores that state
			return &mac{hash: h}
		}}})
	}
	return p, nil
}

// Current returns the version new digests are made under.
func (p *Peppers) Current() int { return p.all[len(p.all)-1].version }

// Has reports whether the set holds a version.
func (p *Peppers) Has(version int) bool { return p.find(version) != nil }

// Digest returns the digest of a key under the current pepper, and that pepper's version. It does not allocate.
func (p *Peppers) Digest(k Parsed) ([sha256.Size]byte, int) {
	current := p.all[len(p.all)-1]
	return current.digest(k), current.version
}

// Verify reports whether digest was made from this key under the pepper of that version. It takes the same time whether or not
// they match, and also when the set does not hold the version. It does not allocate.
func (p *Peppers) Verify(k Parsed, version int, digest *[sha256.Size]byte) bool {
	if k.secret == nil {
		return false
	}
	pep := p.find(version)
	if pep == nil {
		p.Dummy(k)
		return false
	}
	got := pep.digest(k)
	return subtle.ConstantTimeCompare(got[:], digest[:]) == 1
}

// Dummy does the work of Verify for a key whose id nobody knows, so that the time taken does not tell whether an id exists.
func (p *Peppers) Dummy(k Parsed) {
	if k.secret == nil {
		return
	}
	got := p.all[len(p.all)-1].digest(k)
	subtle.ConstantTimeCompare(got[:], nobody[:])
}

// nobody is the digest Dummy compares with.
var nobody [sha256.Size]byte

// Format writes a description without material, whatever the verb.
func (p *Peppers) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "peppers(%d versions)", len(p.all)) // fmt.State has no way to report a failed write
}

func (p *Peppers) find(version int) *pepper {
	for i := len(p.all) - 1; i >= 0; i-- {
		if p.all[i].version == version {
			return p.all[i]
		}
	}
	return nil
}

func (p *pepper) digest(k Parsed) [sha256.Size]byte {
	m := p.pool.Get().(*mac)
	m.in[0] = byte(k.Class)
	copy(m.in[1:], k.material())
	m.hash.Write(m.in[:]) // never returns an error
	m.hash.Sum(m.out[:0])
	out := m.out
	// Nothing of the presented secret stays in the pool: not in the buffer, and not in the hash's own, which Reset overwrites.
	clear(m.in[:])
	m.hash.Reset()
	p.pool.Put(m)
	return out
}
