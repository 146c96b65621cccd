package main

import (
	"context"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/internal/server"
)

// dev is the whole of Gatehouse on embedded defaults. What it prints with --json is a contract.
func (c *cli) dev() *cobra.Command {
	opts := server.DevOptions{Options: server.Options{Log: c.stderr, Version: thisBuild().Version}}
	var verbose bool
	cmd := c.command("dev [flags]", "Run everything on embedded defaults, with a mock model", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		// A person reads the page; the log would run over it.
		if !c.json && !verbose {
			quiet := false
			opts.Logging = server.Log{Level: "warn", Access: &quiet}
		}
		data, err := filepath.Abs(opts.Data)
		if err != nil {
			return err
		}
		s, err := server.Dev(ctx, opts)
		if err != nil {
			return explainHost(err, data)
		}
		return s.RunDev(ctx, func(r server.Ready) {
			if c.json {
				_ = c.document(r) // nobody reads stdout: the node serves all the same
				return
			}
			c.page(&r, data)
		})
	})
	cmd.Long = "Runs everything on embedded defaults: SQLite and keys below --data, a mock upstream with deterministic\n" +
		"answers and true usage numbers, an organization, a project, a key and an admin key. Each start mints\n" +
		"fresh keys; earlier ones stay valid until they are revoked. It calls no upstream by itself."
	cmd.Flags().StringVar(&opts.Listen, "listen", "127.0.0.1:4180", "address to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&opts.Data, "data", "./.gatehouse", "folder of the database, the keys and the journal")
	cmd.Flags().BoolVar(&opts.TLS, "tls", false, "speak HTTPS with a certificate authority of its own below --data")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log every request on stderr")
	return cmd
}

// page tells a person that dev is ready and what to do next.
func (c *cli) page(r *server.Ready, data string) {
	t := c.out
	t.printf("%s\n\n", styleGood.Render("Gatehouse is ready."))
	t.fields([][2]string{
		{"  URL", r.URL + "/v1"},
		{"  API key", r.APIKey},
		{"  Admin key", r.AdminKey},
		{"  Azure endpoint", r.Azure.Endpoint},
		{"  Azure key", r.Azure.APIKey},
		{"  Azure deployment", r.Azure.Deployment},
		{"  Health, metrics", r.OpsURL},
		{"  CA certificate", r.CAFile},
		{"  Data", data},
	})
	trust := ""
	if r.CAFile != "" {
		trust = " --cacert " + shellQuote(r.CAFile)
	}
	t.printf("\nAsk the mock model for a streamed answer:\n\n"+
		"curl -N%s %s/v1/chat/completions \\\n"+
		"  -H \"Authorization: Bearer %s\" \\\n"+
		"  -H \"Content-Type: application/json\" \\\n"+
		"  -d '{\"model\": \"gpt-4o-mini\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n", trust, r.URL, r.APIKey)
	t.printf("\nAdminister it from another shell:\n\n")
	t.printf("export GATEHOUSE_URL=%s GATEHOUSE_ADMIN_KEY=%s", r.URL, r.AdminKey)
	if r.CAFile != "" {
		t.printf(" GATEHOUSE_CA_FILE=%s", shellQuote(r.CAFile))
	}
	t.printf("\ngatehouse usage\n\nThe keys work until they are revoked; the next start mints fresh ones. Ctrl-C stops Gatehouse.\n")
}

// shellQuote returns text as one word of a POSIX shell.
func shellQuote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// founded is what init prints with --json.
type founded struct {
	OrganizationID string `json:"organization_id"`
	ProjectID      string `json:"project_id"`
	UserID         string `json:"user_id"`
	AdminKeyID     string `json:"admin_key_id"`
	AdminKey       string `json:"admin_key"`
}

func (c *cli) init() *cobra.Command {
	var config string
	var req server.InitRequest
	cmd := c.command("init --config FILE [flags]", "Create schema, secrets and an organization with its first admin key", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		if req.Owner == "" {
			req.Owner = hostUser()
		}
		f, err := server.Init(ctx, cfg, req)
		if err != nil {
			return explainHost(err, cfg.Data)
		}
		out := founded{f.Organization.ID, f.Project.ID, f.Owner.ID, f.AdminKey.Key.ID, f.AdminKey.Value.Reveal()}
		if c.json {
			return c.document(out)
		}
		c.out.fields([][2]string{
			{"organization", out.OrganizationID + "  " + f.Organization.Name},
			{"default project", out.ProjectID},
			{"owner", out.UserID + "  " + f.Owner.Name},
			{"admin key id", out.AdminKeyID},
		})
		c.secret("admin key", out.AdminKey)
		c.out.note("Next: gatehouse serve --config %s", shellQuote(config))
		return nil
	})
	cmd.Long = "Creates what a new installation needs: the schema, pepper and encryption key (at the file:// references\n" +
		"of the configuration, unless they are there), and an organization with its default project, its owner and\n" +
		"the first admin key, printed once. On a database that has organizations it adds one."
	required(cmd, &config, "config", "configuration file")
	cmd.Flags().StringVar(&req.Organization, "organization", "Default", "name of the organization")
	cmd.Flags().StringVar(&req.Owner, "owner", "", "name of its first owner (default: the user who runs this)")
	cmd.Flags().StringVar(&req.Email, "email", "", "the owner's address")
	return cmd
}

// hostUser returns a name for the first owner when none was given.
func hostUser() string {
	if u, err := user.Current(); err == nil {
		if u.Name != "" {
			return u.Name
		}
		return u.Username
	}
	return "Owner"
}

func (c *cli) serve() *cobra.Command {
	var config string
	cmd := c.command("serve --config FILE", "Run a production node", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		s, err := server.Open(ctx, cfg, server.Options{Log: c.stderr, Version: thisBuild().Version, Reload: reload})
		if err != nil {
			return explainHost(err, cfg.Data)
		}
		return s.Run(ctx)
	})
	cmd.Long = "Runs a production node as its configuration says, with JSON lines of log on stderr. It refuses an empty\n" +
		"database: run `gatehouse init` first. SIGHUP has it read the pepper again at once. SIGTERM or Ctrl-C drains: open requests may finish within `drain`;\n" +
		"a second one ends the process at once."
	return required(cmd, &config, "config", "configuration file")
}

func readConfig(path string) (*server.Config, error) {
	cfg, err := server.ReadConfig(path)
	if err == nil {
		return cfg, nil
	}
	if _, statErr := os.Stat(path); statErr != nil {
		return nil, hint(err, "docs/operations.md has a configuration to begin with.")
	}
	return nil, hint(err, "Correct %s; docs/operations.md describes every key.", path)
}
