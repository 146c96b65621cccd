package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) explain() *cobra.Command {
	cmd := c.call("explain ID", "Show the whole decision behind a request", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		e, err := cl.Explain(ctx, args[0])
		if err != nil {
			return err
		}
		return c.answer(e.JSON, func() { c.showExplanation(&e.Request) })
	})
	cmd.Long = "Shows who asked for what, which rule decided, every upstream that was tried, tokens and cost. ID is the\n" +
		"x-request-id of an answer, or the id the caller sent. Decisions are kept for 7 days, without prompts or answers."
	return cmd
}

// showExplanation writes a decision as a person reads it: who, what, the rule, then what happened in order.
func (c *cli) showExplanation(r *gatehouse.Request) {
	t := c.out
	asked := r.Method + " " + r.Route
	if r.Model != "" {
		asked += ", model " + r.Model
	}
	if r.Stream {
		asked += ", streamed"
	}
	decision := fmt.Sprintf("%s (%d)", r.Rule, r.Status)
	if r.Detail != "" {
		decision += ": " + r.Detail
	}
	deployment := r.Deployment
	if r.UpstreamModel != "" && r.UpstreamModel != r.Deployment {
		deployment += " as " + r.UpstreamModel
	}
	t.fields([][2]string{
		{"request", r.ID},
		{"caller's id", r.ClientRequestID},
		{"at", r.At.Time().Format("2006-01-02 15:04:05.000Z")},
		{"key", cmp.Or(r.Key, "none that is known")},
		{"owner", r.Owner},
		{"project", r.Project},
		{"from", strings.TrimSpace(r.IP + "  " + r.UserAgent)},
		{"asked", asked},
		{"dialect", r.Dialect},
		{"decision", decision},
		{"deployment", deployment},
	})
	t.printf("\n")
	t.table([]string{"STEP", "UPSTREAM", "STATUS", "TIME", ""}, timeline(r))
	t.printf("\n")
	t.fields([][2]string{{"tokens", tokenText(r)}, {"cost", requestCost(r)}, {"labels", r.Labels}})
}

// timeline lists what happened to a request in order.
func timeline(r *gatehouse.Request) [][]string {
	rows := [][]string{{"accepted", "", "", "0 ms", size(r.BytesIn) + " in"}}
	made := 0
	for _, a := range r.Attempts {
		if why, skipped := strings.CutPrefix(a.Error, gatehouse.SkippedAttempt); skipped {
			rows = append(rows, []string{"skipped", a.Upstream, "", "", oneLine(why)})
			continue
		}
		made++
		status, note := "no answer", oneLine(a.Error)
		if a.Status != 0 {
			status = fmt.Sprint(a.Status)
		}
		if a.RequestID != "" {
			note = strings.TrimSpace(a.RequestID + "  " + note)
		}
		upstream := a.Upstream
		if a.Model != "" {
			upstream += " / " + a.Model
		}
		rows = append(rows, []string{fmt.Sprintf("attempt %d", made), upstream, status, fmt.Sprintf("took %d ms", a.Millis), note})
	}
	if r.FirstByteMillis != 0 {
		rows = append(rows, []string{"first byte", "", "", fmt.Sprintf("%d ms", r.FirstByteMillis), ""})
	}
	step := "answered"
	if r.ClientLeft {
		step = "caller left"
	}
	return append(rows, []string{step, "", fmt.Sprint(r.Status), fmt.Sprintf("%d ms", r.Millis), size(r.BytesOut) + " out"})
}

// tokenText writes what the provider counted, "" when nothing was counted.
func tokenText(r *gatehouse.Request) string {
	u := r.Units
	if r.Confidence == gatehouse.Pending {
		return "counted once the work is done, as " + r.Work
	}
	if u == nil || *u == (gatehouse.Units{}) {
		return ""
	}
	var parts []string
	add := func(n int64, what string) {
		if n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(u.Input, "input")
	add(u.Cached, "of them cached")
	add(u.Output, "output")
	add(u.Reasoning, "of them reasoning")
	add(u.Images, "images")
	add(u.Characters, "characters")
	add(u.Milliseconds, "ms of audio")
	add(u.VideoMilliseconds, "ms of video")
	add(u.Trained, "trained")
	text := strings.Join(parts, ", ")
	switch r.Confidence {
	case gatehouse.Reported:
		text += " (reported by the upstream)"
	case gatehouse.Estimated:
		text += " (estimated)"
	case gatehouse.Recovered:
		text += " (reserved; the node stopped before it could settle)"
	case gatehouse.Unanswered:
		text += " (reserved; the upstream never answered)"
	}
	return text
}

// requestCost writes what a request cost, "" when it used nothing.
func requestCost(r *gatehouse.Request) string {
	switch {
	case r.CostKnown:
		return usd(r.Cost)
	case tokenText(r) == "":
		return ""
	}
	return "price unknown"
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
