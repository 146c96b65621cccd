package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Config is gatehouse.yaml: the infrastructure of one node. Everything else lives in the database. Every key is documented here;
// an unknown key, a contradiction and a secret written in place of a reference are fatal at start.
type Config struct {
	// Listen is the address of the data plane and the Admin API, e.g. 0.0.0.0:4180.
	Listen string `yaml:"listen"`
	// AdminListen moves the Admin API to a listener of its own; absent: it is served on Listen.
	AdminListen string `yaml:"admin_listen"`
	// OpsListen is where /healthz, /readyz, /metrics and pprof are. It has no authentication: keep it on a private address.
	OpsListen string `yaml:"ops_listen"`
	// TLS makes Listen and AdminListen speak HTTPS, HTTP/2 included. Absent: plain HTTP, for a proxy or a private network in front.
	TLS *TLS `yaml:"tls"`
	// PublicURL is how callers reach this node, without a trailing slash; it appears in what Gatehouse tells people.
	PublicURL string `yaml:"public_url"`
	// Node is this node's name, unique among those on one database. Absent: the host name.
	Node string `yaml:"node"`
	// Data is the folder of the journal, the spool and the lock. It must survive a restart and belongs to one node.
	Data string `yaml:"data"`
	// JournalSync is how long a journal record may wait for its fsync: what a power failure may lose. "0s" waits for the disk each
	// time. A killed process loses nothing either way. Default 100ms.
	JournalSync *Duration `yaml:"journal_sync"`
	// Database is sqlite:PATH (one node) or postgres://... (several nodes may share it); it may be a secret reference, because a
	// PostgreSQL URL holds a password.
	Database string `yaml:"database"`
	// Valkey is redis://HOST:PORT/DB or rediss://, or a secret reference to one: nodes wake each other through it, so that changes
	// arrive sooner, and count rate limits together. No request depends on it being there.
	Valkey string `yaml:"valkey"`
	// KEK is the reference of the keys that encrypt what Gatehouse stores sealed. gatehouse init creates the file it names.
	KEK string `yaml:"kek"`
	// Pepper is the reference of the peppers under which keys are digested. gatehouse init creates the file it names.
	Pepper string `yaml:"pepper"`
	// MaxStaleness is how long a node that cannot reach the database goes on accepting what it knows, and so how long a revocation
	// may have to wait for a node that is silent. Between 2s and 1h; default 2m.
	MaxStaleness Duration `yaml:"max_staleness"`
	// HTTP says how callers are served.
	HTTP HTTP `yaml:"http"`
	// Limits bound what one node holds.
	Limits Limits `yaml:"limits"`
	// Drain is how long open requests may go on after SIGTERM. Default 30s.
	Drain Duration `yaml:"drain"`
	// TrustedProxies are the addresses (CIDR) whose X-Forwarded-For is believed, and whose ClientCertHeader is.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ClientCertHeader is the header in which a trusted proxy that ends TLS says which client certificate its client showed, for
	// projects that demand one: Client-Cert (RFC 9440), X-Forwarded-Client-Cert (Envoy), or whichever the proxy is set up to send. The
	// proxy must remove what a client sends under that name. Absent: none is believed.
	ClientCertHeader string `yaml:"client_cert_header"`
	// Log is where and how much is logged.
	Log Log `yaml:"log"`
	// Replay bounds the files below data that a restore reads.
	Replay Replay `yaml:"replay"`
	// OTLP sends traces to an OpenTelemetry collector. Absent: none are made.
	OTLP *OTLP `yaml:"otlp"`
	// SMTP is the server that takes mail for alerts. Absent: no mail is sent. It belongs into the file of every node.
	SMTP *SMTP `yaml:"smtp"`
	// SecretRefs lists which secret references administrators may use. Absent: env:// names that end in _API_KEY, and sealed://.
	SecretRefs []string `yaml:"secret_refs"`
	// PrivateUpstreams lists the hosts for which an upstream may set allow_private.
	PrivateUpstreams []string `yaml:"private_upstreams"`

	path string // where the file was read from, for messages and so that no reference may read it
}

// TLS is a certificate chain and its key, both files in PEM. They are read again when they change.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCertListen is the address of one more listener, which serves what Listen does and asks each client for a certificate:
	// mutual TLS, for projects that demand it. A client without one is served as elsewhere. Absent: there is none.
	ClientCertListen string `yaml:"client_cert_listen"`
}

