package system_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store/storetest"
)

// TestPrepaidThroughKills: an organization prepays on two nodes of which one is killed again and again, while requests are served and
// credit is granted on both, which enters what was spent each time. In the end the ledger adds up, and what was entered as spent is what
// usage says, to the nano-dollar: nothing was lost with a node, and nothing entered twice.
func TestPrepaidThroughKills(t *testing.T) {
	database, secrets := storetest.Postgres(t), t.TempDir()
	config := func(name string) string {
		return configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: "+name, "data: "+filepath.Join(t.TempDir(), name), "database: "+database,
			"pepper: file://"+filepath.Join(secrets, "pepper"), "kek: file://"+filepath.Join(secrets, "kek"), "max_staleness: 2s", "drain: 1s", "log: {access: false}")
	}
	first, second := config("a"), config("b")
	p := &pair{client: client(t), founded: found(t, first)}
	p.a, p.b = serve(t, first), serve(t, second)
	must(t, p.client, http.MethodPost, p.a.URL+"/gatehouse/v1/apply", p.AdminKey, []byte(`
upstreams: [{name: mock, dialect: mock}]
deployments: [{name: gpt-4o-mini, routes: [{upstream: mock}]}]
credits: {prepaid: true, grants: [{name: pilot, amount: 100, active: true}]}
`), nil)
	project, account := p.project(t, "shop")
	k := p.key(t, project, account)
	p.everywhere(t, k)

	var victim atomic.Pointer[node]
	victim.Store(p.b)
	ctx, stop := context.WithCancel(t.Context())
	var served, granted atomic.Int64
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() { // a caller: ends with ctx
			for n := 0; ctx.Err() == nil; n++ {
				at := p.a
				if (i+n)%2 == 0 {
					at = victim.Load()
				}
				if r := ask(ctx, p.client, http.MethodPost, at.URL+"/v1/chat/completions", k.value, map[string]any{"model": "gpt-4o-mini", "max_tokens": 20,
					"messages": []map[string]string{{"role": "user", "content": "Hello"}}}); r.Err == nil && r.Status == http.StatusOK {
					served.Add(1)
				}
			}
		})
	}
	all.Go(func() { // an operator: ends with ctx
		for n := 0; ctx.Err() == nil; n++ {
			at := p.a
			if n%2 == 0 {
				at = victim.Load()
			}
			r := ask(ctx, p.client, http.MethodPost, at.URL+"/gatehouse/v1/credits/grants", p.AdminKey, map[string]any{"name": fmt.Sprint("more ", n), "amount_usd": "0.001", "activate": true})
			if r.Err == nil && r.Status == http.StatusOK {
				granted.Add(1)
			}
		}
	})
	for range 4 {
		before := served.Load()
		eventually(t, "both nodes serve", func() bool { return served.Load() >= before+40 })
		victim.Load().kill()
		victim.Store(serve(t, second))
	}
	before := granted.Load()
	eventually(t, "credit is granted", func() bool { return granted.Load() >= before+2 })
	stop()
	all.Wait()

	// What the killed node had open is settled when its journal has been read; then nothing more arrives.
	var usage struct {
		Data []struct {
			Cost     int64 `json:"cost_nano_usd"`
			Unpriced int64 `json:"unpriced_requests"`
			Requests int64 `json:"requests"`
		} `json:"data"`
	}
	sum := func(at *node) (cost, requests int64) {
		must(t, p.client, http.MethodGet, at.URL+"/gatehouse/v1/usage", p.AdminKey, nil, &usage)
		for _, l := range usage.Data {
			if l.Unpriced > 0 {
				t.Errorf("%d requests have no price", l.Unpriced)
			}
			cost += l.Cost
			requests += l.Requests
		}
		return cost, requests
	}
	var cost, requests int64
	since := time.Now()
	eventually(t, "usage stands still", func() bool {
		c, r := sum(victim.Load())
		if ca, ra := sum(p.a); ca > c {
			c, r = ca, ra
		}
		if c != cost || r < served.Load() {
			cost, requests, since = c, r, time.Now()
			return false
		}
		return time.Since(since) > 3*time.Second
	})
	must(t, p.client, http.MethodPost, p.a.URL+"/gatehouse/v1/credits", p.AdminKey, map[string]any{"prepaid": false}, nil) // enters the rest
	var trial struct {
		Sound    bool
		Entries  int64
		Accounts map[string]string
		Faults   []string
	}
	must(t, p.client, http.MethodGet, p.a.URL+"/gatehouse/v1/credits/trial_balance", p.AdminKey, nil, &trial)
	if !trial.Sound {
		t.Errorf("the ledger does not add up: %v", trial.Faults)
	}
	if want := gatehouse.USD(cost).String(); trial.Accounts["spent"] != want {
		t.Errorf("entered as spent: %s, usage says %s of %d requests (%d served)", trial.Accounts["spent"], want, requests, served.Load())
	}
	t.Logf("%d requests, %s spent, %d entries, overdrawn %s", requests, trial.Accounts["spent"], trial.Entries, trial.Accounts["overdrawn"])
}
