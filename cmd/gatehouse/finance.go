package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/client"
)

// timeZone is a flag that most reports take.
func timeZone(flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "time-zone", "", "where days and months begin, e.g. Europe/Vienna (default the organization's)")
}

// projectIDs returns the ids of projects given by id or name.
func projectIDs(ctx context.Context, cl *client.Client, references []string) (ids []string, err error) {
	for _, p := range references {
		id, err := project(ctx, cl, p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (c *cli) usageExport() *cobra.Command {
	var q client.ExportQuery
	var since, until momentFlag
	var projects []string
	var output string
	cmd := c.call("export [flags]", "Write usage and costs as CSV or Parquet with FOCUS columns", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		if c.json {
			return hint(usagef("export writes a file, not JSON"), "Leave --json out; `gatehouse usage --json` has sums.")
		}
		if q.Format != "csv" && q.Format != "parquet" {
			return usagef("--format: %q is not csv or parquet", q.Format)
		}
		q.Since, q.Until = since.at, until.at
		if q.Projects, err = projectIDs(ctx, cl, projects); err != nil {
			return err
		}
		return c.writeFile(output, func(w io.Writer) error { return cl.Export(ctx, q, w) })
	})
	cmd.Long = "Write usage and costs as a file with the columns of FOCUS 1.2, which finance tools read: a line for each day (or hour), project, key,\n" +
		"model and unit that is billed. Without --until it ends with yesterday, UTC, so that the same days are always the same file."
	flags := cmd.Flags()
	flags.StringVar(&q.Format, "format", "csv", "csv or parquet")
	flags.StringVarP(&output, "output", "o", "", "file to write (default standard output); it is there whole or not at all")
	flags.Var(&since, "since", "from: a day (2006-01-02), a time (RFC 3339) or how long ago (24h, 7d) (default 30 days before --until)")
	flags.Var(&until, "until", "up to, as --since (default the end of yesterday, UTC)")
	flags.BoolVar(&q.Hourly, "hourly", false, "a line for each hour instead of each day")
	flags.StringArrayVar(&projects, "project", nil, "only of this project, by id or name; repeat for more")
	flags.StringArrayVar(&q.Keys, "key", nil, "only of this key, by id; repeat for more")
	flags.StringArrayVar(&q.Models, "model", nil, "only of this model; repeat for more")
	timeZone(flags, &q.TimeZone)
	return cmd
}

// writeFile writes to standard output, or to a file that takes its name when it is whole.
func (c *cli) writeFile(path string, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return write(c.stdout)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already when all went well
	n := &counted{w: file}
	if err := write(n); err != nil {
		_ = file.Close() // it is thrown away
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	c.out.note("Wrote %d bytes to %s.", n.n, path)
	return nil
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *cli) chargeback() *cobra.Command {
	var q client.ChargebackQuery
	var since, until momentFlag
	var projects []string
	var asCSV bool
	var output string
	cmd := c.call("chargeback [flags]", "Divide the costs of a month among cost centres, projects or labels", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		q.Since, q.Until = since.at, until.at
		if q.Projects, err = projectIDs(ctx, cl, projects); err != nil {
			return err
		}
		if asCSV || output != "" {
			if c.json {
				return usagef("--csv and --json exclude each other")
			}
			return c.writeFile(output, func(w io.Writer) error { return cl.ChargebackCSV(ctx, q, w) })
		}
		report, err := cl.Chargeback(ctx, q)
		if err != nil {
			return err
		}
		return c.answer(report.JSON, func() { c.showChargeback(report) })
	})
	cmd.Long = "Divide the costs of a month among cost centres (the label cost_center of keys and projects), projects, keys, users, models or any\n" +
		"label (label:NAME). What has no label is shown as (unlabelled), or with --spread divided among what has: the lines always add up to\n" +
		"the costs, to the nano-dollar."
	flags := cmd.Flags()
	flags.StringSliceVar(&q.By, "by", []string{"cost_center", "project"}, "project, key, user, model, cost_center, label:NAME, separated by commas")
	flags.StringVar(&q.Month, "month", "", "month, as 2006-01 (default the running one)")
	flags.Var(&since, "since", "from, instead of --month: a day, a time or how long ago")
	flags.Var(&until, "until", "up to, as --since")
	flags.BoolVar(&q.Spread, "spread", false, "divide what has no label among what has, in proportion")
	flags.StringArrayVar(&projects, "project", nil, "only of this project, by id or name; repeat for more")
	flags.BoolVar(&asCSV, "csv", false, "write CSV")
	flags.StringVarP(&output, "output", "o", "", "file to write the CSV to")
	timeZone(flags, &q.TimeZone)
	return cmd
}

func (c *cli) showChargeback(r *client.Chargeback) {
	header := []string{"MONTH"}
	for _, by := range r.By {
		header = append(header, strings.ToUpper(by))
	}
	header = append(header, "REQUESTS", "DIRECT", "SHARED", "TOTAL", "SHARE")
	var rows [][]string
	for i := range r.Charges {
		l := &r.Charges[i]
		row := []string{l.Month}
		for _, by := range r.By {
			row = append(row, cmp.Or(l.Names[by], "-"))
		}
		rows = append(rows, append(row, strconv.FormatInt(l.Requests, 10), usd(l.Direct), usd(l.Shared), usd(l.Total), fmt.Sprintf("%.2f%%", l.Percent)))
	}
	if len(rows) > 1 {
		row := make([]string, len(header))
		row[0], row[len(row)-2] = "total", usd(r.Total)
		rows = append(rows, row)
	}
	c.out.table(header, rows)
	switch {
	case len(r.Charges) == 0:
		c.out.note("Nothing was used.")
	case r.Unpriced > 0:
		c.out.note("%d requests have no known price and are in no cost.", r.Unpriced)
	}
}

func (c *cli) trend() *cobra.Command {
	var period, zone string
	var count int
	var projects []string
	cmd := c.call("trend [flags]", "Show costs by day, week or month, how they changed, and who moved them", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		ids, err := projectIDs(ctx, cl, projects)
		if err != nil {
			return err
		}
		t, err := cl.Trend(ctx, period, count, ids, zone)
		if err != nil {
			return err
		}
		return c.answer(t.JSON, func() { c.showTrend(t) })
	})
	flags := cmd.Flags()
	flags.StringVar(&period, "period", "day", "day, week or month")
	flags.IntVar(&count, "count", 14, "how many complete periods")
	flags.StringArrayVar(&projects, "project", nil, "only of this project, by id or name; repeat for more")
	timeZone(flags, &zone)
	return cmd
}

func (c *cli) showTrend(t *client.Trend) {
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	var rows [][]string
	for i := range t.Steps {
		s := &t.Steps[i]
		change, percent := "", ""
		if s.Change != nil {
			change = signed(*s.Change)
		}
		if s.Percent != nil {
			percent = fmt.Sprintf("%+.1f%%", *s.Percent)
		}
		state := ""
		if !s.Complete {
			state = "so far"
		}
		rows = append(rows, []string{time.Unix(s.StartTime, 0).In(zone).Format(time.DateOnly), strconv.FormatInt(s.Requests, 10), usd(s.Cost), change, percent, state})
	}
	c.out.table([]string{strings.ToUpper(t.Period), "REQUESTS", "COST", "CHANGE", "", ""}, rows)
	if len(t.Movers) == 0 {
		return
	}
	rows = nil
	for i := range t.Movers {
		m := &t.Movers[i]
		rows = append(rows, []string{m.By, cmp.Or(m.Name, m.ID, "-"), usd(m.Before), usd(m.After), signed(m.Change)})
	}
	c.out.printf("\n")
	c.out.table([]string{"MOVED MOST", "", "BEFORE", "AFTER", "CHANGE"}, rows)
}

func (c *cli) forecast() *cobra.Command {
	var q client.ForecastQuery
	var projects []string
	cmd := c.call("forecast [flags]", "Say what the running month will have cost, with an interval", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		if q.Projects, err = projectIDs(ctx, cl, projects); err != nil {
			return err
		}
		f, err := cl.Forecast(ctx, q)
		if err != nil {
			return err
		}
		return c.answer(f.JSON, func() { c.showForecast(f) })
	})
	cmd.Long = "Say what the running month will have cost at its end, from the last eight weeks: days of the week, a robust trend, and an interval that\n" +
		"holds the true number with the probability that --interval says. With little history the interval is wide, and a note says so."
	flags := cmd.Flags()
	flags.StringVar(&q.By, "by", "", "also for each project, model or key that spent most")
	flags.Float64Var(&q.Interval, "interval", 0.8, "probability of the interval, 0.5 to 0.99")
	flags.StringArrayVar(&projects, "project", nil, "only of this project, by id or name; repeat for more")
	timeZone(flags, &q.TimeZone)
	return cmd
}

func (c *cli) showForecast(f *client.Forecast) {
	row := func(name string, l *client.ForecastLine) []string {
		return []string{name, usd(l.Spent), usd(l.Expected), usd(l.Low), usd(l.High), l.Note}
	}
	rows := [][]string{row("everything", &f.Total)}
	unpriced := f.Total.Unpriced
	for i := range f.Lines {
		rows = append(rows, row(cmp.Or(f.Lines[i].Name, f.Lines[i].ID, "-"), &f.Lines[i]))
	}
	c.out.table([]string{"UNTIL THE MONTH'S END", "SPENT", "EXPECTED", "LOW", "HIGH", ""}, rows)
	if unpriced > 0 {
		c.out.note("%d requests have no known price and are in no figure.", unpriced)
	}
}
