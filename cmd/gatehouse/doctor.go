package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/client"
	"gatehouse/internal/secret"
	"gatehouse/internal/server"
	"gatehouse/internal/server/doctor"
)

// diagnosis is what doctor prints with --json.
type diagnosis struct {
	Checks      []server.Check `json:"checks"`
	Explanation *explanation   `json:"explanation,omitempty"`
}

type explanation struct {
	Status     string      `json:"status,omitempty"`
	Code       string      `json:"code,omitempty"`
	Rule       string      `json:"rule,omitempty"`
	Message    string      `json:"message,omitempty"`
	RequestIDs []string    `json:"request_ids"`
	Keys       []pastedKey `json:"keys"`
	Foreign    []string    `json:"foreign_credentials"`
	Causes     []causeJSON `json:"causes"`
	Hints      []string    `json:"hints"`
}

// pastedKey is what the server knows of a key whose text was pasted.
type pastedKey struct {
	ID    string `json:"id"`
	State string `json:"state"` // "" when no server was asked
	Name  string `json:"name,omitempty"`
}

type causeJSON struct {
	Status string `json:"status"`
	Code   string `json:"code"`
	Rule   string `json:"rule,omitempty"`
	What   string `json:"what"`
	Fix    string `json:"fix"`
}

var errIll = errors.New("something is wrong")

func (c *cli) doctor() *cobra.Command {
	var config, pasted string
	var req server.CheckupRequest
	cmd := c.command("doctor [flags]", "Look for what is wrong, and explain a refusal", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		asked := c.remote.url != "" || c.remote.adminKey != "" || c.remote.adminKeyFile != ""
		if config == "" && pasted == "" && (c.getenv("GATEHOUSE_URL") != "" || c.getenv("GATEHOUSE_ADMIN_KEY") != "") {
			asked = true // the server that every other command here speaks with
		}
		if config == "" && pasted == "" && !asked {
			return hint(usagef("there is nothing to look at"), "Give --config FILE on the host of a node, --url and an admin key, or --explain-response FILE.")
		}
		out := diagnosis{Checks: []server.Check{}}
		if config != "" {
			out.Checks = append(out.Checks, server.Checkup(ctx, config, req)...)
		}
		var cl *client.Client
		if asked || pasted != "" && c.getenv("GATEHOUSE_ADMIN_KEY") != "" {
			var err error
			if cl, err = c.connect(); err != nil && asked {
				return err
			}
		}
		if asked {
			out.Checks = append(out.Checks, c.checkServer(ctx, cl))
		}
		if pasted != "" {
			text, err := c.pasted(pasted)
			if err != nil {
				return err
			}
			out.Explanation = explainText(ctx, cl, text)
		}
		ill := false
		for _, check := range out.Checks {
			ill = ill || check.Verdict == server.Bad
		}
		if c.json {
			if err := c.document(out); err != nil {
				return err
			}
		} else {
			c.showDiagnosis(&out)
		}
		if ill {
			return errIll
		}
		return nil
	})
	cmd.Long = "With --config, on the host of a node, looks at configuration, data folder, secrets, database, clock, backups,\n" +
		"Valkey, certificates and listeners; with --upstreams calls each upstream once with its credential. With --url\n" +
		"and an admin key, tries them. It changes nothing, prints no secret, and exits with 1 when something is wrong.\n\n" +
		"--explain-response reads what somebody saw (the whole answer as `curl -i` prints it, an SDK's error, a line of\n" +
		"a log, or an x-request-id) from a file or, with -, from stdin, and says what it means and what to do. With an\n" +
		"admin key it looks requests and keys up."
	cmd.Flags().StringVar(&config, "config", "", "configuration file of the node on this host")
	cmd.Flags().BoolVar(&req.Upstreams, "upstreams", false, "call each upstream once")
	cmd.Flags().StringVar(&pasted, "explain-response", "", "file with what somebody saw; - reads stdin")
	return cmd
}

// pastedMost bounds what is read of a pasted text.
const pastedMost = 1 << 20

func (c *cli) pasted(name string) (string, error) {
	from := c.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer func() { _ = file.Close() }() // it is only read
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, pastedMost))
	return string(text), err
}

