package system_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// TestNodesEnforcePolicies: what one node is told that a project may not do is refused by both when the answer has come, and served
// again when it is allowed.
func TestNodesEnforcePolicies(t *testing.T) {
	p := newPair(t, "10s", "")
	project, account := p.project(t, "restricted")
	k := p.key(t, project, account)
	p.everywhere(t, k)
	set := func(n *node, setting string, body any) {
		t.Helper()
		if status := must(t, p.client, http.MethodPost, n.URL+"/v1/organization/projects/"+project+"/"+setting, p.AdminKey, body, nil); status != 200 {
			t.Fatalf("%s: the change does not hold everywhere: %d", setting, status)
		}
	}
	expect := func(what string, body map[string]any, status int, code string) {
		t.Helper()
		for name, n := range map[string]*node{"a": p.a, "b": p.b} {
			r := ask(t.Context(), p.client, http.MethodPost, n.URL+"/v1/chat/completions", k.value, body)
			if r.Err != nil || r.Status != status || !strings.Contains(string(r.Body), code) {
				t.Errorf("%s at node %s: %d %v %s, want %d %s", what, name, r.Status, r.Err, r.Body, status, code)
			}
		}
	}
	search := chat(false)
	search["web_search_options"] = map[string]any{}
	fast := chat(false)
	fast["service_tier"] = "priority"
	for range 3 {
		set(p.a, "model_permissions", map[string]any{"mode": "allow_list", "model_ids": []string{"gpt-4o"}})
		expect("a denied model", chat(false), 403, "model_not_found")
		set(p.b, "model_permissions", map[string]any{"mode": "deny_list", "model_ids": []string{"gpt-4o"}})
		expect("a model that is allowed again", chat(false), 200, "")
		set(p.b, "hosted_tool_permissions", map[string]any{"web_search": map[string]any{"enabled": false}})
		expect("a denied tool", search, 403, "hosted_tool_not_allowed")
		expect("a request without the tool", chat(false), 200, "")
		set(p.a, "hosted_tool_permissions", map[string]any{"web_search": map[string]any{"enabled": true}})
		expect("a tool that is allowed again", search, 200, "")
		set(p.a, "data_retention", map[string]any{"retention_type": "zero_data_retention"})
		p.callersKept(t, k, false)
		set(p.b, "data_retention", map[string]any{"retention_type": "none"})
		p.callersKept(t, k, true)
		set(p.b, "service_tier_settings", map[string]any{"enabled_tiers": []string{"flex"}})
		expect("a denied tier", fast, 400, "service_tier_not_allowed")
		set(p.a, "service_tier_settings", map[string]any{"enabled_tiers": "all"})
		expect("a tier that is allowed again", fast, 200, "")
	}
}

// callersKept checks at both nodes whether what is kept of a request says where it came from.
func (p *pair) callersKept(t *testing.T, k *key, kept bool) {
	t.Helper()
	for name, n := range map[string]*node{"a": p.a, "b": p.b} {
		r := ask(t.Context(), p.client, http.MethodPost, n.URL+"/v1/chat/completions", k.value, chat(false))
		if r.Err != nil || r.Status != 200 {
			t.Fatalf("node %s: %d %v", name, r.Status, r.Err)
		}
		id := r.Header.Get("X-Request-Id")
		var body string
		eventually(t, "the record of "+id, func() bool {
			r := ask(t.Context(), p.client, http.MethodGet, n.URL+"/gatehouse/v1/requests/"+id, p.AdminKey, nil)
			body = string(r.Body)
			return r.Status == 200
		})
		if strings.Contains(body, `"ip":"127.0.0.1"`) != kept {
			t.Errorf("node %s keeps the address of a request, want %v: %s", name, kept, body)
		}
	}
}

