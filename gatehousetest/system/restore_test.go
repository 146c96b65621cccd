package system_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/store/sums"
)

// traffic is callers that ask one node after another until they are stopped, and the ids of the answers they saw whole.
type traffic struct {
	stop func()

	mu    sync.Mutex
	whole map[string]bool // guarded by mu, as is the rest
	other map[int]int     // everything else that was answered, by status
}

// drive begins traffic with a key on nodes.
func drive(tb testing.TB, c *http.Client, key string, nodes ...*node) *traffic {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	t := &traffic{whole: map[string]bool{}, other: map[int]int{}}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { // ends with stop
			for n := i; ctx.Err() == nil; n++ {
				r := ask(ctx, c, http.MethodPost, nodes[n%len(nodes)].URL+"/v1/chat/completions", key, chat(n%3 == 0))
				t.mu.Lock()
				switch {
				case r.Err == nil && r.Status == http.StatusOK:
					t.whole[r.Header.Get("X-Request-Id")] = true
				case r.Status != http.StatusOK && ctx.Err() == nil:
					t.other[r.Status]++
				}
				t.mu.Unlock()
			}
		})
	}
	t.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	tb.Cleanup(t.stop)
	return t
}

func (t *traffic) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.whole)
}

// more waits for answers more than there are.
func (t *traffic) more(tb testing.TB, n int) {
	tb.Helper()
	want := t.count() + n
	eventually(tb, "traffic goes on", func() bool { return t.count() >= want })
}

// issue creates a key of the organization's owner.
func (f *founded) issue(tb testing.TB, c *http.Client, n *node) (id, value string) {
	tb.Helper()
	var created struct{ ID, Value string }
	must(tb, c, http.MethodPost, n.URL+"/gatehouse/v1/keys", f.AdminKey, map[string]any{"class": "project", "project_id": f.ProjectID, "user_id": f.UserID, "name": "k"}, &created)
	return created.ID, created.Value
}

// change changes a key, or with DELETE revokes it.
func (f *founded) change(tb testing.TB, c *http.Client, n *node, method, id string, body any) {
	tb.Helper()
	must(tb, c, method, n.URL+"/gatehouse/v1/keys/"+id, f.AdminKey, body, nil)
}

func status(tb testing.TB, c *http.Client, n *node, key string, model string) int {
	tb.Helper()
	body := chat(false)
	body["model"] = model
	r := ask(tb.Context(), c, http.MethodPost, n.URL+"/v1/chat/completions", key, body)
	if r.Err != nil {
		tb.Fatal(r.Err)
	}
	return r.Status
}

// restoredReport is what restore prints.
type restoredReport struct {
	Restored bool     `json:"restored"`
	Seq      int64    `json:"seq"`
	Epoch    int64    `json:"epoch"`
	Usage    int64    `json:"usage_recorded_again"`
	Narrowed int      `json:"narrowed_again"`
	Keys     []string `json:"unknown_keys"`
	Warnings []string `json:"warnings"`
	Losses   []loss   `json:"losses"`
}

type loss struct {
	Node  string           `json:"node"`
	From  gatehouse.Millis `json:"from"`
	To    gatehouse.Millis `json:"to"`
	Cause string           `json:"cause"`
}

// onHost runs a command on the host to its end and decodes what it prints.
func onHost(tb testing.TB, out any, args ...string) (code int, log string) {
	tb.Helper()
	n := start(tb, nil, append(args, "--json")...)
	code = n.wait(tb, patience)
	if text := n.out.bytes(); len(text) > 0 {
		if err := json.Unmarshal(text, out); err != nil {
			tb.Fatalf("%s printed %q: %v", strings.Join(args, " "), text, err)
		}
	}
	return code, string(n.log.bytes())
}

