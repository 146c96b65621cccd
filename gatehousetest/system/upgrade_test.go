package system_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/store/sums"
)

// previous is the last commit with the first schema: what an installation of before runs.
const previous = "a5ece66"

var previousBinary struct {
	once sync.Once
	path string
	why  string // it could not be built
}

// builtBefore returns a binary of the previous schema, built from the history of this repository. Without that, as in a shallow
// clone, the test is left out.
func builtBefore(tb testing.TB) string {
	tb.Helper()
	b := &previousBinary
	b.once.Do(func() { b.path, b.why = buildBefore() })
	if b.why != "" {
		if os.Getenv(storetest.RequireEnv) == "1" {
			tb.Fatal(b.why)
		}
		tb.Skip(b.why)
	}
	return b.path
}

func buildBefore() (path, why string) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err.Error()
	}
	if out, err := exec.Command("git", "-C", root, "cat-file", "-e", previous+"^{commit}").CombinedOutput(); err != nil {
		return "", fmt.Sprintf("the commit %s of the previous schema is not in this clone (%v: %s): fetch the whole history to run this test", previous, err, strings.TrimSpace(string(out)))
	}
	// Beside the binary of this build, whose folder goes when the tests end.
	dir := filepath.Join(filepath.Dir(binary), "previous")
	if os.Getenv("GATEHOUSE_BINARY") != "" {
		if dir, err = os.MkdirTemp("", "gatehouse-previous-"); err != nil {
			return "", err.Error()
		}
	}
	path = filepath.Join(dir, "gatehouse")
	script := `mkdir -p "$2/src" && git -C "$1" archive "$3" | tar -x -C "$2/src" && cd "$2/src" && CGO_ENABLED=0 go build -o "$2/gatehouse" ./cmd/gatehouse`
	if out, err := exec.Command("sh", "-c", script, "sh", root, dir, previous).CombinedOutput(); err != nil {
		return "", fmt.Sprintf("the previous version %s cannot be built here: %v: %s", previous, err, out)
	}
	return path, ""
}

// as runs fn with another binary in the place of this build's.
func as(path string, fn func()) {
	now := binary
	binary = path
	defer func() { binary = now }()
	fn()
}

