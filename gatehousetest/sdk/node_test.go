package sdk

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// scriptTimeout bounds one script: the slowest makes a few hundred requests.
const scriptTimeout = 2 * time.Minute

// unavailable skips a test that lacks what it needs, or fails it where everything must run (GATEHOUSE_TEST_REQUIRE=1, as in CI).
func unavailable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("GATEHOUSE_TEST_REQUIRE") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// node returns the Node that package.json pins.
func node(t *testing.T) string {
	t.Helper()
	const install = "; run `npm ci` in gatehousetest/sdk/node to include this test"
	if _, err := os.Stat("node/node_modules/openai/package.json"); err != nil {
		unavailable(t, "the npm client openai is not installed"+install)
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	path, err := filepath.Abs(filepath.Join("node/node_modules", "node-"+runtime.GOOS+"-"+arch, "bin/node"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err = exec.LookPath("node")
	if err != nil {
		unavailable(t, "there is no Node for this platform"+install)
	}
	version, err := exec.CommandContext(t.Context(), path, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", path, err)
	}
	if v := strings.TrimPrefix(string(version), "v"); len(v) < 3 || v[:2] < "22" || v[2] != '.' {
		unavailable(t, "the npm client openai needs Node 22, "+path+" is "+strings.TrimSpace(string(version)))
	}
	return path
}

// run runs one script against a Gatehouse of its own.
func run(t *testing.T, script string, opts gatehousetest.Options) {
	t.Helper()
	binary := node(t)
	runAgainst(t, binary, script, gatehousetest.Start(t, opts))
}

// runAgainst runs one script against a Gatehouse.
func runAgainst(t *testing.T, binary, script string, s *gatehousetest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--test-reporter=spec", script)
	cmd.Dir = "node"
	cmd.WaitDelay = 5 * time.Second
	// Nothing of the caller's environment reaches the clients: they would take keys and base URLs from it.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NO_COLOR=1",
		"GATEHOUSE_URL=" + s.URL, "GATEHOUSE_API_KEY=" + s.APIKey, "GATEHOUSE_ADMIN_KEY=" + s.AdminKey, "GATEHOUSE_ORGANIZATION=" + s.OrganizationID, "GATEHOUSE_PROJECT=" + s.ProjectID,
		"GATEHOUSE_AZURE_ENDPOINT=" + s.Azure.Endpoint, "GATEHOUSE_AZURE_KEY=" + s.Azure.APIKey, "GATEHOUSE_AZURE_DEPLOYMENT=" + s.Azure.Deployment,
	}
	var pems []string // certificates to upload, a line each as JSON has it
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		pems = append(pems, gatehousetest.NewAuthority(t, name).PEM)
	}
	text, err := json.Marshal(pems)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GATEHOUSE_CERTIFICATES="+string(text))
	if called != "" {
		cmd.Env = append(cmd.Env, "GATEHOUSE_CALLED="+called)
	}
	if s.CAFile != "" {
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+s.CAFile)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	if !strings.Contains(string(out), "pass ") || strings.Contains(string(out), "pass 0\n") {
		t.Errorf("%s ran no test:\n%s", script, out)
	}
}

func TestNodeChat(t *testing.T)      { run(t, "chat.mjs", gatehousetest.Options{}) }
func TestNodeResponses(t *testing.T) { run(t, "responses.mjs", gatehousetest.Options{}) }
func TestNodeMedia(t *testing.T)     { run(t, "media.mjs", gatehousetest.Options{}) }
func TestNodeFiles(t *testing.T)     { run(t, "files.mjs", gatehousetest.Options{}) }
func TestNodeErrors(t *testing.T)    { run(t, "errors.mjs", gatehousetest.Options{}) }
func TestNodeWork(t *testing.T)      { run(t, "work.mjs", gatehousetest.Options{}) }
func TestNodeWebhooks(t *testing.T)  { run(t, "webhooks.mjs", gatehousetest.Options{}) }
func TestNodeAzure(t *testing.T)     { run(t, "azure.mjs", gatehousetest.Options{}) }
func TestNodeResource(t *testing.T)  { run(t, "resource.mjs", gatehousetest.Options{}) }

// TestNodeAdmin administers, and holds the scripts together to calling every method that the client has under admin.organization.
func TestNodeAdmin(t *testing.T) {
	called = filepath.Join(t.TempDir(), "called")
	defer func() { called = "" }()
	for _, script := range []string{"admin.mjs", "spend.mjs", "limits.mjs", "paging.mjs", "usage.mjs"} {
		if !t.Run(script, func(t *testing.T) { run(t, script, gatehousetest.Options{}) }) {
			return
		}
	}
	text, err := os.ReadFile(called)
	if err != nil {
		t.Fatal(err)
	}
	has, used := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		what, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if what == "has" {
			has[name] = true
		} else {
			used[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if !used[name] {
			t.Errorf("no script calls admin.organization.%s", name)
		}
	}
	t.Logf("%d of %d methods under admin.organization were called", len(used), len(has))
	if len(has) < 140 {
		t.Errorf("the client has %d methods", len(has))
	}
}

// called is where scripts note which methods they call, "" where nobody asks.
var called string

// TestNodeTLS is chat and Azure over TLS with a certificate of dev's own authority.
func TestNodeTLS(t *testing.T) {
	for _, script := range []string{"chat.mjs", "azure.mjs"} {
		t.Run(script, func(t *testing.T) { run(t, script, gatehousetest.Options{TLS: true}) })
	}
}

// TestNodeRecordedAzure runs the clients of both dialects against a service that answers as Azure OpenAI was recorded to.
func TestNodeRecordedAzure(t *testing.T) {
	binary := node(t)
	recorded(t, func(t *testing.T, s *gatehousetest.Server, a *gatehousetest.AzureService, version string, _ func()) {
		if version != "2024-10-21" && version != "" {
			return
		}
		a.Refuse(gatehousetest.AzureFiltered, gatehousetest.AzureFiltered, gatehousetest.AzureTokenLimit, gatehousetest.AzureTokenLimit)
		runAgainst(t, binary, "recorded.mjs", s)
	})
}