// backup makes a backup of a running installation.
func backup(tb testing.TB, config, to string) (seq int64) {
	tb.Helper()
	var made struct {
		Seq   int64    `json:"seq"`
		Notes []string `json:"notes"`
	}
	if code, log := onHost(tb, &made, "backup", "--config", config, "--to", to); code != 0 || len(made.Notes) > 0 {
		tb.Fatalf("backup exited with %d: %v\n%s", code, made.Notes, log)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		tb.Errorf("the backup's file: %v, %v", info, err)
	}
	return made.Seq
}

func lastSeq(tx *store.Tx) (epoch, seq int64, err error) {
	epoch, err = tx.Epoch()
	if err == nil {
		seq, err = tx.LastSeq()
	}
	return epoch, seq, err
}

// TestRestoreAfterLoss: a node is killed under load and its database deleted. The backup, made under load before, and what lies in
// the node's data folder bring back everything: what was revoked, suspended and restricted since stays so, every answer is counted,
// the feed goes on above. Without the folder the restore says what is lost and changes nothing unless it is told to.
func TestRestoreAfterLoss(t *testing.T) {
	s := newSingle(t)
	data, c := filepath.Join(s.dir, "data"), client(t)
	n := serve(t, s.config)
	used := s.ready(t, c, n)
	revokedID, revoked := s.issue(t, c, n)
	suspendedID, suspended := s.issue(t, c, n)
	restrictedID, restricted := s.issue(t, c, n)
	load := drive(t, c, used, n)
	load.more(t, 40)

	file := filepath.Join(s.dir, "one.backup.gz")
	backup(t, s.config, file)
	load.more(t, 40)
	s.change(t, c, n, http.MethodDelete, revokedID, nil)
	must(t, c, http.MethodPost, n.URL+"/gatehouse/v1/keys/"+suspendedID+"/suspend", s.AdminKey, nil, nil)
	s.change(t, c, n, http.MethodPost, restrictedID, map[string]any{"models": []string{"another"}})
	lateID, late := s.issue(t, c, n)
	if got := status(t, c, n, late, "gpt-4o-mini"); got != http.StatusOK {
		t.Fatalf("the late key gets %d", got)
	}
	seen := load.count()
	eventually(t, "what was answered after the backup is recorded", func() bool {
		var n int64
		view(t, data, func(tx *store.Tx) (err error) { n, err = tx.CountUsage(); return err })
		return n >= int64(seen)
	})
	load.more(t, 40)
	var before int64
	view(t, data, func(tx *store.Tx) (err error) { _, before, err = lastSeq(tx); return err })
	n.kill()
	load.stop()
	dropDatabase(t, data)

	// The folder is away: the restore says so and writes nothing.
	away := filepath.Join(s.dir, "away")
	if err := os.Rename(filepath.Join(data, "replay"), away); err != nil {
		t.Fatal(err)
	}
	var r restoredReport
	code, log := onHost(t, &r, "restore", "--config", s.config, "--from", file)
	if code != 1 || r.Restored || !slices.ContainsFunc(r.Losses, func(l loss) bool {
		return l.Node == "one" && l.From > 0 && l.To == 0 && strings.Contains(l.Cause, "were not given")
	}) {
		t.Errorf("restore without the folder exited with %d: %+v\n%s", code, r, log)
	}
	if _, err := os.Stat(filepath.Join(data, "gatehouse.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a restore that was refused left a database: %v", err)
	}
	if err := os.Rename(away, filepath.Join(data, "replay")); err != nil {
		t.Fatal(err)
	}

	r = restoredReport{}
	if code, log := onHost(t, &r, "restore", "--config", s.config, "--from", file); code != 0 || !r.Restored || len(r.Losses)+len(r.Warnings) > 0 {
		t.Fatalf("restore exited with %d: %+v\n%s", code, r, log)
	}
	t.Logf("restored: %+v", r)
	if r.Narrowed != 3 || r.Usage == 0 || !slices.Equal(r.Keys, []string{lateID}) || r.Seq <= before {
		t.Errorf("restored %+v, want 3 keys narrowed, usage, the late key %s unknown, and a number above %d", r, lateID, before)
	}
	n = serve(t, s.config)
	for name, test := range map[string]struct {
		key  string
		want int
	}{"used": {used, 200}, "revoked": {revoked, 401}, "suspended": {suspended, 401}, "restricted": {restricted, 403}, "late": {late, 401}} {
		if got := status(t, c, n, test.key, "gpt-4o-mini"); got != test.want {
			t.Errorf("the %s key gets %d, want %d", name, got, test.want)
		}
	}
	// What the node had not recorded yet is in its journal and comes with the start.
	n.signal(t, os.Interrupt)
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("the node ended with %d", code)
	}
	rows := readUsage(t, data)
	for id := range load.whole {
		if _, ok := rows[id]; !ok {
			t.Errorf("answer %s is not counted", id)
		}
	}
	checkSums(t, data)
	view(t, data, func(tx *store.Tx) error {
		epoch, seq, err := lastSeq(tx)
		if epoch != r.Epoch || seq < r.Seq {
			t.Errorf("epoch %d, last change %d; the restore said %d, %d", epoch, seq, r.Epoch, r.Seq)
		}
		return err
	})

	// Again, in the place of what is there, with the folder gone for good: only who accepts the loss gets the backup.
	if err := os.RemoveAll(filepath.Join(data, "replay")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
	}{
		{"without a word", nil, 1},
		{"accepting the loss, over data", []string{"--accept-loss"}, 1},
		{"of another name", []string{"--accept-loss", "--replace", "other.db"}, 1},
		{"accepting everything", []string{"--accept-loss", "--replace", "gatehouse.db"}, 0},
	} {
		rows := len(readUsage(t, data))
		var again restoredReport
		code, log := onHost(t, &again, append([]string{"restore", "--config", s.config, "--from", file}, test.args...)...)
		if code != test.code || again.Restored != (code == 0) {
			t.Errorf("%s: exited with %d: %+v\n%s", test.name, code, again, log)
		}
		if code != 0 && len(readUsage(t, data)) != rows {
			t.Errorf("%s: a refused restore changed the database", test.name)
		}
		if code == 0 && (len(again.Losses) == 0 || again.Seq < r.Seq+1_000_000) {
			t.Errorf("%s: %+v", test.name, again)
		}
	}
	n = serve(t, s.config)
	if got := status(t, c, n, revoked, "gpt-4o-mini"); got != http.StatusOK {
		t.Errorf("the key that was revoked after the backup gets %d, and the loss was accepted", got)
	}
}

