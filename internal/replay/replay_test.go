package replay

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) millis() gatehouse.Millis { return gatehouse.MillisOf(c.at) }

func open(t testing.TB, dir string, c *clock) *Writer {
	t.Helper()
	w, err := Open(Config{Dir: dir, Node: "a", Install: "abcd", MaxAge: 1000 * time.Hour, MaxSize: 1 << 30, Now: c.now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func usage(id string) gatehouse.Usage {
	return gatehouse.Usage{ID: id, At: 1_700_000_000_000, Organization: "org-1", Project: "proj_1", Key: "key_1", Product: "completions", Model: "gpt-4o", UpstreamModel: "gpt-4o",
		Upstream: "openai", Units: gatehouse.Units{Input: 812, Output: 233, OutputText: 233}, Cost: 4_400_000, CostKnown: true, Confidence: gatehouse.Reported, Batch: true}
}

// read returns what a folder says, its changes by number, and the ids of the usage in it.
func read(t testing.TB, dir string, since gatehouse.Millis, after int64) (*Folder, map[int64]Change, []string) {
	t.Helper()
	changes := map[int64]Change{}
	f, err := Read(dir, since, after, func(c Change) error { changes[c.Seq] = c; return nil })
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	if err := Recorded(dir, since, func(b *store.Batch) error {
		for _, u := range b.Usage {
			ids = append(ids, u.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return f, changes, ids
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "replay", "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestBatchesComeBack proves that every field of what is kept comes back as it was, whatever fields there will be.
func TestBatchesComeBack(t *testing.T) {
	want := &store.Batch{Deleted: []store.ObjectRef{{ID: "file-1", Project: "proj_1", At: 5}}, Work: []gatehouse.Work{{ID: "resp_1", Kind: gatehouse.WorkResponse, Input: 7}},
		WorkDone: []string{"resp_2"}, BatchInputs: []gatehouse.BatchInput{{File: "file-2", Lines: 3}}}
	for i := range 3 {
		u, o := usage(fmt.Sprint("req_", i)), gatehouse.Object{}
		fillIn(reflect.ValueOf(&u).Elem(), i)
		fillIn(reflect.ValueOf(&o).Elem(), i)
		want.Usage, want.Objects = append(want.Usage, u), append(want.Objects, o)
	}
	e := encoder{texts: map[string]uint64{}}
	for range 2 { // an encoder is used again
		got, err := decodeBatch(e.encodeBatch(nil, want))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
	whole := e.encodeBatch(nil, &store.Batch{Usage: want.Usage})
	for n := range len(whole) {
		if got, err := decodeBatch(whole[:n]); err == nil && len(got.Usage) > 0 && n < len(whole)-2 {
			t.Fatalf("the first %d of %d bytes decode", n, len(whole))
		}
	}
}

// fillIn gives every field of a struct a value of its own.
func fillIn(v reflect.Value, seed int) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fillIn(f, seed+100*i)
		case reflect.String:
			f.SetString(fmt.Sprint("text ", seed, i))
		case reflect.Bool:
			f.SetBool((seed+i)%2 == 0)
		case reflect.Int64:
			f.SetInt(int64(seed+1)*1_000_003*int64(i+1) - 5)
		}
	}
}

// TestFilesSayWhatTheyHold proves that changes and rows come back across restarts, in order, and that nothing is missing.
func TestFilesSayWhatTheyHold(t *testing.T) {
	dir, c := t.TempDir(), &clock{time.UnixMilli(1_700_000_000_000)}
	w := open(t, dir, c)
	if w.Last() != 0 {
		t.Errorf("a new folder ends at %d", w.Last())
	}
	w.Begin(10)
	w.Applied(0, 12, []Change{{Seq: 11, Type: "api_key.deleted", Subject: gatehouse.SubjectKey, SubjectID: "key_1", State: json.RawMessage(`{"gone":true}`)}})
	w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage("req_1")}})
	w.Recorded(&store.Batch{Node: &store.NodeBeat{ID: "a"}}) // nothing that lasts
	folder := w.Folder()
	w.Close()
	c.at = c.at.Add(time.Hour)
	w = open(t, dir, c)
	if w.Folder() != folder || w.Last() != 12 {
		t.Errorf("opened again: folder %s to %d, want %s to 12", w.Folder(), w.Last(), folder)
	}
	w.Begin(11) // it holds more
	w.Applied(0, 12, nil)
	w.Applied(7, 1020, []Change{{Seq: 1020, Type: "user.deleted", Subject: gatehouse.SubjectUser, SubjectID: "user-1"}})
	w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage("req_2"), usage("req_3")}})
	w.Close()

	f, changes, ids := read(t, dir, 0, 0)
	if len(f.Gaps) != 0 || f.ID != folder || f.Node != "a" || f.Install != "abcd" || f.Seq != 1020 || f.Rows != 3 {
		t.Errorf("folder = %+v", f)
	}
	if want := []Range{{11, 1020}}; !reflect.DeepEqual(f.Events, want) {
		t.Errorf("events %v, want %v", f.Events, want)
	}
	if len(changes) != 2 || string(changes[11].State) != `{"gone":true}` || strings.Join(ids, " ") != "req_1 req_2 req_3" {
		t.Errorf("changes %v, usage %v", changes, ids)
	}
	if f, changes, ids := read(t, dir, c.millis(), 11); len(changes) != 1 || strings.Join(ids, " ") != "req_2 req_3" || f.Rows != 2 {
		t.Errorf("since the restart: changes %v, usage %v, %d rows", changes, ids, f.Rows)
	}
}

