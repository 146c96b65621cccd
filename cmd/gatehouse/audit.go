package main

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"

	"github.com/spf13/cobra"

	"gatehouse/client"
)

func (c *cli) audit() *cobra.Command {
	var q client.AuditQuery
	var since, until momentFlag
	var limit int
	cmd := c.call("audit [flags]", "Show who changed what, the newest first", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		if limit < 1 {
			return usagef("--limit %d: it must be 1 or more", limit)
		}
		q.Since, q.Until = since.at, until.at
		return list(c, first(cl.AuditLogs(ctx, q), limit), []string{"WHEN", "WHAT", "BY", "PROJECT", "SUBJECT", "REQUEST"}, func(l *client.AuditLog) (json.RawMessage, []string) {
			var subject struct {
				ID string `json:"id"`
			}
			_ = json.Unmarshal(l.Payload(), &subject) // what has no id is shown without
			return l.JSON, []string{moment(l.EffectiveAt), l.Type, l.By(), cmp.Or(l.Project.Name, l.Project.ID, "-"), cmp.Or(subject.ID, "-"), cmp.Or(l.Gatehouse.RequestID, "-")}
		})
	})
	flags := cmd.Flags()
	flags.StringArrayVar(&q.Types, "type", nil, "only this type of change, e.g. api_key.created; repeat for more")
	flags.StringArrayVar(&q.Projects, "project", nil, "only in this project, by id; repeat for more")
	flags.StringArrayVar(&q.Actors, "actor", nil, "only by this key, user or service account, by id; repeat for more")
	flags.StringArrayVar(&q.Emails, "email", nil, "only by the user with this address; repeat for more")
	flags.StringArrayVar(&q.Resources, "resource", nil, "only of what has this id; repeat for more")
	flags.Var(&since, "since", "from: a day (2006-01-02), a time (RFC 3339) or how long ago (24h, 7d)")
	flags.Var(&until, "until", "up to, as --since")
	flags.IntVar(&limit, "limit", 50, "how many at most")
	cmd.Long = "Every change of an organization, with who made it, in which request, and what was asked for: `--json` has it whole. A change whose entry\n" +
		"cannot be written does not happen, so that the log is complete."
	return cmd
}

// first yields no more than n elements of seq.
func first[T any](seq iter.Seq2[*T, error], n int) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		seen := 0
		for v, err := range seq {
			if seen++; !yield(v, err) || seen == n {
				return
			}
		}
	}
}
