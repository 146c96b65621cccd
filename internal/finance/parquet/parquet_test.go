package parquet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gatehouse/internal/finance/parquet"
)

var columns = []parquet.Column{
	{Name: "Day", Kind: parquet.Timestamp, Required: true},
	{Name: "Model", Kind: parquet.String},
	{Name: "Cost", Kind: parquet.Decimal, Scale: 9, Required: true},
	{Name: "Tokens", Kind: parquet.Int64},
	{Name: "Never", Kind: parquet.String},
}

// write makes a file of n rows in which every third model and every row but one in five has nulls.
func write(t testing.TB, w io.Writer, n int) {
	t.Helper()
	p := parquet.NewWriter(w, columns, [][2]string{{"focus_version", "1.2"}, {"empty", ""}})
	for i := range n {
		p.Int64(int64(i) * 86_400_000)
		if i%3 == 0 {
			p.Null()
		} else {
			p.String(fmt.Sprintf("modèle-%d", i%4))
		}
		p.Int64(int64(i)*1_000_000_001 - 5)
		if i%5 == 0 {
			p.Int64(-int64(i) << 40)
		} else {
			p.Null()
		}
		p.Null()
		if err := p.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadBack has a reader that shares no code with the writer read files of no row, one row, one full group and more.
func TestReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 7, parquet.GroupRows, parquet.GroupRows + 3} {
		var file bytes.Buffer
		write(t, &file, n)
		var got struct {
			Schema []map[string]any `json:"schema"`
			Meta   []map[string]any `json:"meta"`
			Groups int              `json:"groups"`
			Rows   []map[string]any `json:"rows"`
			Last   json.RawMessage  `json:"last"`
		}
		read(t, file.Bytes(), &got)
		if len(got.Rows) != n || got.Groups != (n+parquet.GroupRows-1)/parquet.GroupRows {
			t.Fatalf("%d rows in %d groups, want %d rows", len(got.Rows), got.Groups, n)
		}
		for i, row := range got.Rows {
			want := map[string]any{"Model": nil, "Tokens": nil, "Never": nil}
			if i%3 != 0 {
				want["Model"] = fmt.Sprintf("modèle-%d", i%4)
			}
			if i%5 == 0 {
				want["Tokens"] = fmt.Sprint(-int64(i) << 40)
			}
			for name, v := range want {
				if row[name] != v {
					t.Fatalf("row %d of %d: %s is %v, want %v", i, n, name, row[name], v)
				}
			}
			if day := row["Day"].(string); i < 4 && day != fmt.Sprintf("1970-01-0%dT00:00:00.000Z", i+1) {
				t.Fatalf("row %d: Day is %s", i, day)
			}
			if cost, want := row["Cost"].(float64), (float64(i)*1_000_000_001-5)/1e9; cost < want-1e-6 || cost > want+1e-6 {
				t.Fatalf("row %d: Cost is %v, want %v", i, cost, want)
			}
		}
		cost := got.Schema[3]
		if cost["converted_type"] != "DECIMAL" || cost["scale"] != 9.0 || cost["precision"] != 18.0 || cost["repetition_type"] != "REQUIRED" {
			t.Errorf("schema of Cost: %v", cost)
		}
		if want := []map[string]any{{"key": "focus_version", "value": "1.2"}, {"key": "empty", "value": ""}}; len(got.Meta) != 2 || got.Meta[0]["value"] != want[0]["value"] {
			t.Errorf("meta %v, want %v", got.Meta, want)
		}
		if logical, _ := got.Schema[1]["logical_type"].(map[string]any); !strings.HasPrefix(fmt.Sprint(logical["type"]), "TIMESTAMP") {
			t.Errorf("schema of Day: %v", got.Schema[1])
		}
	}
}

// read has hyparquet read a file.
func read(t *testing.T, file []byte, into any) {
	t.Helper()
	library, err := filepath.Abs("../../../gatehousetest/sdk/node/node_modules/hyparquet")
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(library); missing != nil || err != nil {
		if os.Getenv("GATEHOUSE_TEST_REQUIRE") == "1" {
			t.Fatal("hyparquet or Node is missing")
		}
		t.Skip("hyparquet is not installed; run `npm ci` in gatehousetest/sdk/node to include this test")
	}
	path := filepath.Join(t.TempDir(), "file.parquet")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "testdata/read.mjs", library, path).Output()
	if err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("read.mjs: %v\n%s", err, exit.Stderr)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatal(err)
	}
}

func TestSameRowsSameBytes(t *testing.T) {
	var a, b bytes.Buffer
	write(t, &a, 100)
	write(t, &b, 100)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two files of the same rows differ")
	}
}

// TestMisuse shows that a row that does not fit its columns is an error, and stays one.
func TestMisuse(t *testing.T) {
	for name, row := range map[string]func(*parquet.Writer){
		"too few":       func(p *parquet.Writer) { p.Int64(1) },
		"wrong kind":    func(p *parquet.Writer) { p.String("x") },
		"null required": func(p *parquet.Writer) { p.Null() },
		"too many": func(p *parquet.Writer) {
			p.Int64(1)
			p.Null()
			p.Int64(1)
			p.Null()
			p.Null()
			p.Int64(1)
		},
	} {
		p := parquet.NewWriter(io.Discard, columns, nil)
		row(p)
		first := p.EndRow()
		if first == nil {
			t.Errorf("%s: no error", name)
		}
		if again := p.Close(); !reflect.DeepEqual(first, again) {
			t.Errorf("%s: Close returned %v after %v", name, again, first)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		write(b, io.Discard, 100_000)
	}
}
