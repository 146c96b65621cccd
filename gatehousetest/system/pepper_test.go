package system_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/server"
)

// TestPepperRotation rotates the pepper under load, on SQLite and on two nodes with PostgreSQL: nobody is refused, every key that
// is used moves, and the old version can be retired when the last has moved and not before.
func TestPepperRotation(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		config := configFile(t, singleLines(t.TempDir(), "drain: 1s", "log: {access: false}")...)
		f := found(t, config)
		n := serve(t, config)
		c := client(t)
		must(t, c, http.MethodPost, n.URL+"/gatehouse/v1/apply", f.AdminKey, []byte(mockManifest), nil)
		rotate(t, &pair{founded: f, a: n, b: n, client: c}, config, func(p *pair) {
			p.a.signal(t, syscall.SIGTERM)
			p.a.wait(t, patience)
			p.a = serve(t, config)
			p.b = p.a
		})
	})
	t.Run("two nodes on PostgreSQL", func(t *testing.T) {
		p := newPair(t, "10s", "")
		rotate(t, p, p.a.config(), func(p *pair) {
			for _, n := range []**node{&p.a, &p.b} {
				(*n).signal(t, syscall.SIGTERM)
				(*n).wait(t, patience)
				*n = serve(t, (*n).config())
			}
		})
	})
}

// config returns the configuration file a node was started with.
func (n *node) config() string { return n.cmd.Args[len(n.cmd.Args)-1] }

// command runs a command of the program and returns its exit code and what it printed.
func command(tb testing.TB, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	n := start(tb, nil, args...)
	code = n.wait(tb, patience)
	return code, string(n.out.bytes()), string(n.log.bytes())
}

func pepperStatus(tb testing.TB, config string) (r server.PepperReport) {
	tb.Helper()
	code, out, log := command(tb, "pepper", "status", "--config", config, "--json")
	if code != 0 {
		tb.Fatalf("pepper status: exit code %d: %s", code, log)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		tb.Fatalf("pepper status: %v: %s", err, out)
	}
	return r
}

// active returns how many active keys are under a version.
func active(r server.PepperReport, version int) int64 {
	for _, v := range r.Versions {
		if v.Version == version {
			return v.Active
		}
	}
	return 0
}

func rotate(t *testing.T, p *pair, config string, restart func(*pair)) {
	const keyCount = 60
	project, account := p.project(t, "rotation")
	keys := p.keys(t, project, account, keyCount)
	idle := p.key(t, project, account)
	p.everywhere(t, idle)
	doomed := p.key(t, project, account)
	p.everywhere(t, doomed)
	ended, _ := p.longStream(t, p.b, keys[0])

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var requests, refused atomic.Int64
	for i := range 6 {
		load.Go(func() {
			for j := i; ctx.Err() == nil; j++ {
				n := p.a
				if j%2 == 1 {
					n = p.b
				}
				ok, r := p.accepts(ctx, n, keys[j%keyCount], j%8 == 0)
				if ctx.Err() != nil {
					return
				}
				requests.Add(1)
				if !ok {
					refused.Add(1)
					t.Errorf("during the rotation a request was answered %d, %v: %s", r.Status, r.Err, r.Body)
				}
			}
		})
	}

	if code, out, log := command(t, "pepper", "rotate", "--config", config, "--json"); code != 0 || strings.TrimSpace(out) != `{"version":2}` && !strings.Contains(out, `"version": 2`) {
		t.Fatalf("pepper rotate: %d %s %s", code, out, log)
	}
	began := time.Now()
	p.a.signal(t, syscall.SIGHUP) // one is told, the other notices
	fresh := p.key(t, project, account)
	p.everywhere(t, fresh)
	// The administrator's own key moves like any other.
	eventually(t, "every key that is used is on the new version", func() bool {
		must(t, p.client, http.MethodGet, p.a.URL+"/v1/organization/projects", p.AdminKey, nil, nil)
		_, _ = p.accepts(t.Context(), p.a, fresh, false)
		r := pepperStatus(t, config)
		for _, n := range r.Nodes {
			if n.Knows != 2 {
				return false
			}
		}
		return active(r, 1) == 2 // idle and doomed
	})
	moved := time.Since(began)
	for _, n := range []*node{p.a, p.b} {
		eventually(t, "new keys are made under the new version everywhere", func() bool {
			before := active(pepperStatus(t, config), 2)
			must(t, p.client, http.MethodPost, n.URL+"/v1/organization/projects/"+project+"/service_accounts/"+account+"/api_keys", p.AdminKey, map[string]any{"name": "late"}, nil)
			return active(pepperStatus(t, config), 2) == before+1
		})
	}
	if code, _, log := command(t, "pepper", "retire", "1", "--config", config); code != 1 || !strings.Contains(log, "2 active keys are still under version 1") {
		t.Errorf("retire with keys left: %d %s", code, log)
	}
	if status, by, _ := p.revoke(t, doomed); status == http.StatusAccepted {
		waitUntil(t, by)
	}
	r := pepperStatus(t, config)
	if len(r.Remaining) != 1 || r.Remaining[0].ID != idle.id {
		t.Errorf("what remains is %+v, want the idle key", r.Remaining)
	}
	if ok, r := p.accepts(t.Context(), p.b, idle, false); !ok {
		t.Errorf("a key that was idle all the while: %d %s", r.Status, r.Body)
	}
	eventually(t, "the idle key moves when it is used", func() bool { return active(pepperStatus(t, config), 1) == 0 })
	const enough = 2000
	eventually(t, "enough requests were answered for the run to prove something", func() bool { return requests.Load() >= enough })
	select {
	case at := <-ended:
		t.Errorf("a stream ended %v after the rotation began", at.Sub(began))
	default:
	}
	stop()
	load.Wait()
	if code, _, log := command(t, "pepper", "retire", "2", "--config", config); code != 1 {
		t.Errorf("the newest version was retired: %d %s", code, log)
	}
	if code, _, log := command(t, "pepper", "retire", "1", "--config", config); code != 0 {
		t.Fatalf("retire: %d %s", code, log)
	}
	text, err := os.ReadFile(p.pepperPath(t, config))
	if err != nil || strings.Contains(string(text), "\n1 ") || !strings.Contains(string(text), "\n2 ") {
		t.Errorf("the pepper file after it: %v", err)
	}
	if info, err := os.Stat(p.pepperPath(t, config)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the pepper file's mode is %v, %v", info.Mode(), err)
	}
	restart(p)
	for _, k := range append(keys, idle, fresh) {
		for _, n := range []*node{p.a, p.b} {
			if ok, r := p.accepts(t.Context(), n, k, false); !ok {
				t.Errorf("after the restart key %s is answered %d %s", k.id, r.Status, r.Body)
			}
		}
	}
	if ok, r := p.accepts(t.Context(), p.a, doomed, false); ok || r.Status != http.StatusUnauthorized {
		t.Errorf("after the restart a revoked key is answered %d", r.Status)
	}
	t.Logf("%d requests during the rotation, %d refused; every used key moved within %v", requests.Load(), refused.Load(), moved.Round(time.Millisecond))
}

// pepperPath returns where a configuration keeps its pepper.
func (p *pair) pepperPath(tb testing.TB, config string) string {
	tb.Helper()
	cfg, err := server.ReadConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimPrefix(cfg.Pepper, "file://")
}