// checkServer tries a server and the admin key.
func (c *cli) checkServer(ctx context.Context, cl *client.Client) server.Check {
	who, err := cl.WhoAmI(ctx)
	if err != nil {
		said := explainError(ctx, err, &c.remote)
		check := server.Check{Area: "server", Verdict: server.Bad, Found: secret.Redact(said.Error())}
		if h, ok := asHint(said); ok {
			check.Fix = h.hint
		}
		return check
	}
	return server.Check{Area: "server", Verdict: server.Good, Found: fmt.Sprintf("%s answers, and the admin key administers %s", c.remote.url, who.OrganizationID)}
}

// explainText explains a pasted text, with what a server says of the requests and keys in it where there is one to ask.
func explainText(ctx context.Context, cl *client.Client, text string) *explanation {
	r := doctor.Read(text)
	if cl != nil {
		for _, id := range r.RequestIDs {
			e, err := cl.Explain(ctx, id)
			if err != nil {
				r.Hints = append(r.Hints, "This server does not know "+id+": "+oneLine(secret.Redact(err.Error())))
				continue
			}
			// Where the caller saw no code, the rule of a refusal that is about no credential is the code itself.
			again := doctor.Read(fmt.Sprintf(`{"status":%d,"rule":%q,"code":%q}`, e.Request.Status, e.Request.Rule, cmp.Or(r.Code, e.Request.Rule)))
			r.Status, r.Rule, r.Causes = again.Status, e.Request.Rule, again.Causes
			r.Hints = append(r.Hints, fmt.Sprintf("%s was decided by %s (%d). gatehouse explain %s shows all of it.", id, e.Request.Rule, e.Request.Status, id))
		}
	}
	out := &explanation{Status: r.Status, Code: r.Code, Rule: r.Rule, Message: r.Message, RequestIDs: append([]string{}, r.RequestIDs...), Keys: []pastedKey{},
		Foreign: append([]string{}, r.Foreign...), Causes: []causeJSON{}, Hints: append([]string{}, r.Hints...)}
	for _, id := range r.Keys {
		state := pastedKey{ID: id}
		if cl != nil {
			if k, err := cl.Key(ctx, id); err == nil {
				state.State, state.Name = k.State, k.Name
			} else if e, ok := errors.AsType[*client.Error](err); ok && e.Status == 404 {
				state.State = "unknown"
			}
		}
		out.Keys = append(out.Keys, state)
	}
	for _, cause := range r.Causes {
		out.Causes = append(out.Causes, causeJSON(cause))
	}
	return out
}

var marks = map[server.Verdict]string{server.Good: "ok", server.Worth: "!", server.Bad: "x", server.Skipped: "-"}

func (c *cli) showDiagnosis(d *diagnosis) {
	t := c.out
	for _, check := range d.Checks {
		mark := fmt.Sprintf("%-2s", marks[check.Verdict])
		switch check.Verdict {
		case server.Good:
			mark = styleGood.Render(mark)
		case server.Worth:
			mark = styleWarn.Render(mark)
		case server.Bad:
			mark = styleBad.Render(mark)
		}
		t.printf("%s  %-11s  %s\n", mark, check.Area, oneLine(check.Found))
		if check.Fix != "" {
			t.printf("                 %s\n", styleKey.Render("to do: "+oneLine(check.Fix)))
		}
	}
	e := d.Explanation
	if e == nil {
		return
	}
	if len(d.Checks) > 0 {
		t.printf("\n")
	}
	keys := make([]string, 0, len(e.Keys))
	for _, k := range e.Keys {
		keys = append(keys, strings.TrimSpace(k.ID+" "+k.State))
	}
	t.fields([][2]string{{"status", e.Status}, {"code", e.Code}, {"rule", e.Rule}, {"message", oneLine(e.Message)}, {"request", strings.Join(e.RequestIDs, ", ")},
		{"key", strings.Join(keys, ", ")}, {"foreign", strings.Join(e.Foreign, ", ")}})
	if len(e.Causes) > 0 {
		t.printf("\n")
		rows := make([][]string, 0, len(e.Causes))
		for _, cause := range e.Causes {
			rows = append(rows, []string{cause.Status, cause.Code, plainText(cause.What), plainText(cause.Fix)})
		}
		t.table([]string{"STATUS", "CODE", "IT MEANS", "DO THIS"}, rows)
	}
	for _, h := range e.Hints {
		t.printf("\n%s\n", printable(h))
	}
}

// plainText is a cell of the documentation's tables as a terminal shows it.
func plainText(cell string) string {
	return strings.NewReplacer("`", "", `\|`, "|").Replace(cell)
}
