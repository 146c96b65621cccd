package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) alerts() *cobra.Command {
	var all bool
	listing := c.call("list [flags]", "List alerts that nobody has acknowledged, the newest first", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Alerts(ctx, !all), []string{"ID", "WHEN", "RULE", "TITLE", "ACTION", "ACKNOWLEDGED"}, func(a *client.Alert) (json.RawMessage, []string) {
			return a.JSON, []string{a.ID, moment(a.CreatedAt), a.Rule, a.Title, cmp.Or(a.Action, "-"), cmp.Or(moment(a.AcknowledgedAt), "-")}
		})
	})
	listing.Flags().BoolVar(&all, "all", false, "also those that somebody has acknowledged")
	show := c.call("get ALERT", "Show an alert, and what came of its deliveries", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		a, err := cl.Alert(ctx, args[0])
		if err != nil {
			return err
		}
		var rows [][]string
		for d, err := range cl.AlertDeliveries(ctx, args[0]) {
			if err != nil {
				return err
			}
			rows = append(rows, deliveryRow(d))
		}
		return c.answer(a.JSON, func() {
			c.out.fields([][2]string{{"id", a.ID}, {"when", moment(a.CreatedAt)}, {"rule", a.Rule}, {"kind", string(a.Kind)}, {"subject", string(a.Subject) + " " + a.SubjectID},
				{"title", a.Title}, {"reason", a.Reason}, {"action", a.Action}, {"acknowledged", moment(a.AcknowledgedAt)}, {"by", a.AcknowledgedBy}})
			c.out.table(deliveryHeader, rows)
		})
	})
	ack := c.call("ack ALERT", "Note that somebody has seen an alert", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		a, err := cl.AcknowledgeAlert(ctx, args[0])
		if err != nil {
			return err
		}
		return c.answer(a.JSON, func() { c.out.printf("%s acknowledged by %s\n", a.ID, a.AcknowledgedBy) })
	})
	return c.group("alerts", "What is unusual, who is told of it, and what was found", "", listing, show, ack, c.alertRules(), c.alertChannels(), c.testChannel(), c.alertDeliveries(), c.replayAlerts())
}

