package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// DevOptions is what gatehouse dev takes.
type DevOptions struct {
	Options
	Listen string // default 127.0.0.1:4180
	Data   string // default ./.gatehouse
	TLS    bool   // a local certificate authority below Data
	// MaxStaleness is max_staleness of the configuration; 0: its default.
	MaxStaleness time.Duration
	// Logging is how much goes to Options.Log, as the configuration's log says it.
	Logging Log
	HTTP    HTTP // which server reads HTTP/1.1
	// AdminCalls is limits.admin_calls; 0: the default.
	AdminCalls int
}

// Ready is the line that gatehouse dev --json prints once it serves. Its names are a contract.
type Ready struct {
	URL            string     `json:"url"`
	OrganizationID string     `json:"organization_id"`
	ProjectID      string     `json:"project_id"`
	APIKey         string     `json:"api_key"`
	AdminKey       string     `json:"admin_key"`
	Azure          ReadyAzure `json:"azure"`
	OpsURL         string     `json:"ops_url"`
	CAFile         string     `json:"ca_file,omitempty"`
}

// ReadyAzure is what an Azure client is configured with.
type ReadyAzure struct {
	Endpoint   string `json:"endpoint"`
	APIKey     string `json:"api_key"`
	Deployment string `json:"deployment"`
}

// devDeployments are the models that dev declares whether or not they have a price.
var devDeployments = []string{
	"gpt-4o", "gpt-4o-mini", "gpt-4o-mini-tts", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-image-1", "gpt-realtime", "gpt-3.5-turbo-instruct",
	"omni-moderation-latest", "text-embedding-3-small", "text-embedding-3-large", "tts-1", "whisper-1", "dall-e-2", "dall-e-3", "gpt-image-1.5",
	"sora-2",
}

// Dev builds a node on embedded defaults: SQLite, pepper and keys below opts.Data, and the built-in mock as its only upstream.
func Dev(ctx context.Context, opts DevOptions) (*Server, error) {
	data, err := filepath.Abs(opts.Data)
	if err != nil {
		return nil, err
	}
	cfg := &Config{
		Listen: opts.Listen, OpsListen: "127.0.0.1:0", Data: data, Node: "dev",
		Database: "sqlite:" + filepath.Join(data, "gatehouse.db"),
		Pepper:   "file://" + filepath.Join(data, "pepper"), KEK: "file://" + filepath.Join(data, "kek"),
		Drain: Duration(5 * time.Second), Log: opts.Logging, HTTP: opts.HTTP, MaxStaleness: Duration(opts.MaxStaleness),
		Limits: Limits{AdminCalls: opts.AdminCalls},
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if opts.TLS {
		files, _, err := localCertificates(filepath.Join(data, "tls"), time.Now())
		if err != nil {
			return nil, fmt.Errorf("local certificates: %w", err)
		}
		cfg.TLS = files
	}
	opts.dev = true
	// A database whose pepper is gone is refused: every key in it would be.
	_, err = os.Stat(filepath.Join(data, "gatehouse.db"))
	if err := cfg.createSecrets(errors.Is(err, fs.ErrNotExist)); err != nil {
		return nil, err
	}
	return Open(ctx, cfg, opts.Options)
}

// RunDev serves like Run, founds the organization on the first start, mints fresh keys and calls ready once requests are served.
func (s *Server) RunDev(ctx context.Context, ready func(Ready)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // ends with ctx; awaited below
	r, err := s.bootstrap(ctx)
	if err != nil {
		stop()
		return errors.Join(err, <-done)
	}
	ready(*r)
	return <-done
}

func (s *Server) bootstrap(ctx context.Context) (*Ready, error) {
	host := gatehouse.Host("")
	orgs, err := s.admin.Organizations(ctx, host)
	if err != nil {
		return nil, err
	}
	var org gatehouse.Organization
	var firstKey string // the admin key of a founding: nobody else has it
	if len(orgs) > 0 {
		org = orgs[0]
	} else {
		f, err := s.admin.Found(ctx, host, "Dev", "Developer", "")
		if err != nil {
			return nil, err
		}
		org, firstKey = f.Organization, f.AdminKey.Value.Reveal()
	}
	who := gatehouse.Host(org.ID)
	// What somebody changed since the first start stays as it is.
	deployments, err := s.admin.Deployments(ctx, who)
	if err != nil {
		return nil, err
	}
	if len(deployments) == 0 {
		if _, err := s.admin.Apply(ctx, who, s.devManifest(), admin.ApplyOptions{}); err != nil {
			return nil, err
		}
	}
	users, _, err := s.admin.Users(ctx, who, nil, store.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, errors.New("the data folder holds an organization without a user; start dev with another --data")
	}
	account, err := s.devAccount(ctx, who, org.DefaultProject)
	if err != nil {
		return nil, err
	}
	r := &Ready{URL: s.URL(), OpsURL: s.OpsURL(), OrganizationID: org.ID, ProjectID: org.DefaultProject,
		Azure: ReadyAzure{Endpoint: s.URL(), Deployment: "gpt-4o"}}
	if s.cfg.TLS != nil {
		r.CAFile = filepath.Join(s.cfg.Data, "tls", "ca.pem")
	}
	for _, k := range []struct {
		into *string
		req  admin.KeyRequest
	}{
		{&r.APIKey, admin.KeyRequest{Class: gatehouse.ClassProject, Project: org.DefaultProject, User: users[0].ID, Name: "dev key"}},
		{&r.AdminKey, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: users[0].ID, Name: "dev admin key"}},
		{&r.Azure.APIKey, admin.KeyRequest{Class: gatehouse.ClassService, Project: org.DefaultProject, ServiceAccount: account, Name: "dev Azure key"}},
	} {
		if k.into == &r.AdminKey && firstKey != "" {
			r.AdminKey = firstKey
			continue
		}
		key, err := s.admin.CreateKey(ctx, who, k.req)
		if err != nil {
			return nil, err
		}
		*k.into = key.Value.Reveal()
	}
	return r, nil
}

// devManifest declares the mock and, one by one, every model it plays: what nobody declared is refused under dev as anywhere.
func (s *Server) devManifest() *admin.Manifest {
	names := slices.Concat(devDeployments, s.ledger.Prices().Models())
	slices.Sort(names)
	m := &admin.Manifest{Upstreams: []admin.ManifestUpstream{{Name: "mock", Dialect: string(gatehouse.Mock)}}}
	for _, name := range slices.Compact(names) {
		m.Deployments = append(m.Deployments, admin.ManifestDeployment{Name: name, Routes: []admin.ManifestRoute{{Upstream: "mock", Model: name}}})
	}
	return m
}

// devAccount returns the service account that owns the Azure keys of dev.
func (s *Server) devAccount(ctx context.Context, who *gatehouse.Principal, project string) (string, error) {
	const name = "azure"
	page := store.Page{Limit: 100}
	for {
		list, more, err := s.admin.ServiceAccounts(ctx, who, project, page)
		if err != nil {
			return "", err
		}
		for _, a := range list {
			if a.Name == name {
				return a.ID, nil
			}
			page.After = a.ID
		}
		if !more {
			break
		}
	}
	a, _, err := s.admin.CreateServiceAccount(ctx, who, project, admin.ServiceAccountRequest{Name: name})
	if err != nil {
		return "", err
	}
	return a.ID, nil
}
