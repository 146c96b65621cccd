package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) upstreams() *cobra.Command {
	listing := c.call("list", "List upstreams", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Upstreams(ctx), []string{"NAME", "DIALECT", "BASE URL", "API VERSION", "REGION", "CREDENTIAL", "PROJECTS"}, func(u *client.Upstream) (json.RawMessage, []string) {
			return u.JSON, []string{u.Name, string(u.Dialect), cmp.Or(u.BaseURL, "-"), cmp.Or(u.APIVersion, "-"), cmp.Or(u.Region, "-"), cmp.Or(u.Credential, "none"), cmp.Or(strings.Join(u.Projects, " "), "all")}
		})
	})
	var u client.Upstream
	var dialect string
	var timeouts []string
	set := c.call("set NAME [flags]", "Create an upstream or replace the one of that name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		u.Name, u.Dialect = args[0], gatehouse.Dialect(dialect)
		for _, text := range timeouts {
			name, value, _ := strings.Cut(text, "=")
			if !setTimeout(&u.Timeouts, name, value) {
				return hint(usagef("--timeout: %q is not a timeout", text), "A timeout is connect, first_byte, idle or total, and a duration, e.g. first_byte=60s.")
			}
		}
		got, err := cl.PutUpstream(ctx, u)
		if err != nil {
			return err
		}
		return c.answer(got.JSON, func() {
			c.out.fields([][2]string{{"id", got.ID}, {"name", got.Name}, {"dialect", string(got.Dialect)}, {"base url", got.BaseURL}, {"api version", got.APIVersion}, {"region", got.Region},
				{"credential", got.Credential}, {"credential header", got.CredentialHeader}, {"projects", strings.Join(got.Projects, " ")},
				{"timeouts", strings.TrimPrefix(timeoutText(got.Timeouts), ",")}})
		})
	})
	set.Long = "Creates an upstream, or replaces the one of that name: what is not given is empty afterwards.\n" +
		"The credential is a reference, never the secret: env://OPENAI_API_KEY, file:///run/secrets/key, or the\n" +
		"sealed://... that `gatehouse seal` prints. The server resolves it."
	set.Flags().StringVar(&dialect, "dialect", "openai", "openai, azure or mock")
	set.Flags().StringVar(&u.BaseURL, "base-url", "", "e.g. https://api.openai.com/v1")
	set.Flags().StringVar(&u.APIVersion, "api-version", "", "Azure's dated api-version; without it the v1 API")
	set.Flags().StringVar(&u.Region, "region", "", "where it is")
	set.Flags().StringVar(&u.Credential, "credential", "", "reference of the secret it is called with")
	set.Flags().StringVar(&u.CredentialHeader, "credential-header", "", "header that carries the credential, when it is not the dialect's own")
	set.Flags().StringArrayVar(&u.Projects, "project", nil, "a project the credential serves, by id or name; repeat for more (default: all)")
	set.Flags().BoolVar(&u.AllowPrivate, "allow-private", false, "its host may be on a private network")
	set.Flags().BoolVar(&u.HTTP2, "http2", false, "speak HTTP/2 where the server offers it")
	set.Flags().StringArrayVar(&timeouts, "timeout", nil, "connect, first_byte, idle or total of an attempt, e.g. first_byte=60s; repeat for more (default: the gateway's)")
	remove := c.call("remove NAME", "Remove an upstream that no deployment routes to", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveUpstream(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("upstreams", "Provider accounts that requests are forwarded to", "", listing, set, remove)
}

func (c *cli) deployments() *cobra.Command {
	listing := c.call("list", "List deployments", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Deployments(ctx), []string{"NAME", "PROJECTS", "ROUTES"}, func(d *client.Deployment) (json.RawMessage, []string) {
			return d.JSON, []string{d.Name, cmp.Or(strings.Join(d.Projects, " "), "all"), routeText(d.Routes)}
		})
	})
	var projects, routes []string
	var sticky string
	set := c.call("set NAME --route ROUTE [flags]", "Create a deployment or replace the one of that name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d := client.Deployment{Name: args[0], Projects: projects, Sticky: sticky}
		for _, text := range routes {
			r, err := parseRoute(text)
			if err != nil {
				return err
			}
			d.Routes = append(d.Routes, r)
		}
		got, err := cl.PutDeployment(ctx, d)
		if err != nil {
			return err
		}
		return c.answer(got.JSON, func() {
			c.out.fields([][2]string{{"id", got.ID}, {"name", got.Name}, {"projects", strings.Join(got.Projects, " ")}, {"routes", routeText(got.Routes)}, {"sticky", got.Sticky}})
		})
	})
	set.Long = "A deployment is the model name that clients ask for. ROUTE is UPSTREAM[=MODEL][,weight=N][,priority=N][,priced_as=NAME]\n" +
		"[,connect=D][,first_byte=D][,idle=D][,total=D]: without MODEL the name is passed on as it is; weights share the load among routes of one priority; the next\n" +
		"priority is tried when all of one failed; NAME is the model's in the table of prices (gatehouse prices); durations such as 30s bound an attempt. The name \"*\" serves every name that no other deployment has.\n\n" +
		"  gatehouse deployments set gpt-4o --route contoso=gpt-4o-eu,weight=3 --route openai=gpt-4o"
	set.Flags().StringArrayVar(&routes, "route", nil, "where requests go; repeat for more (required)")
	set.Flags().StringArrayVar(&projects, "project", nil, "a project that may use it, by id or name; repeat for more (default: all)")
	set.Flags().StringVar(&sticky, "sticky", "none", "what keeps requests on one route: none, key, user or prompt_cache_key")
	mustHave(set, "route")
	remove := c.call("remove NAME", "Remove every deployment of a name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveDeployment(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("deployments", "Model names and where their requests go", "", listing, set, c.deploymentsStatus(), remove)
}

