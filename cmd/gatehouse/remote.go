package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/client"
)

const defaultURL = "http://127.0.0.1:4180"

// remote is how to reach a running Gatehouse.
type remote struct {
	url, adminKey, adminKeyFile, caFile string
}

func (r *remote) register(flags *pflag.FlagSet) {
	flags.StringVar(&r.url, "url", "", "where Gatehouse is (GATEHOUSE_URL; default "+defaultURL+")")
	flags.StringVar(&r.adminKey, "admin-key", "", "admin key (GATEHOUSE_ADMIN_KEY is better: other users can see arguments)")
	flags.StringVar(&r.adminKeyFile, "admin-key-file", "", "file that holds the admin key")
	flags.StringVar(&r.caFile, "ca-file", "", "PEM file of a certificate authority to trust (GATEHOUSE_CA_FILE)")
}

// remoteCommands are the commands that talk to a running Gatehouse.
func (c *cli) remoteCommands() []*cobra.Command {
	return []*cobra.Command{
		c.apply(), c.export(), c.projects(), c.users(), c.invites(), c.groups(), c.roles(), c.serviceAccounts(), c.keys(), c.resources(), c.certificates(), c.upstreams(), c.deployments(), c.prices(), c.seal(), c.organization(), c.budgets(), c.limits(), c.credits(),
		c.usage(), c.forecast(), c.reconcile(), c.explain(), c.audit(), c.whoami(),
		c.alerts(),
	}
}

// connect returns a client of the Gatehouse that flags and environment name.
func (c *cli) connect() (*client.Client, error) {
	r := &c.remote
	r.url = cmp.Or(r.url, c.getenv("GATEHOUSE_URL"), defaultURL)
	r.caFile = cmp.Or(r.caFile, c.getenv("GATEHOUSE_CA_FILE"))
	if r.adminKey != "" && r.adminKeyFile != "" {
		return nil, hint(usagef("--admin-key and --admin-key-file exclude each other"), "Leave one of them out.")
	}
	key := r.adminKey
	if r.adminKeyFile != "" {
		text, err := os.ReadFile(r.adminKeyFile)
		if err != nil {
			return nil, hint(usagef("admin key: %w", err), "--admin-key-file names a file that holds nothing but the key.")
		}
		key = string(text)
	}
	key = strings.TrimSpace(cmp.Or(key, c.getenv("GATEHOUSE_ADMIN_KEY")))
	if key == "" {
		return nil, hint(usagef("an admin key is missing"), "Set GATEHOUSE_ADMIN_KEY to a key that begins with sk-admin-; `gatehouse dev` and `gatehouse init` print one.")
	}
	if strings.ContainsAny(key, " \t\r\n") {
		return nil, hint(usagef("the admin key has white space in it"), "A key is one word that begins with sk-admin-.")
	}
	return r.dial(key)
}

// dial returns a client with a key, or with none.
func (r *remote) dial(key string) (*client.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if r.caFile != "" {
		pem, err := os.ReadFile(r.caFile)
		if err != nil {
			return nil, &usageError{fmt.Errorf("certificate authority: %w", err)}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, hint(usagef("certificate authority: %s holds no certificate", r.caFile), "--ca-file names a file in PEM, such as the ca_file that `gatehouse dev --tls` prints.")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	cl, err := client.New(client.Config{URL: r.url, AdminKey: key, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, hint(&usageError{err}, "Correct --url or GATEHOUSE_URL.")
	}
	return cl, nil
}

// call returns a command that talks to a running Gatehouse.
func (c *cli) call(use, short string, args cobra.PositionalArgs, fn func(ctx context.Context, cl *client.Client, args []string) error) *cobra.Command {
	return c.command(use, short, args, func(ctx context.Context, given []string) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		return fn(ctx, cl, given)
	})
}

// explain says what a failed call means and what to do about it.
func (r *remote) explain(err error) error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return r.explainRefusal(e)
	}
	lost, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	reach := fmt.Errorf("cannot reach %s: %w", r.url, lost.Err)
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return hint(reach, "Is `gatehouse serve` (or `gatehouse dev`) running at %s? Name another address with --url or GATEHOUSE_URL.", r.url)
	case errors.As(err, &unknown):
		return hint(reach, "Name the certificate authority with --ca-file or GATEHOUSE_CA_FILE.")
	case errors.As(err, &record), strings.Contains(lost.Err.Error(), "HTTP response to HTTPS client"):
		return hint(reach, "The server speaks plain HTTP: use http:// in the URL.")
	case errors.As(err, &lookup):
		return hint(reach, "Check the host in --url or GATEHOUSE_URL.")
	case lost.Timeout():
		return hint(reach, "The server did not answer in time. A change may have happened all the same: look before you repeat it.")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return hint(reach, "The server hung up. If it speaks HTTPS, use https:// in the URL. A change may have happened: look before you repeat it.")
	}
	return hint(reach, "Check --url or GATEHOUSE_URL.")
}

