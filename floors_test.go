package gatehouse_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// floors is the table of docs/design.md: a room may import only rooms of lower floors, and its own sub-packages. A new room
// needs a line here and an ADR.
var floors = map[string]int{
	"":                  0,
	"internal/secret":   0,
	"client":            1,
	"internal/dialect":  1,
	"internal/store":    1,
	"internal/identity": 1,
	"internal/limit":    1,
	"internal/otlp":     1,
	"internal/mock":     1,
	"internal/valkey":   2,
	"internal/custody":  2,
	"internal/leak":     2,
	"internal/catalog":  2,
	"internal/replay":   2,
	"internal/authn":    3,
	"internal/ledger":   3,
	"internal/admin":    3,
	"internal/audit":    3,
	"internal/finance":  3,
	"internal/gateway":  4,
	"internal/adminapi": 4,
	"internal/console":  4,
	"internal/steward":  4,
	"internal/server":   5,
	"cmd/gatehouse":     6,
	"gatehousetest":     6,
	"bench":             6,

	// What units cost is spoken of by who changes prices and by who counts, so it stands below both.
	"internal/ledger/prices": 1,
}

// owners says which room alone may import a kind of library: one room owns each outside decision.
var owners = map[string]string{
	"modernc.org/sqlite":           "internal/store",
	"github.com/jackc/pgx/v5":      "internal/store",
	"github.com/redis/go-redis/v9": "internal/valkey",
	"google.golang.org/protobuf":   "internal/otlp",
	"crypto/aes":                   "internal/secret",
	"crypto/cipher":                "internal/secret",
}

const (
	maxFileLines    = 700
	maxPackageLines = 3500
)

// roomOf returns the room that owns a package folder: the longest entry of the table that is the folder or a parent of it.
func roomOf(dir string) (string, bool) {
	for room := dir; ; room = filepath.ToSlash(filepath.Dir(room)) {
		if room == "." {
			return "", dir == "."
		}
		if _, ok := floors[room]; ok {
			return room, true
		}
	}
}

func TestFloors(t *testing.T) {
	lines := map[string]int{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		room, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s: no room of the table holds this folder; add it to floors and docs/adr", path)
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n := strings.Count(string(src), "\n")
		lines[dir] += n
		if n > maxFileLines {
			t.Logf("%s: %d lines; a file over %d is a sign that it wants to be two", path, n, maxFileLines)
		}
		file, err := parser.ParseFile(fset, path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			checkImport(t, path, room, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dirs := make([]string, 0, len(lines))
	for dir := range lines {
		dirs = append(dirs, dir)
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		if lines[dir] > maxPackageLines {
			t.Logf("%s: %d lines; a package over %d is a sign that a room wants to be two", dir, lines[dir], maxPackageLines)
		}
	}
}

func checkImport(t *testing.T, path, room, name string) {
	t.Helper()
	for library, owner := range owners {
		if (name == library || strings.HasPrefix(name, library+"/")) && room != owner {
			t.Errorf("%s imports %s: only %s may", path, name, owner)
		}
	}
	if room == "" && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
		t.Errorf("%s imports %s: the vocabulary uses the standard library only", path, name)
	}
	if name != "gatehouse" && !strings.HasPrefix(name, "gatehouse/") {
		return
	}
	target := strings.TrimPrefix(strings.TrimPrefix(name, "gatehouse"), "/")
	if target == "" {
		target = "."
	}
	other, ok := roomOf(target)
	switch {
	case !ok:
		t.Errorf("%s imports %s, which is in no room of the table", path, name)
	case other == room:
	case floors[other] >= floors[room]:
		// secret stands beside the vocabulary on floor 0 and speaks its words.
		if room == "internal/secret" && other == "" {
			return
		}
		t.Errorf("%s (floor %d) imports %s (floor %d): only lower floors may be imported", path, floors[room], name, floors[other])
	}
}