// parseRoute reads UPSTREAM[=MODEL][,weight=N][,priority=N] and timeouts.
func parseRoute(text string) (client.Route, error) {
	head, options, _ := strings.Cut(text, ",")
	var r client.Route
	r.Upstream, r.Model, _ = strings.Cut(head, "=")
	bad := hint(usagef("--route: %q is not a route", text), "A route is UPSTREAM[=MODEL][,weight=N][,priority=N], e.g. openai=gpt-4o,weight=3.")
	if r.Upstream == "" {
		return r, bad
	}
	for options != "" {
		var option string
		option, options, _ = strings.Cut(options, ",")
		name, value, _ := strings.Cut(option, "=")
		if setTimeout(&r.Timeouts, name, value) {
			continue
		}
		if name == "priced_as" {
			r.PricedAs = value
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return r, bad
		}
		switch name {
		case "weight":
			r.Weight = n
		case "priority":
			r.Priority = n
		default:
			return r, bad
		}
	}
	return r, nil
}

// routeText writes routes as --route takes them.
func routeText(routes []client.Route) string {
	var out []string
	for _, r := range routes {
		text := r.Upstream
		if r.Model != "" {
			text += "=" + r.Model
		}
		if r.Weight != 0 {
			text += ",weight=" + strconv.Itoa(r.Weight)
		}
		if r.Priority != 0 {
			text += ",priority=" + strconv.Itoa(r.Priority)
		}
		if r.PricedAs != "" {
			text += ",priced_as=" + r.PricedAs
		}
		out = append(out, text+timeoutText(r.Timeouts))
	}
	return strings.Join(out, " ")
}

// setTimeout sets a timeout by its name; false: there is none of that name.
func setTimeout(t *gatehouse.TimeoutSpec, name, value string) bool {
	switch name {
	case "connect":
		t.Connect = value
	case "first_byte":
		t.FirstByte = value
	case "idle":
		t.Idle = value
	case "total":
		t.Total = value
	default:
		return false
	}
	return true
}

// timeoutText writes timeouts as --route takes them, each after a comma.
func timeoutText(t gatehouse.TimeoutSpec) string {
	text := ""
	for _, part := range [][2]string{{"connect", t.Connect}, {"first_byte", t.FirstByte}, {"idle", t.Idle}, {"total", t.Total}} {
		if part[1] != "" {
			text += "," + part[0] + "=" + part[1]
		}
	}
	return text
}

// maxSecret bounds what seal reads, in bytes.
const maxSecret = 64 << 10

func (c *cli) seal() *cobra.Command {
	cmd := c.call("seal NAME", "Store a secret encrypted, read from standard input", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		value, err := c.readSecret()
		if err != nil {
			return err
		}
		s, err := cl.Seal(ctx, args[0], value)
		if err != nil {
			return err
		}
		return c.answer(s.JSON, func() {
			c.out.printf("%s\n", s.Reference)
			c.out.note("Name this reference as an upstream's credential. The secret cannot be read back.")
		})
	})
	cmd.Long = "Reads a secret from standard input, stores it encrypted, and prints the reference that an upstream names\n" +
		"as its credential. A secret is never an argument: other users can see those.\n\n" +
		"  gatehouse seal openai < key.txt"
	return cmd
}

