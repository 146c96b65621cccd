package system_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store/storetest"
)

// slowProvider is one that answers in the background: what it was asked for is done when the test says so.
type slowProvider struct {
	address string
	server  *http.Server
	over    sync.WaitGroup

	mu    sync.Mutex
	made  int
	state map[string]string // by id: "queued", "completed" or "gone"
	looks map[string]int
}

func newSlowProvider(tb testing.TB) *slowProvider {
	tb.Helper()
	p := &slowProvider{address: "127.0.0.1:0", state: map[string]string{}, looks: map[string]int{}}
	p.start(tb)
	tb.Cleanup(p.stop)
	return p
}

// start listens, on the address it had before if it had one.
func (p *slowProvider) start(tb testing.TB) {
	tb.Helper()
	ln, err := net.Listen("tcp", p.address)
	if err != nil {
		tb.Fatal(err)
	}
	p.address = ln.Addr().String()
	p.server = &http.Server{Handler: p}
	server := p.server
	p.over.Go(func() { _ = server.Serve(ln) }) // ends with stop
}

func (p *slowProvider) stop() {
	_ = p.server.Close() // nobody is left to be answered
	p.over.Wait()
}

func (p *slowProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	id, known := strings.CutPrefix(r.URL.Path, "/v1/responses/")
	if r.Method == http.MethodPost && r.URL.Path == "/v1/responses" {
		p.made++
		id, known = fmt.Sprintf("resp_%d", p.made), true
		p.state[id] = "queued"
	} else {
		p.looks[id]++
	}
	usage := "null"
	switch state := p.state[id]; {
	case !known || state == "" || state == "gone":
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"error":{"message":"no such response","type":"invalid_request_error","param":null,"code":null}}`)
		return
	case state == "completed":
		usage = `{"input_tokens":11,"output_tokens":7,"total_tokens":18}`
	}
	_, _ = fmt.Fprintf(w, `{"id":%q,"object":"response","status":%q,"model":"slow","background":true,"output":[],"usage":%s}`, id, p.state[id], usage)
}

func (p *slowProvider) set(id, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state[id] = state
}

func (p *slowProvider) looked(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks[id]
}

// declare makes the provider an upstream and returns a key that may call it.
func (p *slowProvider) declare(tb testing.TB, c *http.Client, n *node, f founded) (key string) {
	tb.Helper()
	must(tb, c, http.MethodPost, n.URL+"/gatehouse/v1/apply", f.AdminKey, fmt.Appendf(nil, `
upstreams: [{name: slow, dialect: openai, base_url: "http://%s/v1", allow_private: true}]
deployments: [{name: slow, routes: [{upstream: slow}]}]
`, p.address), nil)
	var made struct{ Value string }
	must(tb, c, http.MethodPost, n.URL+"/gatehouse/v1/keys", f.AdminKey, map[string]any{"class": "project", "project_id": f.ProjectID, "user_id": f.UserID, "name": "k"}, &made)
	return made.Value
}

// begin asks for a response in the background and returns its id and the request's.
func begin(tb testing.TB, c *http.Client, n *node, key string) (id, request string) {
	tb.Helper()
	r := ask(tb.Context(), c, http.MethodPost, n.URL+"/v1/responses", key, map[string]any{"model": "slow", "input": "Take your time.", "background": true, "max_output_tokens": 100})
	var made struct{ ID, Status string }
	if err := json.Unmarshal(r.Body, &made); err != nil || r.Status != http.StatusOK || made.Status != "queued" {
		tb.Fatalf("background response: %d %s %v", r.Status, r.Body, r.Err)
	}
	return made.ID, r.Header.Get("X-Request-Id")
}

// explained returns the decision behind a request.
func explained(tb testing.TB, c *http.Client, n *node, admin, request string) (r gatehouse.Request) {
	tb.Helper()
	must(tb, c, http.MethodGet, n.URL+"/gatehouse/v1/requests/"+request, admin, nil, &r)
	return r
}

// countedWork returns how many requests, and how many tokens, were counted in all.
func countedWork(tb testing.TB, c *http.Client, n *node, admin string) (requests, input, output int64) {
	tb.Helper()
	var page struct {
		Data []struct {
			Results []struct {
				Requests int64 `json:"num_model_requests"`
				Input    int64 `json:"input_tokens"`
				Output   int64 `json:"output_tokens"`
			}
		}
	}
	must(tb, c, http.MethodGet, n.URL+fmt.Sprintf("/v1/organization/usage/completions?bucket_width=1d&start_time=%d", time.Now().Add(-24*time.Hour).Unix()), admin, nil, &page)
	for _, b := range page.Data {
		for _, r := range b.Results {
			requests, input, output = requests+r.Requests, input+r.Input, output+r.Output
		}
	}
	return requests, input, output
}

// TestWorkNobodyAsksFor leaves background responses alone: one over a kill -9, one over a restart of its upstream, one that its
// upstream forgets. Each is counted once.
func TestWorkNobodyAsksFor(t *testing.T) {
	t.Parallel()
	p := newSlowProvider(t)
	s, web := newSingle(t, "private_upstreams: [127.0.0.1]", "drain: 1s"), client(t)
	n := serve(t, s.config)
	key := p.declare(t, web, n, s.founded)

	killed, first := begin(t, web, n, key)
	n.kill()
	n.wait(t, patience)
	n = serve(t, s.config)
	if r := explained(t, web, n, s.AdminKey, first); r.Confidence != gatehouse.Pending || r.Work != killed {
		t.Errorf("after the kill: %+v", r)
	}
	restarted, second := begin(t, web, n, key)
	forgotten, third := begin(t, web, n, key)
	p.set(forgotten, "gone")
	p.stop()
	eventually(t, "a look at an upstream that is away", func() bool { return metric(t, web, n, `gatehouse_work_failures_total{kind="response"}`) > 0 })
	p.set(killed, "completed")
	p.set(restarted, "completed")
	p.start(t)
	for request, want := range map[string]gatehouse.Units{first: {Input: 11, Output: 7}, second: {Input: 11, Output: 7}} {
		eventually(t, "the end of "+request, func() bool { return explained(t, web, n, s.AdminKey, request).Confidence == gatehouse.Reported })
		if r := explained(t, web, n, s.AdminKey, request); r.Units == nil || *r.Units != want {
			t.Errorf("request %+v", r)
		}
	}
	eventually(t, "the end of what is gone", func() bool {
		return explained(t, web, n, s.AdminKey, third).Confidence == gatehouse.Estimated
	})
	if r := explained(t, web, n, s.AdminKey, third); r.Units.Output != 100 {
		t.Errorf("what is gone is not settled at its reserve: %+v", r.Units)
	}
	n.kill()
	n.wait(t, patience)
	n = serve(t, s.config)
	if requests, _, _ := countedWork(t, web, n, s.AdminKey); requests != 3 {
		t.Errorf("%d requests are counted, want 3", requests)
	}
}

// TestTwoNodesLookOnce lets two nodes share the duty: each response is looked at once and counted once.
func TestTwoNodesLookOnce(t *testing.T) {
	t.Parallel()
	p, web := newSlowProvider(t), client(t)
	database, secrets := storetest.Postgres(t), t.TempDir()
	config := func(name string) string {
		return configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: "+name, "data: "+filepath.Join(t.TempDir(), name), "database: "+database,
			"pepper: file://"+filepath.Join(secrets, "pepper"), "kek: file://"+filepath.Join(secrets, "kek"), "drain: 1s", "private_upstreams: [127.0.0.1]", "log: {access: false}")
	}
	first := config("a")
	f := found(t, first)
	a, b := serve(t, first), serve(t, config("b"))
	key := p.declare(t, web, a, f)
	eventually(t, "node b knows the key", func() bool {
		return ask(t.Context(), web, http.MethodGet, b.URL+"/v1/models", key, nil).Status == http.StatusOK
	})
	const n = 12
	var ids []string
	for i := range n {
		id, _ := begin(t, web, []*node{a, b}[i%2], key)
		p.set(id, "completed")
		ids = append(ids, id)
	}
	eventually(t, "all are counted", func() bool {
		requests, input, output := countedWork(t, web, a, f.AdminKey)
		return requests == n && input == 11*n && output == 7*n
	})
	if requests, _, _ := countedWork(t, web, b, f.AdminKey); requests != n {
		t.Errorf("%d requests are counted, want %d", requests, n)
	}
	for _, id := range ids {
		if looks := p.looked(id); looks != 1 {
			t.Errorf("%s was looked at %d times", id, looks)
		}
	}
}
