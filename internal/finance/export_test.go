package finance_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/finance"
	"gatehouse/internal/store"
)

var update = flag.Bool("update", false, "write golden files")

func export(t testing.TB, b *finance.Books, q finance.ExportQuery) []byte {
	t.Helper()
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	var out bytes.Buffer
	if err := b.Export(t.Context(), &out, &q); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// table reads a CSV into rows by column.
func table(t testing.TB, file []byte) []map[string]string {
	t.Helper()
	records := must[[][]string](t)(csv.NewReader(bytes.NewReader(file)).ReadAll())
	var rows []map[string]string
	for _, r := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// TestGolden compares small exports with files that people have read.
func TestGolden(t *testing.T) {
	b := books(t, sqlite(t), 12)
	for name, q := range map[string]finance.ExportQuery{
		"daily.csv":  {Start: begin, End: begin + 45*day, Format: finance.CSV, Zone: zone(t, "America/New_York")},
		"hourly.csv": {Start: begin, End: begin + 20*day, Hourly: true, Format: finance.CSV, Filter: finance.Filter{Projects: []string{"proj_1"}}},
	} {
		got, path := export(t, b, q), "testdata/"+name
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(got, want) {
			t.Errorf("%s differs from its golden file (-update writes it):\n%s", name, got)
		}
	}
}

// costs adds up what the sums behind /v1/organization/costs say, by project.
func costs(t testing.TB, b *finance.Books, start, end gatehouse.Millis) (all gatehouse.NanoUSD, requests, unpriced int64, by map[string]gatehouse.NanoUSD) {
	t.Helper()
	by = map[string]gatehouse.NanoUSD{}
	err := b.DB.View(t.Context(), func(tx *store.Tx) error {
		buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: org, Start: start, End: end, Width: "1d", GroupBy: []string{store.ByProject}})
		for _, bucket := range buckets {
			for _, r := range bucket.Results {
				all, requests, unpriced = all+r.Cost, requests+r.Requests, unpriced+r.Unpriced
				by[r.Project] += r.Cost
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, requests, unpriced, by
}

// nano reads a decimal of USD exactly.
func nano(t testing.TB, text string) gatehouse.NanoUSD {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is not a number", text)
	}
	r.Mul(r, big.NewRat(usd, 1))
	if !r.IsInt() {
		t.Fatalf("%s is not a whole number of nano-dollars", text)
	}
	return gatehouse.NanoUSD(r.Num().Int64())
}

// TestExportIsCosts shows that exports, by day and by hour, add up to the costs to the nano-dollar, in every cost column, and that
// an export is the same again.
func TestExportIsCosts(t *testing.T) {
	onEngines(t, 3000, func(t *testing.T, b *finance.Books) {
		want, requests, unpriced, byProject := costs(t, b, begin, begin+45*day)
		for _, hourly := range []bool{false, true} {
			q := finance.ExportQuery{Start: begin, End: begin + 45*day, Hourly: hourly, Format: finance.CSV}
			file := export(t, b, q)
			var gotRequests, gotUnpriced int64
			got, projects := map[string]gatehouse.NanoUSD{}, map[string]gatehouse.NanoUSD{}
			for _, row := range table(t, file) {
				for _, c := range []string{"BilledCost", "EffectiveCost", "ListCost", "ContractedCost"} {
					got[c] += nano(t, row[c])
				}
				projects[row["SubAccountId"]] += nano(t, row["BilledCost"])
				gotRequests += whole(t, row["x_Requests"])
				gotUnpriced += whole(t, row["x_UnpricedRequests"])
				checkRow(t, row)
			}
			for c, n := range got {
				if n != want {
					t.Errorf("hourly %v: %s adds up to %d, costs are %d", hourly, c, n, want)
				}
			}
			if gotRequests != requests || gotUnpriced != unpriced {
				t.Errorf("hourly %v: %d requests of which %d unpriced, want %d and %d", hourly, gotRequests, gotUnpriced, requests, unpriced)
			}
			for p, n := range byProject {
				if projects[p] != n {
					t.Errorf("hourly %v: project %s adds up to %d, costs are %d", hourly, p, projects[p], n)
				}
			}
			if !bytes.Equal(file, export(t, b, q)) {
				t.Errorf("hourly %v: exported again it is another file", hourly)
			}
		}
	})
}

func whole(t testing.TB, text string) int64 {
	t.Helper()
	n := nano(t, text)
	if n%usd != 0 {
		t.Fatalf("%s is not a whole number", text)
	}
	return int64(n / usd)
}

// checkRow checks FOCUS's rules that hold for each row by itself.
func checkRow(t testing.TB, row map[string]string) {
	t.Helper()
	for _, c := range []string{"BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory", "ChargePeriodStart",
		"ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory",
		"ServiceName", "SkuId", "SkuPriceId"} {
		if row[c] == "" {
			t.Fatalf("%s is null in %v", c, row)
		}
	}
	if !strings.HasPrefix(row["SkuPriceId"], row["SkuId"]) || row["BillingPeriodStart"] > row["ChargePeriodStart"] {
		t.Fatalf("%v", row)
	}
	if price := row["ListUnitPrice"]; price != "" {
		// Within a nano-dollar for each request and share, quantity times price is the cost.
		product, _ := new(big.Rat).SetString(row["PricingQuantity"])
		p, _ := new(big.Rat).SetString(price)
		cost, _ := new(big.Rat).SetString(row["ListCost"])
		off, _ := product.Mul(product, p).Sub(product, cost).Float64()
		if math.Abs(off) > 1e-6 {
			t.Fatalf("quantity times price is %g off in %v", off, row)
		}
	}
	if tags := row["Tags"]; tags != "" && !json.Valid([]byte(tags)) {
		t.Fatalf("tags %q are no JSON object", tags)
	}
}

// TestParquetIsCSV has an independent reader read a Parquet export and compares it with the CSV, cell by cell.
func TestParquetIsCSV(t *testing.T) {
	b := books(t, sqlite(t), 400)
	q := finance.ExportQuery{Start: begin, End: begin + 45*day, Format: finance.CSV}
	want := table(t, export(t, b, q))
	q.Format = finance.Parquet
	got := readParquet(t, export(t, b, q))
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i, row := range want {
		for name, text := range row {
			switch v := got[i][name].(type) {
			case nil:
				if text != "" {
					t.Fatalf("row %d: %s is null, want %q", i, name, text)
				}
			case float64:
				if w, _ := new(big.Rat).SetString(text); w == nil {
					t.Fatalf("row %d: %s is %v, want %q", i, name, v, text)
				} else if f, _ := w.Float64(); math.Abs(v-f) > 1e-9*max(1, math.Abs(f)) {
					t.Fatalf("row %d: %s is %v, want %q", i, name, v, text)
				}
			case string:
				if s := strings.Replace(v, ".000Z", "Z", 1); finance.Defused(s) != text {
					t.Fatalf("row %d: %s is %q, want %q", i, name, v, text)
				}
			default:
				t.Fatalf("row %d: %s is a %T", i, name, v)
			}
		}
	}
}

func readParquet(t *testing.T, file []byte) []map[string]any {
	t.Helper()
	library := must[string](t)(filepath.Abs("../../gatehousetest/sdk/node/node_modules/hyparquet"))
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(library); missing != nil || err != nil {
		if os.Getenv("GATEHOUSE_TEST_REQUIRE") == "1" {
			t.Fatal("hyparquet or Node is missing")
		}
		t.Skip("hyparquet is not installed; run `npm ci` in gatehousetest/sdk/node to include this test")
	}
	path := filepath.Join(t.TempDir(), "export.parquet")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "parquet/testdata/read.mjs", library, path).Output()
	if err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("read.mjs: %v\n%s", err, exit.Stderr)
	}
	var read struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	return read.Rows
}

// TestNoFormula shows that no text of an export is a formula to a spreadsheet.
func TestNoFormula(t *testing.T) {
	for _, s := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "  -2", "\ufeff=1", "\x00=1", " "} {
		if got := finance.Defused(s); got != "'"+s {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, s := range []string{"", "gpt-4o", "a=b", "{\"a\":\"=1\"}", "'=1", "0.5"} {
		if got := finance.Defused(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, row := range table(t, export(t, books(t, sqlite(t), 200), finance.ExportQuery{Start: begin, End: begin + 45*day, Format: finance.CSV})) {
		for name, text := range row {
			if text != "" && strings.ContainsAny(text[:1], "=+@\t\r") {
				t.Fatalf("%s is %q", name, text)
			}
		}
	}
}

// TestSplitIsExact divides random costs and adds them up again.
func TestSplitIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-3, 1<<45)
		u := gatehouse.Units{Input: n.Draw(t, "input"), Cached: n.Draw(t, "cached"), CacheWrite: n.Draw(t, "write"), InputAudio: n.Draw(t, "audio"), InputImage: n.Draw(t, "image"),
			CachedAudio: n.Draw(t, "cached audio"), CachedImage: n.Draw(t, "cached image"), Output: n.Draw(t, "output"), OutputAudio: n.Draw(t, "spoken"), Images: n.Draw(t, "images"), Characters: n.Draw(t, "characters")}
		rates := rapid.SliceOfN(rapid.Int64Range(0, 1<<40), len(finance.Meters), len(finance.Meters)).Draw(t, "rates")
		table := func(_ *finance.Sku, u gatehouse.Units) (gatehouse.NanoUSD, bool) {
			r := rates[int(u.Cached&1)+int(u.InputAudio&2)+int(u.Output&4)]
			return gatehouse.NanoUSD(r), r%3 != 0
		}
		cost := gatehouse.NanoUSD(rapid.Int64Range(-1<<50, 1<<60).Draw(t, "cost"))
		var sum gatehouse.NanoUSD
		for _, s := range finance.Split(table, &finance.Sku{}, &u, 7, cost) {
			sum += s.Cost
			if s.Quantity < 0 || cost >= 0 && s.Cost < 0 {
				t.Fatalf("a share of %d units and %d", s.Quantity, s.Cost)
			}
		}
		if sum != cost {
			t.Fatalf("shares add up to %d, the cost is %d", sum, cost)
		}
	})
}