func (r *remote) explainRefusal(e *client.Error) error {
	text := fmt.Sprintf("%s (%d", e.Message, e.Status)
	if e.RequestID != "" {
		text += ", " + e.RequestID
	}
	err := &refused{text + ")", e}
	switch {
	case e.RequestID == "":
		return hint(err, "Is %s a Gatehouse? If it speaks HTTPS, begin --url or GATEHOUSE_URL with https://.", r.url)
	case e.Status == http.StatusUnauthorized:
		return hint(err, "%s did not accept the admin key. Check GATEHOUSE_ADMIN_KEY or --admin-key: it begins with sk-admin- and belongs to this installation.", r.url)
	case e.Status == http.StatusForbidden && strings.Contains(e.Message, "sk-admin-"):
		return hint(err, "Set GATEHOUSE_ADMIN_KEY to an admin key.")
	case e.Status == http.StatusForbidden:
		return hint(err, "Use an admin key whose scopes allow this; `gatehouse keys get KEY` shows them.")
	case e.Status == http.StatusTooManyRequests:
		return hint(err, "Wait a little and try again.")
	case e.Status >= 500:
		return hint(err, "The server's log has more under this request id; its /readyz says whether it can serve.")
	case e.Param != "" && !strings.Contains(e.Message, e.Param):
		return hint(err, "The field at fault is %s.", e.Param)
	}
	return err
}

// refused is a refusal of the server, as a person reads it.
type refused struct {
	text string
	err  error
}

func (e *refused) Error() string { return e.text }
func (e *refused) Unwrap() error { return e.err }

// answer shows one object: the server's JSON as it stands, or what human writes.
func (c *cli) answer(raw json.RawMessage, human func()) error {
	if c.json {
		_, err := fmt.Fprintf(c.stdout, "%s\n", raw)
		return err
	}
	human()
	return nil
}

// list shows what seq yields: one JSON list of the server's elements, or a table. show returns an element's JSON and its row.
func list[T any](c *cli, seq iter.Seq2[*T, error], header []string, show func(*T) (json.RawMessage, []string)) error {
	elements, rows := []json.RawMessage{}, [][]string{}
	for v, err := range seq {
		if err != nil {
			return err
		}
		raw, row := show(v)
		elements, rows = append(elements, raw), append(rows, row)
	}
	if c.json {
		return c.document(struct {
			Object  string            `json:"object"`
			Data    []json.RawMessage `json:"data"`
			HasMore bool              `json:"has_more"`
		}{"list", elements, false})
	}
	c.out.table(header, rows)
	if len(rows) == 0 {
		c.out.note("There are none.")
	}
	return nil
}

// deleted shows what a removal answered.
func (c *cli) deleted(d *client.Deletion, what string) error {
	return c.answer(d.JSON, func() {
		c.out.printf("%s %s\n", what, printable(d.ID))
		c.effective(d.EffectiveBy)
	})
}

// effective says that a change has not reached every node, when it has not.
func (c *cli) effective(by int64) {
	if by != 0 {
		c.out.note("A node did not answer: it may act on what it knew until %s.", moment(by))
	}
}

// secret prints a secret alone on its line, and says beside it that this was the only time.
func (c *cli) secret(what, value string) {
	c.out.printf("%s\n", value)
	c.out.note("This %s is shown once and cannot be shown again: keep it in a safe place now.", what)
}

// moment writes unix seconds for people, "" when they are 0.
func moment(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05Z")
}

// resolve returns the id that a reference means: the reference itself when it has the prefix of ids, else the one element that it
// names. name returns an element's id and what it may be called.
func resolve[T any](what, prefix, reference string, seq iter.Seq2[*T, error], name func(*T) (id string, names []string)) (string, error) {
	if strings.HasPrefix(reference, prefix) {
		return reference, nil
	}
	var found []string
	for v, err := range seq {
		if err != nil {
			return "", err
		}
		id, names := name(v)
		for _, n := range names {
			if n == reference && n != "" {
				found = append(found, id)
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no %s is named %q", what, reference)
	case 1:
		return found[0], nil
	}
	return "", hint(fmt.Errorf("%d of them are named %q", len(found), reference), "Say which one by its id: %s.", strings.Join(found, ", "))
}

// project returns the id of a project given by id or name.
func project(ctx context.Context, cl *client.Client, reference string) (string, error) {
	return resolve("active project", "proj_", reference, cl.Projects(ctx, client.WithoutArchived), func(p *client.Project) (string, []string) { return p.ID, []string{p.Name} })
}

// member returns the id of a user given by id, email or name.
func member(ctx context.Context, cl *client.Client, reference string) (string, error) {
	return resolve("user", "user-", reference, cl.Users(ctx), func(u *client.User) (string, []string) { return u.ID, []string{u.Email, u.Name} })
}

// account returns the id of a service account of a project given by id or name.
func account(ctx context.Context, cl *client.Client, project, reference string) (string, error) {
	return resolve("service account of the project", "svc_acct_", reference, cl.ServiceAccounts(ctx, project), func(a *client.ServiceAccount) (string, []string) { return a.ID, []string{a.Name} })
}
