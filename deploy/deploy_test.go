// Package deploy_test checks what is given away with Gatehouse to run it: the service of systemd, the compose file, the
// Dockerfile and, in a module of its own, the Helm chart (deploy/helm/test).
package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"gatehouse/internal/server"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestConfigurations reads every configuration as a node does: an unknown key is an error.
func TestConfigurations(t *testing.T) {
	rendered, err := filepath.Glob("helm/test/testdata/*.yaml") // the test there sees to it that this is what the chart renders
	if err != nil || len(rendered) < 3 {
		t.Fatalf("configurations of the chart: %v, %v", rendered, err)
	}
	for _, path := range append(rendered, "systemd/gatehouse.yaml", "compose/gatehouse.yaml") {
		cfg, err := server.ReadConfig(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if strings.HasPrefix(cfg.Listen, "0.0.0.0") != !strings.HasPrefix(path, "systemd/") {
			t.Errorf("%s listens on %s", path, cfg.Listen)
		}
	}
}

// TestUnit has systemd look at the service: that it understands every line, and how much the service may do to its host.
func TestUnit(t *testing.T) {
	unit := read(t, "systemd/gatehouse.service")
	for _, want := range []string{"ExecStart=/usr/bin/gatehouse serve --config /etc/gatehouse/gatehouse.yaml", "StateDirectory=gatehouse", "NoNewPrivileges=true", "ProtectSystem=strict", "User=gatehouse"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the service has no line %q", want)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// The program need not be installed where the test runs.
	path := filepath.Join(t.TempDir(), "gatehouse.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/bin/gatehouse", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	// It may have something to say about the host's own units too.
	if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil && len(out) == 0 || strings.Contains(string(out), "gatehouse.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", path).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	if level := regexp.MustCompile(`Overall exposure level.*`).Find(out); level != nil {
		t.Logf("%s", level)
	}
}

// compose is what is looked at in a compose file.
type compose struct {
	Services map[string]struct {
		Image     string         `yaml:"image"`
		Command   []string       `yaml:"command"`
		ReadOnly  bool           `yaml:"read_only"`
		CapDrop   []string       `yaml:"cap_drop"`
		Ports     []string       `yaml:"ports"`
		Volumes   []string       `yaml:"volumes"`
		Secrets   []string       `yaml:"secrets"`
		DependsOn map[string]any `yaml:"depends_on"`
		Logging   map[string]any `yaml:"logging"`
	} `yaml:"services"`
	Volumes map[string]any                   `yaml:"volumes"`
	Secrets map[string]struct{ File string } `yaml:"secrets"`
}

// TestCompose: two nodes with their own data, what they need, nothing published to the network, and every secret a file.
func TestCompose(t *testing.T) {
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	cfg := read(t, "compose/gatehouse.yaml")
	nodes := 0
	for name, s := range c.Services {
		if s.Image == "" || s.Logging["options"] == nil {
			t.Errorf("%s has no image, or no bound on its log: %+v", name, s)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s", name, p)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" {
				t.Errorf("%s wants the secret %s, which is not declared", name, secret)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, declared := c.Volumes[from]; !declared && !strings.HasPrefix(from, "./") {
				t.Errorf("%s wants the volume %s, which is not declared", name, from)
			}
		}
		for other := range s.DependsOn {
			if _, there := c.Services[other]; !there {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		if !strings.Contains(s.Image, "GATEHOUSE_IMAGE") {
			continue
		}
		nodes++
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
			t.Errorf("%s may do more than it must", name)
		}
		for _, ref := range regexp.MustCompile(`file:///run/secrets/(\S+)`).FindAllStringSubmatch(cfg, -1) {
			if !strings.Contains(strings.Join(s.Secrets, " "), ref[1]) {
				t.Errorf("gatehouse.yaml refers to the secret %s, which %s has not got", ref[1], name)
			}
		}
	}
	if nodes != 2 || c.Services["postgres"].Image == "" || c.Services["valkey"].Image == "" {
		t.Errorf("%d nodes among %d services", nodes, len(c.Services))
	}
}

// TestDockerfile: the image is the program on nothing else, and nobody in it is root.
func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	last := text[strings.LastIndex(text, "\nFROM "):]
	for _, want := range []string{"\nFROM scratch\n", "\nUSER 65532:65532\n", "ca-certificates.crt", `ENTRYPOINT ["/usr/bin/gatehouse"]`, "\nSTOPSIGNAL SIGTERM\n"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last stage has no %q", want)
		}
	}
	if !strings.Contains(text, "CGO_ENABLED=0") {
		t.Error("the program is not static")
	}
	mod := read(t, "../go.mod")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(mod)[1]
	if !strings.Contains(text, "FROM golang:"+version+" ") {
		t.Errorf("the image is not built with Go %s", version)
	}
	for _, line := range strings.Split(last, "\n") {
		if strings.HasPrefix(line, "RUN ") {
			t.Errorf("nothing runs on scratch: %s", line)
		}
	}
}
