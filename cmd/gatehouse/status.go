package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/client"
)

func (c *cli) deploymentsStatus() *cobra.Command {
	cmd := c.call("status [NAME]", "Show which routes are open or set aside, why, and since when", cobra.MaximumNArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		var documents []json.RawMessage
		var rows [][]string
		for d, err := range cl.DeploymentsStatus(ctx, name) {
			if err != nil {
				return err
			}
			documents = append(documents, d.JSON)
			rows = append(rows, statusRows(d, time.Now())...)
		}
		if c.json {
			return c.document(map[string]any{"object": "list", "data": append([]json.RawMessage{}, documents...), "has_more": false})
		}
		c.out.table([]string{"DEPLOYMENT", "ROUTE", "WEIGHT", "PRIORITY", "NODE", "STATE", "SINCE", "NEXT", "LATELY", "WHY"}, rows)
		if len(rows) == 0 {
			c.out.note("There are none.")
		}
		return nil
	})
	cmd.Long = "Shows every route of the deployments as the nodes see it: closed, open (nothing is sent until the next probe),\n" +
		"half-open (a probe is under way), ejected (far worse than its peers) or throttled (it answered 429): the last two\n" +
		"are used when no other route is left. NEXT is when a probe goes, or when the route is no longer set aside. A\n" +
		"route that no node has used lately is closed, with no node beside it."
	return cmd
}

// statusRows returns a row for each route and node.
func statusRows(d *client.DeploymentStatus, now time.Time) (rows [][]string) {
	for _, r := range d.Routes {
		route := r.Upstream
		if r.Model != "" {
			route += "=" + r.Model
		}
		head := []string{d.Name, route, fmt.Sprint(r.Weight), fmt.Sprint(r.Priority)}
		if len(r.Nodes) == 0 {
			rows = append(rows, append(head, "-", string(r.State), "-", "-", "-", ""))
		}
		for _, n := range r.Nodes {
			lately := fmt.Sprintf("%d of %d failed", n.Failures, n.Requests)
			if n.FirstByteMillis != 0 {
				lately += fmt.Sprintf(", %d ms", n.FirstByteMillis)
			}
			rows = append(rows, append(head[:4:4], n.Node, string(n.State), distance(n.Since, now), distance(n.Until, now), lately, oneLine(n.Why)))
		}
	}
	return rows
}

// distance writes how far a time in unix seconds is from now.
func distance(at int64, now time.Time) string {
	if at == 0 {
		return "-"
	}
	d := time.Unix(at, 0).Sub(now).Round(time.Second)
	text := strings.TrimSuffix(cmp.Or(strings.TrimPrefix(d.String(), "-"), "0s"), "m0s")
	switch {
	case d > 0:
		return "in " + text
	case d == 0:
		return "now"
	}
	return text + " ago"
}
