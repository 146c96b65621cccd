package authn_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// TestOldPepper: a key under an old pepper is served and digested anew once, and not when it is refused.
func TestOldPepper(t *testing.T) {
	w := newWorld(t)
	first := secret.NewPeppers()
	peppers, err := secret.ParsePeppers(first)
	must(t, err)
	w.peppers = peppers
	k := w.issue(gatehouse.ClassService)
	suspended := w.issue(gatehouse.ClassService, func(k *gatehouse.Key) { k.SuspendedAt = 1 })
	var claims int
	var rewraps []secret.Rewrap
	auth := authn.New(authn.Config{Catalog: w.catalog, Peppers: peppers, Install: install, Now: time.Now,
		OnOldPepper: func(string) bool { claims++; return len(rewraps) == 0 }, OnRewrap: func(r secret.Rewrap) { rewraps = append(rewraps, r) }})
	var id authn.Identity
	must(t, auth.Authenticate(k.in(), &id))
	if claims != 0 {
		t.Fatal("a key under the current pepper was taken for an old one")
	}
	second, _, err := secret.AddPepper(first)
	must(t, err)
	_, _, _, err = peppers.Update(second, func(int) bool { return true })
	must(t, err)
	must(t, auth.Authenticate(k.in(), &id))
	if claims != 0 {
		t.Fatal("a version that is not used yet counted")
	}
	peppers.Use(2)
	must(t, auth.Authenticate(k.in(), &id))
	must(t, auth.Authenticate(k.in(), &id))
	if err := auth.Authenticate(suspended.in(), &id); authn.RuleOf(err) != authn.KeySuspended {
		t.Errorf("a suspended key: %v", err)
	}
	if claims != 2 || len(rewraps) != 1 {
		t.Fatalf("%d claims and %d new digests, want 2 and 1", claims, len(rewraps))
	}
	r := rewraps[0]
	parsed, _ := secret.ParseKey(k.text)
	if r.Key != k.ID || r.Organization != w.org.ID || r.Was != k.Digest || r.Version != 2 || !peppers.Verify(parsed, 2, &r.Digest) {
		t.Errorf("the new digest is %+v", r)
	}

	// Stored, it is what counts; a stream that was opened before goes on.
	must(t, auth.Authenticate(k.in(), &id))
	must(t, auth.Authorize(&id, "model.request", ""))
	w.update(gatehouse.SubjectKey, k.ID, func(tx *store.Tx) error {
		row, err := tx.Key(k.ID)
		if err != nil {
			return err
		}
		row.Digest, row.PepperVersion = r.Digest, r.Version
		return tx.SaveKey(row)
	})
	if err := auth.Recheck(&id); err != nil {
		t.Errorf("an exchange that began under the old digest is cut: %v", err)
	}
	must(t, auth.Authenticate(k.in(), &id))
	if claims != 3 {
		t.Errorf("%d claims: a key under the new pepper was taken for an old one", claims)
	}
}

// TestMissingPepper: what a node cannot know it does not refuse as wrong.
func TestMissingPepper(t *testing.T) {
	w := newWorld(t)
	two, _, err := secret.AddPepper(secret.NewPeppers())
	must(t, err)
	all, err := secret.ParsePeppers(two)
	must(t, err)
	w.peppers = all
	k := w.issue(gatehouse.ClassService)
	revoked := w.issue(gatehouse.ClassService, func(k *gatehouse.Key) { k.RevokedAt = 1 })
	lacking, err := secret.ParsePeppers(secret.NewText(firstLines(two.Reveal())))
	must(t, err)
	looked := 0
	auth := authn.New(authn.Config{Catalog: w.catalog, Peppers: lacking, Install: install, Now: time.Now, MissingPepper: func(version int) bool {
		if looked++; looked == 1 || version != 2 {
			return false
		}
		_, _, _, err := lacking.Update(two, func(int) bool { return true })
		return err == nil
	}})
	var id authn.Identity
	err = auth.Authenticate(k.in(), &id)
	if e, ok := errors.AsType[*gatehouse.Error](err); !ok || e.Kind != gatehouse.Unavailable || e.Code != "auth_unavailable" || authn.RuleOf(err) != authn.PepperMissing {
		t.Errorf("a key under an unknown pepper: %v", err)
	}
	if err := auth.Authenticate(revoked.in(), &id); authn.RuleOf(err) != authn.SecretWrong {
		t.Errorf("a revoked key under an unknown pepper: %v", err)
	}
	if looked != 1 {
		t.Errorf("looked %d times for the pepper, want once: a revoked key is not worth it", looked)
	}
	if err := auth.Authenticate(k.in(), &id); err != nil {
		t.Errorf("once the pepper is found: %v", err)
	}
}

// firstLines returns a pepper file without its last version.
func firstLines(text string) string {
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] == '\n' {
			return text[:i+1]
		}
	}
	return ""
}
