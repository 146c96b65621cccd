package system_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/sums"
)

// kills is how often the process is killed: GATEHOUSE_KILLS, else 50.
func kills(tb testing.TB) int {
	n, err := strconv.Atoi(os.Getenv("GATEHOUSE_KILLS"))
	if os.Getenv("GATEHOUSE_KILLS") == "" {
		return 50
	}
	if err != nil || n < 1 {
		tb.Fatalf("GATEHOUSE_KILLS=%q: want a number from 1", os.Getenv("GATEHOUSE_KILLS"))
	}
	return n
}

// shape is one kind of request the clients make, and how its answer says that it is complete.
type shape struct {
	name, path, body string
	header           []string
	end              []byte // of a stream; nil: the body's length says so
}

var shapes = []shape{
	{name: "chat", path: "/v1/chat/completions", body: `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello there"}]}`, header: []string{"X-Mock-Latency-Ms", "3"}},
	{name: "chat stream", path: "/v1/chat/completions", body: `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello there"}]}`,
		header: []string{"X-Mock-Chunk-Delay-Ms", "2"}, end: []byte("data: [DONE]")},
	{name: "chat stream with usage", path: "/v1/chat/completions", body: `{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`,
		header: []string{"X-Mock-Chunk-Delay-Ms", "1"}, end: []byte("data: [DONE]")},
	{name: "responses", path: "/v1/responses", body: `{"model":"gpt-4o-mini","input":"Hello there"}`, header: []string{"X-Mock-Latency-Ms", "2"}},
	{name: "responses stream", path: "/v1/responses", body: `{"model":"gpt-4o-mini","stream":true,"input":"Hello there"}`, end: []byte("event: response.completed")},
	{name: "embeddings", path: "/v1/embeddings", body: `{"model":"text-embedding-3-small","input":"Hello there"}`},
	// One that is nearly always open when the process dies.
	{name: "long stream", path: "/v1/chat/completions", body: `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Go on"}]}`,
		header: []string{"X-Mock-Tokens", "400", "X-Mock-Chunk-Delay-Ms", "20"}, end: []byte("data: [DONE]")},
}

// herd is the clients' common state.
type herd struct {
	client *http.Client

	mu       sync.Mutex
	url      string          // guarded by mu, as is the rest; "" while nothing serves
	up       chan struct{}   // closed when url is set
	keys     []string        // every key that was ever handed out
	complete map[string]int  // request id -> shape: the caller saw the whole answer
	begun    map[string]bool // request id: a 200 had begun when the process died
	byShape  []int
	other    map[string]int // everything else that was answered, by status and code
}

// target waits for a node that serves.
func (h *herd) target(ctx context.Context) (url, key string, ok bool) {
	for {
		h.mu.Lock()
		url, up := h.url, h.up
		if url != "" {
			key = h.keys[rand.IntN(len(h.keys))]
			h.mu.Unlock()
			return url, key, true
		}
		h.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return "", "", false
		}
	}
}

func (h *herd) serving(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.url = n.URL
	h.keys = append(h.keys, n.APIKey, n.Azure.APIKey)
	close(h.up)
}

func (h *herd) down() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.url, h.up = "", make(chan struct{})
}

// run makes requests of one shape until ctx ends.
func (h *herd) run(ctx context.Context, which int) {
	for ctx.Err() == nil {
		url, key, ok := h.target(ctx)
		if !ok {
			return
		}
		h.one(ctx, url, key, which)
	}
}

