package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/custody"
	"gatehouse/internal/dialect"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/valkey"
)

// Verdict is what a check found.
type Verdict string

// The verdicts.
const (
	Good    Verdict = "ok"
	Worth   Verdict = "warn" // works, and somebody should look
	Bad     Verdict = "bad"  // does not work, or will not for long
	Skipped Verdict = "skipped"
)

// Check is one thing that was looked at.
type Check struct {
	Area    string  `json:"area"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Fix     string  `json:"fix,omitempty"`
}

// CheckupRequest says what is looked at beside what a host has.
type CheckupRequest struct {
	Upstreams bool // call each upstream once, with its credential
}

// Checkup looks at everything a node of a configuration file needs and says what it found, never a secret. It changes nothing, and
// nodes may run meanwhile.
func Checkup(ctx context.Context, path string, req CheckupRequest) []Check {
	c := &checkup{ctx: ctx}
	cfg, err := ReadConfig(path)
	if err != nil {
		c.bad("config", "correct the file; docs/operations.md describes every key", "%v", err)
		return c.out
	}
	c.cfg = cfg
	c.config(path)
	c.data()
	c.secrets()
	c.database()
	c.valkey()
	c.certificate()
	c.listeners()
	if req.Upstreams {
		c.upstreams()
	} else {
		c.add("upstreams", Skipped, "", "not called; --upstreams calls each once")
	}
	if c.db != nil {
		if err := c.db.Close(); err != nil {
			c.bad("database", "", "close: %v", err)
		}
	}
	return c.out
}

type checkup struct {
	ctx     context.Context // of the call of Checkup, which it does not outlive
	cfg     *Config
	out     []Check
	db      *store.DB // nil: it cannot be opened
	peppers *secret.Peppers
	keyring *secret.Keyring
}

func (c *checkup) add(area string, v Verdict, fix, format string, args ...any) {
	c.out = append(c.out, Check{area, v, secret.Redact(fmt.Sprintf(format, args...)), fix})
}

func (c *checkup) good(area, format string, args ...any) { c.add(area, Good, "", format, args...) }
func (c *checkup) warn(area, fix, format string, args ...any) {
	c.add(area, Worth, fix, format, args...)
}
func (c *checkup) bad(area, fix, format string, args ...any) { c.add(area, Bad, fix, format, args...) }

func (c *checkup) config(path string) {
	c.good("config", "%s: every key is understood", path)
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && strings.Contains(c.cfg.Database, "@") && strings.Contains(c.cfg.Database, "://") {
		c.warn("config", "chmod 600, or a secret reference in `database`", "others on this host may read the file, and the database's URL is in it")
	}
	for _, l := range []struct{ key, address, why string }{{"ops_listen", c.cfg.OpsListen, "it has no authentication"}, {"listen", plainListen(c.cfg), "it is plain HTTP: keys travel in the clear unless a proxy ends TLS on this host"}} {
		if host, _, err := net.SplitHostPort(l.address); err == nil && !private(host) {
			c.warn("config", "bind it to a private address", "%s is on %s, and %s", l.key, l.address, l.why)
		}
	}
	trusted, _ := c.cfg.trusted() // it was checked when the file was read
	for _, p := range trusted {
		if p.Bits() == 0 {
			c.warn("config", "list your proxies' own addresses", "trusted_proxies believes everybody (%s): any caller chooses the address that is checked", p)
		}
	}
}

// plainListen is the address of the data plane where that speaks plain HTTP.
func plainListen(cfg *Config) string {
	if cfg.TLS != nil {
		return ""
	}
	return cfg.Listen
}

// private reports whether a host is one that only this machine or its own networks reach.
func private(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" // a name may be anything, and nothing means every interface
	}
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

const leastSpace = 1 << 30

func (c *checkup) data() {
	dir := c.cfg.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.warn("data", "gatehouse init, or a start, creates it", "%s is not there yet", dir)
		return
	case err != nil:
		c.bad("data", "give this user the folder", "%v", err)
		return
	case !info.IsDir():
		c.bad("data", "name a folder", "%s is not a folder", dir)
		return
	case info.Mode().Perm()&0o077 != 0:
		c.warn("data", "chmod 700 "+dir, "others on this host may look into %s (%v)", dir, info.Mode().Perm())
	}
	probe, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		c.bad("data", "give the user that runs Gatehouse the folder, and the disk room", "%s cannot be written by this user: %v", dir, err)
	}
	free, err := space(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		c.add("data", Skipped, "", "how much room there is is not known on this system")
	case err != nil:
		c.bad("data", "", "%v", err)
	case free < leastSpace:
		c.bad("data", "make room: what cannot be journaled is not served", "%d MiB are free below %s", free>>20, dir)
	default:
		c.good("data", "%s: %d GiB free", dir, free>>30)
	}
	if rejected, err := os.Stat(filepath.Join(dir, "journal", "rejected")); err == nil && rejected.Size() > 0 {
		c.warn("data", "look at the node's log and ask for help with the file", "journal/rejected holds %d bytes that the database did not take", rejected.Size())
	}
}

func (c *checkup) secrets() {
	var err error
	if c.peppers, c.keyring, err = c.cfg.secrets(c.ctx); err != nil {
		c.bad("secrets", "put them back from your backup; without the pepper no key can be verified", "%v", err)
		return
	}
	for version, print := range c.peppers.Fingerprints() {
		c.good("secrets", "pepper version %d (fingerprint %s)", version, print)
	}
	for version, print := range c.keyring.Fingerprints() {
		c.good("secrets", "kek version %d (fingerprint %s)", version, print)
	}
}

func (c *checkup) database() {
	db, err := c.cfg.beside(c.ctx)
	if err != nil {
		c.bad("database", "gatehouse init creates it; gatehouse restore brings it back from a backup", "%v", err)
		return
	}
	c.db = db
	var version int64
	var fastest time.Duration
	for range 5 {
		began := time.Now()
		if err = db.View(c.ctx, func(tx *store.Tx) (err error) { version, err = tx.SchemaVersion(); return err }); err != nil {
			c.bad("database", "run gatehouse init, or look at the database", "%v", err)
			return
		}
		if took := time.Since(began); fastest == 0 || took < fastest {
			fastest = took
		}
	}
	if fastest > 100*time.Millisecond {
		c.warn("database", "keep nodes close to their database", "%s answers in %v", db.Engine(), fastest.Round(time.Millisecond))
	} else {
		c.good("database", "%s answers in %v", db.Engine(), fastest.Round(10*time.Microsecond))
	}
	switch known := store.SchemaVersion(); {
	case version > known:
		c.bad("database", "run the newer gatehouse", "its schema has version %d, this binary knows up to %d", version, known)
		return
	case version < known:
		c.warn("database", "back up, then start the new version: it migrates", "its schema has version %d, this binary's is %d", version, known)
		return
	}
	c.good("database", "schema version %d", version)
	if err := db.CheckWritable(c.ctx); err != nil {
		c.bad("database", "point at the primary, or make it writable", "it takes no changes: %v", err)
	} else {
		c.good("database", "takes changes")
	}
	c.clock(db)
	if err := db.View(c.ctx, c.contents); err != nil {
		c.bad("database", "", "%v", err)
	}
}

func (c *checkup) clock(db *store.DB) {
	began := time.Now()
	there, err := db.Clock(c.ctx)
	switch skew := there.Sub(began.Add(time.Since(began) / 2)).Abs(); {
	case err != nil:
		c.bad("clock", "", "%v", err)
	case there.IsZero():
		c.good("clock", "the database is on this host")
	case skew > 2*time.Second:
		c.bad("clock", "run chrony or systemd-timesyncd on both", "this host and the database's differ by %v: expiry and reports go wrong", skew.Round(time.Millisecond))
	default:
		c.good("clock", "within %v of the database's", skew.Round(time.Millisecond))
	}
}

// contents looks at what is in the database, in one snapshot.
func (c *checkup) contents(tx *store.Tx) error {
	if err := tx.Restoring(); err != nil {
		c.bad("database", "run gatehouse restore again, to its end", "%v", err)
		return nil
	}
	organizations, err := tx.Organizations()
	if err != nil {
		return err
	}
	if len(organizations) == 0 {
		c.bad("database", "gatehouse init", "there is no organization in it: nothing serves it")
	}
	if c.peppers != nil {
		uses, err := tx.PeppersInUse(tx.Now)
		if err != nil {
			return err
		}
		for _, u := range uses {
			if u.Active > 0 && !c.peppers.Has(u.Version) {
				c.bad("secrets", "put that version back into the pepper", "%d active keys are under pepper version %d, which is not at hand", u.Active, u.Version)
			}
		}
		if _, err := fingerprints(tx, c.peppers, c.keyring, func(name string, version int) {
			c.bad("secrets", "put the file back that was in use, from your backup", "version %d of the %s is not the one the database was used with", version, name)
		}); err != nil {
			return err
		}
		if err := c.sealed(tx); err != nil {
			return err
		}
	}
	backup, err := tx.NewestBackup()
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		c.warn("backup", "gatehouse backup --config FILE --to PATH, daily", "no backup was ever made with gatehouse backup")
	case err != nil:
		return err
	default:
		age := time.Duration(tx.Now-backup.At) * time.Millisecond
		if age > 48*time.Hour {
			c.warn("backup", "run gatehouse backup daily", "the newest backup is %d days old", int(age.Hours()/24))
		} else {
			c.good("backup", "the newest is of %s", backup.At.Time().Format("2006-01-02 15:04:05Z"))
		}
	}
	return nil
}

// sealed tries whether every sealed secret opens.
func (c *checkup) sealed(tx *store.Tx) error {
	service := admin.New(admin.Config{DB: c.db, Peppers: c.peppers, Keyring: c.keyring, Now: time.Now, CheckReference: func(string) error { return nil }})
	total, closed := 0, 0
	err := tx.EachSealed(func(s *store.Sealed) error {
		total++
		if _, err := service.OpenSealed(c.ctx, s.Organization, s.ID); err != nil {
			closed++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case closed > 0:
		c.bad("secrets", "put the kek that they were sealed under back", "%d of %d sealed secrets do not open with the kek at hand", closed, total)
	case total > 0:
		c.good("secrets", "all %d sealed secrets open", total)
	}
	return nil
}

func (c *checkup) valkey() {
	if c.cfg.Valkey == "" {
		return
	}
	address, err := c.cfg.reference(c.ctx, "valkey", c.cfg.Valkey, "redis://", "rediss://", "valkey://", "valkeys://")
	if err == nil {
		err = valkey.Ping(c.ctx, address)
	}
	if err != nil {
		c.warn("valkey", "nodes poll without it; look at its address and password", "%v", err)
		return
	}
	c.good("valkey", "answers")
}

func (c *checkup) certificate() {
	if c.cfg.TLS == nil {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.cfg.TLS.Cert, c.cfg.TLS.Key)
	if err != nil {
		c.bad("certificate", "both files in PEM, readable by this user", "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		c.bad("certificate", "", "%v", err)
		return
	}
	left := time.Until(leaf.NotAfter)
	switch ends := leaf.NotAfter.UTC().Format("2006-01-02"); {
	case left <= 0:
		c.bad("certificate", "renew it; the files are read again by themselves", "it expired on %s", ends)
	case left < 14*24*time.Hour:
		c.warn("certificate", "renew it; the files are read again by themselves", "it expires on %s", ends)
	case time.Now().Before(leaf.NotBefore):
		c.bad("certificate", "look at the clock", "it is valid from %s", leaf.NotBefore.UTC().Format("2006-01-02 15:04Z"))
	default:
		c.good("certificate", "valid until %s", ends)
	}
	if u, err := url.Parse(c.cfg.PublicURL); err == nil && u.Hostname() != "" && leaf.VerifyHostname(u.Hostname()) != nil {
		c.bad("certificate", "get one for that name, or correct public_url", "it is not for %s", u.Hostname())
	}
}

// listeners finds out whether a node answers, else whether one could listen.
func (c *checkup) listeners() {
	client := &http.Client{Timeout: 3 * time.Second}
	if host, port, err := net.SplitHostPort(c.cfg.OpsListen); err == nil && port != "0" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
		if err == nil {
			if resp, err := client.Do(req); err == nil {
				body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // it is for a person to read
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					c.good("node", "one runs here and is ready")
				} else {
					c.bad("node", "the node's log says why", "one runs here and is not ready: %s", strings.TrimSpace(string(body)))
				}
				return
			}
		}
	}
	for _, l := range []struct{ key, address string }{{"listen", c.cfg.Listen}, {"ops_listen", c.cfg.OpsListen}, {"admin_listen", c.cfg.AdminListen}} {
		if l.address == "" {
			continue
		}
		ln, err := new(net.ListenConfig).Listen(c.ctx, "tcp", l.address)
		if err != nil {
			c.bad("listeners", "stop what listens there, or choose another address", "%s: %v", l.key, err)
			continue
		}
		_ = ln.Close() // nobody connected
		c.good("listeners", "%s %s is free", l.key, l.address)
	}
}

// upstreamWait bounds the one call of an upstream.
const upstreamWait = 10 * time.Second

// upstreams calls each upstream once, the way a request goes: its own credential, to its own origin, through the guarded dialer.
func (c *checkup) upstreams() {
	if c.db == nil || c.keyring == nil {
		c.add("upstreams", Skipped, "", "without the database and the secrets nothing can be called")
		return
	}
	s := &Server{cfg: c.cfg, db: c.db, log: slog.New(slog.DiscardHandler)}
	var err error
	if s.policy, err = s.references(); err != nil {
		c.bad("upstreams", "correct secret_refs", "%v", err)
		return
	}
	s.admin = admin.New(admin.Config{DB: c.db, Peppers: c.peppers, Keyring: c.keyring, Now: time.Now, CheckReference: func(string) error { return nil }})
	var all []gatehouse.Upstream
	err = c.db.View(c.ctx, func(tx *store.Tx) error {
		return tx.EachUpstream(func(u *gatehouse.Upstream) error {
			if u.RemovedAt == 0 && u.Dialect != gatehouse.Mock {
				all = append(all, *u)
			}
			return nil
		})
	})
	if err != nil {
		c.bad("upstreams", "", "%v", err)
		return
	}
	slices.SortFunc(all, func(a, b gatehouse.Upstream) int {
		return cmp.Or(cmp.Compare(a.Organization, b.Organization), cmp.Compare(a.Name, b.Name))
	})
	for i := range all {
		c.call(s.resolver(all[i].Organization), &all[i])
	}
	if len(all) == 0 {
		c.good("upstreams", "there is none to call")
	}
}

// call makes one harmless request.
func (c *checkup) call(resolver *custody.Resolver, up *gatehouse.Upstream) {
	ctx, stop := context.WithTimeout(c.ctx, upstreamWait)
	defer stop()
	var credential outbound.Credential
	if up.Credential != "" {
		value, err := resolver.Resolve(ctx, up.Credential)
		if err != nil {
			c.bad("upstreams", "correct the reference, or what it refers to; doctor must see the environment of the node", "%s: its credential cannot be read: %v", up.Name, err)
			return
		}
		origin, err := outbound.OriginOf(up.BaseURL)
		if err != nil {
			c.bad("upstreams", "correct base_url", "%s: %v", up.Name, err)
			return
		}
		name, prefix := dialect.CredentialHeader(up)
		credential = outbound.Credential{Name: name, Value: secret.NewText(prefix + value.Reveal()), Origin: origin}
	}
	parsed, err := dialect.Parse(http.MethodGet, "/v1/models", "")
	if err != nil {
		c.bad("upstreams", "", "%s: %v", up.Name, err)
		return
	}
	target, err := parsed.Target(up, "")
	if err != nil {
		c.bad("upstreams", "", "%s: %v", up.Name, err)
		return
	}
	ep, err := outbound.NewEndpoint(outbound.Config{BaseURL: up.BaseURL, AllowPrivate: up.AllowPrivate, HTTP2: up.HTTP2})
	if err != nil {
		c.bad("upstreams", "correct base_url", "%s: %v", up.Name, err)
		return
	}
	defer ep.Close()
	began := time.Now()
	resp, err := ep.Do(ctx, &outbound.Request{Method: http.MethodGet, URI: target, Credential: credential, Header: []outbound.Field{{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "gatehouse-doctor"}}},
		outbound.Timeouts{Connect: upstreamWait / 2, FirstByte: upstreamWait, Idle: upstreamWait})
	if err != nil {
		c.bad("upstreams", "look at DNS, network, TLS and base_url; a private address needs allow_private", "%s (%s): %v", up.Name, ep.Origin(), err)
		return
	}
	resp.Close()
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		c.bad("upstreams", "give it a credential that is valid there", "%s (%s) refuses the credential with %d", up.Name, ep.Origin(), resp.Status)
	case resp.Status == http.StatusNotFound:
		c.warn("upstreams", "base_url usually ends in /v1, Azure's in the resource's own host", "%s (%s) answers %d in %v: it is there and has no list of models at this path", up.Name, ep.Origin(), resp.Status, took)
	case resp.Status >= 300:
		c.warn("upstreams", "look at what is at base_url", "%s (%s) answers %d in %v", up.Name, ep.Origin(), resp.Status, took)
	default:
		c.good("upstreams", "%s (%s) answers in %v and accepts the credential", up.Name, ep.Origin(), took)
	}
}
