// Package secret owns what must not be seen: Text, a string that cannot be printed; the text of keys, how it is minted, parsed,
// recognised and checked; and envelope encryption of the secrets Gatehouse stores.
//
// It does not own where secrets come from (custody), which keys exist (store, catalog) or what a key may do (authn).
//
// # A key's text
//
//	sk-proj-  gtk  A1b2     0123456789A  <43 characters>  <6 digits>
//	class     mark install  public id    secret           checksum
//
// All after the mark is base62 (0-9, A-Z, a-z, in value order). The checksum is the IEEE CRC-32 of everything before it, the
// class prefix included, as six base62 digits, most significant first, padded with 0. It lets a scanner and this package refuse
// typos and random probes without looking anything up; it is no secret and no protection. The public id is the accessor: it may
// be logged, listed and revoked by. The secret holds 256 bits from crypto/rand.
//
// What is stored is HMAC-SHA-256 over the class byte, the public id and the secret, 55 bytes, which with padding are exactly one
// block of SHA-256, under a pepper that lives outside the database: somebody who can write to the database cannot plant a key,
// and somebody who reads it cannot confirm a leaked one. A fast hash is right here: NIST SP 800-63B-4, 3.1.2.2, asks for a slow
// one only below 112 bits.
package secret
