package system_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/internal/store/storetest"
)

// TestNodesShareLimits is pains 54 on running nodes: two that share one Valkey let through what a limit allows, and no more, also over
// new keys; and without Valkey each lets through its half.
func TestNodesShareLimits(t *testing.T) {
	for name, valkey := range map[string]string{"valkey": storetest.Redis(t), "no valkey": ""} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, "20s", valkey)
			alone := func() int {
				const line = "rate limits are counted by each node for itself"
				return strings.Count(string(p.a.log.bytes()), line) + strings.Count(string(p.b.log.bytes()), line)
			}
			for attempt := 1; ; attempt++ {
				before := alone()
				granted, other := p.rush(t, fmt.Sprint("limited", attempt))
				t.Logf("%d of %d were let through", granted, rushAllowed)
				// A call that a busy server answered too late was decided by the node alone: the bound of docs/limits.md is one more for each node.
				if granted <= rushAllowed+2 && granted >= rushAllowed-4 && other == 0 {
					return
				}
				if alone() == before || attempt == 6 || other > 0 {
					t.Fatalf("%d were let through of %d, %d failed", granted, rushAllowed, other)
				}
				// This machine was so busy that the nodes left the server alone, as they must: that is another promise.
				eventually(t, "the nodes count together again", func() bool {
					const line = "rate limits are counted together again"
					return strings.Count(string(p.a.log.bytes()), line)+strings.Count(string(p.b.log.bytes()), line) >= alone()
				})
			}
		})
	}
}

// rushAllowed is the limit of a rush.
const rushAllowed = 60

// rush asks both nodes at once for four times as much as a new service account's limit allows, with four keys.
func (p *pair) rush(t *testing.T, name string) (granted, other int64) {
	project, account := p.project(t, name)
	keys := p.keys(t, project, account, 4)
	for _, k := range keys {
		p.everywhere(t, k)
	}
	must(t, p.client, http.MethodPost, p.a.URL+"/gatehouse/v1/limits", p.AdminKey,
		map[string]any{"scope": "service_account", "subject": account, "max_requests_per_1_day": rushAllowed}, nil)
	var ok, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 * rushAllowed {
		node, k := []*node{p.a, p.b}[i%2], keys[i%len(keys)]
		wg.Go(func() {
			switch r := ask(t.Context(), p.client, http.MethodPost, node.URL+"/v1/chat/completions", k.value, chat(false)); r.Status {
			case http.StatusOK:
				ok.Add(1)
			case http.StatusTooManyRequests:
			default:
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	return ok.Load(), failed.Load()
}
