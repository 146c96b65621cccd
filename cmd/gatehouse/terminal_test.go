package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"

	"gatehouse"
	"gatehouse/client"
)

// runCommand runs one command line in this process, with nothing in its environment but env.
func runCommand(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs, env)
	return code, out.String(), errs.String()
}

func TestColour(t *testing.T) {
	write := func(p colorprofile.Profile) string {
		var b bytes.Buffer
		term := &terminal{out: &colorprofile.Writer{Forward: &b, Profile: p}}
		term.table([]string{"NAME", "STATE"}, [][]string{{"a", "active"}, {"longer", "revoked"}})
		term.fields([][2]string{{"state", "suspended"}, {"empty", ""}})
		return b.String()
	}
	const plain = "NAME    STATE\na       active\nlonger  revoked\nstate  suspended\n"
	if got := write(colorprofile.NoTTY); got != plain {
		t.Errorf("piped:\n%s\nwant:\n%s", got, plain)
	}
	if got := write(colorprofile.ANSI); !strings.Contains(got, "\x1b[32mactive") || !strings.Contains(got, "\x1b[31mrevoked") {
		t.Errorf("on a terminal there is no colour: %q", got)
	}
	if got := write(colorprofile.ASCII); strings.Contains(got, "\x1b[3") {
		t.Errorf("with NO_COLOR there is colour: %q", got)
	}
}

// TestHostileText proves that what came from elsewhere cannot drive the terminal, break a table or fake a line.
func TestHostileText(t *testing.T) {
	var b bytes.Buffer
	c := &cli{out: &terminal{out: &colorprofile.Writer{Forward: &b, Profile: colorprofile.TrueColor}}}
	evil := "x\x1b]0;owned\x07\u202e\u200b\r\ndecision  served"
	c.showExplanation(&gatehouse.Request{ID: "req_1", ClientRequestID: evil, UserAgent: evil, Model: evil, Rule: "key_unknown", Detail: evil, Status: 401,
		Attempts: []gatehouse.Attempt{{Upstream: "u", Error: evil, RequestID: evil}}})
	got := b.String()
	for _, bad := range []string{"\x1b]", "\x07", "\u202e", "\u200b", "\r", "\ndecision  served"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %q:\n%q", bad, got)
		}
	}
	b.Reset()
	(&terminal{err: &b}).fail(errors.New(evil))
	if strings.Count(b.String(), "\n") != 1 || strings.ContainsAny(b.String(), "\x07\r") {
		t.Errorf("the error is %q", b.String())
	}
}

