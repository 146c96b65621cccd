package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Peppers is a versioned set of HMAC keys under which key digests are made. New digests are made under the current version, older
// ones are still checked under theirs. It is safe for concurrent use.
//
// Its file is text: one line "N base64" for each version, N rising, 32 to 64 bytes each; lines that begin with # are comments.
// Keys minted under a version go on working for as long as its line stays.
//
// What is current is not simply the highest version: where several nodes share a database each must know a version before any of
// them makes digests under it. ParsePeppers makes the highest current; Hold and Use say otherwise.
type Peppers struct {
	set     atomic.Pointer[[]*pepper] // by rising version; a set is never changed, only replaced
	current atomic.Int32              // version of new digests
}

type pepper struct {
	version int
	check   [sha256.Size]byte // tells whether two peppers are the same without keeping their material
	pool    sync.Pool         // of *mac, each keyed with this pepper
}

// Rewrap is a key's digest under a newer pepper than the one it is stored under, made while its secret was at hand.
type Rewrap struct {
	Key          string // the key's id
	Organization string
	Was          [sha256.Size]byte // the digest that is stored
	Digest       [sha256.Size]byte
	Version      int // of the pepper that Digest is under
}

// mac is a keyed HMAC whose padded key is already absorbed, with the buffers of one computation. It is kept reset.
type mac struct {
	hash hash.Hash
	in   [macInLen]byte
	out  [sha256.Size]byte
}

// AddPepper returns the content of a pepper file with one random version more, and that version. The rest stays as it is.
func AddPepper(content Text) (Text, int, error) {
	set, err := parsePeppers(content)
	if err != nil {
		return Text{}, 0, err
	}
	version := set[len(set)-1].version + 1
	text := content.Reveal()
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return NewText(text + newLine(version)), version, nil
}

// RemovePepper returns the content of a pepper file without a version, which must be there and not the highest.
func RemovePepper(content Text, version int) (Text, error) {
	set, err := parsePeppers(content)
	if err != nil {
		return Text{}, err
	}
	if find(set, version) == nil {
		return Text{}, fmt.Errorf("peppers: there is no version %d", version)
	}
	if set[len(set)-1].version == version {
		return Text{}, fmt.Errorf("peppers: version %d is the newest; add another before you retire it", version)
	}
	var kept []string
	for line := range strings.Lines(content.Reveal()) {
		if !strings.HasPrefix(line, strconv.Itoa(version)+" ") {
			kept = append(kept, line)
		}
	}
	return NewText(strings.Join(kept, "")), nil
}

// NewPeppers returns the content of a new pepper file.
func NewPeppers() Text {
	return newFile("Gatehouse peppers. Keep this file out of the database and its backups; without it no key can be checked.")
}

// ParsePeppers reads a pepper file. Its errors name the line and never show it.
func ParsePeppers(content Text) (*Peppers, error) {
	set, err := parsePeppers(content)
	if err != nil {
		return nil, err
	}
	p := &Peppers{}
	p.set.Store(&set)
	p.current.Store(int32(p.Newest()))
	return p, nil
}

func parsePeppers(content Text) ([]*pepper, error) {
	versions, err := parseFile("peppers", content, 32, 64)
	if err != nil {
		return nil, err
	}
	var set []*pepper
	for _, m := range versions {
		key := m.key
		set = append(set, &pepper{version: m.version, check: sha256.Sum256(append([]byte("gatehouse pepper "), key...)), pool: sync.Pool{New: func() any {
			h := hmac.New(sha256.New, key)
			h.Reset() // absorbs the padded key once; every later Reset restores that state
			return &mac{hash: h}
		}}})
	}
	return set, nil
}

// Update takes in a pepper file that may have changed and returns which versions it added and which it dropped. What is
// current, and what needed reports true for, is kept although the file has dropped it, and returned as kept. A version whose material differs from
// what is known is an error, and nothing has changed: every key under it would be refused.
func (p *Peppers) Update(content Text, needed func(version int) bool) (added, dropped, kept []int, err error) {
	next, err := parsePeppers(content)
	if err != nil {
		return nil, nil, nil, err
	}
	old := *p.set.Load()
	for _, n := range next {
		switch known := find(old, n.version); {
		case known == nil:
			added = append(added, n.version)
		case known.check != n.check:
			return nil, nil, nil, fmt.Errorf("peppers: the material of version %d is not what it was; put the line back and add another version", n.version)
		}
	}
	for _, o := range old {
		switch {
		case find(next, o.version) != nil:
		case o.version == p.Current() || needed(o.version):
			kept = append(kept, o.version)
			next = append(next, o)
		default:
			dropped = append(dropped, o.version)
		}
	}
	slices.SortFunc(next, func(a, b *pepper) int { return a.version - b.version })
	p.set.Store(&next)
	return added, dropped, kept, nil
}

// Newest returns the highest version in the set.
func (p *Peppers) Newest() int {
	set := *p.set.Load()
	return set[len(set)-1].version
}

// Versions returns every version in the set, rising.
func (p *Peppers) Versions() []int {
	var out []int
	for _, pep := range *p.set.Load() {
		out = append(out, pep.version)
	}
	return out
}

// Current returns the version new digests are made under.
func (p *Peppers) Current() int { return int(p.current.Load()) }

// Hold makes the lowest version current, for a node that does not know yet what the others know.
func (p *Peppers) Hold() { p.current.Store(int32((*p.set.Load())[0].version)) }

// Use makes the highest version up to one that every node knows current. What is current never goes back.
func (p *Peppers) Use(known int) {
	for _, pep := range *p.set.Load() {
		if pep.version <= known && pep.version > p.Current() {
			p.current.Store(int32(pep.version))
		}
	}
}

// Has reports whether the set holds a version.
func (p *Peppers) Has(version int) bool { return find(*p.set.Load(), version) != nil }

// Digest returns the digest of a key under the current pepper, and that pepper's version. It does not allocate.
func (p *Peppers) Digest(k Parsed) ([sha256.Size]byte, int) {
	current := find(*p.set.Load(), p.Current()) // Update keeps what is current
	return current.digest(k), current.version
}

// Verify reports whether digest was made from this key under the pepper of that version. It takes the same time whether or not
// they match, and also when the set does not hold the version. It does not allocate.
func (p *Peppers) Verify(k Parsed, version int, digest *[sha256.Size]byte) bool {
	if k.secret == nil {
		return false
	}
	pep := find(*p.set.Load(), version)
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
	set := *p.set.Load()
	got := set[len(set)-1].digest(k)
	subtle.ConstantTimeCompare(got[:], nobody[:])
}

// nobody is the digest Dummy compares with.
var nobody [sha256.Size]byte

// Format writes a description without material, whatever the verb.
func (p *Peppers) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "peppers(%d versions)", len(*p.set.Load())) // fmt.State has no way to report a failed write
}

func find(set []*pepper, version int) *pepper {
	for i := len(set) - 1; i >= 0; i-- {
		if set[i].version == version {
			return set[i]
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
