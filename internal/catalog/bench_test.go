package catalog_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/valkey"
)

const millionKeys = 1_000_000

// BenchmarkMillionKeys loads a million keys from SQLite, each a service account's own, and reports the time of one load, what the
// heap holds for a key, and the memory of the whole process after it.
func BenchmarkMillionKeys(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	url := database(b, "sqlite:"+path, 0)
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		b.Fatal(err)
	}
	const accounts = 1000
	execute(b, raw, `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < `+strconv.Itoa(accounts)+`)
		INSERT INTO service_accounts (id, organization, project, name, role, created_at, removed_at, rev)
		SELECT 'svc_acct_' || printf('%024d', i), 'org-1', 'proj_1', 'service', 'member', 1, 0, 1 FROM n`)
	execute(b, raw, `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < `+strconv.Itoa(millionKeys)+`)
		INSERT INTO keys (id, class, organization, project, owner_user, owner_service_account, name, labels, scopes, models, allowed_ips,
		created_at, expires_at, suspended_at, revoked_at, redacted, digest, pepper_version, rev)
		SELECT 'key_' || printf('%011d', i), 's', 'org-1', 'proj_1', NULL, 'svc_acct_' || printf('%024d', i % `+strconv.Itoa(accounts)+`), 'a key of a service',
		'{"env":"prod"}', CASE i % 4 WHEN 0 THEN '["model.request"]' ELSE '' END, '', '', 1, 0, 0, 0, 'sk-svcacct-...abcd', randomblob(32), 1, 1 FROM n`)
	if err := raw.Close(); err != nil {
		b.Fatal(err)
	}
	// A process of its own, so that it holds nothing but the catalog.
	var rss, peak, perKey, seconds float64
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestLoadMillionKeys$")
		cmd.Env = append(os.Environ(), millionEnv+"="+url)
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		if _, err := fmt.Sscanf(string(out), "%g %g %g %g", &seconds, &perKey, &rss, &peak); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	b.ReportMetric(seconds, "s/load")
	b.ReportMetric(perKey, "B/key")
	b.ReportMetric(rss, "MB-rss")
	b.ReportMetric(peak, "MB-rss-peak")
}

const millionEnv = "GATEHOUSE_BENCH_MILLION"

// TestLoadMillionKeys is the process that BenchmarkMillionKeys measures.
func TestLoadMillionKeys(t *testing.T) {
	url := os.Getenv(millionEnv)
	if url == "" {
		t.Skip("it runs for BenchmarkMillionKeys")
	}
	db := open(t, url)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	c, err := catalog.Open(t.Context(), catalog.Config{DB: db, Node: "a", SingleNode: true})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	rss, peak := resident(t, "VmRSS"), resident(t, "VmHWM")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if k := c.Key(publicID(millionKeys - 1)); k == nil || k.State(1) != gatehouse.Active || k.OwnerServiceAccount() == "" {
		t.Fatalf("the last key is %+v", k)
	}
	fmt.Println(took.Seconds(), float64(after.HeapAlloc-before.HeapAlloc)/millionKeys, rss, peak)
}

// resident returns a line of /proc/self/status in megabytes (1e6 bytes).
func resident(b testing.TB, line string) float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		b.Skip("no /proc")
	}
	defer func() { _ = f.Close() }() // only read
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), line+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb * 1024 / 1e6
		}
	}
	b.Fatalf("no %s", line)
	return 0
}

// BenchmarkRevoke revokes keys, one after another, until both of two idle nodes have applied it. The nodes poll: no news travels
// between them.
func BenchmarkRevoke(b *testing.B) { benchmarkRevoke(b, func() catalog.Waker { return nil }) }

// BenchmarkRevokeWithNews is the same with nodes that tell each other through Valkey.
func BenchmarkRevokeWithNews(b *testing.B) {
	address := "redis://" + storetest.Redis(b)
	benchmarkRevoke(b, func() catalog.Waker {
		w, err := valkey.Open(b.Context(), address, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = w.Close() })
		return w
	})
}

func benchmarkRevoke(b *testing.B, waker func() catalog.Waker) {
	url := database(b, storetest.Postgres(b), 0)
	var nodes []*node
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, openNode(b, url, catalog.Config{Node: name, MaxStaleness: time.Minute, Waker: waker()}).run(b))
	}
	var took []time.Duration
	i := 0
	for b.Loop() {
		b.StopTimer()
		createKey(b, nodes[0].db, i)
		settle(b, nodes[0], nodes[0].db)
		b.StartTimer()
		began := time.Now()
		seq, err := revokeKey(b.Context(), nodes[0].db, i)
		if err != nil {
			b.Fatal(err)
		}
		if effect := nodes[0].Settle(b.Context(), seq); !effect.Everywhere {
			b.Fatalf("Settle = %+v", effect)
		}
		took = append(took, time.Since(began))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
}

// settle waits until everything committed is applied everywhere.
func settle(b *testing.B, n *node, db *store.DB) {
	b.Helper()
	var last int64
	err := db.View(context.WithoutCancel(b.Context()), func(tx *store.Tx) (err error) {
		last, err = tx.LastSeq()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	n.Settle(b.Context(), last)
}
