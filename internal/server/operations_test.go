package server

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/gateway"
	"gatehouse/internal/steward"
	"gatehouse/internal/steward/deliver"
	"gatehouse/internal/steward/watch"
)

// manual returns docs/operations.md.
func manual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keysOf lists the YAML keys of a configuration type, inner ones as outer.inner.
func keysOf(t reflect.Type, prefix string) (keys []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			continue
		}
		keys = append(keys, prefix+name)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keys = append(keys, keysOf(inner, prefix+name+".")...)
		}
	}
	return keys
}

func TestManualNamesEveryKey(t *testing.T) {
	text := manual(t)
	table := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \\|").FindAllStringSubmatch(text, -1) {
		for _, key := range strings.Split(row[1], ", ") {
			table[strings.Trim(key, "`")] = true
		}
	}
	keys := keysOf(reflect.TypeFor[Config](), "")
	if len(keys) < 20 {
		t.Fatalf("found only the keys %v", keys)
	}
	for _, key := range keys {
		if !table[key] {
			t.Errorf("the configuration table of docs/operations.md does not name %s", key)
		}
	}
}

// TestManualExampleParses reads the example as a node would, and demands that it shows every key.
func TestManualExampleParses(t *testing.T) {
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(manual(t))
	if found == nil {
		t.Fatal("docs/operations.md has no example")
	}
	if _, err := parseConfig([]byte(found[1])); err != nil {
		t.Error(err)
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		name := key[strings.LastIndexByte(key, '.')+1:]
		if !regexp.MustCompile(`(?m)(^|[{ ,])` + name + `:`).MatchString(found[1]) {
			t.Errorf("the example does not show %s", key)
		}
	}
}

func TestManualNamesEveryMetric(t *testing.T) {
	text := manual(t)
	ch := make(chan *prometheus.Desc, 100)
	(*nodeCollector)(nil).Describe(ch)
	(*gateway.Metrics)(nil).Describe(ch)
	(*steward.Steward)(nil).Describe(ch)
	(*watch.Watch)(nil).Describe(ch)
	(*deliver.Deliverer)(nil).Describe(ch)
	close(ch)
	served := map[string]bool{}
	for d := range ch {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]
		served[name] = true
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/operations.md does not list the metric %s", name)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(gatehouse_[a-z_]+)` \\|").FindAllStringSubmatch(text, -1) {
		if !served[row[1]] {
			t.Errorf("docs/operations.md lists the metric %s, which is not served", row[1])
		}
	}
}