func dropDatabase(tb testing.TB, data string) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(data, "gatehouse.db*"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("database files %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestRestoreUnderTwoNodes: two nodes serve from PostgreSQL while its content is replaced by a backup. Nothing that was revoked is
// accepted again by either, both go on with what was restored, and every answer before and after is counted once.
func TestRestoreUnderTwoNodes(t *testing.T) {
	url, dir, c := storetest.Postgres(t), t.TempDir(), client(t)
	config := func(name string) string {
		return configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: "+name, "data: "+filepath.Join(dir, name), "database: "+url,
			"pepper: file://"+filepath.Join(dir, "pepper"), "kek: file://"+filepath.Join(dir, "kek"), "max_staleness: 10s", "log: {access: false}")
	}
	first, second := config("a"), config("b")
	f := found(t, first)
	s := &single{founded: f}
	a, b := serve(t, first), serve(t, second)
	used := s.ready(t, c, a)
	revokedID, revoked := f.issue(t, c, a)
	for _, n := range []*node{a, b} {
		for _, key := range []string{used, revoked} {
			eventually(t, "a new key is accepted", func() bool { return status(t, c, n, key, "gpt-4o-mini") == http.StatusOK })
		}
	}
	load := drive(t, c, used, a, b)
	load.more(t, 40)
	file := filepath.Join(dir, "two.backup.gz")
	backup(t, first, file)
	load.more(t, 40)
	f.change(t, c, a, http.MethodDelete, revokedID, nil)
	load.more(t, 40)

	// Node b's files are not there: it is named.
	var r restoredReport
	other := configFile(t, "data: "+filepath.Join(dir, "nowhere"), "database: "+url, "node: host", "pepper: file://"+filepath.Join(dir, "pepper"), "kek: file://"+filepath.Join(dir, "kek"))
	code, log := onHost(t, &r, "restore", "--config", other, "--from", file, "--replace", filepath.Base(url), "--replay", filepath.Join(dir, "a"))
	if code != 1 || len(r.Losses) != 1 || r.Losses[0].Node != "b" {
		t.Errorf("restore without node b's folder exited with %d: %+v\n%s", code, r, log)
	}

	stop := make(chan struct{})
	var watching sync.WaitGroup
	for _, n := range []*node{a, b} {
		watching.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r := ask(t.Context(), c, http.MethodPost, n.URL+"/v1/chat/completions", revoked, chat(false)); r.Status == http.StatusOK {
					t.Error("the revoked key was accepted")
					return
				}
			}
		})
	}
	r = restoredReport{}
	code, log = onHost(t, &r, "restore", "--config", other, "--from", file, "--replace", filepath.Base(url), "--replay", filepath.Join(dir, "a"), "--replay", filepath.Join(dir, "b"))
	if code != 0 || !r.Restored || len(r.Losses) > 0 || r.Narrowed != 1 || r.Usage == 0 {
		t.Fatalf("restore exited with %d: %+v\n%s", code, r, log)
	}
	t.Logf("restored: %+v", r)
	for _, n := range []*node{a, b} {
		// Until it sees that the database is another one a node serves from memory, as ever while its lease lasts.
		eventually(t, "the node serves again, with what was restored", func() bool {
			return int64(metric(t, c, n, "gatehouse_applied_sequence")) >= r.Seq && status(t, c, n, used, "gpt-4o-mini") == http.StatusOK
		})
	}
	load.more(t, 40)
	load.stop()
	close(stop)
	watching.Wait()
	lateID, late := f.issue(t, c, b)
	eventually(t, "a key made after the restore is accepted", func() bool { return status(t, c, a, late, "gpt-4o-mini") == http.StatusOK })
	f.change(t, c, b, http.MethodDelete, lateID, nil)
	for _, n := range []*node{a, b} {
		eventually(t, "a revocation after the restore holds", func() bool { return status(t, c, n, late, "gpt-4o-mini") == http.StatusUnauthorized })
	}
	for _, n := range []*node{a, b} {
		n.signal(t, os.Interrupt)
		if code := n.wait(t, patience); code != 0 {
			t.Errorf("a node ended with %d", code)
		}
	}
	db, err := store.Open(t.Context(), url, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	counted := map[string]int{}
	var requests int64
	err = db.View(t.Context(), func(tx *store.Tx) error {
		if err := tx.EachUsage(func(u *gatehouse.Usage) error { counted[u.ID]++; return nil }); err != nil {
			return err
		}
		return tx.EachSum("1m", func(_ string, _ gatehouse.Millis, _ [sums.Dims]string, s *store.Sums) error {
			requests += s.Requests
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id := range load.whole {
		if counted[id] != 1 {
			lost++
		}
	}
	t.Logf("%d answers, %d rows of usage, refused meanwhile: %v", len(load.whole), len(counted), load.other)
	if lost > 0 || requests != int64(len(counted)) {
		t.Errorf("%d of %d answers are not counted once; the sums count %d of %d rows", lost, len(load.whole), requests, len(counted))
	}
	for code := range load.other {
		if code != http.StatusServiceUnavailable {
			t.Errorf("%d answers with status %d, want none but 503 while the database was replaced", load.other[code], code)
		}
	}
}
