package secret

import "testing"

// TestFingerprints proves that fingerprints tell secrets apart, stay what they are, and leave digests as they were.
func TestFingerprints(t *testing.T) {
	a, b := NewPeppers(), NewPeppers()
	parse := func(text Text) *Peppers {
		t.Helper()
		p, err := ParsePeppers(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, again, other := parse(a), parse(a), parse(b)
	key, ok := ParseKey(Mint('s', "test", first).Text.Reveal())
	if !ok {
		t.Fatal("a minted key does not parse")
	}
	before, _ := first.Digest(key)
	if got, want := first.Fingerprints()[1], again.Fingerprints()[1]; got != want || len(got) != 16 {
		t.Errorf("one pepper has fingerprints %q and %q", got, want)
	}
	if first.Fingerprints()[1] == other.Fingerprints()[1] {
		t.Error("two peppers have one fingerprint")
	}
	if after, _ := first.Digest(key); after != before {
		t.Error("a fingerprint changed the digests that follow")
	}
	ring, err := ParseKeyring(NewKeyring())
	if err != nil {
		t.Fatal(err)
	}
	if got := ring.Fingerprints()[1]; len(got) != 16 || got == first.Fingerprints()[1] {
		t.Errorf("a key-encryption key has fingerprint %q", got)
	}
}
