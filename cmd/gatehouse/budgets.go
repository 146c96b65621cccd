package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) budgets() *cobra.Command {
	listing := c.call("list", "List budgets and where their windows stand", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Budgets(ctx), []string{"NAME", "SCOPE", "SUBJECT", "WINDOW", "KIND", "AMOUNT", "SPENT", "RESERVED", "KEPT", "REMAINING", "STATE"},
			func(b *client.Budget) (json.RawMessage, []string) {
				w := &b.Current
				return b.JSON, []string{budgetName(b), string(b.Scope), b.Subject, windowText(b.Window), cmp.Or(b.Enforcement, "-"), dollars(w.Amount), dollars(w.Spent), dollars(w.Reserved),
					dollars(w.Kept), dollars(w.Remaining), budgetState(b)}
			})
	})
	show := c.call("show BUDGET", "Show a budget, its increases and what each node has of it", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		b, err := cl.Budget(ctx, args[0])
		if err != nil {
			return err
		}
		return c.showBudget(b)
	})
	remove := c.call("remove BUDGET", "Remove a budget: it stops binding anybody", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveBudget(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("budgets", "What may be spent: caps that hold, and soft ones that tell",
		"A hard budget refuses a request that could go over it, before it is sent; a soft one only tells. Windows begin at midnight in the\n"+
			"organization's time zone (`gatehouse organization`). BUDGET is a name or an id (budget_...).",
		listing, show, c.setBudget(), c.increaseBudget(), c.endIncrease(), c.budgetHolds(), c.releaseHold(), c.writeOff(), remove)
}

// budgetName names a budget for people: a spend limit and the budget of credits have no name of their own.
func budgetName(b *client.Budget) string {
	if b.Name != "" {
		return b.Name
	}
	return strings.ReplaceAll(b.Kind, "_", " ") + " " + b.ID
}

func budgetState(b *client.Budget) string {
	switch {
	case b.Current.Enforcing && b.Enforcement == string(gatehouse.Hard):
		return "enforcing"
	case b.Current.Remaining < 0 || b.Current.Enforcing:
		return "over"
	}
	return "open"
}

func dollars(u gatehouse.USD) string { return usd(gatehouse.NanoUSD(u)) }

// windowText writes a window as --window takes it.
func windowText(w gatehouse.Window) string {
	text := string(w.Period)
	if w.StartMonth != 0 {
		text += ",month=" + strconv.Itoa(w.StartMonth)
	}
	if w.StartDay != 0 {
		text += ",day=" + strconv.Itoa(w.StartDay)
	}
	return text
}

// parseWindow reads PERIOD[,day=N][,month=N].
func parseWindow(text string) (gatehouse.Window, error) {
	period, options, _ := strings.Cut(text, ",")
	w := gatehouse.Window{Period: gatehouse.Period(period)}
	for options != "" {
		var option string
		option, options, _ = strings.Cut(options, ",")
		name, value, _ := strings.Cut(option, "=")
		n, err := strconv.Atoi(value)
		switch {
		case err == nil && name == "day":
			w.StartDay = n
		case err == nil && name == "month":
			w.StartMonth = n
		default:
			return w, hint(usagef("--window: %q is not a window", text), "A window is day, week, month, quarter or total; a month may begin on another day (month,day=15) and quarters in another month (quarter,month=2).")
		}
	}
	return w, nil
}

func (c *cli) showBudget(b *client.Budget) error {
	return c.answer(b.JSON, func() {
		w := &b.Current
		ends := "never"
		if w.EndsAt != 0 {
			ends = moment(w.EndsAt)
		}
		var alerts []string
		for _, a := range b.Alerts {
			alerts = append(alerts, strconv.Itoa(a)+"%")
		}
		c.out.fields([][2]string{{"id", b.ID}, {"name", b.Name}, {"kind", b.Kind}, {"scope", string(b.Scope)}, {"subject", b.Subject}, {"amount", dollars(b.Amount)}, {"window", windowText(b.Window)},
			{"enforcement", b.Enforcement}, {"uncapped output", b.Uncapped}, {"unknown price", b.UnknownPrice}, {"alerts at", strings.Join(alerts, " ")}, {"began", moment(w.StartsAt)}, {"ends", ends},
			{"amount now", dollars(w.Amount)}, {"spent", dollars(w.Spent)}, {"reserved", dollars(w.Reserved)}, {"kept", dollars(w.Kept)}, {"remaining", dollars(w.Remaining)}, {"state", budgetState(b)},
			{"revision", strconv.FormatInt(b.Rev, 10)}})
		if len(b.Increases) > 0 {
			var rows [][]string
			for _, i := range b.Increases {
				rows = append(rows, []string{i.ID, dollars(i.Amount), moment(i.From), moment(i.Until), i.Reason})
			}
			c.out.table([]string{"INCREASE", "AMOUNT", "FROM", "UNTIL", "REASON"}, rows)
		}
		if len(w.Nodes) > 0 {
			var rows [][]string
			for _, n := range w.Nodes {
				rows = append(rows, []string{n.Node, dollars(n.Granted), dollars(n.Used), dollars(n.Free)})
			}
			c.out.table([]string{"NODE", "GRANTED", "USED", "FREE"}, rows)
		}
		c.effective(b.EffectiveBy)
	})
}

func (c *cli) setBudget() *cobra.Command {
	var spec client.BudgetSpec
	var scope, window, amount string
	var alerts []int
	var rev int64
	var cmd *cobra.Command
	cmd = c.call("set BUDGET [flags]", "Create a budget, or change the one of that name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		changed := cmd.Flags().Changed
		spec.Scope = gatehouse.Scope(scope)
		if changed("amount") {
			parsed, err := parseUSD("amount", amount)
			if err != nil {
				return err
			}
			spec.Amount = &parsed
		}
		if changed("window") {
			w, err := parseWindow(window)
			if err != nil {
				return err
			}
			spec.Window = &w
		}
		if changed("alert") {
			spec.Alerts = &alerts
		}
		if changed("rev") {
			spec.Rev = &rev
		}
		b, err := c.putBudget(ctx, cl, args[0], spec)
		if err != nil {
			return err
		}
		return c.showBudget(b)
	})
	cmd.Long = "Creates a budget, or changes the one of that name: what is not given stays as it is, and what was spent stays spent.\n" +
		"Scope, subject and window are given when a budget is created and never change.\n\n" +
		"  gatehouse budgets set monthly --amount 500\n" +
		"  gatehouse budgets set checkout --scope project --subject checkout-prod --amount 99.50 --window day\n" +
		"  gatehouse budgets set cc-4711 --scope label --subject cost_center=4711 --amount 1000 --window quarter,month=2 --alert 50 --alert 80"
	f := cmd.Flags()
	f.StringVar(&scope, "scope", "", "organization, project, user, group, service_account, key or label (default organization)")
	f.StringVar(&spec.Subject, "subject", "", "whom: a project, a user by id or address, a service account by id or PROJECT/NAME, a key's id, or name=value of a label")
	f.StringVar(&amount, "amount", "", "US dollars, e.g. 500 or 99.50")
	f.StringVar(&window, "window", "", "day, week, month, quarter or total; month,day=15 and quarter,month=2 begin elsewhere (default month)")
	f.StringVar(&spec.Enforcement, "enforcement", "", "hard refuses what could go over it, soft only tells (default hard)")
	f.StringVar(&spec.Uncapped, "uncapped", "", "what a hard budget reserves for output without a cap: limit (the model's), refuse, or typical (recent answers) (default limit)")
	f.StringVar(&spec.UnknownPrice, "unknown-price", "", "what a hard budget does with a model that has no price: default (refuse), meter or refuse")
	f.IntSliceVar(&alerts, "alert", nil, "percentage of the amount at which somebody is told; repeat for more, smallest first")
	f.Int64Var(&rev, "rev", 0, "change it only while this is its revision")
	return cmd
}

