package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) limits() *cobra.Command {
	var scope, subject string
	listing := c.call("list [flags]", "List rate limits and what is used of them", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Limits(ctx, gatehouse.Scope(scope), subject), []string{"ID", "SCOPE", "SUBJECT", "MODEL", "USED"}, func(l *client.Limit) (json.RawMessage, []string) {
			var used []string
			for _, u := range l.Use {
				used = append(used, rateFlags[u.Name]+" "+strconv.FormatInt(u.Used, 10)+"/"+strconv.FormatInt(u.Limit, 10))
			}
			return l.JSON, []string{l.ID, string(l.Scope), l.Subject, cmp.Or(l.Model, "all"), strings.Join(used, ", ")}
		})
	})
	listing.Flags().StringVar(&scope, "scope", "", "organization, project, user, service_account, key or label (default: all)")
	listing.Flags().StringVar(&subject, "subject", "", "an id, or NAME=VALUE (default: all)")
	show := c.call("show LIMIT", "Show a rate limit and what is used of it", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		l, err := cl.Limit(ctx, args[0])
		if err != nil {
			return err
		}
		return c.showLimit(l)
	})
	remove := c.call("remove LIMIT", "Remove a rate limit", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemoveLimit(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("limits", "How much may be asked for in a minute or a day",
		"A request is bound by every limit of its organization, project, user or service account, key and labels, of its model and of all\n"+
			"models together, and is refused with 429 if one of them has no room for it. What was used stays used when a limit changes.",
		listing, show, c.setLimit(), remove)
}

func (c *cli) setLimit() *cobra.Command {
	var spec client.LimitSpec
	var scope string
	set := c.call("set [flags]", "Set the limit of a subject or replace the one there is", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		spec.Scope = gatehouse.Scope(scope)
		if spec.Rates == (gatehouse.Rates{}) {
			return hint(usagef("a limit needs a rate"), "Give at least one, e.g. --requests-per-minute 500.")
		}
		l, err := cl.PutLimit(ctx, spec)
		if err != nil {
			return err
		}
		return c.showLimit(l)
	})
	set.Long = "Sets what a subject may ask for: what is not given is not limited afterwards. SUBJECT is a project by name or id, a user by\n" +
		"address or id, a service account as PROJECT/NAME or id, a key by id, a label as NAME=VALUE; the organization needs none.\n\n" +
		"  gatehouse limits set --scope project --subject checkout --model gpt-4o --requests-per-minute 500 --tokens-per-minute 30000\n" +
		"  gatehouse limits set --scope user --subject ann@example.com --requests-per-day 2000"
	f := set.Flags()
	f.StringVar(&scope, "scope", "organization", "organization, project, user, service_account, key or label")
	f.StringVar(&spec.Subject, "subject", "", "whom it binds")
	f.StringVar(&spec.Model, "model", "", "the deployment it is for (default: all of them together)")
	f.Int64Var(&spec.RequestsPerMinute, "requests-per-minute", 0, "requests a minute")
	f.Int64Var(&spec.TokensPerMinute, "tokens-per-minute", 0, "tokens a minute, of input and output")
	f.Int64Var(&spec.RequestsPerDay, "requests-per-day", 0, "requests a day")
	f.Int64Var(&spec.ImagesPerMinute, "images-per-minute", 0, "images a minute")
	f.Int64Var(&spec.AudioMegabytesPerMinute, "audio-megabytes-per-minute", 0, "megabytes of recordings a minute")
	f.Int64Var(&spec.BatchInputTokensPerDay, "batch-input-tokens-per-day", 0, "input tokens of batches a day")
	return set
}

// rateFlags are the rates as limits are listed, by their names in the API.
var rateFlags = map[string]string{"requests_per_minute": "requests/min", "tokens_per_minute": "tokens/min", "requests_per_day": "requests/day", "images_per_minute": "images/min",
	"audio_bytes_per_minute": "audio bytes/min", "batch_input_tokens_per_day": "batch tokens/day"}

func (c *cli) showLimit(l *client.Limit) error {
	return c.answer(l.JSON, func() {
		rows := [][2]string{{"id", l.ID}, {"scope", string(l.Scope)}, {"subject", l.Subject}, {"model", cmp.Or(l.Model, "all")}}
		for _, u := range l.Use {
			full := time.Duration(u.ResetSeconds * float64(time.Second)).Round(time.Millisecond)
			rows = append(rows, [2]string{rateFlags[u.Name], strconv.FormatInt(u.Limit, 10) + ", used " + strconv.FormatInt(u.Used, 10) + ", full again in " + full.String()})
		}
		c.out.fields(rows)
	})
}