// TestNodesEnforceCertificates puts certificates into force at one node, in the organization and in a project, and calls both behind a
// proxy that says which client certificate its client showed.
func TestNodesEnforceCertificates(t *testing.T) {
	p := newPair(t, "10s", "")
	project, account := p.project(t, "mutual")
	k := p.key(t, project, account)
	p.everywhere(t, k)
	ours, theirs := gatehousetest.NewAuthority(t, "ours"), gatehousetest.NewAuthority(t, "theirs")
	call := func(n *node, path string, body any) (out struct{ ID string }) {
		t.Helper()
		if status := must(t, p.client, http.MethodPost, n.URL+"/v1/organization"+path, p.AdminKey, body, &out); status != 200 {
			t.Fatalf("%s: the change does not hold everywhere: %d", path, status)
		}
		return out
	}
	upload := func(a *gatehousetest.Authority) map[string]any {
		return map[string]any{"certificate_ids": []string{call(p.a, "/certificates", map[string]any{"certificate": a.PEM}).ID}}
	}
	header := func(a *gatehousetest.Authority) string {
		return ":" + base64.StdEncoding.EncodeToString(a.Client(t, "robot", nil).Certificate[0]) + ":"
	}
	idOurs, idTheirs, ourClient, theirClient := upload(ours), upload(theirs), header(ours), header(theirs)
	expect := func(what, certificate string, code string) {
		t.Helper()
		var headers []string
		if certificate != "" {
			headers = []string{"Client-Cert", certificate}
		}
		status := 401
		if code == "" {
			status = 200
		}
		for name, n := range map[string]*node{"a": p.a, "b": p.b} {
			r := ask(t.Context(), p.client, http.MethodPost, n.URL+"/v1/chat/completions", k.value, chat(false), headers...)
			if r.Err != nil || r.Status != status || !strings.Contains(string(r.Body), code) {
				t.Errorf("%s at node %s: %d %v %s, want %d %s", what, name, r.Status, r.Err, r.Body, status, code)
			}
		}
	}
	ended, _ := p.longStream(t, p.b, k)
	for i := range 3 {
		call(p.a, "/projects/"+project+"/certificates/activate", idOurs)
		if i == 0 {
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("the open stream of a client without a certificate goes on")
			}
		}
		expect("none", "", "client_certificate_required")
		expect("ours", ourClient, "")
		expect("theirs", theirClient, "client_certificate_not_trusted")
		call(p.b, "/certificates/activate", idTheirs)
		expect("ours, where the organization wants theirs", ourClient, "client_certificate_not_trusted")
		call(p.a, "/projects/"+project+"/certificates/deactivate", idOurs)
		expect("theirs, where the project wants none", theirClient, "")
		call(p.b, "/certificates/deactivate", idTheirs)
		expect("nothing is demanded", "", "")
	}
}

// TestMutualTLS calls a node's listener that asks for client certificates, with one, without and with a stranger's.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	host := gatehousetest.NewAuthority(t, "host")
	leaf := host.Client(t, "localhost", func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := configFile(t, "listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "data: "+filepath.Join(dir, "data"), "database: sqlite:"+filepath.Join(dir, "db"),
		"pepper: file://"+filepath.Join(dir, "pepper"), "kek: file://"+filepath.Join(dir, "kek"), "drain: 1s", "log: {access: false}",
		"tls: {cert: "+filepath.Join(dir, "cert")+", key: "+filepath.Join(dir, "key")+", client_cert_listen: 127.0.0.1:0}")
	f := found(t, config)
	n := serve(t, config)
	roots := x509.NewCertPool()
	roots.AddCert(host.Certificate)
	with := func(http2 bool, certificates ...tls.Certificate) *http.Client {
		tr := gatehousetest.Transport(t)
		tr.TLSClientConfig, tr.ForceAttemptHTTP2 = &tls.Config{RootCAs: roots, Certificates: certificates}, http2
		return &http.Client{Transport: tr, Timeout: patience}
	}
	plain, ours := with(true), gatehousetest.NewAuthority(t, "ours")
	must(t, plain, http.MethodPost, n.URL+"/gatehouse/v1/apply", f.AdminKey, []byte("upstreams: [{name: mock, dialect: mock}]\ndeployments: [{name: gpt-4o-mini, routes: [{upstream: mock}]}]\n"), nil)
	var made struct {
		ID     string
		APIKey struct{ Value string } `json:"api_key"`
	}
	must(t, plain, http.MethodPost, n.URL+"/v1/organization/projects/"+f.ProjectID+"/service_accounts", f.AdminKey, map[string]any{"name": "robot"}, &made)
	caller := made.APIKey.Value
	must(t, plain, http.MethodPost, n.URL+"/v1/organization/certificates", f.AdminKey, map[string]any{"name": "ours", "certificate": ours.PEM}, &made)
	must(t, plain, http.MethodPost, n.URL+"/v1/organization/projects/"+f.ProjectID+"/certificates/activate", f.AdminKey, map[string]any{"certificate_ids": []string{made.ID}}, nil)
	good, stranger := ours.Client(t, "robot", nil), gatehousetest.NewAuthority(t, "stranger").Client(t, "robot", nil)
	for _, http2 := range []bool{false, true} {
		for what, c := range map[string]struct {
			client *http.Client
			url    string
			status int
			code   string
		}{
			"with a certificate":                      {with(http2, good), n.ClientCertURL, 200, ""},
			"with a stranger's":                       {with(http2, stranger), n.ClientCertURL, 401, "client_certificate_not_trusted"},
			"without one":                             {with(http2), n.ClientCertURL, 401, "client_certificate_required"},
			"at the listener that does not ask":       {with(http2, good), n.URL, 401, "client_certificate_required"},
			"with a header, which nobody may say":     {with(http2), n.URL, 401, "client_certificate_required"},
			"the administration, which needs no such": {with(http2), n.ClientCertURL, 200, ""},
		} {
			for range 2 { // the second time over the same connection
				r := ask(t.Context(), c.client, http.MethodPost, c.url+"/v1/chat/completions", caller, chat(false), "Client-Cert", ":"+base64.StdEncoding.EncodeToString(good.Certificate[0])+":")
				if strings.HasPrefix(what, "the administration") {
					r = ask(t.Context(), c.client, http.MethodGet, c.url+"/v1/organization/projects", f.AdminKey, nil)
				}
				if r.Err != nil || r.Status != c.status || !strings.Contains(string(r.Body), c.code) {
					t.Errorf("%s, HTTP/2 %v: %d %v %s, want %d %s", what, http2, r.Status, r.Err, r.Body, c.status, c.code)
				}
			}
		}
	}
}