// putBudget changes a budget, or creates it where there is none of that name.
func (c *cli) putBudget(ctx context.Context, cl *client.Client, name string, spec client.BudgetSpec) (*client.Budget, error) {
	_, err := cl.Budget(ctx, name)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusNotFound && !strings.HasPrefix(name, gatehouse.PrefixBudget) {
		if spec.Amount == nil {
			return nil, hint(usagef("there is no budget named %q yet, and a new one needs an amount", name), "Give --amount.")
		}
		spec.Name = &name
		return cl.CreateBudget(ctx, spec)
	}
	if err != nil {
		return nil, err
	}
	return cl.UpdateBudget(ctx, name, spec)
}

// parseUSD reads an amount of a flag.
func parseUSD(flag, text string) (gatehouse.USD, error) {
	u, err := gatehouse.ParseUSD(strings.TrimPrefix(text, "$"))
	if err != nil {
		return 0, usagef("--%s: %w", flag, err)
	}
	return u, nil
}

func (c *cli) increaseBudget() *cobra.Command {
	var amount, reason string
	var from, until aheadFlag
	cmd := c.call("increase BUDGET --amount USD --until TIME [flags]", "Raise a budget for a time", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		u, err := parseUSD("amount", amount)
		if err != nil {
			return err
		}
		b, err := cl.IncreaseBudget(ctx, args[0], u, from.seconds(), until.seconds(), reason)
		if err != nil {
			return err
		}
		return c.showBudget(b)
	})
	cmd.Long = "Raises a budget until a time; then it is what it was before. What was spent on top stays spent.\n\n" +
		"  gatehouse budgets increase monthly --amount 50 --until 3d --reason \"launch week\""
	cmd.Flags().StringVar(&amount, "amount", "", "US dollars on top (required)")
	cmd.Flags().Var(&from, "from", "when it begins: 2006-01-02, RFC 3339, or in how long, e.g. 12h (default now)")
	cmd.Flags().Var(&until, "until", "when it ends: 2006-01-02, RFC 3339, or in how long, e.g. 3d (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the audit log")
	return mustHave(mustHave(cmd, "amount"), "until")
}

