package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// crashEnv makes the test binary the process that is killed: the data directory, a space, and the database.
const crashEnv = "GATEHOUSE_LEDGER_CRASH"

func TestMain(m *testing.M) {
	if dir, url, ok := strings.Cut(os.Getenv(crashEnv), " "); ok {
		fmt.Fprintln(os.Stderr, crashChild(dir, url))
		os.Exit(1) // it ends by being killed
	}
	os.Exit(m.Run())
}

// crashChild reserves and settles without end and writes a line to stdout after each step that was acknowledged: "held ID",
// "settled ID" or "released ID". Some holds are never settled.
func crashChild(dir, url string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, url, store.Config{})
	if err != nil {
		return err
	}
	l, err := Open(ctx, Config{Dir: dir, DB: db, Sync: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	small(l)
	go func() { _ = l.Run(ctx) }() // ends with the process
	var out sync.Mutex
	say := func(what, id string) {
		out.Lock()
		defer out.Unlock()
		// One write(2): the parent sees whole lines or a cut last one.
		_, _ = os.Stdout.WriteString(what + " " + id + "\n")
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("req_%d_%d_%d", os.Getpid(), worker, n)
				h := new(Hold)
				if err := l.Reserve(context.Background(), charge(id), h); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				say("held", id)
				s, done := settlement(id), "settled"
				switch n % 10 {
				case 3:
					continue // as if it streamed when the process ended
				case 7:
					s.Released, done = true, "released"
				}
				if err := h.Settle(s); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				say(done, id)
			}
		})
	}
	wg.Wait()
	return errors.New("the journal could not be written")
}

// TestKilled kills a process that reserves and settles as fast as it can, again and again on one directory, and looks at what
// the next one finds: every acknowledged settlement once, every acknowledged hold settled or recovered, nothing twice, and no
// released request charged.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills 24 processes")
	}
	rounds := 16
	if raceEnabled {
		rounds = 6 // the child is no faster for being watched, and SQLite a great deal slower
	}
	t.Run("sqlite", func(t *testing.T) { testKilled(t, "sqlite:"+filepath.Join(t.TempDir(), "gatehouse.db"), rounds) })
	t.Run("postgres", func(t *testing.T) { testKilled(t, storetest.Postgres(t), rounds/2) })
}

func testKilled(t *testing.T, url string, rounds int) {
	dir := t.TempDir()
	db := database(t, url)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{} // id -> the last thing said of it
	for round := range rounds {
		from, most := firstLine, 60
		switch round % 10 {
		case 4, 9:
			from, most = start, 120 // often inside its recovery
		case 7:
			most = 600 // after some batches
		}
		for _, line := range killedRun(t, dir, url, from, time.Duration(1+rand.IntN(most))*time.Millisecond) {
			what, id, _ := strings.Cut(line, " ")
			said[id] = what
		}
		if round%8 == 7 { // the other times the next child recovers
			checkKilled(t, dir, url, said)
		}
	}
	checkKilled(t, dir, url, said)
	count := map[string]int{}
	for _, what := range said {
		count[what]++
	}
	t.Logf("acknowledged: %v", count)
	if count["settled"] < 10*rounds || count["held"] < rounds || count["released"] < rounds {
		t.Errorf("too little happened to prove anything: %v", count)
	}
}

func database(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // some tests have closed it
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// moment is what the time until a child is killed counts from.
type moment int

const (
	start moment = iota
	firstLine
)

// killedRun runs a child on dir, kills it some time after a moment, and returns the whole lines it said.
func killedRun(t *testing.T, dir, url string, from moment, after time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir+" "+url)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() } // an error: it is dead already
	if from == start {
		time.AfterFunc(after, kill)
	}
	var lines []string
	in := bufio.NewReader(stdout)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if err != io.EOF {
				t.Errorf("read the child: %v", err)
			}
			break // the cut rest of a line was not acknowledged
		}
		if len(lines) == 0 && from == firstLine {
			time.AfterFunc(after, kill)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	_ = cmd.Wait() // it was killed
	if from == firstLine && len(lines) == 0 || stderr.Len() > 0 {
		t.Fatalf("the child ended by itself after %d lines: %s", len(lines), stderr.String())
	}
	return lines
}

func checkKilled(t *testing.T, dir, url string, said map[string]string) {
	t.Helper()
	ctx := t.Context()
	db := database(t, url)
	l, err := Open(ctx, Config{Dir: dir, DB: db, Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.DamagedBytes != 0 || s.Holds != 0 || s.Rejected != 0 {
		t.Errorf("stats = %+v", s)
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.View(ctx, func(tx *store.Tx) error {
		for id, what := range said {
			u, err := tx.Usage(id)
			if gatehouse.KindOf(err) == gatehouse.NotFound {
				u = &gatehouse.Usage{}
			} else if err != nil {
				return err
			}
			switch {
			case what == "released" && u.Confidence != "":
				t.Errorf("%s was released and is charged as %s", id, u.Confidence)
			case what == "settled" && u.Confidence != gatehouse.Reported:
				t.Errorf("%s was settled and its usage is %q", id, u.Confidence)
			case what == "held" && u.Confidence == "" && crashMustCost(id):
				t.Errorf("%s was held and left no usage", id)
			}
		}
		rows, err := tx.CountUsage()
		if err != nil {
			return err
		}
		buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: "org-1", Product: "completions", Start: 1_699_920_000_000, End: 1_700_006_400_000, Width: "1d"})
		if err != nil {
			return err
		}
		summed := int64(0)
		for _, b := range buckets {
			for _, r := range b.Results {
				summed += r.Requests
			}
		}
		if rows != summed {
			t.Errorf("%d usage rows and %d in the sums: something was counted twice or not", rows, summed)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// crashMustCost reports whether a request of crashChild must have a usage row once it was held: all but those it releases,
// which may have been released without a chance to say so.
func crashMustCost(id string) bool { return !strings.HasSuffix(id, "7") }
