// Package chart_test renders and lints the Helm chart with Helm's own code. It is a module of its own, so that what Helm needs is
// no part of Gatehouse's; run it with `make chart`. The configurations it renders are kept in testdata, where a test of
// Gatehouse's (deploy) reads them as a node does.
package chart_test

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

var update = flag.Bool("update", false, "write the configurations in testdata anew")

const chart = "../gatehouse"

// cases are values over the chart's own, and what they add to the kinds of a plain installation.
var cases = []struct {
	name   string
	values string
	more   []string
}{
	{"default", ``, nil},
	{"everything", `
replicas: 3
config: {max_staleness: 30s, valkey: "redis://valkey:6379/0", trusted_proxies: [10.0.0.0/8], public_url: "https://llm.example.com", otlp: {endpoint: "http://otel:4318", insecure: true, sample: 0.1}}
tls: {secretName: gatehouse-tls}
init: {enabled: true, organization: "Acme: the first", owner: "Ann O'Neil"}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
upstreamSecrets: [providers]
imagePullSecrets: [{name: registry}]
nodeSelector: {disk: ssd}
tolerations: [{key: dedicated, operator: Exists}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}]
podAnnotations: {a: b}
podLabels: {team: platform}
data: {size: 20Gi, storageClass: fast}
`, []string{"Job", "ServiceMonitor"}},
	{"least", `
podDisruptionBudget: {enabled: false}
serviceAccount: {create: false, name: given}
replicas: 1
config: {max_staleness: null, drain: null, limits: null}
`, nil},
}

type object = map[string]any

// render returns the objects of the chart by kind and name.
func render(t *testing.T, values string) map[string]object {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	over, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, over, chartutil.ReleaseOptions{Name: "llm", Namespace: "gateway", IsInstall: true, Revision: 1}, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := (engine.Engine{Strict: true}).Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]object{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for d := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
			var o object
			err := d.Decode(&o)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			if o == nil {
				continue
			}
			id := o["kind"].(string) + "/" + o["metadata"].(object)["name"].(string)
			if objects[id] != nil {
				t.Errorf("%s is there twice", id)
			}
			objects[id] = o
		}
	}
	return objects
}

// at returns what is at a path of an object.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, ok := v.(object)
			if !ok {
				t.Fatalf("%v: %q is in no object", path, key)
			}
			v = m[key]
		case int:
			l, ok := v.([]any)
			if !ok || key >= len(l) {
				t.Fatalf("%v: there is no element %d", path, key)
			}
			v = l[key]
		}
	}
	return v
}

func TestChart(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, c.values)
			kinds := map[string]bool{}
			for id := range objects {
				kind, _, _ := strings.Cut(id, "/")
				kinds[kind] = true
			}
			want := append([]string{"ConfigMap", "Service", "StatefulSet"}, c.more...)
			if c.name != "least" {
				want = append(want, "PodDisruptionBudget", "ServiceAccount")
			}
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
				t.Errorf("kinds %v, want %v", got, want)
			}
			set := objects["StatefulSet/llm"]
			pod := at(t, set, "spec", "template", "spec")
			labels := at(t, set, "spec", "template", "metadata", "labels").(object)
			for _, id := range []string{"Service/llm", "Service/llm-nodes"} {
				for k, v := range at(t, objects[id], "spec", "selector").(object) {
					if labels[k] != v {
						t.Errorf("%s selects %s=%v; the pods have %v", id, k, v, labels[k])
					}
				}
			}
			if at(t, set, "spec", "serviceName") != "llm-nodes" || at(t, set, "spec", "volumeClaimTemplates", 0, "metadata", "name") != "data" {
				t.Error("the nodes have no names or no data of their own")
			}
			for id, o := range objects {
				if kind, _, _ := strings.Cut(id, "/"); kind == "StatefulSet" || kind == "Job" {
					spec := at(t, o, "spec", "template", "spec")
					box := at(t, spec, "containers", 0, "securityContext").(object)
					if at(t, spec, "securityContext", "runAsNonRoot") != true || box["readOnlyRootFilesystem"] != true || box["allowPrivilegeEscalation"] != false || at(t, spec, "automountServiceAccountToken") != false {
						t.Errorf("%s may do more than it must", id)
					}
					mounted(t, id, spec, o)
				}
			}
			container := at(t, pod, "containers", 0).(object)
			for probe, path := range map[string]string{"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/healthz"} {
				if got := at(t, container, probe, "httpGet", "path"); got != path {
					t.Errorf("%s asks %v", probe, got)
				}
			}
			golden(t, c.name, at(t, objects["ConfigMap/llm"], "data", "gatehouse.yaml").(string))
			if c.name == "everything" {
				args := at(t, objects["Job/llm-init"], "spec", "template", "spec", "containers", 0, "args").([]any)
				if args[4] != "Acme: the first" || args[6] != "Ann O'Neil" {
					t.Errorf("init is called with %q", args)
				}
			}
		})
	}
}

// mounted checks that every mount has its volume.
func mounted(t *testing.T, id string, spec any, whole object) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range at(t, spec, "volumes").([]any) {
		volumes[at(t, v, "name").(string)] = true
	}
	if claims, ok := at(t, whole, "spec").(object)["volumeClaimTemplates"].([]any); ok {
		for _, v := range claims {
			volumes[at(t, v, "metadata", "name").(string)] = true
		}
	}
	for _, m := range at(t, spec, "containers", 0, "volumeMounts").([]any) {
		if name := at(t, m, "name").(string); !volumes[name] {
			t.Errorf("%s mounts %s, which is not there", id, name)
		}
	}
}

// golden compares a rendered configuration with the one that is kept.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil || string(kept) != text {
		t.Errorf("%s is not what is rendered (%v); look at the difference and run: go test -update\n%s", path, err, text)
	}
}

func TestLint(t *testing.T) {
	for _, c := range cases {
		values, err := chartutil.ReadValues([]byte(c.values))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.All(chart, values, "gateway", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", c.name, m)
			}
		}
	}
}
