package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) credits() *cobra.Command {
	balance := c.call("balance", "Show what is prepaid and what is left", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		v, err := cl.Credits(ctx)
		if err != nil {
			return err
		}
		return c.showCredits(v)
	})
	listing := c.call("list", "List grants", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Grants(ctx), []string{"ID", "NAME", "STATE", "AMOUNT", "LEFT", "PRIORITY", "STARTS", "EXPIRES", "REFERENCE"}, func(g *client.Grant) (json.RawMessage, []string) {
			return g.JSON, []string{g.ID, g.Name, g.State, dollars(g.Amount), dollars(g.Left), strconv.Itoa(g.Priority), cmp.Or(moment(g.StartsAt), "-"), cmp.Or(moment(g.ExpiresAt), "never"), g.Reference}
		})
	})
	entries := c.call("entries", "List the ledger's entries, the newest first", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.CreditEntries(ctx), []string{"NUMBER", "AT", "DEBIT", "CREDIT", "AMOUNT", "GRANT", "REFERENCE"}, func(e *client.CreditEntry) (json.RawMessage, []string) {
			return e.JSON, []string{strconv.FormatInt(e.Number, 10), moment(e.At), e.Debit, e.Credit, dollars(e.Amount), e.GrantID, e.Reference}
		})
	})
	return c.group("credits", "Prepaid credit: grants, balance, and a ledger of double entry",
		"Once the organization prepays (`gatehouse credits prepaid on`) every request is paid from its grants, and refused with\n"+
			"credit_balance_exhausted when none that is active covers it. GRANT is a name or an id (grant_...).",
		balance, c.createGrant(), c.onGrant("activate", "Make a grant one that can be spent from", (*client.Client).ActivateGrant),
		c.onGrant("revoke", "Take back what is left of a grant", (*client.Client).RevokeGrant), listing, entries, c.checkCredits(), c.prepaid(), c.refillPolicy(), c.refill())
}

func (c *cli) showCredits(v *client.Credits) error {
	return c.answer(v.JSON, func() {
		mode := "off: requests are not paid from credits"
		if v.Prepaid {
			mode = "since " + moment(v.Since)
		}
		pairs := [][2]string{{"prepaid", mode}, {"balance", dollars(v.Balance)}, {"reserved", dollars(v.Reserved)}, {"owed", nonzero(v.Owed)}, {"not entered yet", nonzero(v.Unposted)}, {"refill", refillText(v)}}
		for _, account := range slices.Sorted(maps.Keys(v.Accounts)) {
			pairs = append(pairs, [2]string{"account " + string(account), dollars(v.Accounts[account])})
		}
		c.out.fields(pairs)
		c.effective(v.EffectiveBy)
	})
}

func nonzero(u gatehouse.USD) string {
	if u == 0 {
		return ""
	}
	return dollars(u)
}

func refillText(v *client.Credits) string {
	r := &v.Refill
	lasts := ""
	if r.Days > 0 {
		lasts = fmt.Sprintf(", each for %d days", r.Days)
	}
	switch gatehouse.RefillMode(r.Mode) {
	case gatehouse.RefillAutomatic:
		return fmt.Sprintf("automatic: below %s add %s%s; %s left this month", dollars(r.Below), dollars(r.Add), lasts, dollars(v.RefillsLeft))
	case gatehouse.RefillManual:
		return fmt.Sprintf("manual: add %s%s; %s left this month", dollars(r.Add), lasts, dollars(v.RefillsLeft))
	}
	return "none"
}

func (c *cli) createGrant() *cobra.Command {
	var g client.GrantCreate
	var amount string
	var starts, expires aheadFlag
	cmd := c.call("grant [NAME] --amount USD [flags]", "Give the organization credit", cobra.MaximumNArgs(1), func(ctx context.Context, cl *client.Client, args []string) (err error) {
		if len(args) > 0 {
			g.Name = args[0]
		}
		if g.Amount, err = parseUSD("amount", amount); err != nil {
			return err
		}
		g.StartsAt, g.ExpiresAt = starts.seconds(), expires.seconds()
		made, err := cl.CreateGrant(ctx, g)
		if err != nil {
			return err
		}
		if err := c.showGrant(made); err != nil || made.State != string(gatehouse.GrantInactive) {
			return err
		}
		c.out.note("Nothing of it can be spent before `gatehouse credits activate`.")
		return nil
	})
	cmd.Long = "Gives the organization prepaid credit. Nothing of it can be spent before it is activated, with --activate or later.\n\n" +
		"  gatehouse credits grant pilot --amount 1000 --expires 90d --reference \"invoice 4711\" --activate"
	f := cmd.Flags()
	f.StringVar(&amount, "amount", "", "US dollars (required)")
	f.BoolVar(&g.Activate, "activate", false, "it can be spent from at once, or when it starts")
	f.Var(&starts, "starts", "when it can be spent from: 2006-01-02, RFC 3339, or in how long, e.g. 12h (default with its activation)")
	f.Var(&expires, "expires", "when what is left is gone: 2006-01-02, RFC 3339, or in how long, e.g. 90d (default never)")
	f.IntVar(&g.Priority, "priority", 0, "lower is spent first; then what expires sooner, then what is older")
	f.StringVar(&g.Reference, "reference", "", "what it was paid with, such as an invoice")
	return mustHave(cmd, "amount")
}