func (c *cli) alertRules() *cobra.Command {
	listing := c.call("list", "List rules, default ones too", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.AlertRules(ctx), []string{"NAME", "KIND", "STATE", "PER", "PROJECTS", "CHANNELS", "SUSPENDS", "QUIET"}, func(r *client.AlertRule) (json.RawMessage, []string) {
			state := "active"
			if r.Disabled {
				state = "disabled"
			}
			return r.JSON, []string{r.Name, string(r.Kind), state, cmp.Or(joined(r.Per), "-"), cmp.Or(strings.Join(r.Projects, " "), "all"), cmp.Or(strings.Join(r.Channels, " "), "all"),
				cmp.Or(string(r.Suspend), "nothing"), cmp.Or(r.Quiet, "-")}
		})
	})
	var r client.AlertRule
	var kind, suspend, minCost string
	var per []string
	set := c.call("set NAME --kind KIND [flags]", "Create a rule or replace the one of that name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		r.Name, r.Kind, r.Suspend, r.Per = args[0], gatehouse.AlertKind(kind), gatehouse.AlertSuspend(suspend), nil
		for _, p := range per {
			r.Per = append(r.Per, gatehouse.AlertSubject(p))
		}
		if minCost != "" {
			amount, err := gatehouse.ParseUSD(minCost)
			if err != nil {
				return usagef("--min-cost: %v", err)
			}
			r.MinCost = amount
		}
		got, err := cl.PutAlertRule(ctx, r)
		if err != nil {
			return err
		}
		return c.answer(got.JSON, func() { c.showAlertRule(got) })
	})
	set.Long = "Creates a rule, or replaces the one of that name: what is not given is as in the default rule of the kind. A rule that\n" +
		"is named like a default one takes its place.\n\n" +
		"  gatehouse alerts rules set spend-spike --kind spend_spike --per key --min-cost 20 --suspend key\n" +
		"  gatehouse alerts rules set waking-key --kind waking_key --disabled"
	set.Flags().StringVar(&kind, "kind", "", "spend_spike, error_spike, new_network, waking_key, budget, spend_alert, credential_refused, unpriced_usage, credits_low, forecast, key_created, key_expiring or key_revoked (required)")
	set.Flags().BoolVar(&r.Disabled, "disabled", false, "look for nothing")
	set.Flags().StringSliceVar(&per, "per", nil, "of spikes what is judged: key, project, model")
	set.Flags().StringArrayVar(&r.Projects, "project", nil, "only this project, by id or name; repeat for more")
	set.Flags().StringVar(&minCost, "min-cost", "", "the least an hour must have cost to be a spike, in dollars; of credits how little is little")
	set.Flags().Int64Var(&r.MinErrors, "min-errors", 0, "the least number of errors in an hour that can be a spike")
	set.Flags().Float64Var(&r.Factor, "factor", 0, "how many times what is usual a spike is at least")
	set.Flags().Int64Var(&r.Deviations, "deviations", 0, "how many robust standard deviations over what is usual a spike is at least")
	set.Flags().Int64Var(&r.Days, "days", 0, "how long a key has slept that wakes; on how many days there must have been something to compare with")
	set.Flags().StringVar(&r.Quiet, "quiet", "", "how long nothing more is said about the same, e.g. 12h")
	set.Flags().StringArrayVar(&r.Channels, "channel", nil, "who is told, by name or id; log alone: nobody else; repeat for more (default: every channel)")
	set.Flags().StringVar(&suspend, "suspend", "", "what is suspended: key, or service_account for every key of the one that owns it (default: nothing)")
	mustHave(set, "kind")
	remove := c.call("remove NAME", "Remove a rule; the default one of the same name is back", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveAlertRule(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("rules", "What is looked for", "", listing, set, remove)
}

func (c *cli) showAlertRule(r *client.AlertRule) {
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	factor, cost := "", ""
	if r.Factor != 0 {
		factor = strconv.FormatFloat(r.Factor, 'f', -1, 64)
	}
	if r.MinCost != 0 {
		cost = "$" + r.MinCost.String()
	}
	c.out.fields([][2]string{{"id", r.ID}, {"name", r.Name}, {"kind", string(r.Kind)}, {"disabled", map[bool]string{true: "yes"}[r.Disabled]}, {"per", joined(r.Per)},
		{"projects", strings.Join(r.Projects, " ")}, {"min cost", cost}, {"min errors", number(r.MinErrors)}, {"factor", factor}, {"deviations", number(r.Deviations)},
		{"days", number(r.Days)}, {"quiet", r.Quiet}, {"channels", strings.Join(r.Channels, " ")}, {"suspends", string(r.Suspend)}})
}

func joined(subjects []gatehouse.AlertSubject) string {
	var out []string
	for _, s := range subjects {
		out = append(out, string(s))
	}
	return strings.Join(out, " ")
}

func (c *cli) alertChannels() *cobra.Command {
	listing := c.call("list", "List channels", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.AlertChannels(ctx), []string{"NAME", "ID", "KIND", "STATE", "TO"}, func(v *client.AlertChannel) (json.RawMessage, []string) {
			state := "active"
			if v.Disabled {
				state = "disabled"
			}
			return v.JSON, []string{v.Name, v.ID, string(v.Kind), state, cmp.Or(v.URL, strings.Join(v.Recipients, " "))}
		})
	})
	var v client.AlertChannel
	var kind string
	set := c.call("set NAME --kind KIND [flags]", "Create a channel or replace the one of that name", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		v.Name, v.Kind = args[0], gatehouse.ChannelKind(kind)
		got, err := cl.PutAlertChannel(ctx, v)
		if err != nil {
			return err
		}
		return c.showChannel(got)
	})
	set.Long = "The secret that a new webhook's messages are signed with (Standard Webhooks) is printed once, alone on stdout.\n" +
		"The URL of Slack is a secret: `gatehouse seal slack < url.txt` keeps it and prints the reference to give here.\n\n" +
		"  gatehouse alerts channels set ops --kind webhook --url https://hooks.example.com/gatehouse\n" +
		"  gatehouse alerts channels set finance --kind email --to finance@example.com"
	set.Flags().StringVar(&kind, "kind", "", "webhook, slack or email (required)")
	set.Flags().StringVar(&v.URL, "url", "", "where a webhook is sent, or a secret reference to it; of slack always a reference")
	set.Flags().BoolVar(&v.AllowPrivate, "allow-private", false, "its host may be on a private network")
	set.Flags().StringArrayVar(&v.Recipients, "to", nil, "an address of email; repeat for more")
	set.Flags().StringVar(&v.SubjectPrefix, "subject-prefix", "", "what subjects of email begin with")
	set.Flags().BoolVar(&v.Disabled, "disabled", false, "send nothing")
	mustHave(set, "kind")
	rotate := c.call("rotate NAME", "Give a webhook a new secret; the old one signs beside it for 24 hours", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		got, err := cl.RotateAlertChannel(ctx, args[0])
		if err != nil {
			return err
		}
		return c.showChannel(got)
	})
	remove := c.call("remove NAME", "Remove a channel", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveAlertChannel(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("channels", "Who is told", "", listing, set, rotate, remove)
}

// showChannel prints a secret once, alone on stdout; a channel without one as its fields.
func (c *cli) showChannel(v *client.AlertChannel) error {
	return c.answer(v.JSON, func() {
		if v.Secret == "" {
			c.out.fields([][2]string{{"id", v.ID}, {"name", v.Name}, {"kind", string(v.Kind)}, {"url", v.URL}, {"to", strings.Join(v.Recipients, " ")}, {"subject prefix", v.SubjectPrefix},
				{"disabled", map[bool]string{true: "yes"}[v.Disabled]}})
			return
		}
		c.out.printf("%s\n", v.Secret)
		c.out.note("This is the secret of %s (%s). It will not be shown again; `gatehouse alerts channels rotate` makes another.", printable(v.Name), v.ID)
	})
}

var deliveryHeader = []string{"DELIVERY", "CHANNEL", "STATE", "TRIES", "NEXT", "ERROR"}

func deliveryRow(d *client.AlertDelivery) []string {
	return []string{d.ID, d.Channel, string(d.State), strconv.FormatInt(d.Tries, 10), cmp.Or(moment(d.NextAt), "-"), cmp.Or(d.Error, "-")}
}

// testPatience is how long a test of a channel waits for what comes of it.
const testPatience = 20 * time.Second

func (c *cli) testChannel() *cobra.Command {
	return c.call("test CHANNEL", "Send a test to a channel and say what came of it", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		a, err := cl.TestAlertChannel(ctx, args[0])
		if err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, testPatience)
		defer stop()
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		var last *client.AlertDelivery
		for {
			for d, err := range cl.AlertDeliveries(ctx, a.ID) {
				if err != nil && ctx.Err() == nil {
					return err
				}
				if err == nil {
					last = d
				}
			}
			if last != nil && last.State == gatehouse.DeliveryDelivered {
				return c.answer(last.JSON, func() { c.out.printf("%s delivered to %s as %s\n", a.ID, printable(args[0]), last.ID) })
			}
			if last != nil && last.Error != "" {
				return hint(fmt.Errorf("channel %s: %s", args[0], last.Error), "`gatehouse alerts get %s` shows further tries.", a.ID)
			}
			select {
			case <-ctx.Done():
				return hint(fmt.Errorf("channel %s: nothing came of the test within %s", args[0], testPatience), "`gatehouse alerts get %s` shows whether something does.", a.ID)
			case <-ticker.C:
			}
		}
	})
}

