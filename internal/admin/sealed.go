package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// sealContext is what a sealed secret is bound to besides its ciphertext: it opens only as itself.
func sealContext(organization, id string) string { return "sealed/" + organization + "/" + id }

// Seal stores a secret encrypted and returns its id, which sealed://ID refers to. The secret cannot be read back through any API.
func (s *Service) Seal(ctx context.Context, who *gatehouse.Principal, name string, value secret.Text) (id string, err error) {
	if err := gatehouse.CheckName("name", name); err != nil {
		return "", err
	}
	if value.IsZero() || len(value.Reveal()) > 64<<10 {
		return "", gatehouse.InvalidParam("value", "Invalid 'value': a secret has 1 to 65536 bytes.")
	}
	id = gatehouse.NewID(gatehouse.PrefixSealed)
	text, err := s.cfg.Keyring.Seal([]byte(value.Reveal()), sealContext(who.Organization, id))
	if err != nil {
		return "", err
	}
	ev := gatehouse.Event{Type: "sealed_secret.created", Subject: gatehouse.SubjectSealed, SubjectID: id, Change: detail(map[string]any{"name": name})}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		return tx.CreateSealed(&store.Sealed{ID: id, Organization: who.Organization, Name: name, Ciphertext: text, CreatedAt: tx.Now})
	})
	return id, err
}

// OpenSealed decrypts a sealed secret of an organization, for the resolver of secret references.
func (s *Service) OpenSealed(ctx context.Context, organization, id string) (secret.Text, error) {
	var row *store.Sealed
	err := s.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		row, err = tx.Sealed(id)
		return err
	})
	if err != nil {
		return secret.Text{}, hide(err, "sealed secret", id)
	}
	if row.Organization != organization {
		return secret.Text{}, notFound("sealed secret", id)
	}
	plain, err := s.cfg.Keyring.Open(row.Ciphertext, sealContext(organization, id))
	if err != nil {
		return secret.Text{}, err
	}
	return secret.NewText(string(plain)), nil
}
