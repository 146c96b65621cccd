package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// Keyring is a versioned set of key-encryption keys (KEKs). The highest version is current: Seal uses it, Open uses whichever a
// ciphertext names. It is safe for concurrent use and never changes. Its file has the form of the pepper file, with exactly 32
// bytes for each version.
//
// A sealed value is
//
//	1 byte   format, 1
//	4 bytes  KEK version, big endian
//	60 bytes the data key, AES-256-GCM under the KEK (12 nonce, 32 ciphertext, 16 tag)
//	rest     the value, AES-256-GCM under the data key (12 nonce, ciphertext, 16 tag)
//
// Both encryptions authenticate the first five bytes and the context, so that a ciphertext moved to another row does not open.
// Nonces are random; a KEK is good for 2^32 values.
type Keyring struct {
	all []*kek // by rising version; pointers, so that a printed Keyring shows addresses and no key schedule
}

type kek struct {
	version int
	aead    cipher.AEAD
	print   string
}

const (
	sealFormat   = 1
	sealHeader   = 1 + 4
	dataKeyLen   = 32
	gcmOverhead  = 12 + 16
	wrappedLen   = dataKeyLen + gcmOverhead
	sealOverhead = sealHeader + wrappedLen + gcmOverhead
)

// ErrSealed is what Open returns, wrapped, when a value does not open: the keyring lacks its version, the context is another, or
// a byte was changed.
var ErrSealed = errors.New("sealed value does not open")

// NewKeyring returns the content of a new keyring file.
func NewKeyring() Text {
	return newFile("Gatehouse key-encryption keys. Keep this file out of the database and its backups; without it no sealed secret opens.")
}

// ParseKeyring reads a keyring file. Its errors name the line and never show it.
func ParseKeyring(content Text) (*Keyring, error) {
	versions, err := parseFile("keyring", content, 32, 32)
	if err != nil {
		return nil, err
	}
	k := &Keyring{}
	for _, m := range versions {
		aead, err := newGCM(m.key)
		if err != nil {
			return nil, fmt.Errorf("keyring: version %d: %w", m.version, err)
		}
		k.all = append(k.all, &kek{version: m.version, aead: aead, print: fingerprint("kek", m.key)})
	}
	return k, nil
}

// Current returns the version Seal uses.
func (k *Keyring) Current() int { return k.all[len(k.all)-1].version }

// Seal encrypts plaintext for a context: the kind and id of the row that will hold it, so that it opens nowhere else.
func (k *Keyring) Seal(plaintext []byte, context string) ([]byte, error) {
	current := k.all[len(k.all)-1]
	out := make([]byte, sealHeader, sealOverhead+len(plaintext))
	out[0] = sealFormat
	binary.BigEndian.PutUint32(out[1:], uint32(current.version))
	aad := append(out[:sealHeader:sealHeader], context...)

	dataKey := make([]byte, dataKeyLen)
	defer clear(dataKey)
	_, _ = rand.Read(dataKey) // crypto/rand.Read never returns an error (Go 1.24 and later)
	value, err := newGCM(dataKey)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out = current.aead.Seal(out, nil, dataKey, aad)
	return value.Seal(out, nil, plaintext, aad), nil
}

// Open decrypts what Seal returned for the same context. Every failure wraps ErrSealed.
func (k *Keyring) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealFormat {
		return nil, fmt.Errorf("%w: not in a form this build reads", ErrSealed)
	}
	version := int(binary.BigEndian.Uint32(sealed[1:]))
	for _, e := range k.all {
		if e.version != version {
			continue
		}
		aad := append(sealed[:sealHeader:sealHeader], context...)
		dataKey, err := e.aead.Open(nil, nil, sealed[sealHeader:sealHeader+wrappedLen], aad)
		if err != nil {
			return nil, fmt.Errorf("%w: another keyring, another context, or damaged", ErrSealed)
		}
		defer clear(dataKey)
		value, err := newGCM(dataKey)
		if err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
		plaintext, err := value.Open(nil, nil, sealed[sealHeader+wrappedLen:], aad)
		if err != nil {
			return nil, fmt.Errorf("%w: damaged", ErrSealed)
		}
		return plaintext, nil
	}
	return nil, fmt.Errorf("%w: made under version %d, which the keyring does not hold", ErrSealed, version)
}

// Format writes a description without material, whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "keyring(%d versions)", len(k.all)) // fmt.State has no way to report a failed write
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
