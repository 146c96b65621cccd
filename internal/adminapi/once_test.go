package adminapi_test

import (
	"database/sql"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// named makes a call with an Idempotency-Key.
func named(t *testing.T, s *gatehousetest.Server, method, path, key, body, name string) (status int, text string, replayed bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", name)
	res, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(out), res.Header.Get("Idempotent-Replayed") == "true"
}

// TestIdempotentCalls repeats every call that writes with its Idempotency-Key: the second time nothing happens, and its caller gets the
// first answer, or where that held a secret is told what was made. No such secret is in the database.
func TestIdempotentCalls(t *testing.T) {
	doc := readDocument(t)
	writes := maps.Clone(ownWrites)
	for i := range doc.Operations {
		if op := &doc.Operations[i]; op.Method == "POST" {
			writes["POST /v1"+op.Path] = valid[op.name()]
		}
	}
	c := &conformance{t: t, s: gatehousetest.Start(t, gatehousetest.Options{}), ids: map[string]string{"start": fmt.Sprint(time.Now().Unix()), "rate_limit_id": "rl-gpt-4o"}}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.s.Data, "gatehouse.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	events := func() (n int) {
		t.Helper()
		if err := db.QueryRow(`SELECT COUNT(*) FROM events`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	repeated, lost := 0, 0
	for i, call := range slices.Sorted(maps.Keys(writes)) {
		method, path, _ := strings.Cut(call, " ")
		if method != "POST" || strings.HasSuffix(path, "/deactivate") { // of what is active nowhere: it changes nothing
			continue
		}
		t.Run(call, func(t *testing.T) {
			c.t = t
			c.prepare(call + writes[call])
			path, body, name := c.path(path), c.path(writes[call]), fmt.Sprint("call ", i)
			status, first, replayed := named(t, c.s, method, path, c.s.AdminKey, body, name)
			if status != 200 || replayed {
				t.Fatalf("%d %s", status, first)
			}
			before := events()
			status, second, replayed := named(t, c.s, method, path, c.s.AdminKey, body, name)
			switch secret := strings.Contains(first, `"value":"sk-`) || strings.Contains(first, `"secret":"`) || strings.Contains(first, `"link":"`); {
			case secret && status == 409 && strings.Contains(second, "idempotency_answer_lost"):
				lost++
			case !secret && status == 200 && replayed && second == first:
				repeated++
			default:
				t.Errorf("repeated: %d %s, replayed %v; first %s", status, second, replayed, first)
			}
			if n := events(); n != before {
				t.Errorf("%d events more", n-before)
			}
			if status, text, _ := named(t, c.s, method, path, c.s.AdminKey, body+" ", name); status != 400 || !strings.Contains(text, "idempotency_key_reused") {
				t.Errorf("with another body: %d %s", status, text)
			}
		})
	}
	if repeated < 30 || lost < 5 {
		t.Errorf("%d were repeated, %d held a secret", repeated, lost)
	}
	var kept int
	if err := db.QueryRow(`SELECT COUNT(*) FROM idempotent_calls WHERE answer LIKE '%sk-%gtk%' OR answer LIKE '%"secret":"%' OR answer LIKE '%"link":"%'`).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d answers with secrets are kept, %v", kept, err)
	}
}

// TestIdempotentCallsAtOnce makes one call many times at once: one project is there, and whoever is not told to wait gets it.
func TestIdempotentCallsAtOnce(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			status, text, _ := named(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":"Once"}`, "one")
			if status == 409 && strings.Contains(text, "idempotency_in_progress") {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[text]++
		})
	}
	wg.Wait()
	if len(answers) != 1 {
		t.Errorf("%v", answers)
	}
	_, v := ask(t, s, "GET", "/v1/organization/projects", s.AdminKey, "")
	n := 0
	for _, p := range v["data"].([]any) {
		if p.(map[string]any)["name"] == "Once" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d projects were made", n)
	}
	// The name is its caller's own: another key that uses it makes another call, and learns nothing.
	_, other := ask(t, s, "POST", "/v1/organization/admin_api_keys", s.AdminKey, `{"name":"other"}`)
	if status, text, replayed := named(t, s, "POST", "/v1/organization/projects", other["value"].(string), `{"name":"Once"}`, "one"); status != 200 || replayed || answers[text] != 0 {
		t.Errorf("another key: %d %s", status, text)
	}
	if status, text, _ := named(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":"Long"}`, strings.Repeat("x", 256)); status != 400 {
		t.Errorf("a long name: %d %s", status, text)
	}
	if status, text, _ := named(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":""}`, "wrong"); status != 400 {
		t.Errorf("%d %s", status, text)
	}
	if status, text, replayed := named(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":"Right"}`, "wrong"); status != 200 || replayed {
		t.Errorf("after a call that changed nothing its name is free: %d %s", status, text)
	}
}

// TestCallsAreLimited calls with one key more often than it may: it is told when to try again, and another key is not held up.
func TestCallsAreLimited(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{AdminCalls: 50})
	_, other := ask(t, s, "POST", "/v1/organization/admin_api_keys", s.AdminKey, `{"name":"other"}`)
	for i := range 200 {
		res, err := s.Client.Do(request(t, s, s.AdminKey))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == 429 {
			if i < 48 || res.Header.Get("Retry-After") == "" {
				t.Errorf("after %d calls: %v", i, res.Header)
			}
			if status, v := ask(t, s, "GET", "/v1/organization/projects", other["value"].(string), ""); status != 200 {
				t.Errorf("another key: %d %v", status, v)
			}
			return
		}
	}
	t.Error("200 calls were served")
}

func request(t *testing.T, s *gatehousetest.Server, key string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/organization/projects", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return req
}
