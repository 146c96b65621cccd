package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// InitRequest is what gatehouse init asks for.
type InitRequest struct {
	Organization string
	Owner        string // name of the first owner
	Email        string
}

// Init creates what a new installation needs: the schema, pepper and encryption key (at the file:// references of the
// configuration, unless they are there), and an organization with its first owner, default project and admin key. On a database
// that has organizations it adds one; a second one of the same name is refused.
func Init(ctx context.Context, cfg *Config, req InitRequest) (_ *admin.Founding, err error) {
	// Before anything is created: what cannot be named is not begun.
	if err := errors.Join(gatehouse.CheckName("organization", req.Organization), gatehouse.CheckName("owner", req.Owner)); err != nil {
		return nil, err
	}
	if _, err := mail.ParseAddress(req.Email); req.Email != "" && err != nil {
		return nil, gatehouse.InvalidParam("email", "Invalid 'email': not an e-mail address.")
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	db, err := cfg.openStore(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	install, err := installTag(ctx, db)
	if err != nil {
		return nil, err
	}
	fresh := install == ""
	if err := cfg.createSecrets(fresh); err != nil {
		return nil, err
	}
	peppers, keyring, err := cfg.secrets(ctx)
	if err != nil {
		return nil, err
	}
	if fresh {
		if install, err = newInstallation(ctx, db); err != nil {
			return nil, err
		}
	}
	service := admin.New(admin.Config{DB: db, Peppers: peppers, Keyring: keyring, Install: install, Now: time.Now, CheckReference: func(string) error { return nil }})
	host := gatehouse.Host("")
	orgs, err := service.Organizations(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, o := range orgs {
		if o.Name == req.Organization {
			return nil, gatehouse.Errorf(gatehouse.Conflict, "Organization %q exists already (%s). Choose another name with --organization.", o.Name, o.ID)
		}
	}
	return service.Found(ctx, host, req.Organization, req.Owner, req.Email)
}

// newInstallation draws the tag that stands in the text of every key this installation issues.
func newInstallation(ctx context.Context, db *store.DB) (string, error) {
	tag := secret.NewInstall()
	ev := gatehouse.Event{Type: "installation.created", Actor: gatehouse.Actor{Kind: gatehouse.ActorHost}, Change: fmt.Appendf(nil, `{"install":%q}`, tag)}
	_, err := db.Update(ctx, ev, func(tx *store.Tx) error { return tx.SetMeta(metaInstall, tag) })
	return tag, err
}

// createSecrets writes pepper and encryption key where the configuration says they are, if those are files that do not exist. An
// installation that has issued keys needs the ones it has: for it nothing is created.
func (c *Config) createSecrets(fresh bool) error {
	for _, f := range []struct {
		key, reference string
		content        func() secret.Text
	}{{"pepper", c.Pepper, secret.NewPeppers}, {"kek", c.KEK, secret.NewKeyring}} {
		u, err := url.Parse(f.reference)
		if err != nil || u.Scheme != "file" {
			continue // somebody else keeps it; reading it says whether it is there
		}
		_, err = os.Stat(u.Path)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", f.key, err)
		}
		if !fresh {
			return fmt.Errorf("%s: %s is missing, and keys were issued under it; put the file back from your backup", f.key, u.Path)
		}
		if err := writeSecret(u.Path, f.content()); err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
	}
	return nil
}

// writeSecret creates a file that only its owner reads, and never replaces one.
func writeSecret(path string, content secret.Text) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content.Reveal())
	return errors.Join(err, file.Sync(), file.Close())
}
