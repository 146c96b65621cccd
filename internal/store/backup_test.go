package store_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/sums"
)

// fill makes rows in every table that a backup must bring back.
func fill(t testing.TB, db *store.DB) {
	t.Helper()
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-a", Change: []byte(`{"text":"<&>\u2028 é"}`)}, func(tx *store.Tx) error {
		key := &gatehouse.Key{ID: "key_aaaaaaaaaaa", Class: gatehouse.ClassService, Organization: "org-a", Project: "proj_1", OwnerServiceAccount: "svc_acct_1",
			Name: "Schlüssel 鍵 🔑 'quoted\" \\ <&>\u2028", Labels: map[string]string{"env": "prod"}, Scopes: []string{"model.request"}, PepperVersion: 3, ExpiresAt: 1 << 60}
		for i := range key.Digest {
			key.Digest[i] = byte(255 - i)
		}
		return errors.Join(
			tx.SetMeta("install", "abcd"),
			tx.CreateOrganization(&gatehouse.Organization{ID: "org-a", Name: "Acme"}),
			tx.CreateUser(&gatehouse.User{ID: "user-a", Organization: "org-a", Role: gatehouse.RoleOwner}),
			tx.CreateProject(&gatehouse.Project{ID: "proj_1", Organization: "org-a", Name: "one"}),
			tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", Organization: "org-a", Project: "proj_1"}),
			tx.CreateKey(key),
			tx.CreateResource(&gatehouse.Resource{ID: "res_1", Organization: "org-a", Project: "proj_1", Name: "contoso", Region: "eu"}),
			tx.CreateKey(&gatehouse.Key{ID: "key_zzzzzzzzzzz", Class: gatehouse.ClassAzure, Organization: "org-a", Project: "proj_1", OwnerResource: "res_1", Slot: gatehouse.Key1, RevokedAt: 1}),
			tx.CreateKey(&gatehouse.Key{ID: "key_yyyyyyyyyyy", Class: gatehouse.ClassAzure, Organization: "org-a", Project: "proj_1", OwnerResource: "res_1", Slot: gatehouse.Key1}),
			tx.CreateKey(&gatehouse.Key{ID: "key_bbbbbbbbbbb", Class: gatehouse.ClassAdmin, Organization: "org-a", OwnerUser: "user-a"}),
			tx.CreateSealed(&store.Sealed{ID: "sec_1", Organization: "org-a", Name: "s", Ciphertext: []byte{0, 1, 2, 255}}),
			tx.CreateUpstream(&gatehouse.Upstream{ID: "up_1", Organization: "org-a", Name: "u", BaseURL: "https://api.example.com"}),
			tx.CreateDeployment(&gatehouse.Deployment{ID: "dep_1", Organization: "org-a", Name: "d", Routes: []gatehouse.Route{{Upstream: "up_1"}}}),
			tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_1", Organization: "org-a", Project: "proj_1", Threshold: 1, Recipients: []string{"finance@example.com"}}),
			tx.CreateCredits(&gatehouse.Credits{Organization: "org-a", Refill: gatehouse.Refill{Mode: gatehouse.RefillManual}}),
			tx.CreateGrant(&gatehouse.Grant{ID: "grant_1", Organization: "org-a", Name: "pilot", Amount: 5}),
			tx.Enter(&gatehouse.CreditEntry{Organization: "org-a", Debit: gatehouse.AccountBalance, Credit: gatehouse.AccountIssued, Grant: "grant_1", Amount: 5}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	b := store.Batch{LastUsed: map[string]gatehouse.Millis{"key_aaaaaaaaaaa": 7}, Node: &store.NodeBeat{ID: "n/1.1", Incarnation: "n/1"},
		Objects: []gatehouse.Object{{ID: "file-1", Project: "proj_1", Upstream: "up_1", Kind: "file", CreatedAt: 1}}}
	for i := range 150 { // more than two full inserts and a rest
		b.Usage = append(b.Usage, gatehouse.Usage{ID: fmt.Sprintf("req_%03d", i), At: gatehouse.Millis(i) * 61_000, Organization: "org-a", Project: "proj_1",
			Product: "completions", Model: "gpt-4o", CostKnown: true, Cost: gatehouse.NanoUSD(i), Units: gatehouse.Units{Input: int64(i)}})
		b.Requests = append(b.Requests, gatehouse.Request{ID: fmt.Sprintf("req_%03d", i), Organization: "org-a", Status: 200})
	}
	if err := db.Record(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// rowsOf returns every row of a database as text. Revisions are counted from where restores begin to; what a restore makes anew is
// left out.
func rowsOf(t testing.TB, db *store.DB) []string {
	t.Helper()
	var rows []string
	err := db.View(t.Context(), func(tx *store.Tx) error {
		return tx.EachRow(func(table string, columns []string, values []any) error {
			if table == "schema_migrations" || table == "counters" || table == "meta" && values[0] == "restoring" {
				return nil
			}
			if i := slices.Index(columns, "rev"); i >= 0 {
				values[i] = values[i].(int64) & (1<<32 - 1)
			}
			rows = append(rows, fmt.Sprintf("%s %q", table, values))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows
}

func dump(t testing.TB, db *store.DB) ([]byte, *store.Backup) {
	t.Helper()
	var out bytes.Buffer
	about := &store.Backup{Version: "test", Peppers: map[int]string{1: "ab"}}
	if err := db.Dump(t.Context(), &out, about); err != nil {
		t.Fatalf("dump: %v", err)
	}
	return out.Bytes(), about
}

func counters(t testing.TB, db *store.DB) (epoch, seq int64, restoring error) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) (err error) {
		if epoch, err = tx.Epoch(); err != nil {
			return err
		}
		restoring = tx.Restoring()
		seq, err = tx.LastSeq()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return epoch, seq, restoring
}

// TestBackupRestores proves that a backup of each engine, restored into each engine, has every row as it was, in a new epoch whose
// numbers go on above everything anybody saw.
func TestBackupRestores(t *testing.T) {
	for _, from := range engines {
		t.Run("from "+from.name, func(t *testing.T) {
			db := open(t, from.url(t), store.Config{})
			fill(t, db)
			file, about := dump(t, db)
			want := rowsOf(t, db)
			if about.Seq != 1 || about.Epoch != 0 || about.Install != "abcd" || about.Rows["usage_ids"] != 150 || about.Engine != from.name || about.Total() < 160 {
				t.Errorf("backup = %+v", about)
			}
			read, err := store.ReadBackup(bytes.NewReader(file))
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			if !maps.Equal(read.Rows, about.Rows) || read.At != about.At || read.Peppers[1] != "ab" || read.Schema != store.SchemaVersion() {
				t.Errorf("read back = %+v, want %+v", read, about)
			}
			for _, to := range engines {
				t.Run("to "+to.name, func(t *testing.T) { restoreInto(t, to.url(t), file, want) })
			}
		})
	}
}

func restoreInto(t *testing.T, url string, file []byte, want []string) {
	db, err := store.Open(t.Context(), url, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // a database of this test
	restored, err := db.Restore(t.Context(), bytes.NewReader(file), store.Restoration{Seen: 41, Margin: 10})
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	if got := rowsOf(t, db); !slices.Equal(got, want) {
		t.Errorf("got %d rows, want %d; first difference: %s", len(got), len(want), firstDifference(got, want))
	}
	epoch, seq, restoring := counters(t, db)
	if epoch == 0 || epoch != restored.Epoch || seq != 51 || restored.Seq != 51 {
		t.Errorf("epoch %d (%d), seq %d (%d); want a new epoch and 51", epoch, restored.Epoch, seq, restored.Seq)
	}
	if gatehouse.KindOf(restoring) != gatehouse.Unavailable {
		t.Errorf("before its end: Restoring = %v, want an error of kind unavailable", restoring)
	}
	if seq, err := db.EndRestore(t.Context(), gatehouse.Event{Type: "installation.restored"}); seq != 52 || err != nil {
		t.Errorf("EndRestore = %d, %v", seq, err)
	}
	if _, _, restoring := counters(t, db); restoring != nil {
		t.Errorf("after its end: Restoring = %v", restoring)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Errorf("migrate: %v", err)
	}
	// It holds something now: not again, unless somebody says so, and then higher.
	if _, err := db.Restore(t.Context(), bytes.NewReader(file), store.Restoration{}); gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("restore over data = %v, want a conflict", err)
	}
	if err := db.Record(t.Context(), store.Batch{Node: &store.NodeBeat{ID: "n/2.1", Incarnation: "n/2", AppliedSeq: 52}}); err != nil {
		t.Fatal(err)
	}
	again, err := db.Restore(t.Context(), bytes.NewReader(file), store.Restoration{Replace: true, Margin: 1})
	if err != nil {
		t.Fatalf("restore in place: %v", err)
	}
	if again.Epoch <= epoch || again.Seq != 53 {
		t.Errorf("restored again: epoch %d after %d, seq %d, want 53", again.Epoch, epoch, again.Seq)
	}
	var nodes []store.Node
	if err := db.View(t.Context(), func(tx *store.Tx) (err error) { nodes, err = tx.Nodes(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 2 || nodes[1].ID != "n/2.1" || nodes[1].AppliedSeq != 52 {
		t.Errorf("nodes = %+v, want the backup's and the one that was there", nodes)
	}
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("got %s, want %s", got[i], want[i])
		}
	}
	return "one has more"
}

// TestBackupOfWhatIsWritten proves that a backup made while others write holds one moment: the sums are those of its rows.
func TestBackupOfWhatIsWritten(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		db := open(t, url, store.Config{})
		fill(t, db)
		ctx, stop := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		begun := make(chan struct{})
		writing.Go(func() { // ends with ctx
			for i := 0; ctx.Err() == nil; i++ {
				if i == 3 {
					close(begun)
				}
				err := db.Record(ctx, store.Batch{Usage: []gatehouse.Usage{{ID: fmt.Sprint("more_", i), At: gatehouse.Millis(i), Organization: "org-a", Product: "completions"}}})
				if err != nil && ctx.Err() == nil {
					t.Errorf("record: %v", err)
					return
				}
			}
		})
		<-begun
		file, about := dump(t, db)
		stop()
		writing.Wait()
		to := open(t, engines[0].url(t), store.Config{})
		if _, err := to.Restore(t.Context(), bytes.NewReader(file), store.Restoration{}); err != nil {
			t.Fatal(err)
		}
		var requests int64
		err := to.View(t.Context(), func(tx *store.Tx) error {
			return tx.EachSum("1m", func(_ string, _ gatehouse.Millis, _ [sums.Dims]string, s *store.Sums) error {
				requests += s.Requests
				return nil
			})
		})
		if err != nil || requests != about.Rows["usage_ids"] || requests < 153 {
			t.Errorf("the sums count %d requests, the backup has %d (%v)", requests, about.Rows["usage_ids"], err)
		}
	})
}

// TestBackupOfOlderSchema proves that a backup of an older schema is restored as it was and then migrated.
func TestBackupOfOlderSchema(t *testing.T) {
	db := open(t, engines[0].url(t), store.Config{})
	fill(t, db)
	file, _ := dump(t, db)
	plain := unpack(t, file)
	if store.SchemaVersion() < 2 {
		t.Skip("there is one schema")
	}
	// What has not changed since the first schema, as its Gatehouse would have written it.
	head, _, _ := strings.Cut(plain, "\n")
	head = strings.Replace(head, fmt.Sprintf(`"schema":%d`, store.SchemaVersion()), `"schema":1`, 1)
	old := repack(t, head+"\n"+`{"table":"organizations","columns":["id","name","default_project","created_at","rev"],"kinds":["text","text","text","number","number"]}
["org-a","Acme","proj_1",5,2]
{"table":"counters","columns":["name","value"],"kinds":["text","number"]}
["event",7]
{"end":{"organizations":1,"counters":1}}
`)
	to, err := store.Open(t.Context(), engines[0].url(t), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = to.Close() }() // a database of this test
	if _, err := to.Restore(t.Context(), bytes.NewReader(old), store.Restoration{}); err != nil {
		t.Fatal(err)
	}
	err = to.View(t.Context(), func(tx *store.Tx) error {
		v, err := tx.SchemaVersion()
		if err != nil || v != store.SchemaVersion() {
			t.Errorf("schema version %d, %v; want %d", v, err, store.SchemaVersion())
		}
		o, err := tx.Organization("org-a")
		if err != nil || o.Name != "Acme" || o.CreatedAt != 5 {
			t.Errorf("organization = %+v, %v", o, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unpack(t testing.TB, file []byte) string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func repackRaw(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	if _, err := io.WriteString(gz, text); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func repack(t testing.TB, text string) []byte {
	t.Helper()
	return repackRaw(t, text+store.SumLine(text))
}

// TestBackupRefused proves that what is no whole backup changes nothing.
func TestBackupRefused(t *testing.T) {
	from := open(t, engines[0].url(t), store.Config{})
	fill(t, from)
	file, _ := dump(t, from)
	plain := unpack(t, file)
	unsummed := plain[:strings.LastIndex(strings.TrimSuffix(plain, "\n"), "\n")+1]
	at := strings.Index(unsummed, `["req_001"`)
	row := unsummed[at : at+strings.Index(unsummed[at:], "\n")+1]
	cases := map[string]struct {
		file []byte
		kind gatehouse.Kind
	}{
		"empty":                     {nil, gatehouse.Invalid},
		"text":                      {[]byte("CREATE TABLE x;"), gatehouse.Invalid},
		"other gzip":                {repackRaw(t, "{\"hello\":1}\n"), gatehouse.Invalid},
		"without its sum":           {repackRaw(t, unsummed), gatehouse.Invalid},
		"a row less":                {repackRaw(t, strings.Replace(plain, row, "", 1)), gatehouse.Invalid},
		"a row less, summed again":  {repack(t, strings.Replace(unsummed, row, "", 1)), gatehouse.Invalid},
		"changed":                   {repackRaw(t, strings.Replace(plain, "Acme", "Acmf", 1)), gatehouse.Invalid},
		"unknown line":              {repack(t, strings.Replace(unsummed, `{"end"`, `{"fin"`, 1)), gatehouse.Invalid},
		"followed by more":          {append(slices.Clone(file), 'x'), gatehouse.Invalid},
		"followed by a copy":        {append(slices.Clone(file), file...), gatehouse.Invalid},
		"a table of another schema": {repack(t, strings.Replace(unsummed, `"table":"sealed"`, `"table":"sealer"`, 1)), gatehouse.Invalid},
		"newer format":              {repack(t, strings.Replace(unsummed, `"gatehouse_backup":1`, `"gatehouse_backup":2`, 1)), gatehouse.Conflict},
		"newer schema":              {repack(t, strings.Replace(unsummed, fmt.Sprintf(`"schema":%d`, store.SchemaVersion()), `"schema":9999`, 1)), gatehouse.Conflict},
	}
	for _, n := range []int{1, 9, len(file) / 3, len(file) / 2, len(file) - 9, len(file) - 1} {
		cases[fmt.Sprintf("cut at %d", n)] = struct {
			file []byte
			kind gatehouse.Kind
		}{file[:n], gatehouse.Invalid}
	}
	for i := 64; i < len(file); i += len(file) / 16 {
		damaged := slices.Clone(file)
		damaged[i] ^= 0x10
		cases[fmt.Sprintf("damaged at %d", i)] = struct {
			file []byte
			kind gatehouse.Kind
		}{damaged, gatehouse.Invalid}
	}
	url := "sqlite:" + filepath.Join(t.TempDir(), "to.db")
	to := open(t, url, store.Config{})
	fill(t, to)
	want := rowsOf(t, to)
	for name, test := range cases {
		if _, err := to.Restore(t.Context(), bytes.NewReader(test.file), store.Restoration{Replace: true}); gatehouse.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s: %v, want kind %v", name, err, test.kind)
		}
	}
	if got := rowsOf(t, to); !slices.Equal(got, want) {
		t.Error("a refused backup changed the database")
	}
	if _, err := to.Restore(t.Context(), bytes.NewReader(file), store.Restoration{Replace: true}); err != nil {
		t.Errorf("the whole file: %v", err)
	}
}