// TestNodesEnforceRoles changes what a group may do in a project at one node, and uses the key of somebody in it at both: once a change
// has been answered with 200 both do as it says. An open stream of a key whose owner lost the role ends at the other node.
func TestNodesEnforceRoles(t *testing.T) {
	p := newPair(t, "10s", "")
	project, _ := p.project(t, "shared")
	call := func(n *node, method, path string, body any) (out struct{ ID, Value string }) {
		t.Helper()
		if status := must(t, p.client, method, n.URL+path, p.AdminKey, body, &out); status != 200 {
			t.Fatalf("%s %s: the change does not hold everywhere: %d", method, path, status)
		}
		return out
	}
	user := call(p.a, http.MethodPost, "/gatehouse/v1/users", map[string]any{"name": "Ann"}).ID
	group := call(p.a, http.MethodPost, "/v1/organization/groups", map[string]any{"name": "callers"}).ID
	role := call(p.a, http.MethodPost, "/v1/projects/"+project+"/roles", map[string]any{"role_name": "caller", "permissions": []string{"model.request", "api.models.read"}}).ID
	call(p.b, http.MethodPost, "/v1/organization/groups/"+group+"/users", map[string]any{"user_id": user})
	in := func(n *node, method, path string, body any) {
		t.Helper()
		call(n, method, "/v1/projects/"+project+path, body)
	}
	in(p.a, http.MethodPost, "/groups/"+group+"/roles", map[string]any{"role_id": role})
	made := call(p.a, http.MethodPost, "/gatehouse/v1/keys", map[string]any{"class": "project", "project_id": project, "user_id": user, "name": "k"})
	k := &key{id: made.ID, value: made.Value}
	p.everywhere(t, k)
	expect := func(what string, ok bool, code string) {
		t.Helper()
		for name, n := range map[string]*node{"a": p.a, "b": p.b} {
			if got, r := p.accepts(t.Context(), n, k, true); got != ok || !ok && !strings.Contains(string(r.Body), code) {
				t.Errorf("%s at node %s: %d %v %s", what, name, r.Status, r.Err, r.Body)
			}
		}
	}
	ended, _ := p.longStream(t, p.b, k)
	in(p.a, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"api.models.read"}})
	expect("a role that does not permit it any more", false, "missing_scope")
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the open stream goes on")
	}
	for range 3 {
		in(p.b, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"model.request", "api.models.read"}})
		expect("a role that permits it again", true, "")
		call(p.a, http.MethodDelete, "/v1/organization/groups/"+group+"/users/"+user, nil)
		expect("out of the group", false, "owner_left_project")
		call(p.b, http.MethodPost, "/v1/organization/groups/"+group+"/users", map[string]any{"user_id": user})
		p.everywhere(t, k)
		in(p.a, http.MethodDelete, "/groups/"+group+"/roles/"+role, nil)
		expect("the group has the role no more", false, "owner_left_project")
		in(p.a, http.MethodPost, "/groups/"+group+"/roles", map[string]any{"role_id": role})
		p.everywhere(t, k)
		in(p.b, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"api.models.read"}})
		expect("a role that does not permit it any more", false, "missing_scope")
	}
}