func (c *cli) endIncrease() *cobra.Command {
	return c.call("end-increase BUDGET INCREASE", "Take an increase back before its time", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.EndIncrease(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return c.deleted(d, "ended")
	})
}

func (c *cli) budgetHolds() *cobra.Command {
	cmd := c.call("holds [BUDGET]", "List what is kept of requests whose usage is incomplete", cobra.MaximumNArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		budget := ""
		if len(args) > 0 {
			budget = args[0]
		}
		return list(c, cl.KeptHolds(ctx, budget), []string{"ID", "AMOUNT", "PROJECT", "KEY", "MODEL", "NODE", "AT", "UNTIL"}, func(k *client.KeptHold) (json.RawMessage, []string) {
			return k.JSON, []string{k.ID, dollars(k.Amount), k.ProjectID, k.KeyID, k.Model, k.Node, moment(k.At), cmp.Or(moment(k.Until), "released")}
		})
	})
	cmd.Long = "A provider that did not say what a request used is settled at an estimate, and the rest of what was reserved stays reserved:\n" +
		"it may have cost that. It is released by the provider's numbers, by `gatehouse budgets release`, or with the window's end."
	return cmd
}

func (c *cli) releaseHold() *cobra.Command {
	return c.call("release HOLD", "Free what is kept of a request, because it cost no more than was settled", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.ReleaseHold(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "released")
	})
}

func (c *cli) writeOff() *cobra.Command {
	cmd := c.call("write-off NODE", "Give back what a dead node holds of budgets", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		w, err := cl.WriteOff(ctx, args[0])
		if err != nil {
			return err
		}
		return c.answer(w.JSON, func() {
			var rows [][]string
			for _, part := range w.Windows {
				rows = append(rows, []string{part.BudgetID, moment(part.StartsAt), dollars(part.Released)})
			}
			c.out.table([]string{"BUDGET", "WINDOW", "RELEASED"}, rows)
			if len(rows) == 0 {
				c.out.note("It held nothing.")
			}
		})
	})
	cmd.Long = "What a node has taken of a budget stays charged when it dies, for it may have spent it: a node of the same name that starts on\n" +
		"the same data resumes it. Write it off when that will not happen. Should the node come back all the same, what it spent counts,\n" +
		"and may then go over the amount."
	return cmd
}