// OTLP is an OpenTelemetry collector that takes OTLP over HTTP.
type OTLP struct {
	Endpoint string   `yaml:"endpoint"` // URL, e.g. https://otel.example.com:4318; without a path it is below /v1/traces
	Headers  string   `yaml:"headers"`  // a secret reference to lines "Name: value"; absent: none
	Insecure bool     `yaml:"insecure"` // allows http://, which shows names of models and projects to the network
	Sample   *float64 `yaml:"sample"`   // share of traces that begin here and are sent, 0 to 1; default 1
	Timeout  Duration `yaml:"timeout"`  // of one message; default 10s
}

// check returns what is wrong with an OTLP section.
func (o *OTLP) check() error {
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("otlp.endpoint must be a URL such as https://otel.example.com:4318")
	case u.User != nil || u.RawQuery != "":
		return errors.New("otlp.endpoint must not hold a credential: put it into what otlp.headers refers to")
	case u.Scheme == "http" && !o.Insecure:
		return errors.New("otlp.endpoint is http://, which anybody on the way can read: use https://, or set otlp.insecure: true")
	case u.Scheme == "https" && o.Insecure:
		return errors.New("otlp.insecure: true contradicts an otlp.endpoint that is https://")
	case o.Headers != "" && !strings.Contains(o.Headers, "://"):
		return errors.New("otlp.headers must be a secret reference such as file:///etc/gatehouse/otlp-headers, not the headers themselves")
	case o.Sample != nil && (*o.Sample < 0 || *o.Sample > 1):
		return errors.New("otlp.sample must be between 0 and 1")
	case o.Timeout < 0 || time.Duration(o.Timeout) > time.Minute:
		return errors.New("otlp.timeout must be between 0s and 1m")
	}
	return nil
}

// HTTP says how callers are served.
type HTTP struct {
	// Server reads HTTP/1.1: own (default), which hands what is unusual to Go's net/http, or standard, which is net/http alone.
	Server string `yaml:"server"`
}

// The values of HTTP.Server.
const (
	ownServer    = "own"
	standardHTTP = "standard"
)

// Limits bound what one node holds. A value of 0 means the default.
type Limits struct {
	Body    Size `yaml:"body"`    // of one request body; default 512MiB
	Memory  Size `yaml:"memory"`  // of all request bodies in memory; default 1GiB
	Streams int  `yaml:"streams"` // open requests; default 20000
	// AdminCalls is how often one admin key may call the Admin API in a minute, on each node; default 6000.
	AdminCalls int `yaml:"admin_calls"`
}

// Replay bounds the files below data/replay: what a restore knows beyond its backup. They go as soon as a backup covers them; what
// these bounds drop before that, a restore names as lost.
type Replay struct {
	MaxAge  Duration `yaml:"max_age"`  // default 168h
	MaxSize Size     `yaml:"max_size"` // default 4GiB
}

// Log is where and how much is logged: always JSON lines on stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn or error
	Access *bool  `yaml:"access"` // one line a request; default true
}

// Duration reads what time.ParseDuration reads.
type Duration time.Duration