func (h *herd) one(ctx context.Context, url, key string, which int) {
	s := &shapes[which]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+s.path, strings.NewReader(s.body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(s.header); i += 2 {
		req.Header.Set(s.header[i], s.header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return // no answer: nothing was promised
	}
	defer resp.Body.Close()
	id := resp.Header.Get("X-Request-Id")
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // as far as it came
		h.mu.Lock()
		h.other[fmt.Sprintf("%d %s", resp.StatusCode, clipped(text))]++
		h.mu.Unlock()
		return
	}
	whole := s.whole(resp)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !whole {
		h.begun[id] = true
		return
	}
	h.complete[id] = which
	h.byShape[which]++
}

func clipped(text []byte) string {
	if len(text) > 160 {
		text = text[:160]
	}
	return string(text)
}

// whole reads an answer and reports whether its reader had to take it for complete.
func (s *shape) whole(resp *http.Response) bool {
	if s.end == nil {
		text, err := io.ReadAll(resp.Body)
		return err == nil && (resp.ContentLength < 0 || int64(len(text)) == resp.ContentLength)
	}
	// An SDK stops at the event that ends the stream, whatever becomes of the connection.
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if bytes.HasPrefix(line, s.end) && err == nil {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// TestKillUnderLoad kills the process again and again while clients are served: what a client saw complete is counted once, what
// had begun is counted too, and everything issued stays valid.
func TestKillUnderLoad(t *testing.T) {
	data := t.TempDir()
	h := &herd{client: client(t), up: make(chan struct{}), complete: map[string]int{}, begun: map[string]bool{}, byShape: make([]int, len(shapes)), other: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for i := range 2 * len(shapes) {
		clients.Go(func() { h.run(ctx, i%len(shapes)) })
	}
	total, early, checks := kills(t), 0, 0
	began := time.Now()
	recovered := 0
	for i := range total {
		// Every seventh process dies while it starts: in the middle of recovery, of a migration, of minting keys.
		if i%7 == 3 {
			n := startDev(t, data)
			pause(ctx, time.Duration(rand.IntN(400))*time.Millisecond)
			n.kill()
			early++
			continue
		}
		n := dev(t, data)
		recovered += recoveries(t, h.client, n)
		h.serving(n)
		for _, key := range h.keys {
			if r := ask(ctx, h.client, http.MethodGet, n.URL+"/v1/models", key, nil); r.Status != http.StatusOK {
				t.Fatalf("after kill %d a key issued earlier is answered %d, %v: %s", i, r.Status, r.Err, r.Body)
			}
			checks++
		}
		pause(ctx, time.Duration(50+rand.IntN(900))*time.Millisecond)
		h.down()
		n.kill()
		h.client.CloseIdleConnections()
	}
	// The last one ends in good order.
	n := dev(t, data)
	recovered += recoveries(t, h.client, n)
	h.serving(n)
	pause(ctx, 300*time.Millisecond)
	h.down()
	n.signal(t, syscall.SIGTERM)
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	stop()
	clients.Wait()
	if left := journalBytes(t, data); left > 64<<10 {
		t.Errorf("%d bytes of journal after a drain: recorded segments are not released", left)
	}

	rows := readUsage(t, data)
	t.Logf("%d kills (%d while starting) in %v: %d complete answers seen, %d begun and broken, %d usage rows (%s), %d recovered said the logs, %d checks of %d keys",
		total, early, time.Since(began).Round(time.Second), len(h.complete), len(h.begun), len(rows), confidences(rows), recovered, checks, len(h.keys))
	for i, n := range h.byShape {
		t.Logf("  %-24s %d complete", shapes[i].name, n)
		if n == 0 && shapes[i].name != "long stream" {
			t.Errorf("no %s was ever complete: the run proves nothing about it", shapes[i].name)
		}
	}
	for what, n := range h.other {
		t.Errorf("%d answers: %s", n, what)
	}
	lost, estimated := 0, 0
	for id, which := range h.complete {
		switch row, ok := rows[id]; {
		case !ok:
			lost++
			t.Errorf("%s (%s) was complete and is not in usage", id, shapes[which].name)
		case row.Confidence != gatehouse.Reported:
			estimated++
			t.Errorf("%s (%s) was complete, and usage says %s", id, shapes[which].name, row.Confidence)
		}
	}
	cut := map[gatehouse.Confidence]int{}
	for id := range h.begun {
		row, ok := rows[id]
		if !ok {
			t.Errorf("%s had begun and is not in usage", id)
		}
		cut[row.Confidence]++
	}
	t.Logf("complete: %d lost, %d not as reported; begun and broken: %v", lost, estimated, cut)
	if cut[gatehouse.Recovered] == 0 {
		t.Error("nothing was open at any kill: the run proves nothing about recovery")
	}
	checkSums(t, data)
	checkExplained(t, data, h)
}

// pause lets the load run for a while.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// recoveries returns how many requests a node says it recovered when it started.
func recoveries(tb testing.TB, c *http.Client, n *node) int {
	tb.Helper()
	return int(metric(tb, c, n, "gatehouse_recovered_requests"))
}

// metric returns the value of a metric without labels.
func metric(tb testing.TB, c *http.Client, n *node, name string) float64 {
	tb.Helper()
	r := ask(tb.Context(), c, http.MethodGet, n.OpsURL+"/metrics", "", nil)
	for line := range strings.Lines(string(r.Body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				tb.Fatalf("metric %s: %v", name, err)
			}
			return v
		}
	}
	tb.Fatalf("no metric %s: status %d, %v", name, r.Status, r.Err)
	return 0
}

func journalBytes(tb testing.TB, data string) (total int64) {
	tb.Helper()
	files, err := os.ReadDir(filepath.Join(data, "journal"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			tb.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

// database opens a node's database to look at its rows with SQL of the test's own, so that a mistake in the store's queries
// cannot hide itself.
func database(tb testing.TB, data string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "gatehouse.db")+"?mode=ro")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() }) // read from only
	return db
}

// readUsage returns the settled requests of a database by id, and fails on an id that is there twice.
func readUsage(tb testing.TB, data string) map[string]gatehouse.Usage {
	tb.Helper()
	rows := map[string]gatehouse.Usage{}
	view(tb, data, func(tx *store.Tx) error {
		err := tx.EachUsage(func(u *gatehouse.Usage) error {
			if _, twice := rows[u.ID]; twice {
				tb.Errorf("%s is in usage twice", u.ID)
			}
			rows[u.ID] = *u
			return nil
		})
		if err != nil {
			return err
		}
		n, err := tx.CountUsage()
		if err == nil && n != int64(len(rows)) {
			tb.Errorf("the store counts %d settled requests, there are %d", n, len(rows))
		}
		return err
	})
	return rows
}

// view reads a node's database through the store.
func view(tb testing.TB, data string, fn func(*store.Tx) error) {
	tb.Helper()
	db, err := store.Open(tb.Context(), "sqlite:"+filepath.Join(data, "gatehouse.db"), store.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if err := db.View(tb.Context(), fn); err != nil {
		tb.Fatal(err)
	}
}

func confidences(rows map[string]gatehouse.Usage) string {
	counts := map[gatehouse.Confidence]int{}
	for _, u := range rows {
		counts[u.Confidence]++
	}
	var parts []string
	for c, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, c))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// sum is what sums are kept by.
type sum struct {
	organization string
	dims         [sums.Dims]string
	bucket       gatehouse.Millis
}

// checkSums compares the sums of every width with the settled requests they are the sums of,
// but for dimensions that are left out of the comparison.
func checkSums(tb testing.TB, data string, without ...sums.Dim) {
	tb.Helper()
	by := func(dims [sums.Dims]string) [sums.Dims]string {
		for _, d := range without {
			dims[d] = ""
		}
		return dims
	}
	rows := readUsage(tb, data)
	for name, width := range map[string]gatehouse.Millis{"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000} {
		want := map[sum]store.Sums{}
		for _, u := range rows {
			k := sum{u.Organization, by(sums.Of(&u)), u.At - u.At%width}
			s := want[k]
			s.Add(&u)
			want[k] = s
		}
		got := map[sum]store.Sums{}
		view(tb, data, func(tx *store.Tx) error {
			return tx.EachSum(name, func(organization string, bucket gatehouse.Millis, dims [sums.Dims]string, s *store.Sums) error {
				k := sum{organization, by(dims), bucket}
				all := got[k]
				all.Merge(s)
				got[k] = all
				return nil
			})
		})
		requests := int64(0)
		for k, s := range got {
			if want[k] != s {
				tb.Errorf("sum of %s %+v\n  is %+v\nwant %+v", name, k, s, want[k])
			}
			delete(want, k)
			requests += s.Requests
		}
		tb.Logf("sums of %s: over %d requests", name, requests)
		if len(want) != 0 || requests == 0 || requests != int64(len(rows)) {
			tb.Errorf("sums of %s: %d are not there; they count %d requests of %d", name, len(want), requests, len(rows))
		}
	}
}

// checkExplained wants the decision behind every answer a client saw complete, and says what it was.
func checkExplained(tb testing.TB, data string, h *herd) {
	tb.Helper()
	known := map[string]bool{}
	view(tb, data, func(tx *store.Tx) error {
		return tx.EachRequest(func(q *gatehouse.Request) error { known[q.ID] = true; return nil })
	})
	missing := 0
	for id := range h.complete {
		if !known[id] {
			missing++
		}
	}
	if missing > 0 {
		tb.Errorf("%d of %d complete answers cannot be explained", missing, len(h.complete))
	}
}
