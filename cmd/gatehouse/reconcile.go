package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) reconcile() *cobra.Command {
	var q client.ReconcileQuery
	var since, until momentFlag
	var export string
	var models []string
	cmd := c.call("reconcile [flags]", "Compare a provider's bill with what was counted, by cause", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		if (export == "") == (q.AdminKey == "") {
			return hint(usagef("one of --openai-key and --azure-export is needed"), "--openai-key names a secret of the server, such as env://OPENAI_ADMIN_API_KEY; --azure-export a file of Cost Management.")
		}
		if export == "" && q.Upstream == "" {
			return hint(usagef("--upstream is missing"), "It names the upstream whose account the admin key is of; `gatehouse upstreams list` shows them.")
		}
		q.Since, q.Until = midnight(since.at), midnight(until.at)
		if until.at.IsZero() {
			q.Until = midnight(time.Now())
		}
		if since.at.IsZero() {
			q.Since = q.Until.AddDate(0, 0, -30)
		}
		q.Models = map[string]string{}
		for _, pair := range models {
			theirs, ours, ok := strings.Cut(pair, "=")
			if !ok {
				return usagef("--model: %q is not THEIRS=OURS", pair)
			}
			q.Models[theirs] = ours
		}
		r, err := c.compare(ctx, cl, &q, export)
		if err != nil {
			return err
		}
		if err := c.answer(r.JSON, func() { c.showReconciliation(r) }); err != nil {
			return err
		}
		if !r.Within {
			return fmt.Errorf("the bill differs by %s, which is more than the tolerance of %s %%", signed(r.Variance), strconv.FormatFloat(100*r.Tolerance, 'g', -1, 64))
		}
		return nil
	})
	cmd.Long = "Compare what a provider bills with what Gatehouse counted, and say why they differ. OpenAI's costs and usage are read by the server\n" +
		"with an admin key of that account, which the server resolves and sends to that upstream's host alone; Azure's come from an export of\n" +
		"Cost Management (actual or amortized costs, CSV). Days are UTC's. Exit code 1 means that the two differ by more than the tolerance."
	flags := cmd.Flags()
	flags.StringVar(&q.Upstream, "upstream", "", "whose account the bill is for; with --azure-export default every upstream of Azure")
	flags.StringVar(&q.AdminKey, "openai-key", "", "secret reference of an admin key of OpenAI, e.g. env://OPENAI_ADMIN_API_KEY")
	flags.StringVar(&export, "azure-export", "", "cost export of Azure, a CSV file; - for standard input")
	flags.Var(&since, "since", "first day (default 30 days before --until)")
	flags.Var(&until, "until", "day after the last (default today)")
	flags.Float64Var(&q.Tolerance, "tolerance", 0.01, "share of the bill by which the two may differ")
	flags.StringArrayVar(&q.Projects, "provider-project", nil, "with --openai-key: a project there that Gatehouse's keys are of; repeat for more (default all of them)")
	flags.StringArrayVar(&models, "model", nil, "THEIRS=OURS, where a model of the bill has another name here; repeat for more")
	flags.StringVar(&q.Resource, "resource", "", "with --azure-export: only resources whose id has this in it")
	return cmd
}

func midnight(t time.Time) time.Time { return t.UTC().Truncate(day) }

func (c *cli) compare(ctx context.Context, cl *client.Client, q *client.ReconcileQuery, export string) (*client.Reconciliation, error) {
	switch export {
	case "":
		return cl.Reconcile(ctx, *q)
	case "-":
		return cl.ReconcileAzure(ctx, *q, c.stdin)
	}
	file, err := os.Open(export)
	if err != nil {
		return nil, &usageError{err}
	}
	defer func() { _ = file.Close() }() // it was only read
	return cl.ReconcileAzure(ctx, *q, file)
}

func (c *cli) showReconciliation(r *client.Reconciliation) {
	word := func(cause string) string { return strings.ReplaceAll(cause, "_", " ") }
	c.out.fields([][2]string{{"upstreams", cmp.Or(strings.Join(r.Upstreams, ", "), "none with usage")}, {"from", moment(r.StartTime)}, {"to", moment(r.EndTime)},
		{"bill", usd(r.Theirs)}, {"counted", usd(r.Ours)}, {"variance", signed(r.Variance)}})
	var rows [][]string
	for _, cause := range r.Causes {
		if cause.Amount != 0 {
			rows = append(rows, []string{word(cause.Cause), signed(cause.Amount)})
		}
	}
	if len(rows) > 0 {
		c.out.printf("\n")
		c.out.table([]string{"CAUSE", "AMOUNT"}, rows)
	}
	rows = nil
	for i := range r.Lines {
		l := &r.Lines[i]
		quantity := func(n int64) string {
			if n == 0 {
				return "-"
			}
			return strconv.FormatInt(n, 10)
		}
		rows = append(rows, []string{word(l.Cause), cmp.Or(l.Model, l.Text, "-"), cmp.Or(l.Meter, "-"), quantity(l.Ours), quantity(l.Theirs), cmp.Or(l.OurPrice, "-"), cmp.Or(l.TheirPrice, "-"), signed(l.Amount)})
	}
	if len(rows) > 0 {
		c.out.printf("\n")
		c.out.table([]string{"CAUSE", "MODEL", "UNIT", "COUNTED", "BILLED", "OUR USD/1M", "BILL USD/1M", "AMOUNT"}, rows)
	}
	for _, h := range r.Hints {
		c.out.note("%s", h)
	}
}

// signed writes an amount with its sign.
func signed(n gatehouse.NanoUSD) string {
	if n > 0 {
		return "+" + usd(n)
	}
	return usd(n)
}
