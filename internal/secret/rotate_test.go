package secret

import (
	"slices"
	"strings"
	"testing"

	"gatehouse"
)

// TestPepperRotation walks through a rotation: a version is added, known, used, and the old one retired.
func TestPepperRotation(t *testing.T) {
	first := NewPeppers()
	p, err := ParsePeppers(first)
	if err != nil {
		t.Fatal(err)
	}
	minted := Mint(gatehouse.ClassProject, "A1b2", p)
	key, _ := ParseKey(minted.Text.Reveal())

	second, version, err := AddPepper(first)
	if err != nil || version != 2 || !strings.HasPrefix(second.Reveal(), first.Reveal()) {
		t.Fatalf("add a version: %d, %v", version, err)
	}
	never := func(int) bool { return false }
	always := func(int) bool { return true }
	if added, dropped, kept, err := p.Update(second, never); err != nil || !slices.Equal(added, []int{2}) || len(dropped)+len(kept) != 0 {
		t.Fatalf("take it in: added %v, dropped %v, kept %v, %v", added, dropped, kept, err)
	}
	if p.Current() != 1 || p.Newest() != 2 || !p.Has(2) {
		t.Errorf("current %d, newest %d: a version is known before it is used", p.Current(), p.Newest())
	}
	if !p.Verify(key, 1, &minted.Digest) {
		t.Error("a key under the older version is refused")
	}
	p.Use(1)
	if p.Current() != 1 {
		t.Error("a version was used that not everybody knows")
	}
	p.Use(7)
	digest, under := p.Digest(key)
	if under != 2 || !p.Verify(key, 2, &digest) || p.Verify(key, 1, &digest) {
		t.Errorf("the new digest is under version %d and verifies %v", under, p.Verify(key, 2, &digest))
	}
	p.Use(1)
	if p.Current() != 2 {
		t.Error("what is current went back")
	}

	if _, err := RemovePepper(second, 2); err == nil {
		t.Error("the newest version was removed")
	}
	if _, err := RemovePepper(second, 3); err == nil {
		t.Error("a version that is not there was removed")
	}
	third, err := RemovePepper(second, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, dropped, kept, err := p.Update(third, always); err != nil || len(dropped) != 0 || !slices.Equal(kept, []int{1}) || !p.Verify(key, 1, &minted.Digest) {
		t.Errorf("a version in use vanishes from the file: dropped %v, kept %v, %v", dropped, kept, err)
	}
	if _, dropped, kept, err := p.Update(third, never); err != nil || !slices.Equal(dropped, []int{1}) || len(kept) != 0 || p.Has(1) {
		t.Errorf("a version nobody needs vanishes from the file: dropped %v, kept %v, %v", dropped, kept, err)
	}
	if p.Verify(key, 1, &minted.Digest) || !p.Verify(key, 2, &digest) {
		t.Error("after the old version went the new digest is the one that counts")
	}
}

// TestPepperUpdateRefusals: what would make keys unverifiable changes nothing.
func TestPepperUpdateRefusals(t *testing.T) {
	p, err := ParsePeppers(NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ParseKey(Mint(gatehouse.ClassProject, "A1b2", p).Text.Reveal())
	digest, _ := p.Digest(key)
	for name, text := range map[string]Text{"other material": NewPeppers(), "rubbish": NewText("rubbish"), "nothing": NewText("")} {
		if _, _, _, err := p.Update(text, func(int) bool { return false }); err == nil {
			t.Errorf("%s was taken in", name)
		}
		if !p.Verify(key, 1, &digest) {
			t.Errorf("after %s a key is refused", name)
		}
	}
	two, _, err := AddPepper(NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	held, err := ParsePeppers(two)
	if err != nil {
		t.Fatal(err)
	}
	if held.Hold(); held.Current() != 1 {
		t.Errorf("held at version %d, want 1", held.Current())
	}
	// What is current stays although the file has dropped it, until the next is used.
	only, err := RemovePepper(two, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, kept, err := held.Update(only, func(int) bool { return false }); err != nil || !slices.Equal(kept, []int{1}) {
		t.Errorf("the current version vanishes: kept %v, %v", kept, err)
	}
}