// TestExportRefuses shows what is not exported, before a byte is written.
func TestExportRefuses(t *testing.T) {
	b := books(t, sqlite(t), 1)
	for name, q := range map[string]finance.ExportQuery{
		"no format":  {Start: 0, End: day},
		"backwards":  {Start: day, End: day, Format: finance.CSV},
		"too long":   {Start: 0, End: 30 * 365 * day, Format: finance.CSV},
		"before all": {Start: -day, End: day, Format: finance.CSV},
	} {
		var out bytes.Buffer
		if err := b.Export(t.Context(), &out, &q); gatehouse.KindOf(err) != gatehouse.Invalid || out.Len() != 0 {
			t.Errorf("%s: %v after %d bytes", name, err, out.Len())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Export(ctx, io.Discard, &finance.ExportQuery{Start: begin, End: begin + 45*day, Format: finance.CSV, Zone: time.UTC}); !errors.Is(err, context.Canceled) {
		t.Errorf("of somebody who left: %v", err)
	}
}

// BenchmarkExport writes an export of about 50 MB; B/op over MB written tells whether memory is bounded: see peak-MB.
func BenchmarkExport(b *testing.B) {
	for _, format := range []finance.Format{finance.CSV, finance.Parquet} {
		b.Run(string(format), func(b *testing.B) {
			store := books(b, sqlite(b), 100_000)
			q := finance.ExportQuery{Start: begin, End: begin + 45*day, Hourly: true, Format: format, Zone: time.UTC}
			var most uint64
			for b.Loop() {
				w := &counter{}
				if err := store.Export(b.Context(), w, &q); err != nil {
					b.Fatal(err)
				}
				most = max(most, w.peak)
				b.ReportMetric(float64(w.n)/1e6, "MB")
			}
			b.ReportMetric(float64(most)/1e6, "peak-MB")
		})
	}
}
