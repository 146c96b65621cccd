package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// required gives a command a flag without which its command line makes no sense.
func required(cmd *cobra.Command, into *string, name, usage string) *cobra.Command {
	cmd.Flags().StringVar(into, name, "", usage+" (required)")
	return mustHave(cmd, name)
}

// mustHave marks a flag as one without which a command line makes no sense.
func mustHave(cmd *cobra.Command, flag string) *cobra.Command {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic(err) // the flag is not defined: a mistake in this package
	}
	return cmd
}

// labelsFlag reads --label k=v. Given once with an empty value it stands for no labels.
type labelsFlag struct {
	set    bool
	values map[string]string
}

func (l *labelsFlag) register(flags *pflag.FlagSet, usage string) { flags.Var(l, "label", usage) }

func (l *labelsFlag) String() string { return "" }
func (l *labelsFlag) Type() string   { return "key=value" }

func (l *labelsFlag) Set(text string) error {
	if l.values == nil {
		l.values = map[string]string{}
	}
	l.set = true
	if text == "" {
		return nil
	}
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return usagef("%q is not key=value", text)
	}
	l.values[key] = value
	return nil
}

// labelText writes labels as the flag takes them, in one order.
func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, " ")
}

// lifetimeFlag reads how long a key lives: what time.ParseDuration reads, or a number of days such as 90d.
type lifetimeFlag time.Duration

func (l *lifetimeFlag) register(flags *pflag.FlagSet, usage string) {
	flags.Var(l, "expires-in", usage+", e.g. 12h or 90d")
}

func (l *lifetimeFlag) String() string { return "" }
func (l *lifetimeFlag) Type() string   { return "duration" }

func (l *lifetimeFlag) Set(text string) error {
	d, err := duration(text)
	if err != nil {
		return err
	}
	if d < time.Second || d%time.Second != 0 {
		return usagef("%q is not a number of whole seconds", text)
	}
	*l = lifetimeFlag(d)
	return nil
}

func (l lifetimeFlag) seconds() int64 { return int64(time.Duration(l) / time.Second) }

const day = 24 * time.Hour

func duration(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, usagef("%q is not a number of days such as 90d", text)
		}
		return time.Duration(days) * day, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, usagef("%q is not a duration such as 30m, 12h or 90d", text)
	}
	return d, nil
}

// momentFlag reads a point in time: 2006-01-02 (UTC), RFC 3339, or how long ago, such as 24h or 7d.
type momentFlag struct{ at time.Time }

func (m *momentFlag) String() string { return "" }
func (m *momentFlag) Type() string   { return "time" }

func (m *momentFlag) Set(text string) (err error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if m.at, err = time.Parse(layout, text); err == nil {
			return nil
		}
	}
	ago, err := duration(text)
	if err != nil || ago < 0 {
		return usagef("%q is neither a day (2006-01-02), a time (2006-01-02T15:04:05Z) nor how long ago (24h, 7d)", text)
	}
	m.at = time.Now().Add(-ago)
	return nil
}