// readSecret reads a secret from standard input: without echo from a terminal, else all of it. One line end is not part of it.
func (c *cli) readSecret() (string, error) {
	var text []byte
	var err error
	if f, ok := c.stdin.(*os.File); ok && term.IsTerminal(f.Fd()) {
		_, _ = fmt.Fprint(c.stderr, "Secret: ") // a prompt that cannot be seen changes nothing
		text, err = term.ReadPassword(f.Fd())
		_, _ = fmt.Fprintln(c.stderr)
	} else {
		text, err = io.ReadAll(io.LimitReader(c.stdin, maxSecret+1))
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	if len(text) > maxSecret {
		return "", usagef("the secret is longer than %d bytes", maxSecret)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		return "", hint(usagef("standard input holds no secret"), "Pipe it in: `gatehouse seal NAME < key.txt`.")
	}
	return string(text), nil
}

func (c *cli) apply() *cobra.Command {
	var file string
	var opts client.ApplyOptions
	var unchanged bool
	cmd := c.call("apply -f FILE [flags]", "Make the organization look like a manifest", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		manifest, err := c.readManifest(file)
		if err != nil {
			return err
		}
		if unchanged {
			if opts.Version = manifestVersion(manifest); opts.Version == "" {
				return hint(usagef("--if-unchanged: %s does not say of which version it is", file), "Begin with what `gatehouse export` writes, and keep its line # version.")
			}
		}
		plan, err := cl.Apply(ctx, manifest, opts)
		if err != nil {
			return err
		}
		return c.answer(plan.JSON, func() { c.showPlan(plan) })
	})
	cmd.Long = "Creates and changes users, groups, roles, certificates, projects and what they may do, service accounts, resources, upstreams,\n" +
		"deployments, limits, budgets, credits, prices, alerts and identity providers until they are\n" +
		"as the manifest says, in one transaction, and prints what it did. Applied twice it changes nothing the second time, and never\n" +
		"what was spent. What the manifest does not name is left alone; --prune removes upstreams, deployments and rate limits that it\n" +
		"does not name, and budgets where it has a list of them."
	cmd.Flags().StringVarP(&file, "file", "f", "", "the manifest, in YAML or JSON; - is standard input (required)")
	cmd.Flags().BoolVar(&opts.DryRun, "dry-run", false, "change nothing, print what would change")
	cmd.Flags().BoolVar(&opts.Prune, "prune", false, "also remove upstreams, deployments and rate limits that the manifest does not name, and budgets where it has any")
	cmd.Flags().BoolVar(&unchanged, "if-unchanged", false, "change nothing where somebody else has changed anything since the manifest was exported")
	return mustHave(cmd, "file")
}

// manifestVersion returns which version of the organization an exported manifest is of, "" where it does not say.
func manifestVersion(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if version, ok := strings.CutPrefix(line, "# version "); ok {
			return strings.TrimSpace(version)
		}
		if !strings.HasPrefix(line, "#") {
			break
		}
	}
	return ""
}

func (c *cli) export() *cobra.Command {
	var file string
	cmd := c.call("export [flags]", "Write the manifest of the organization as it is", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		m, err := cl.Manifest(ctx)
		if err != nil {
			return err
		}
		if file == "" {
			return c.answer(m.JSON, func() { c.out.printf("%s", m.Text) })
		}
		if err := os.WriteFile(file, []byte(m.Text), 0o600); err != nil {
			return fmt.Errorf("write the manifest: %w", err)
		}
		return c.answer(m.JSON, func() { c.out.printf("wrote %s\n", file) })
	})
	cmd.Long = "Writes everything that a manifest can declare, as it is now: applied to this installation it changes nothing. Keys and other secrets\n" +
		"are not in it."
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write; absent: standard output")
	return cmd
}

func (c *cli) readManifest(file string) ([]byte, error) {
	if file == "-" {
		text, err := io.ReadAll(c.stdin)
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return text, nil
}

func (c *cli) showPlan(plan *client.Plan) {
	if len(plan.Items) == 0 {
		c.out.printf("Nothing to change.\n")
		return
	}
	var rows [][]string
	for _, i := range plan.Items {
		rows = append(rows, []string{i.Action, i.Kind, i.Name, strings.Join(i.Changes, ", ")})
	}
	c.out.table([]string{"ACTION", "KIND", "NAME", "CHANGES"}, rows)
	if plan.DryRun {
		c.out.note("Dry run: nothing was changed.")
		return
	}
	for _, i := range plan.Items {
		if i.Kind == "resource" && i.Action == "create" {
			c.out.note("Resource %s has no keys yet: `gatehouse resources regenerate-key` makes each, and shows it once.", printable(i.Name))
		}
	}
}
