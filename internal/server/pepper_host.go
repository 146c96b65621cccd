package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/custody"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// pepperFile returns the path of the pepper file and what is in it. What others keep, only they change.
func (c *Config) pepperFile(ctx context.Context) (path string, text secret.Text, err error) {
	path, isFile := strings.CutPrefix(c.Pepper, "file://")
	if !isFile {
		return "", secret.Text{}, gatehouse.Errorf(gatehouse.Invalid, "The pepper is kept at %s, which this command does not change. Change it there: a version is a line of its number, a space and `openssl rand -base64 32`; older lines stay.", c.Pepper)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", secret.Text{}, fmt.Errorf("pepper: %w", err)
	}
	text, err = custody.New(custody.Config{Allow: custody.Unrestricted()}).Resolve(ctx, c.Pepper)
	return path, text, err
}

// RotatePepper adds a version to the pepper file and returns its number. Running nodes take it in by themselves.
func RotatePepper(ctx context.Context, cfg *Config) (int, error) {
	path, text, err := cfg.pepperFile(ctx)
	if err != nil {
		return 0, err
	}
	next, version, err := secret.AddPepper(text)
	if err != nil {
		return 0, err
	}
	return version, replaceSecret(path, next)
}

// replaceSecret puts new content in the place of a secret file at once: whoever opens it sees the old or the new. Owner and mode
// stay, but for that nobody else can read it.
func replaceSecret(path string, content secret.Text) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another rotation is under way, or one was broken off; remove it in that case", fresh)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(fresh) // what is wrong is said already
		}
	}()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		err = file.Chown(int(owner.Uid), int(owner.Gid))
	}
	_, werr := io.WriteString(file, strings.TrimRight(content.Reveal(), "\n")+"\n")
	if err = errors.Join(err, werr, file.Chmod(info.Mode().Perm()&0o770), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// PepperReport says how far a rotation of the pepper has come.
type PepperReport struct {
	Newest   int             `json:"newest"` // in the file
	Versions []PepperVersion `json:"versions"`
	Nodes    []PepperNode    `json:"nodes"` // none on SQLite
	// Remaining are active keys under older versions than the newest, the first hundred by id.
	Remaining []PepperKey `json:"remaining"`
}

// PepperVersion is one version and the keys that are digested under it.
type PepperVersion struct {
	Version  int   `json:"version"`
	InFile   bool  `json:"in_file"`
	Active   int64 `json:"active_keys"`
	Inactive int64 `json:"inactive_keys"`  // suspended, expired or revoked
	Unused   int64 `json:"unused_30_days"` // of the active
	LastUsed int64 `json:"last_used_at,omitempty"`
}

// PepperNode is what a node knows. One that ended without saying so is listed until the others forget it.
type PepperNode struct {
	ID    string `json:"id"`
	Knows int    `json:"knows"`
}

// PepperKey is a key that is still digested under an old version.
type PepperKey struct {
	ID           string `json:"id"`
	Version      int    `json:"version"`
	Organization string `json:"organization_id"`
	Project      string `json:"project_id,omitempty"`
	Name         string `json:"name"`
	LastUsed     int64  `json:"last_used_at,omitempty"`
}

// unusedFor is how long a key must not have been used to be counted as unused.
const unusedFor = 30 * 24 * time.Hour

// maxRemaining is how many keys a report lists.
const maxRemaining = 100

// beside opens the database beside a node that may be running, whose schema must be of this build. A file that is not there is not
// created.
func (c *Config) beside(ctx context.Context) (*store.DB, error) {
	location, err := c.database(ctx)
	if err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(location, "sqlite:"); ok {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
	}
	return store.Open(ctx, location, store.Config{Logger: slog.New(slog.DiscardHandler)})
}

// PepperStatus reports how many keys are under which version, and what each node knows. Nodes may run meanwhile.
func PepperStatus(ctx context.Context, cfg *Config) (_ *PepperReport, err error) {
	peppers, _, err := cfg.secrets(ctx)
	if err != nil {
		return nil, err
	}
	db, err := cfg.beside(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return pepperReport(ctx, db, peppers)
}

func pepperReport(ctx context.Context, db *store.DB, peppers *secret.Peppers) (*PepperReport, error) {
	r := &PepperReport{Newest: peppers.Newest(), Nodes: []PepperNode{}, Remaining: []PepperKey{}}
	err := db.View(ctx, func(tx *store.Tx) error {
		uses, err := tx.PeppersInUse(tx.Now - gatehouse.Millis(unusedFor.Milliseconds()))
		if err != nil {
			return err
		}
		inUse := map[int]store.PepperUse{}
		for _, u := range uses {
			inUse[u.Version] = u
			if !peppers.Has(u.Version) {
				r.Versions = append(r.Versions, pepperVersion(u, false))
			}
		}
		for _, version := range peppers.Versions() {
			u := inUse[version]
			u.Version = version
			r.Versions = append(r.Versions, pepperVersion(u, true))
		}
		nodes, err := tx.Nodes()
		if err != nil {
			return err
		}
		for _, n := range nodes {
			r.Nodes = append(r.Nodes, PepperNode{n.ID, int(n.PepperVersion)})
		}
		for _, u := range uses {
			if u.Version >= r.Newest || u.Active == 0 || len(r.Remaining) >= maxRemaining {
				continue
			}
			keys, err := tx.ActiveKeysUnderPepper(u.Version, "", maxRemaining-len(r.Remaining))
			if err != nil {
				return err
			}
			for _, k := range keys {
				r.Remaining = append(r.Remaining, PepperKey{k.ID, u.Version, k.Organization, k.Project, k.Name, k.LastUsedAt.Seconds()})
			}
		}
		return nil
	})
	return r, err
}

func pepperVersion(u store.PepperUse, inFile bool) PepperVersion {
	return PepperVersion{u.Version, inFile, u.Active, u.Inactive, u.Unused, u.LastUsed.Seconds()}
}

// RetirePepper takes a version out of the pepper file. It is refused for the newest version, while a node may not know a newer
// one, and while active keys are digested under it. With suspendUnused above 0 active keys under it that were not used for so
// long are suspended first; they return how many.
func RetirePepper(ctx context.Context, cfg *Config, version int, suspendUnused time.Duration) (suspended int, err error) {
	path, text, err := cfg.pepperFile(ctx)
	if err != nil {
		return 0, err
	}
	next, err := secret.RemovePepper(text, version)
	if err != nil {
		return 0, err
	}
	peppers, keyring, err := cfg.secrets(ctx)
	if err != nil {
		return 0, err
	}
	db, err := cfg.beside(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if suspendUnused > 0 {
		service := admin.New(admin.Config{DB: db, Peppers: peppers, Keyring: keyring, Now: time.Now, CheckReference: func(string) error { return nil }})
		if suspended, err = suspendUnder(ctx, db, service, version, suspendUnused); err != nil {
			return suspended, err
		}
	}
	report, err := pepperReport(ctx, db, peppers)
	if err != nil {
		return suspended, err
	}
	for _, n := range report.Nodes {
		if n.Knows <= version {
			return suspended, gatehouse.Errorf(gatehouse.Conflict, "Node %s has not said that it knows a version newer than %d. Wait until it does, or stop it; one that crashed is forgotten after a while. `gatehouse pepper status` shows the nodes.", n.ID, version)
		}
	}
	for _, v := range report.Versions {
		if v.Version == version && v.Active > 0 {
			return suspended, gatehouse.Errorf(gatehouse.Conflict, "%d active keys are still under version %d, %d of them not used for 30 days: each moves to the new version when it is used. `gatehouse pepper status` lists them; revoke those that nobody needs, or suspend them with --suspend-unused DAYS.", v.Active, version, v.Unused)
		}
	}
	return suspended, replaceSecret(path, next)
}

// suspendUnder suspends active keys under a version that were not used for a while.
func suspendUnder(ctx context.Context, db *store.DB, service *admin.Service, version int, unused time.Duration) (int, error) {
	done, after := 0, ""
	for {
		var keys []gatehouse.Key
		var before gatehouse.Millis
		err := db.View(ctx, func(tx *store.Tx) (err error) {
			before = tx.Now - gatehouse.Millis(unused.Milliseconds())
			keys, err = tx.ActiveKeysUnderPepper(version, after, maxRemaining)
			return err
		})
		if err != nil || len(keys) == 0 {
			return done, err
		}
		for _, k := range keys {
			after = k.ID
			if max(k.LastUsedAt, k.CreatedAt) >= before {
				continue
			}
			if _, _, err := service.SuspendKey(ctx, gatehouse.Host(k.Organization), k.ID); err != nil {
				return done, fmt.Errorf("suspend key %s: %w", k.ID, err)
			}
			done++
		}
	}
}
