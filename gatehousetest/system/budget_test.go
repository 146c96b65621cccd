package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/server"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// The prices of gpt-4o-mini in nano-USD a token, as the upstream of this test charges them.
const (
	miniInput  = 150
	miniOutput = 600
)

// till is an upstream that counts what it delivers and what that costs.
type till struct {
	requests atomic.Int64
	cost     atomic.Int64
}

func (u *till) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		MaxTokens int64 `json:"max_tokens"`
	}
	if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &asked) != nil {
		return // the caller is gone before it had asked for anything
	}
	in, out := 10+rand.Int64N(20), rand.Int64N(asked.MaxTokens+1)
	u.requests.Add(1)
	u.cost.Add(in*miniInput + out*miniOutput)
	select {
	case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond): // a model thinks for a while, so that requests are open when nodes die
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],`+
		`"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, in, out, in+out)
}

// redisServer is a Redis of this test that can be restarted.
type redisServer struct {
	tb      testing.TB
	address string
	cmd     *exec.Cmd
}

func newRedis(tb testing.TB) *redisServer {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &redisServer{tb: tb, address: l.Addr().String()}
	_ = l.Close() // Redis takes its port
	r.start()
	tb.Cleanup(r.kill)
	return r
}

func (r *redisServer) start() {
	r.tb.Helper()
	name := "valkey-server"
	if _, err := exec.LookPath(name); err != nil {
		name = "redis-server"
	}
	if _, err := exec.LookPath(name); err != nil {
		_ = storetest.Redis(r.tb) // skips, or fails where it is required
	}
	_, port, _ := net.SplitHostPort(r.address)
	r.cmd = exec.Command(name, "--bind", "127.0.0.1", "--port", port, "--dir", r.tb.TempDir(), "--save", "", "--appendonly", "no")
	if err := r.cmd.Start(); err != nil {
		r.tb.Fatal(err)
	}
	eventually(r.tb, "Redis answers", func() bool { return r.command("PING") == nil })
}

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()
}

// command sends a command and waits for its answer.
func (r *redisServer) command(line string) error {
	c, err := net.DialTimeout("tcp", r.address, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
		return err
	}
	var b [1]byte
	_, err = c.Read(b[:])
	return err
}

