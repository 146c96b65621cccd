package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"strings"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/adminapi"
	"gatehouse/internal/custody"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
	"gatehouse/internal/steward/deliver"
	"gatehouse/internal/steward/watch"
)

// SMTP is a server that takes mail.
type SMTP struct {
	Address  string `yaml:"address"`  // HOST:PORT, e.g. smtp.example.com:587
	From     string `yaml:"from"`     // e.g. Gatehouse <gatehouse@example.com>
	TLS      string `yaml:"tls"`      // starttls (default), implicit (port 465), or none, which allows no password
	Username string `yaml:"username"` // absent: nobody signs in
	Password string `yaml:"password"` // a secret reference
	CA       string `yaml:"ca"`       // a file of certificates in PEM that the server is verified by; absent: the system's
}

// check returns what is wrong with an SMTP section, and fills in its default.
func (m *SMTP) check() error {
	if m.TLS == "" {
		m.TLS = string(deliver.StartTLS)
	}
	_, _, err := net.SplitHostPort(m.Address)
	_, from := mail.ParseAddress(m.From)
	switch security := deliver.Security(m.TLS); {
	case err != nil:
		return errors.New("smtp.address must be HOST:PORT such as smtp.example.com:587")
	case from != nil:
		return errors.New("smtp.from must be an address such as Gatehouse <gatehouse@example.com>")
	case security != deliver.StartTLS && security != deliver.ImplicitTLS && security != deliver.NoTLS:
		return fmt.Errorf("smtp.tls must be starttls, implicit or none, not %q", m.TLS)
	case (m.Username == "") != (m.Password == ""):
		return errors.New("smtp.username and smtp.password go together")
	case m.Password != "" && !strings.Contains(m.Password, "://"):
		return errors.New("smtp.password must be a secret reference such as file:///etc/gatehouse/smtp-password, not the password itself")
	case m.Password != "" && security == deliver.NoTLS:
		return errors.New("smtp.tls: none contradicts smtp.password: a password is sent over TLS only")
	}
	return nil
}

// mail returns the server that takes mail, nil where none is configured.
func (c *Config) mail() (*deliver.Mail, error) {
	m := c.SMTP
	if m == nil {
		return nil, nil
	}
	var roots *x509.CertPool
	if m.CA != "" {
		pem, err := os.ReadFile(m.CA)
		if err != nil {
			return nil, fmt.Errorf("smtp.ca: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("smtp.ca: %s holds no certificate in PEM", m.CA)
		}
	}
	operator := custody.New(custody.Config{Allow: custody.Unrestricted()})
	return &deliver.Mail{Address: m.Address, From: m.From, Security: deliver.Security(m.TLS), Username: m.Username, Roots: roots,
		Password: func(ctx context.Context) (secret.Text, error) { return operator.Resolve(ctx, m.Password) },
		Dial:     outbound.NewDialer(true).DialContext, // the operator wrote where it is
	}, nil
}

// openAlerts builds what looks for the unusual and what tells of it.
func (s *Server) openAlerts() error {
	takesMail, err := s.cfg.mail()
	if err != nil {
		return err
	}
	listed := s.allowPrivate() // nil: every host, as under dev
	public, private := outbound.NewClient(false), outbound.NewClient(true)
	s.deliverer = deliver.New(deliver.Config{
		PrivateHost: func(host string) bool { return listed == nil || listed(host) },
		DB:          s.db, Mail: takesMail, PublicURL: s.cfg.PublicURL, Now: s.opts.Now, Logger: s.log,
		Resolve: func(ctx context.Context, organization, reference string) (secret.Text, error) {
			return s.resolver(organization).Resolve(ctx, reference)
		},
		Client: func(allowPrivate bool) *http.Client {
			if allowPrivate {
				return private
			}
			return public
		},
	})
	system := func(organization string) *gatehouse.Principal {
		return &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: organization}
	}
	s.watch = watch.New(watch.Config{DB: s.db, Holder: s.catalog.Process(), Suspend: s.admin.SuspendForAlert, Raised: s.deliverer.Wake, Now: s.opts.Now, Logger: s.log,
		Budgets: func(ctx context.Context, organization string) ([]admin.BudgetStatus, error) {
			return s.admin.Budgets(ctx, system(organization))
		},
		Credits: func(ctx context.Context, organization string) (*admin.CreditsInfo, error) {
			return s.admin.Credits(ctx, system(organization))
		},
	})
	return nil
}

// keepAlerts looks for the unusual and tells of it until ctx ends.
func (s *Server) keepAlerts(ctx context.Context) {
	defer s.duties.Done()
	done := make(chan struct{})
	go func() { // the queue: ends with ctx
		defer close(done)
		s.deliverer.Run(ctx)
	}()
	s.watch.Run(ctx)
	<-done
}

// webhooks answers what a project asks of its webhook endpoints.
func (s *Server) webhooks(ctx context.Context, who *gatehouse.Principal, op, id string, query url.Values, body []byte) (any, error) {
	w := &adminapi.Webhooks{Admin: s.admin, Test: s.deliverer.Test}
	return w.Serve(ctx, who, op, id, query, body)
}