func (c *cli) alertDeliveries() *cobra.Command {
	state := "dead"
	cmd := c.call("deliveries [flags]", "List deliveries that were given up, or in another state", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.DeliveriesIn(ctx, gatehouse.DeliveryState(state)), append([]string{"ALERT"}, deliveryHeader...), func(d *client.AlertDelivery) (json.RawMessage, []string) {
			return d.JSON, append([]string{d.Alert}, deliveryRow(d)...)
		})
	})
	cmd.Flags().StringVar(&state, "state", state, "pending, delivered or dead")
	return cmd
}

func (c *cli) replayAlerts() *cobra.Command {
	var dead bool
	cmd := c.call("replay [DELIVERY...] [flags]", "Send again what was given up, under the same id", cobra.ArbitraryArgs, func(ctx context.Context, cl *client.Client, args []string) error {
		if dead == (len(args) > 0) {
			return hint(usagef("say what to send again: deliveries, or --dead for all that were given up"), "`gatehouse alerts deliveries` lists them.")
		}
		if dead {
			for d, err := range cl.DeliveriesIn(ctx, gatehouse.DeliveryDead) {
				if err != nil {
					return err
				}
				args = append(args, d.ID)
			}
		}
		rows := [][]string{}
		documents := []json.RawMessage{}
		for _, id := range args {
			d, err := cl.ReplayDelivery(ctx, id)
			if err != nil {
				return err
			}
			rows, documents = append(rows, deliveryRow(d)), append(documents, d.JSON)
		}
		if c.json {
			return c.document(documents)
		}
		c.out.table(deliveryHeader, rows)
		return nil
	})
	cmd.Flags().BoolVar(&dead, "dead", false, "every delivery that was given up")
	return cmd
}
