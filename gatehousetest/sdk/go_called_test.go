package sdk

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/openai/openai-go/v3/option"
)

// goCalls are the operations of administration that openai-go was used for and that were served, as METHOD and path.
var goCalls struct {
	sync.Mutex
	served map[string]bool
}

// noteCalls notes what is called.
var noteCalls = option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	res, err := next(r)
	if err == nil && res.StatusCode < 300 {
		goCalls.Lock()
		defer goCalls.Unlock()
		if goCalls.served == nil {
			goCalls.served = map[string]bool{}
		}
		goCalls.served[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1")] = true
	}
	return res, err
})

// newer are the operations of administration that openai-go has and OpenAI's document does not.
var newer = []string{
	"POST /organization/projects/{}/api_keys/{}", "POST /organization/projects/{}/service_accounts/{}/api_keys",
	"GET /organization/projects/{}/service_tier_settings", "POST /organization/projects/{}/service_tier_settings", "GET /organization/usage/decisions",
	"GET /organization/external_keys", "POST /organization/external_keys", "GET /organization/external_keys/{}", "DELETE /organization/external_keys/{}", "POST /organization/external_keys/{}/validate",
	"GET /organization/external_storage", "POST /organization/external_storage", "GET /organization/external_storage/{}", "DELETE /organization/external_storage/{}", "POST /organization/external_storage/{}/validate",
	"GET /organization/workload_identity_providers", "POST /organization/workload_identity_providers", "GET /organization/workload_identity_providers/{}", "POST /organization/workload_identity_providers/{}",
	"DELETE /organization/workload_identity_providers/{}", "GET /organization/workload_identity_providers/{}/federation_rules", "POST /organization/workload_identity_providers/{}/federation_rules",
	"GET /organization/workload_identity_providers/{}/federation_rules/{}", "POST /organization/workload_identity_providers/{}/federation_rules/{}", "DELETE /organization/workload_identity_providers/{}/federation_rules/{}",
}

// uncalled returns the operations of administration that no test called through openai-go, and how many there are. It is asked after
// every test has run.
func uncalled() (missing []string, all int, err error) {
	text, err := os.ReadFile("../../internal/adminapi/testdata/openai-admin.json")
	if err != nil {
		return nil, 0, err
	}
	var doc struct {
		Operations []struct{ Method, Path string }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, 0, err
	}
	operations := append([]string(nil), newer...)
	for _, op := range doc.Operations {
		operations = append(operations, op.Method+" "+op.Path)
	}
	parameter := regexp.MustCompile(`\{[a-z_]*\}`)
	literal := regexp.MustCompile(`/(activate|deactivate)$`)
	for _, op := range operations {
		pattern := regexp.MustCompile("^" + parameter.ReplaceAllString(op, "[^/]+") + "$")
		called := false
		for call := range goCalls.served {
			called = called || pattern.MatchString(call) && (literal.MatchString(op) || !literal.MatchString(call))
		}
		if !called {
			missing = append(missing, op)
		}
	}
	return missing, len(operations), nil
}

// checkCalled holds all tests together to calling every operation. It says nothing of a run of some of them.
func checkCalled() int {
	if run := flag.Lookup("test.run"); run != nil && run.Value.String() != "" {
		return 0
	}
	missing, all, err := uncalled()
	if err != nil || len(missing) > 0 {
		fmt.Printf("FAIL: openai-go was not used for %d of %d operations of administration: %s %v\n", len(missing), all, strings.Join(missing, ", "), err)
		return 1
	}
	fmt.Printf("openai-go was used for all of %d operations of administration\n", all)
	return 0
}