// TestGapsAreNamed proves that whatever is missing from the files is known to be missing.
func TestGapsAreNamed(t *testing.T) {
	begin := time.UnixMilli(1_700_000_000_000)
	for name, test := range map[string]struct {
		harm     func(t *testing.T, dir string, w *Writer, c *clock)
		from, to time.Duration // after begin; to 0: the end
		cause    string
		rows     int64
	}{
		"cut": {harm: func(t *testing.T, dir string, _ *Writer, _ *clock) {
			name := segments(t, dir)[2]
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, info.Size()-3); err != nil {
				t.Fatal(err)
			}
		}, from: 4 * time.Hour, cause: "is cut or damaged"},
		"damaged": {harm: func(t *testing.T, dir string, _ *Writer, _ *clock) {
			name := segments(t, dir)[1]
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-5] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, from: 2 * time.Hour, to: 4 * time.Hour, cause: "is cut or damaged"},
		"missing": {harm: func(t *testing.T, dir string, _ *Writer, _ *clock) {
			if err := os.Remove(segments(t, dir)[1]); err != nil {
				t.Fatal(err)
			}
		}, from: 0, to: 4 * time.Hour, cause: "files 2 to 2 are missing"}, // the one before ends with its last frame
		"the first missing": {harm: func(t *testing.T, dir string, _ *Writer, _ *clock) {
			if err := os.Remove(segments(t, dir)[0]); err != nil {
				t.Fatal(err)
			}
		}, from: 0, to: 2 * time.Hour, cause: "files 1 to 1 are missing"},
		"nobody knows the folder": {harm: func(t *testing.T, dir string, _ *Writer, _ *clock) {
			if err := os.Remove(filepath.Join(dir, "replay", stateName)); err != nil {
				t.Fatal(err)
			}
		}, from: -time.Hour, to: 0, cause: "nobody knows what was dropped"},
		"too large": {harm: func(t *testing.T, _ string, w *Writer, _ *clock) {
			w.cfg.MaxSize = 1
			if err := w.Trim(0); err != nil {
				t.Fatal(err)
			}
		}, from: -time.Hour, to: 4 * time.Hour, cause: "larger than replay.max_size", rows: 2},
		"too old": {harm: func(t *testing.T, _ string, w *Writer, c *clock) {
			w.cfg.MaxAge = time.Hour + time.Minute
			if err := w.Trim(0); err != nil {
				t.Fatal(err)
			}
		}, from: -time.Hour, to: 2 * time.Hour, cause: "older than replay.max_age", rows: 1},
		"covered by a newer backup": {harm: func(t *testing.T, _ string, w *Writer, _ *clock) {
			if err := w.Trim(gatehouse.MillisOf(begin.Add(3 * time.Hour))); err != nil {
				t.Fatal(err)
			}
		}, from: -time.Hour, to: 2 * time.Hour, cause: "a newer backup covers them", rows: 1},
		"not written": {harm: func(t *testing.T, dir string, w *Writer, c *clock) {
			// Every write and every new file fails, as with a disk that is gone.
			if err := w.active.Close(); err != nil {
				t.Fatal(err)
			}
			w.dir = filepath.Join(dir, "nowhere")
			w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage("lost_1"), usage("lost_2")}})
			c.at = c.at.Add(time.Minute)
			w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage("lost_3")}})
			w.dir = filepath.Join(dir, "replay")
			w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage("kept")}})
		}, from: 4 * time.Hour, to: 4*time.Hour + time.Minute, cause: "could not be written", rows: 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := t.TempDir(), &clock{begin}
			w := open(t, dir, c)
			for i := range 3 { // a segment every two hours
				w.Recorded(&store.Batch{Usage: []gatehouse.Usage{usage(fmt.Sprint("req_", i))}})
				if i < 2 {
					c.at = c.at.Add(2 * time.Hour)
				}
			}
			if n := len(segments(t, dir)); n != 3 {
				t.Fatalf("%d segments, want 3", n)
			}
			test.harm(t, dir, w, c)
			f, _, _ := read(t, dir, gatehouse.MillisOf(begin.Add(-time.Hour)), 0)
			if len(f.Gaps) != 1 {
				t.Fatalf("gaps = %+v, want one", f.Gaps)
			}
			at := func(d time.Duration) gatehouse.Millis { return gatehouse.MillisOf(begin.Add(d)) }
			want := Gap{From: at(test.from), To: at(test.to), Rows: test.rows}
			if name == "cut" {
				want.To = 0
			}
			got := f.Gaps[0]
			cause := got.Cause
			if got.Cause = ""; got != want || !strings.Contains(cause, test.cause) {
				t.Errorf("gap %+v (%s), want %+v (%s)", got, cause, want, test.cause)
			}
			// A backup of after the gap needs nothing of it.
			if f, _, _ := read(t, dir, at(4*time.Hour+2*time.Minute), 0); len(f.Gaps) != 0 && name != "cut" {
				t.Errorf("after it: gaps = %+v", f.Gaps)
			}
		})
	}
}

func BenchmarkRecorded(b *testing.B) {
	c := &clock{time.Now()}
	w := open(b, b.TempDir(), c)
	batch := &store.Batch{}
	for i := range 256 {
		batch.Usage = append(batch.Usage, usage(fmt.Sprintf("req_%032x", i*7919)))
	}
	for b.Loop() {
		w.Recorded(batch)
	}
	b.ReportMetric(float64(len(w.buf))/float64(len(batch.Usage)), "bytes/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Usage)), "ns/row")
}