// UnmarshalYAML reads a duration such as 30s or 2m.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	var text string
	if err := decode(&text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 2m", text)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes; it reads 65536, 64KiB, 10MiB or 1GiB.
type Size int64

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(decode func(any) error) error {
	var text string
	if err := decode(&text); err != nil {
		return err
	}
	number, unit := text, int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, n
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50/unit {
		return fmt.Errorf("%q is not a size such as 65536, 64KiB, 10MiB or 1GiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// ReadConfig reads and checks a configuration file. Its errors name the file and, for what YAML knows, line and column.
func ReadConfig(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if cfg.path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return cfg, nil
}

func parseConfig(text []byte) (*Config, error) {
	cfg := &Config{}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("the file is empty; docs/operations.md has an example to begin with")
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(cfg); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false)) // without the source: a password may stand beside
	}
	return cfg, cfg.complete()
}

// complete checks a configuration and fills in defaults.
func (c *Config) complete() error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, a := range []struct{ key, value, fallback string }{{"listen", c.Listen, "127.0.0.1:4180"}, {"ops_listen", c.OpsListen, "127.0.0.1:4181"}, {"admin_listen", c.AdminListen, ""}} {
		if a.value == "" {
			a.value = a.fallback
		}
		if _, _, err := net.SplitHostPort(a.value); a.value != "" && err != nil {
			fail("%s: %q is not HOST:PORT", a.key, a.value)
		}
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:4180"
	}
	if c.OpsListen == "" {
		c.OpsListen = "127.0.0.1:4181"
	}
	for _, required := range []struct{ key, value string }{{"data", c.Data}, {"database", c.Database}, {"kek", c.KEK}, {"pepper", c.Pepper}} {
		if required.value == "" {
			fail("%s is required", required.key)
		}
	}
	for _, ref := range []struct{ key, value string }{{"kek", c.KEK}, {"pepper", c.Pepper}} {
		if ref.value != "" && !strings.Contains(ref.value, "://") {
			fail("%s must be a secret reference such as file:///etc/gatehouse/%s, not the secret itself", ref.key, ref.key)
		}
	}
	if c.TLS != nil && (c.TLS.Cert == "" || c.TLS.Key == "") {
		fail("tls needs both cert and key")
	}
	if c.TLS != nil && c.TLS.ClientCertListen != "" {
		if _, _, err := net.SplitHostPort(c.TLS.ClientCertListen); err != nil {
			fail("tls.client_cert_listen: %q is not HOST:PORT", c.TLS.ClientCertListen)
		}
	}
	if c.ClientCertHeader != "" {
		if strings.ContainsFunc(c.ClientCertHeader, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
		}) {
			fail("client_cert_header: %q is not a name of a header", c.ClientCertHeader)
		}
		if len(c.TrustedProxies) == 0 {
			fail("client_cert_header needs trusted_proxies: anybody could send it")
		}
		c.ClientCertHeader = http.CanonicalHeaderKey(c.ClientCertHeader)
	}
	if c.OTLP != nil {
		if err := c.OTLP.check(); err != nil {
			problems = append(problems, err)
		}
	}
	if c.SMTP != nil {
		if err := c.SMTP.check(); err != nil {
			problems = append(problems, err)
		}
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || strings.HasSuffix(c.PublicURL, "/") {
			fail("public_url must be a URL without a trailing slash")
		}
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = Duration(2 * time.Minute)
	}
	if d := time.Duration(c.MaxStaleness); d < 2*time.Second || d > time.Hour {
		fail("max_staleness must be between 2s and 1h")
	}
	if c.JournalSync == nil {
		d := Duration(100 * time.Millisecond)
		c.JournalSync = &d
	}
	if *c.JournalSync < 0 || time.Duration(*c.JournalSync) > 10*time.Second {
		fail("journal_sync must be between 0s and 10s")
	}
	if c.Replay.MaxAge == 0 {
		c.Replay.MaxAge = Duration(7 * 24 * time.Hour)
	}
	if c.Replay.MaxAge < Duration(time.Hour) {
		fail("replay.max_age must be at least 1h")
	}
	if c.Replay.MaxSize == 0 {
		c.Replay.MaxSize = 4 << 30
	}
	if c.Replay.MaxSize < 64<<20 {
		fail("replay.max_size must be at least 64MiB")
	}
	if c.Drain == 0 {
		c.Drain = Duration(30 * time.Second)
	}
	if c.Drain < 0 {
		fail("drain must not be negative")
	}
	if c.HTTP.Server == "" {
		c.HTTP.Server = ownServer
	}
	if c.HTTP.Server != ownServer && c.HTTP.Server != standardHTTP {
		fail("http.server must be %s or %s, not %q", ownServer, standardHTTP, c.HTTP.Server)
	}
	if c.Limits.AdminCalls < 0 {
		fail("limits.admin_calls must not be negative")
	}
	if c.Limits.Streams < 0 {
		fail("limits.streams must not be negative")
	}
	if c.Limits.Memory != 0 && c.Limits.Body > 0 && c.Limits.Memory < 1<<20 {
		fail("limits.memory must be at least 1MiB")
	}
	if _, err := c.trusted(); err != nil {
		problems = append(problems, err)
	}
	if _, err := c.level(); err != nil {
		problems = append(problems, err)
	}
	if c.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			fail("node: the host has no name; set one")
		}
		c.Node = name
	}
	return errors.Join(problems...)
}

// trusted returns TrustedProxies as prefixes.
func (c *Config) trusted() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("trusted_proxies: %q is neither an address nor a CIDR range", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// single reports whether the database can have one node only.
func single(database string) bool { return strings.HasPrefix(database, "sqlite:") }
