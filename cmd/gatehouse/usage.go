package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

// usageColumns are what usage can be summed by.
var usageColumns = []struct {
	name string
	cell func(*client.UsageLine) string
}{
	{"day", func(l *client.UsageLine) string { return l.Day }},
	{"project", func(l *client.UsageLine) string { return l.ProjectID }},
	{"key", func(l *client.UsageLine) string { return l.KeyID }},
	{"model", func(l *client.UsageLine) string { return l.Model }},
	{"product", func(l *client.UsageLine) string { return l.Product }},
	{"user", func(l *client.UsageLine) string { return l.UserID }},
	{"service_account", func(l *client.UsageLine) string { return l.ServiceAccountID }},
	{"upstream", func(l *client.UsageLine) string { return l.Upstream }},
	{"upstream_model", func(l *client.UsageLine) string { return l.UpstreamModel }},
	{"service_tier", func(l *client.UsageLine) string { return l.ServiceTier }},
	{"usage_source", func(l *client.UsageLine) string { return string(l.Source) }},
}

// groupable is what --by takes.
const groupable = "day, project, key, user, service_account, model, product, upstream, upstream_model, service_tier, usage_source or label:NAME"

func (c *cli) usage() *cobra.Command {
	var q client.UsageQuery
	var since, until momentFlag
	var projects []string
	var costs bool
	cmd := c.call("usage [flags]", "Show what was used, by project, key, user, model, label, day and more", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		for _, by := range q.By {
			if !known(by) {
				return hint(usagef("--by: %q is not something to sum by", by), "Give any of "+groupable+", separated by commas.")
			}
		}
		q.Since, q.Until, q.Projects = since.at, until.at, nil
		for _, p := range projects {
			id, err := project(ctx, cl, p)
			if err != nil {
				return err
			}
			q.Projects = append(q.Projects, id)
		}
		report, err := cl.Usage(ctx, q)
		if err != nil {
			return err
		}
		return c.answer(report.JSON, func() { c.showUsage(report, q.By, costs) })
	})
	cmd.Flags().StringSliceVar(&q.By, "by", []string{"project", "model"}, "what to sum by: "+groupable+"; \"\" for one sum")
	cmd.Flags().Var(&since, "since", "from: a day (2006-01-02), a time (RFC 3339) or how long ago (24h, 7d) (default 30d)")
	cmd.Flags().Var(&until, "until", "up to, as --since (default now)")
	cmd.Flags().StringArrayVar(&projects, "project", nil, "only of this project, by id or name; repeat for more")
	cmd.Flags().StringArrayVar(&q.Keys, "key", nil, "only of this key, by id; repeat for more")
	cmd.Flags().StringArrayVar(&q.Users, "user", nil, "only of keys of this user, by id; repeat for more")
	cmd.Flags().StringArrayVar(&q.Labels, "label", nil, "only with this label, as name=value: of the request's header, else its key, else its project; repeat for more")
	cmd.Flags().BoolVar(&costs, "costs", false, "show what the cost is made of in place of tokens")
	cmd.Flags().StringArrayVar(&q.Models, "model", nil, "only of this model; repeat for more")
	cmd.Long = "Show what was used, by project, key, user, model, label, day and more. `gatehouse usage` alone shows sums; below it are files and reports for finance."
	cmd.AddCommand(c.usageExport(), c.chargeback(), c.trend())
	return cmd
}

func known(by string) bool {
	if name, ok := strings.CutPrefix(by, "label:"); ok {
		return name != ""
	}
	for _, column := range usageColumns {
		if column.name == by {
			return true
		}
	}
	return false
}

func (c *cli) showUsage(report *client.UsageReport, by []string, costs bool) {
	grouped := map[string]bool{}
	for _, name := range by {
		grouped[name] = true
	}
	var header []string
	for _, column := range usageColumns {
		if grouped[column.name] {
			header = append(header, strings.ToUpper(column.name))
		}
	}
	var labels []string
	for _, name := range by {
		if label, ok := strings.CutPrefix(name, "label:"); ok {
			labels, header = append(labels, label), append(header, strings.ToUpper(label))
		}
	}
	groups := len(header)
	cells := usageCells
	if costs {
		var made []string
		made, cells = costCells(report)
		header = append(header, made...)
	} else {
		header = append(header, "REQUESTS", "INPUT TOKENS", "CACHED", "OUTPUT TOKENS", "COST")
	}
	var rows [][]string
	var total client.UsageLine
	for i := range report.Lines {
		l := &report.Lines[i]
		var row []string
		for _, column := range usageColumns {
			if grouped[column.name] {
				row = append(row, cmp.Or(column.cell(l), "-"))
			}
		}
		for _, label := range labels {
			row = append(row, cmp.Or(l.Labels[label], "-"))
		}
		rows = append(rows, append(row, cells(l)...))
		total.Requests, total.Cost, total.Unpriced = total.Requests+l.Requests, total.Cost+l.Cost, total.Unpriced+l.Unpriced
		total.Units.Add(l.Units)
		total.Parts.Add(&l.Parts)
	}
	if groups > 0 && len(rows) > 1 {
		row := make([]string, groups)
		row[0] = "total"
		rows = append(rows, append(row, cells(&total)...))
	}
	c.out.table(header, rows)
	if len(report.Lines) == 0 {
		c.out.note("Nothing was used between %s and %s.", moment(report.StartTime), moment(report.EndTime))
	}
}

func usageCells(l *client.UsageLine) []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	return []string{n(l.Requests), n(l.Input), n(l.Cached), n(l.Output), costText(l)}
}

// costCells returns the columns of what costs are made of: the parts that are in the report, and their sum.
func costCells(report *client.UsageReport) (header []string, cells func(*client.UsageLine) []string) {
	var all gatehouse.Parts
	for i := range report.Lines {
		all.Add(&report.Lines[i].Parts)
	}
	var shown []int
	for i, n := range all.Fields() {
		if *n != 0 {
			shown, header = append(shown, i), append(header, strings.ToUpper(gatehouse.PartNames[i]))
		}
	}
	return append(header, "COST"), func(l *client.UsageLine) (row []string) {
		fields := l.Parts.Fields()
		for _, i := range shown {
			row = append(row, usd(*fields[i]))
		}
		return append(row, costText(l))
	}
}

// costText writes the cost of requests of which some may have no price.
func costText(l *client.UsageLine) string {
	switch {
	case l.Unpriced == 0:
		return usd(l.Cost)
	case l.Unpriced >= l.Requests:
		return "price unknown"
	}
	return fmt.Sprintf("%s + %d unpriced", usd(l.Cost), l.Unpriced)
}

// usd writes an amount exactly, with at least two decimals.
func usd(n gatehouse.NanoUSD) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	cents := strings.TrimRight(fmt.Sprintf("%09d", n%1_000_000_000), "0")
	for len(cents) < 2 {
		cents += "0"
	}
	return fmt.Sprintf("%s$%d.%s", sign, n/1_000_000_000, cents)
}