// TestFourNodesKeepOneCap lets many clients spend a small budget through four processes on one PostgreSQL and one Redis, and through a
// fifth node whose clock is three minutes ahead, while processes are killed and started again and Redis is flushed and restarted: what
// the upstream delivered never costs more than the cap, and what is recorded is what the budget has counted.
func TestFourNodesKeepOneCap(t *testing.T) {
	const limit = 120 * time.Second // a busy machine takes long to spend the cap; an idle one seconds
	began := time.Now()
	direct := storetest.Postgres(t)
	redis := newRedis(t)
	upstream := &till{}
	provider := httptest.NewServer(upstream)
	t.Cleanup(provider.Close)
	t.Setenv("UPSTREAM_API_KEY", "x")

	secrets := t.TempDir()
	config := func(name string) string {
		return configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: "+name, "data: "+filepath.Join(t.TempDir(), name), "database: "+direct,
			"valkey: redis://"+redis.address, "pepper: file://"+filepath.Join(secrets, "pepper"), "kek: file://"+filepath.Join(secrets, "kek"),
			"max_staleness: 10s", "drain: 1s", "log: {access: false}", "private_upstreams: [127.0.0.1]")
	}
	configs := []string{config("a"), config("b"), config("c"), config("d")}
	f := found(t, configs[0])
	c := client(t)
	c.Timeout = 5 * time.Second
	env := "UPSTREAM_API_KEY=x"
	nodes := make([]*node, len(configs))
	for i := range configs {
		nodes[i] = serve(t, configs[i], env)
	}
	skewed := inProcess(t, config("e"), server.Options{Now: func() time.Time { return time.Now().Add(3 * time.Minute) }})
	p := &pair{founded: f, a: nodes[0], b: nodes[1], client: c}
	must(t, c, http.MethodPost, nodes[0].URL+"/gatehouse/v1/apply", f.AdminKey, []byte(`
upstreams: [{name: till, dialect: openai, base_url: "`+provider.URL+`/v1", allow_private: true, credential: {key: "env://UPSTREAM_API_KEY"}}]
deployments: [{name: gpt-4o-mini, routes: [{upstream: till}]}]
`), nil)
	project, account := p.project(t, "shop")
	key := p.key(t, project, account)
	const capNano = 40_000_000 // about 2,500 requests
	var made struct{ ID string }
	must(t, c, http.MethodPost, nodes[0].URL+"/gatehouse/v1/budgets", f.AdminKey, map[string]any{"name": "cap", "scope": "organization", "amount_usd": 0.04,
		"window": map[string]any{"period": "total"}, "enforcement": "hard"}, &made)

	// The nodes that clients see; "" for one that is down.
	var mu sync.Mutex
	urls := make([]string, len(nodes)+1)
	for i, n := range nodes {
		urls[i] = n.URL
	}
	urls[len(nodes)] = skewed.URL
	for _, u := range urls {
		eventually(t, "every node knows the key and the budget", func() bool {
			r := ask(t.Context(), c, http.MethodGet, u+"/v1/models", key.value, nil)
			return r.Status == http.StatusOK && ask(t.Context(), c, http.MethodGet, u+"/gatehouse/v1/budgets/"+made.ID, f.AdminKey, nil).Status == http.StatusOK
		})
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	var served, final, again, other atomic.Int64
	var odd sync.Map
	for range 24 {
		clients.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				target := urls[rand.IntN(len(urls))]
				mu.Unlock()
				if target == "" {
					pause(ctx, 5*time.Millisecond)
					continue
				}
				body := fmt.Sprintf(`{"model":"gpt-4o-mini","max_tokens":%d,"messages":[{"role":"user","content":"Hello there"}]}`, 1+rand.IntN(50))
				r := ask(ctx, c, http.MethodPost, target+"/v1/chat/completions", key.value, []byte(body))
				switch {
				case r.Err != nil: // its node died
				case r.Status == http.StatusOK:
					served.Add(1)
				case r.Status == http.StatusTooManyRequests && r.Header.Get("x-should-retry") == "false":
					final.Add(1)
					pause(ctx, 50*time.Millisecond)
				case r.Status == http.StatusTooManyRequests:
					again.Add(1)
					pause(ctx, 20*time.Millisecond)
				default:
					other.Add(1)
					odd.Store(fmt.Sprintf("%d %s", r.Status, clipped(r.Body)), true)
				}
			}
		})
	}
	killed, flushed := 0, 0
	for time.Since(began) < limit && final.Load() < 400 {
		pause(ctx, time.Duration(200+rand.IntN(600))*time.Millisecond)
		i := rand.IntN(len(nodes))
		mu.Lock()
		urls[i] = ""
		mu.Unlock()
		nodes[i].kill()
		killed++
		switch rand.IntN(4) {
		case 0:
			if err := redis.command("FLUSHALL"); err == nil {
				flushed++
			}
		case 1:
			redis.kill()
			redis.start()
			flushed++
		}
		pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
		nodes[i] = serve(t, configs[i], env)
		mu.Lock()
		urls[i] = nodes[i].URL
		mu.Unlock()
	}
	stop()
	clients.Wait()

	odd.Range(func(what, _ any) bool { t.Logf("other answers: %v", what); return true })

	// Everything that was journaled reaches the database.
	db, err := store.Open(t.Context(), direct, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, n := range append(nodes, skewed) {
		eventually(t, "the journal is recorded", func() bool {
			return metric(t, c, n, "gatehouse_journal_pending_bytes") < 2048 && metric(t, c, n, "gatehouse_holds") == 0
		})
	}
	var sum gatehouse.NanoUSD
	var rows int64
	recovered := 0
	ids := map[string]bool{}
	var window store.WindowRow
	look := func() {
		sum, rows, recovered = 0, 0, 0
		clear(ids)
		err := db.View(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
			windows, err := tx.BudgetWindows([]string{made.ID}, 0)
			if err != nil || len(windows) != 1 {
				return fmt.Errorf("%d windows: %w", len(windows), err)
			}
			window = windows[0]
			return tx.EachUsage(func(u *gatehouse.Usage) error {
				rows++
				sum += u.Cost
				if ids[u.ID] {
					t.Errorf("usage of %s is there twice", u.ID)
				}
				ids[u.ID] = true
				if u.Confidence == gatehouse.Recovered {
					recovered++
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	look()
	var used gatehouse.NanoUSD
	for _, s := range window.Slices {
		used += s.Used
		if s.Open != 0 {
			t.Errorf("%d of work is open at node %s, and none was begun", s.Open, s.Node)
		}
	}
	t.Logf("overshoot: %d nano-USD of cap %d, %d requests delivered, %d kills, %d flushes or restarts of Redis, %v", max(0, upstream.cost.Load()-capNano), capNano,
		upstream.requests.Load(), killed, flushed, time.Since(began).Round(time.Second))
	t.Logf("the upstream delivered for %d; usage says %d in %d rows (%d recovered at their bound); the budget has counted %d; %d answers seen, %d refused for good, %d for now, %d other",
		upstream.cost.Load(), sum, rows, recovered, used+window.Seed, served.Load(), final.Load(), again.Load(), other.Load())
	if got := upstream.cost.Load(); got > capNano {
		t.Errorf("the upstream delivered for %d nano-USD of a cap of %d", got, capNano)
	}
	if sum > capNano || window.Allotted() > capNano {
		t.Errorf("usage comes to %d and slices to %d of a cap of %d", sum, window.Allotted(), capNano)
	}
	if used+window.Seed != sum {
		t.Errorf("the budget has counted %d, usage comes to %d", used+window.Seed, sum)
	}
	if gatehouse.NanoUSD(upstream.cost.Load()) > sum {
		t.Errorf("the upstream delivered for %d and usage comes to %d", upstream.cost.Load(), sum)
	}
	if rows < served.Load() {
		t.Errorf("%d rows of usage for %d answers", rows, served.Load())
	}
	if killed < 3 || served.Load() < 100 || final.Load() == 0 {
		t.Errorf("%d kills, %d answers, %d final refusals: the run proves nothing", killed, served.Load(), final.Load())
	}
}