// aheadFlag reads a point in time: 2006-01-02 (UTC), RFC 3339, or in how long, such as 12h or 3d.
type aheadFlag struct{ at time.Time }

func (a *aheadFlag) String() string { return "" }
func (a *aheadFlag) Type() string   { return "time" }

func (a *aheadFlag) Set(text string) (err error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if a.at, err = time.Parse(layout, text); err == nil {
			return nil
		}
	}
	in, err := duration(text)
	if err != nil || in <= 0 {
		return usagef("%q is neither a day (2006-01-02), a time (2006-01-02T15:04:05Z) nor in how long (12h, 3d)", text)
	}
	a.at = time.Now().Add(in)
	return nil
}

// seconds returns unix seconds, 0 for a flag that was not given.
func (a *aheadFlag) seconds() int64 {
	if a.at.IsZero() {
		return 0
	}
	return a.at.Unix()
}

func (c *cli) organization() *cobra.Command {
	show := c.call("show", "Show the organization", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		o, err := cl.Organization(ctx)
		if err != nil {
			return err
		}
		return c.showOrganization(o)
	})
	var name, zone, retention string
	var headers []string
	kept := map[string]*int64{}
	var update *cobra.Command
	update = c.call("update [flags]", "Rename the organization, set its time zone, the labels that callers may send, how long measurements are kept", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		var u client.OrganizationUpdate
		if update.Flags().Changed("name") {
			u.Name = &name
		}
		if update.Flags().Changed("time-zone") {
			u.TimeZone = &zone
		}
		if update.Flags().Changed("header-label") {
			u.HeaderLabels = &headers
		}
		if update.Flags().Changed("data-retention") {
			kind := gatehouse.DataRetention(retention)
			u.DataRetention = &kind
		}
		for what, days := range kept {
			if update.Flags().Changed("keep-" + what) {
				if u.Retention == nil {
					u.Retention = map[string]int64{}
				}
				u.Retention[what+"_days"] = *days
			}
		}
		if u.Name == nil && u.TimeZone == nil && u.HeaderLabels == nil && u.Retention == nil && u.DataRetention == nil {
			return hint(usagef("nothing to change"), "Give --name, --time-zone, --header-label, --data-retention or --keep-....")
		}
		o, err := cl.UpdateOrganization(ctx, u)
		if err != nil {
			return err
		}
		return c.showOrganization(o)
	})
	update.Long = "Days, weeks, months and quarters of budgets begin at midnight in the organization's time zone. When it changes, each running\n" +
		"window begins and ends at the new midnights, and what was spent in it stays spent."
	update.Flags().StringVar(&name, "name", "", "new name")
	update.Flags().StringVar(&zone, "time-zone", "", "an IANA name such as Europe/Berlin; UTC is the default")
	update.Flags().StringSliceVar(&headers, "header-label", nil, "the name of a label that callers may send as "+gatehouse.LabelHeader+"NAME; repeat for more. Replaces all; \"\" removes them")
	update.Flags().StringVar(&retention, "data-retention", "", "what is kept of requests in projects that do not say it themselves: modified_abuse_monitoring, zero_data_retention (no addresses, programs and ids of callers)")
	for what, text := range map[string]string{"requests": "decisions behind requests, which explain shows", "minutes": "sums by minute", "hours": "sums by hour", "usage": "single settled requests"} {
		kept[what] = update.Flags().Int64("keep-"+what, 0, "days for which "+text+" are kept; 0 is the default. Sums by day are kept for ever")
	}
	return c.group("organization", "The organization of the admin key", "", show, update)
}

func (c *cli) showOrganization(o *client.Organization) error {
	return c.answer(o.JSON, func() {
		c.out.fields([][2]string{{"id", o.ID}, {"name", o.Name}, {"default project", o.DefaultProject}, {"time zone", o.TimeZone},
			{"labels by header", strings.Join(o.HeaderLabels, ", ")}, {"kept", fmt.Sprintf("decisions %d days, usage %d, minutes %d, hours %d, days for ever", o.Retention.Requests, o.Retention.Usage, o.Retention.Minutes, o.Retention.Hours)}, {"data retention", string(o.DataRetention)}})
		c.effective(o.EffectiveBy)
	})
}
