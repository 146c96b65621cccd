package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// fingerprint names a secret without telling it: 64 bits of an HMAC under it, which at 256 random bits leads nowhere back.
func fingerprint(what string, key []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("gatehouse fingerprint of a " + what)) // never returns an error
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Fingerprints names the peppers by version, so that a backup can say which ones its keys need. No pepper follows from its name.
func (p *Peppers) Fingerprints() map[int]string {
	out := map[int]string{}
	for _, pep := range *p.set.Load() {
		m := pep.pool.Get().(*mac)
		// The first byte is no class, so this is the digest of no key.
		clear(m.in[:])
		copy(m.in[1:], "gatehouse fingerprint of a pepper")
		m.hash.Write(m.in[:]) // never returns an error
		m.hash.Sum(m.out[:0])
		out[pep.version] = hex.EncodeToString(m.out[:8])
		clear(m.in[:])
		m.hash.Reset()
		pep.pool.Put(m)
	}
	return out
}

// Fingerprints names the key-encryption keys by version, as Peppers' does.
func (k *Keyring) Fingerprints() map[int]string {
	out := map[int]string{}
	for _, kek := range k.all {
		out[kek.version] = kek.print
	}
	return out
}