func TestMoney(t *testing.T) {
	for n, want := range map[gatehouse.NanoUSD]string{0: "$0.00", 1: "$0.000000001", 16650: "$0.00001665", 10_000_000: "$0.01", 1_500_000_000: "$1.50", 12_345_678_901: "$12.345678901", -250_000_000: "-$0.25"} {
		if got := usd(n); got != want {
			t.Errorf("usd(%d) = %s, want %s", n, got, want)
		}
	}
	for _, tc := range []struct {
		line client.UsageLine
		want string
	}{
		{client.UsageLine{Requests: 2, Cost: 1_000_000_000}, "$1.00"},
		{client.UsageLine{Requests: 2, Unpriced: 2}, "price unknown"},
		{client.UsageLine{Requests: 3, Unpriced: 1, Cost: 500_000_000}, "$0.50 + 1 unpriced"},
	} {
		if got := costText(&tc.line); got != tc.want {
			t.Errorf("costText(%+v) = %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestParseRoute(t *testing.T) {
	for text, want := range map[string]client.Route{
		"openai":                      {Upstream: "openai"},
		"openai=gpt-4o":               {Upstream: "openai", Model: "gpt-4o"},
		"local=org/model:7b,weight=3": {Upstream: "local", Model: "org/model:7b", Weight: 3},
		"a=b=c,priority=2,weight=1":   {Upstream: "a", Model: "b=c", Priority: 2, Weight: 1},
		"contoso=gpt-4o-eu,weight=3":  {Upstream: "contoso", Model: "gpt-4o-eu", Weight: 3},
		"mock,priority=1":             {Upstream: "mock", Priority: 1},
	} {
		got, err := parseRoute(text)
		if err != nil || got != want {
			t.Errorf("parseRoute(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if back, err := parseRoute(routeText([]client.Route{got})); err != nil || back != got {
			t.Errorf("%q does not survive being shown: %+v, %v", text, back, err)
		}
	}
	for _, text := range []string{"", "=m", ",weight=1", "a,weight", "a,weight=x", "a,share=1", "a,,weight=1"} {
		if got, err := parseRoute(text); err == nil {
			t.Errorf("parseRoute(%q) = %+v, want an error", text, got)
		}
	}
}

func TestTimesOnTheCommandLine(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * day, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0d": 0} {
		if got, err := duration(text); err != nil || got != want {
			t.Errorf("duration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "90", "soon", "99999999d"} {
		if got, err := duration(text); err == nil {
			t.Errorf("duration(%q) = %v, want an error", text, got)
		}
	}
	var m momentFlag
	if err := m.Set("2026-03-01"); err != nil || !m.at.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("a day: %v, %v", m.at, err)
	}
	if err := m.Set("7d"); err != nil || time.Since(m.at) < 7*day || time.Since(m.at) > 7*day+time.Minute {
		t.Errorf("how long ago: %v, %v", m.at, err)
	}
	for _, text := range []string{"yesterday", "-1h", "2026-13-01"} {
		if err := m.Set(text); err == nil {
			t.Errorf("--since %q was accepted", text)
		}
	}
	var l lifetimeFlag
	for _, text := range []string{"0d", "1ms", "1500ms", "-1h"} {
		if err := l.Set(text); err == nil {
			t.Errorf("--expires-in %q was accepted", text)
		}
	}
}

func TestExplanation(t *testing.T) {
	request := gatehouse.Request{ID: "req_1", Key: "key_1", Owner: "user-1", Project: "proj_1", Method: "POST", Route: "chat.completions.create", Model: "gpt-4o", Deployment: "gpt-4o",
		UpstreamModel: "gpt-4o-eu", Stream: true, Status: 200, Rule: "served", Millis: 812, FirstByteMillis: 95, ClientLeft: true, BytesIn: 120, BytesOut: 4 << 20,
		Attempts:   []gatehouse.Attempt{{Upstream: "contoso", Model: "gpt-4o-eu", Error: "connection refused", Millis: 3}, {Upstream: "openai", Model: "gpt-4o", Status: 200, Millis: 90, RequestID: "req_up"}},
		Units:      &gatehouse.Units{Input: 20, Cached: 8, Output: 30},
		Confidence: gatehouse.Estimated}
	var b bytes.Buffer
	c := &cli{out: newTerminal(&b, &b, nil)}
	c.showExplanation(&request)
	for _, want := range []string{
		"key         key_1\n", "owner       user-1\n", "asked       POST chat.completions.create, model gpt-4o, streamed\n", "decision    served (200)\n", "deployment  gpt-4o as gpt-4o-eu\n",
		"attempt 1    contoso / gpt-4o-eu  no answer  took 3 ms   connection refused\n", "attempt 2    openai / gpt-4o      200        took 90 ms  req_up\n",
		"caller left                       200        812 ms      4096 KiB out\n", "tokens  20 input, 8 of them cached, 30 output (estimated)\n", "cost    price unknown\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	c.showExplanation(&gatehouse.Request{ID: "req_2", Status: 401, Rule: "key_unknown"})
	if strings.Contains(b.String(), "cost") || !strings.Contains(b.String(), "none that is known") {
		t.Errorf("a refused request:\n%s", b.String())
	}
}

func TestEnvironment(t *testing.T) {
	// The environment that run is given counts, not the process's own.
	t.Setenv("GATEHOUSE_ADMIN_KEY", "sk-admin-of-the-process")
	if code, _, stderr := runCommand(t, nil, "whoami"); code != exitUsage || !strings.Contains(stderr, "an admin key is missing") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	env := []string{"GATEHOUSE_URL=http://127.0.0.1:1", "GATEHOUSE_ADMIN_KEY=sk-admin-x"}
	code, stdout, stderr := runCommand(t, env, "whoami")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "cannot reach http://127.0.0.1:1") || strings.Contains(stderr, "sk-admin-x") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr = runCommand(t, env, "whoami", "--url", "http://127.0.0.1:2"); code != exitFailed || !strings.Contains(stderr, "127.0.0.1:2") {
		t.Errorf("a flag does not win over the environment: %d %s", code, stderr)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"whoami"}, strings.NewReader(""), &out, &errs, []string{"GATEHOUSE_URL=http://127.0.0.1:1", "GATEHOUSE_ADMIN_KEY=x"})
	if code != exitFailed || errs.String() != "gatehouse: interrupted\n" {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// TestEveryCommand holds each command to what the others do: it is described, it refuses arguments it does not know, and none is
// named twice.
func TestEveryCommand(t *testing.T) {
	c := &cli{out: newTerminal(&bytes.Buffer{}, &bytes.Buffer{}, nil)}
	seen := map[string]bool{}
	pending := c.root().Commands()
	for len(pending) > 0 {
		cmd := pending[0]
		pending = append(pending[1:], cmd.Commands()...)
		path := cmd.CommandPath()
		if seen[path] {
			t.Errorf("%s is there twice", path)
		}
		seen[path] = true
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short text is %q", path, cmd.Short)
		}
		if strings.Contains(path, "help") || strings.Contains(path, "completion") {
			continue
		}
		args := append(strings.Fields(path)[1:], "--no-such-flag")
		if code, stdout, stderr := runCommand(t, nil, args...); code != exitUsage || stdout != "" || !strings.Contains(stderr, "hint:") {
			t.Errorf("%s: exit code %d, %q, %q", path, code, stdout, stderr)
		}
	}
	for _, want := range []string{"dev", "init", "serve", "apply", "version", "projects", "service-accounts", "keys", "upstreams", "deployments", "usage", "explain", "users", "seal"} {
		if !seen["gatehouse "+want] {
			t.Errorf("there is no command %s", want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for text, want := range map[string]string{"": "''", "/tmp/a.pem": "/tmp/a.pem", "/tmp/a b": "'/tmp/a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := shellQuote(text); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", text, got, want)
		}
	}
}
