package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// raw opens the database at url past the store, as an operator with a shell would.
func raw(tb testing.TB, databaseURL string) *sql.DB {
	tb.Helper()
	driver, source := "pgx", databaseURL
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		driver, source = "sqlite", (&url.URL{Scheme: "file", Path: path}).String()+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(tb testing.TB, db *sql.DB, query string) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), query); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

// TestNoEventNoChange makes the database refuse events: then it must refuse changes too.
func TestNoEventNoChange(t *testing.T) {
	refuse := map[string][]string{
		"sqlite": {`CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`},
		"postgres": {`CREATE FUNCTION no_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$`,
			`CREATE TRIGGER no_events BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_events()`},
	}
	allow := map[string]string{"sqlite": `DROP TRIGGER no_events`, "postgres": `DROP TRIGGER no_events ON events`}
	onEngines(t, func(t *testing.T, url string) {
		db := open(t, url, store.Config{})
		side := raw(t, url)
		heard := 0
		db.OnCommit(func(int64) { heard++ })
		org := &gatehouse.Organization{ID: "org-1"}
		create := func() (int64, error) {
			return db.Update(t.Context(), gatehouse.Event{Type: "organization.created"}, func(tx *store.Tx) error { return tx.CreateOrganization(org) })
		}
		for _, query := range refuse[db.Engine()] {
			mustExec(t, side, query)
		}
		if seq, err := create(); err == nil {
			t.Errorf("a change without its event committed as %d", seq)
		}
		if heard != 0 || org.Rev != 0 {
			t.Errorf("a change that failed was announced %d times and left rev %d", heard, org.Rev)
		}
		err := db.View(t.Context(), func(tx *store.Tx) error {
			if orgs, err := tx.Organizations(); len(orgs) != 0 || err != nil {
				t.Errorf("organizations %v, %v; want none", orgs, err)
			}
			if seq, err := tx.LastSeq(); seq != 0 || err != nil {
				t.Errorf("last number %d, %v; want 0", seq, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, side, allow[db.Engine()])
		if seq, err := create(); seq != 1 || err != nil || heard != 1 || org.Rev != 1 {
			t.Errorf("once events can be written: %d, %v, announced %d times, rev %d; want 1, nil, 1, 1", seq, err, heard, org.Rev)
		}
	})
}

// victimEnv makes this test binary a process that changes the database at its value until it is killed.
const victimEnv = "GATEHOUSE_TEST_VICTIM"

func TestMain(m *testing.M) {
	if url := os.Getenv(victimEnv); url != "" {
		fmt.Fprintln(os.Stderr, victim(url))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim makes one change and one record after another, prints the number of each as soon as it is told that both are durable,
// and leaves another change open all the time.
func victim(url string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, url, store.Config{Exclusive: true})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		org := fmt.Sprintf("org-%d-%d", os.Getpid(), i)
		seq, err := db.Update(ctx, gatehouse.Event{Type: "organization.created", SubjectID: org}, func(tx *store.Tx) error {
			return tx.CreateOrganization(&gatehouse.Organization{ID: org})
		})
		if err != nil {
			return err
		}
		batch := store.Batch{}
		for n := range 5 {
			batch.Usage = append(batch.Usage, gatehouse.Usage{ID: fmt.Sprintf("%s/%d", org, n), At: 1, Organization: "org", Product: "completions", Units: gatehouse.Units{Input: 1}})
		}
		if err := db.Record(ctx, batch); err != nil {
			return err
		}
		fmt.Println(seq)
	}
}

// TestKill kills a process with SIGKILL while it writes, several times: everything it said was durable is there, once, and nothing
// is there by half.
func TestKill(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		open(t, url, store.Config{})
		promised := int64(0)
		for round := range 4 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), victimEnv+"="+url)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			for range 5 + 3*round {
				if !lines.Scan() {
					t.Fatal("the process ended by itself")
				}
				promised++
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() { // what it said before it died
				promised++
			}
			_ = cmd.Wait() // it was killed
		}

		db := open(t, url, store.Config{Exclusive: true}) // the lock of a killed process is free
		err := db.View(t.Context(), func(tx *store.Tx) error {
			last, err := tx.LastSeq()
			if err != nil {
				return err
			}
			events, err := tx.EventsAfter(0, 1_000_000)
			if err != nil {
				return err
			}
			if int64(len(events)) != last || last < promised {
				t.Errorf("%d events, last number %d, %d promised", len(events), last, promised)
			}
			for i, ev := range events {
				if ev.Seq != int64(i+1) {
					t.Fatalf("event %d has number %d", i+1, ev.Seq)
				}
				if _, err := tx.Organization(ev.SubjectID); err != nil {
					t.Errorf("event %d without its change: %v", ev.Seq, err)
				}
			}
			orgs, err := tx.Organizations()
			if err != nil {
				return err
			}
			if len(orgs) != len(events) {
				t.Errorf("%d changes, %d events", len(orgs), len(events))
			}
			rows, err := tx.CountUsage()
			if err != nil {
				return err
			}
			buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: "org", Product: "completions", Start: 1, End: 2, Width: "1d"})
			if err != nil {
				return err
			}
			if sum := buckets[0].Results[0].Requests; sum != rows || rows%5 != 0 || rows < 5*promised {
				t.Errorf("%d usage rows, %d in the sums, at least %d promised", rows, sum, 5*promised)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestMigrateFromEmpty lets several processes' worth of stores meet an empty database at once.
func TestMigrateFromEmpty(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		errs := make(chan error)
		const n = 6
		for range n {
			go func() { // ends with its migration
				errs <- func() error {
					db, err := store.Open(context.WithoutCancel(t.Context()), url, store.Config{})
					if err != nil {
						return err
					}
					defer func() { _ = db.Close() }()
					return db.Migrate(context.WithoutCancel(t.Context()))
				}()
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		var applied, newest int
		if err := raw(t, url).QueryRowContext(t.Context(), `SELECT COUNT(*), MAX(version) FROM schema_migrations`).Scan(&applied, &newest); err != nil {
			t.Fatal(err)
		}
		if applied != newest || applied == 0 {
			t.Errorf("%d migrations applied, the newest is %d", applied, newest)
		}
	})
}

// TestNewerDatabase proves that a binary leaves a database alone that a newer one has migrated.
func TestNewerDatabase(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		db := open(t, url, store.Config{})
		mustExec(t, raw(t, url), `INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'future', 1)`)
		err := db.Migrate(t.Context())
		if gatehouse.KindOf(err) != gatehouse.Conflict || !strings.Contains(err.Error(), "9999") || !strings.Contains(err.Error(), "newer") {
			t.Errorf("migrate: %v; want a Conflict that names the version and says what to do", err)
		}
	})
}

func TestExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	first := open(t, "sqlite:"+path, store.Config{Exclusive: true})
	_, err := store.Open(t.Context(), "sqlite:"+path, store.Config{Exclusive: true})
	if gatehouse.KindOf(err) != gatehouse.Conflict || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second exclusive open: %v; want a Conflict that names the process", err)
	}
	// A command on the host may read and change beside the node.
	second := open(t, "sqlite:"+path, store.Config{})
	if _, err := second.Update(t.Context(), gatehouse.Event{Type: "t"}, func(*store.Tx) error { return nil }); err != nil {
		t.Errorf("update beside the node: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+path, store.Config{Exclusive: true})
}

// TestFileMode proves that nobody else on the host can read a SQLite database, nor what SQLite keeps beside it.
func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	open(t, "sqlite:"+filepath.Join(dir, "gatehouse.db"), store.Config{Exclusive: true})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 3 {
		t.Errorf("%d files, want the database, its log and its lock at least", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		url  string
		want gatehouse.Kind
	}{
		{"", gatehouse.Invalid},
		{"mysql://h/d", gatehouse.Invalid},
		{"gatehouse.db", gatehouse.Invalid},
		{"sqlite:", gatehouse.Invalid},
		{"sqlite::memory:", gatehouse.Invalid},
		{"sqlite:" + filepath.Join(t.TempDir(), "none", "gatehouse.db"), gatehouse.Unavailable},
		{"postgres://u:hunter2@127.0.0.1:x/d", gatehouse.Invalid},
		{"postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable", gatehouse.Unavailable},
	} {
		db, err := store.Open(t.Context(), c.url, store.Config{})
		if err == nil {
			_ = db.Close()
		}
		if gatehouse.KindOf(err) != c.want || err == nil {
			t.Errorf("open %q: %v (kind %v), want kind %v", c.url, err, gatehouse.KindOf(err), c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open %q shows the password: %v", c.url, err)
		}
	}
}