// onGrant is a command that does one thing to a grant.
func (c *cli) onGrant(verb, short string, do func(*client.Client, context.Context, string) (*client.Grant, error)) *cobra.Command {
	return c.call(verb+" GRANT", short, cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		g, err := do(cl, ctx, args[0])
		if err != nil {
			return err
		}
		return c.showGrant(g)
	})
}

func (c *cli) showGrant(g *client.Grant) error {
	return c.answer(g.JSON, func() {
		c.out.fields([][2]string{{"id", g.ID}, {"name", g.Name}, {"state", g.State}, {"amount", dollars(g.Amount)}, {"left", dollars(g.Left)}, {"priority", strconv.Itoa(g.Priority)},
			{"starts", moment(g.StartsAt)}, {"expires", cmp.Or(moment(g.ExpiresAt), "never")}, {"activated", moment(g.ActivatedAt)}, {"revoked", moment(g.RevokedAt)}, {"reference", g.Reference}})
		c.effective(g.EffectiveBy)
	})
}

func (c *cli) checkCredits() *cobra.Command {
	return c.call("check", "Add the ledger up again: exit code 1 when anything does not agree", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		t, err := cl.TrialBalance(ctx)
		if err != nil {
			return err
		}
		err = c.answer(t.JSON, func() {
			var rows [][]string
			for _, account := range slices.Sorted(maps.Keys(t.Accounts)) {
				rows = append(rows, []string{string(account), dollars(t.Accounts[account])})
			}
			c.out.table([]string{"ACCOUNT", "BALANCE"}, rows)
			c.out.printf("%d entries\n", t.Entries)
			for _, f := range t.Faults {
				c.out.printf("%s\n", printable(f))
			}
		})
		if err == nil && !t.Sound {
			return hint(fmt.Errorf("the ledger does not agree with itself"), "Keep the database as it is and restore a backup beside it to compare: entries are never changed by Gatehouse.")
		}
		return err
	})
}

func (c *cli) prepaid() *cobra.Command {
	cmd := c.call("prepaid on|off", "Pay every request from credits, or stop to", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		on := args[0] == "on"
		if !on && args[0] != "off" {
			return hint(usagef("%q is neither on nor off", args[0]), "Say on or off.")
		}
		v, err := cl.UpdateCredits(ctx, client.CreditsUpdate{Prepaid: &on})
		if err != nil {
			return err
		}
		if err := c.showCredits(v); err != nil {
			return err
		}
		if on && v.Balance <= 0 {
			c.out.note("No active grant covers anything: every request is refused until one does.")
		}
		return nil
	})
	cmd.Long = "From the moment prepayment is on every request is paid from active grants, and refused where they do not cover it.\n" +
		"What was used before, and requests that are open then, are not paid from credits."
	return cmd
}

func (c *cli) refillPolicy() *cobra.Command {
	var below, add, most string
	var r client.Refill
	cmd := c.call("policy none|manual|automatic [flags]", "Say how credits are refilled", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) (err error) {
		r.Mode = args[0]
		for _, f := range []struct {
			name, text string
			into       *gatehouse.USD
		}{{"below", below, &r.Below}, {"add", add, &r.Add}, {"monthly-max", most, &r.MonthlyMax}} {
			if f.text == "" {
				continue
			}
			if *f.into, err = parseUSD(f.name, f.text); err != nil {
				return err
			}
		}
		v, err := cl.UpdateCredits(ctx, client.CreditsUpdate{Refill: &r})
		if err != nil {
			return err
		}
		return c.showCredits(v)
	})
	cmd.Long = "  gatehouse credits policy automatic --below 100 --add 500 --monthly-max 2000 --days 365"
	cmd.Flags().StringVar(&below, "below", "", "automatic: the balance under which credit is added")
	cmd.Flags().StringVar(&add, "add", "", "how much one refill grants")
	cmd.Flags().StringVar(&most, "monthly-max", "", "the most that refills grant in a calendar month (default one refill)")
	cmd.Flags().IntVar(&r.Days, "days", 0, "how long a refill's credit lasts (default for good)")
	return cmd
}

func (c *cli) refill() *cobra.Command {
	var amount string
	cmd := c.call("refill [flags]", "Refill the credits now, within the month's maximum", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		u := gatehouse.USD(0)
		if amount != "" {
			if u, err = parseUSD("amount", amount); err != nil {
				return err
			}
		}
		g, err := cl.RefillCredits(ctx, u)
		if err != nil {
			return err
		}
		return c.showGrant(g)
	})
	cmd.Flags().StringVar(&amount, "amount", "", "US dollars (default what the policy adds)")
	return cmd
}