// counted returns how often each settled request is in a database, and what its sums count.
func counted(tb testing.TB, url string) (usage map[string]int, requests int64) {
	tb.Helper()
	db, err := store.Open(tb.Context(), url, store.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	usage = map[string]int{}
	err = db.View(tb.Context(), func(tx *store.Tx) error {
		if err := tx.EachUsage(func(u *gatehouse.Usage) error { usage[u.ID]++; return nil }); err != nil {
			return err
		}
		return tx.EachSum("1m", func(_ string, _ gatehouse.Millis, _ [sums.Dims]string, s *store.Sums) error {
			requests += s.Requests
			return nil
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return usage, requests
}

// checkCounted wants every answer that a client saw whole counted once.
func checkCounted(tb testing.TB, url string, loads ...*traffic) {
	tb.Helper()
	usage, requests := counted(tb, url)
	answers, lost := 0, 0
	for _, load := range loads {
		for id := range load.whole {
			answers++
			if usage[id] != 1 {
				lost++
			}
		}
	}
	tb.Logf("%d answers, %d rows of usage", answers, len(usage))
	if lost > 0 || requests != int64(len(usage)) || answers == 0 {
		tb.Errorf("%d of %d answers are not counted once; the sums count %d of %d rows", lost, answers, requests, len(usage))
	}
}

// TestUpgradeOfANode: a node of the previous version is killed under load, and this version starts on its database and its data.
// Keys, projects and settings are there, every answer is counted, and only the restart was felt.
func TestUpgradeOfANode(t *testing.T) {
	before, c := builtBefore(t), client(t)
	var s *single
	var n *node
	as(before, func() { s = newSingle(t); n = serve(t, s.config) })
	used := s.ready(t, c, n)
	revokedID, revoked := s.issue(t, c, n)
	s.change(t, c, n, http.MethodDelete, revokedID, nil)
	load := drive(t, c, used, n)
	load.more(t, 300)
	n.kill()
	load.stop()

	n = serve(t, s.config)
	if got := status(t, c, n, used, "gpt-4o-mini"); got != http.StatusOK {
		t.Errorf("the key of before gets %d", got)
	}
	if got := status(t, c, n, revoked, "gpt-4o-mini"); got != http.StatusUnauthorized {
		t.Errorf("the key that was revoked before gets %d", got)
	}
	after := drive(t, c, used, n)
	after.more(t, 50)
	after.stop()
	n.signal(t, os.Interrupt)
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("the node ended with %d", code)
	}
	delete(load.other, 0) // the connections that the kill cut
	if len(after.other) > 0 || len(load.other) > 0 {
		t.Errorf("refused before: %v, after: %v", load.other, after.other)
	}
	checkCounted(t, "sqlite:"+filepath.Join(s.dir, "data", "gatehouse.db"), load, after)
	// What the node of before had recorded when it was killed it had added up by fewer dimensions.
	checkSums(t, filepath.Join(s.dir, "data"), sums.Upstream, sums.UpstreamModel, sums.Confidence, sums.Source, sums.Size, sums.Labels)
}

// TestUpgradeOfTwoNodes: two nodes of the previous version serve from PostgreSQL. One is replaced by this version, which migrates the
// schema under the other. The other goes on: it refuses nobody, learns of keys that the new one makes and revokes, and keeps its
// usage until it is replaced as well.
func TestUpgradeOfTwoNodes(t *testing.T) {
	before, c := builtBefore(t), client(t)
	url, dir := storetest.Postgres(t), t.TempDir()
	config := func(name string) string {
		return configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: "+name, "data: "+filepath.Join(dir, name), "database: "+url,
			"pepper: file://"+filepath.Join(dir, "pepper"), "kek: file://"+filepath.Join(dir, "kek"), "max_staleness: 30s", "drain: 5s", "log: {access: false}")
	}
	first, second := config("a"), config("b")
	var f founded
	var a, b *node
	as(before, func() {
		f = found(t, first)
		a, b = serve(t, first), serve(t, second)
	})
	used := (&single{founded: f}).ready(t, c, a)
	for _, n := range []*node{a, b} {
		eventually(t, "a new key is accepted", func() bool { return status(t, c, n, used, "gpt-4o-mini") == http.StatusOK })
	}
	loadA, loadB := drive(t, c, used, a), drive(t, c, used, b)
	loadA.more(t, 100)
	loadB.more(t, 100)

	// The balancer takes b out; its successor migrates while a serves.
	loadB.stop()
	b.signal(t, syscall.SIGTERM)
	if code := b.wait(t, patience); code != 0 {
		t.Errorf("the old node b ended with %d", code)
	}
	b = serve(t, second)
	loadB2 := drive(t, c, used, b)
	loadB2.more(t, 100)
	loadA.more(t, 100)
	keyID, key := f.issue(t, c, b)
	for _, n := range []*node{a, b} {
		eventually(t, "both nodes accept a key that the new one made", func() bool { return status(t, c, n, key, "gpt-4o-mini") == http.StatusOK })
	}
	f.change(t, c, b, http.MethodDelete, keyID, nil)
	for _, n := range []*node{a, b} {
		eventually(t, "both nodes refuse a key that the new one revoked", func() bool { return status(t, c, n, key, "gpt-4o-mini") == http.StatusUnauthorized })
	}
	oldID, old := f.issue(t, c, a)
	eventually(t, "the new node accepts a key that the old one made", func() bool { return status(t, c, b, old, "gpt-4o-mini") == http.StatusOK })
	f.change(t, c, b, http.MethodDelete, oldID, nil)
	loadA.more(t, 50)

	// Then a is replaced. What it could not record in the new schema is in its journal, which its successor reads.
	loadA.stop()
	a.signal(t, syscall.SIGTERM)
	a.wait(t, patience)
	a = serve(t, first)
	loadA2 := drive(t, c, used, a)
	loadA2.more(t, 50)
	for _, load := range []*traffic{loadA2, loadB2} {
		load.stop()
	}
	for _, n := range []*node{a, b} {
		n.signal(t, syscall.SIGTERM)
		if code := n.wait(t, patience); code != 0 {
			t.Errorf("a new node ended with %d", code)
		}
	}
	all := []*traffic{loadA, loadB, loadA2, loadB2}
	for i, load := range all {
		if len(load.other) > 0 {
			t.Errorf("traffic %d was refused: %v", i, load.other)
		}
	}
	checkCounted(t, url, all...)
}

// TestBackupOfARunningNode proves that a backup waits for nobody: it is made while requests are held open.
func TestBackupOfARunningNode(t *testing.T) {
	s, c := newSingle(t), client(t)
	n := serve(t, s.config)
	used := s.ready(t, c, n)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	open := make(chan reply, 1)
	go func() { // ends with its answer, or with ctx
		open <- ask(ctx, c, http.MethodPost, n.URL+"/v1/chat/completions", used, chat(true), "X-Mock-Tokens", "300", "X-Mock-Chunk-Delay-Ms", "10")
	}()
	eventually(t, "a stream is open", func() bool { return metric(t, c, n, "gatehouse_holds") > 0 })
	began := time.Now()
	backup(t, s.config, filepath.Join(s.dir, "b.gz"))
	took := time.Since(began)
	r := <-open
	if r.Err != nil || r.Status != http.StatusOK {
		t.Errorf("the open stream: %d, %v", r.Status, r.Err)
	}
	t.Logf("backup in %v", took.Round(time.Millisecond))
}
