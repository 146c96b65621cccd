package adminapi_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

const (
	modelKey = "model-key-of-a-test"
	billKey  = "bill-key-of-a-test"
)

// provider is an OpenAI that answers chats with fixed usage, and says what it billed.
func provider(t *testing.T, costs string) (url string, asked func() []string) {
	t.Helper()
	var paths []string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+modelKey {
			t.Errorf("a model was called with %q", r.Header.Get("Authorization"))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],
			"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_tokens_details":{"cached_tokens":400}}}`)
	})
	organization := func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		if r.Header.Get("Authorization") != "Bearer "+billKey {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		at := r.URL.Query().Get("start_time")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/v1/organization/costs" && r.URL.Query().Get("page") == "":
			_, _ = fmt.Fprintf(w, `{"object":"page","data":[{"object":"bucket","start_time":%s,"results":[%s]}],"has_more":true,"next_page":"page_2"}`, at, costs)
		case r.URL.Path == "/v1/organization/costs":
			_, _ = fmt.Fprintf(w, `{"object":"page","data":[{"object":"bucket","start_time":%s,"results":[
				{"amount":{"value":0.02,"currency":"usd"},"line_item":"o3-2025-04-16, input","project_id":"proj_lab","quantity":10000,"quantity_unit":"tokens"}]}],"has_more":false,"next_page":null}`, at)
		case r.URL.Path == "/v1/organization/usage/completions":
			_, _ = fmt.Fprintf(w, `{"object":"page","data":[{"object":"bucket","start_time":%s,"results":[
				{"object":"organization.usage.completions.result","input_tokens":3000,"input_cached_tokens":1200,"output_tokens":400,"num_model_requests":3,"model":"gpt-4o-2024-08-06","project_id":"proj_up","batch":false}]}],"has_more":false}`, at)
		default:
			_, _ = io.WriteString(w, `{"object":"page","data":[],"has_more":false}`)
		}
	}
	mux.HandleFunc("GET /v1/organization/", organization)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, func() []string { return paths }
}

// used is a Gatehouse whose project made three calls through an upstream of that URL.
func used(t *testing.T, url string) *gatehousetest.Server {
	t.Helper()
	t.Setenv("MODEL_API_KEY", modelKey)
	t.Setenv("BILL_API_KEY", billKey)
	s := gatehousetest.Start(t, gatehousetest.Options{})
	s.Apply(fmt.Sprintf(`{"upstreams":[{"name":"openai","dialect":"openai","base_url":%q,"allow_private":true,"credential":{"key":"env://MODEL_API_KEY"}}],
		"deployments":[{"name":"gpt-4o","routes":[{"upstream":"openai","model":"gpt-4o"}]}]}`, url+"/v1"))
	for range 3 {
		status, v := ask(t, s, http.MethodPost, "/v1/chat/completions", s.APIKey, `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`)
		if status != http.StatusOK {
			t.Fatal(status, v)
		}
	}
	return s
}

// days is yesterday's and tomorrow's midnight: today is within, whenever the test runs.
func days() (start, end int64) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	return today.AddDate(0, 0, -1).Unix(), today.AddDate(0, 0, 1).Unix()
}

type reconciled struct {
	Ours     int64 `json:"our_nano_usd"`
	Theirs   int64 `json:"provider_nano_usd"`
	Variance int64 `json:"variance_nano_usd"`
	Within   bool  `json:"within_tolerance"`
	Causes   []struct {
		Cause  string `json:"cause"`
		Amount int64  `json:"amount_nano_usd"`
	} `json:"causes"`
	Hints []string `json:"hints"`
}

func (r *reconciled) by() map[string]int64 {
	m := map[string]int64{}
	for _, c := range r.Causes {
		if c.Amount != 0 {
			m[c.Cause] = c.Amount
		}
	}
	return m
}

// TestReconcileOpenAI plants causes in a provider's answers and finds them: the price of input is higher there, the output is more than
// was counted, and somebody uses another model beside the gateway.
func TestReconcileOpenAI(t *testing.T) {
	url, asked := provider(t, `
		{"object":"organization.costs.result","amount":{"value":0.0054,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, input","project_id":"proj_up","quantity":1800,"quantity_unit":"tokens"},
		{"object":"organization.costs.result","amount":{"value":"0.0015","currency":"usd"},"line_item":"gpt-4o-2024-08-06, cached input","project_id":"proj_up","quantity":1.2,"quantity_unit":"1000_tokens"},
		{"object":"organization.costs.result","amount":{"value":4e-3,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, output","project_id":"proj_up"}`)
	s := used(t, url)
	start, end := days()
	body := func(more string) string {
		return fmt.Sprintf(`{"upstream":"openai","admin_key":"env://BILL_API_KEY","start_time":%d,"end_time":%d%s}`, start, end, more)
	}
	var r reconciled
	s.Admin(http.MethodPost, "/gatehouse/v1/reconcile", body(""), &r)
	want := map[string]int64{"price_differs": 900_000, "quantity_output": 1_000_000, "not_through_gatehouse": 20_000_000}
	if fmt.Sprint(r.by()) != fmt.Sprint(want) || r.Ours != 9_000_000 || r.Theirs != 30_900_000 || r.Variance != 21_900_000 || r.Within {
		t.Errorf("%+v, want causes %v", r, want)
	}
	if len(r.Hints) == 0 || len(asked()) < 3 {
		t.Errorf("hints %v after %v", r.Hints, asked())
	}
	// The lab's project is none of the gateway's, and two tenths of the bill may differ.
	s.Admin(http.MethodPost, "/gatehouse/v1/reconcile", body(`,"provider_projects":["proj_up"],"tolerance":0.8`), &r)
	if !r.Within || r.by()["not_through_gatehouse"] != 20_000_000 {
		t.Errorf("%+v", r)
	}

	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"another upstream":    {strings.Replace(body(""), `"openai"`, `"fabrikam"`, 1), 400, ""},
		"not whole days":      {strings.Replace(body(""), fmt.Sprint(start), fmt.Sprint(start+1), 1), 400, ""},
		"a secret itself":     {strings.Replace(body(""), "env://BILL_API_KEY", "sk-admin-abc", 1), 400, "invalid_secret_reference"},
		"a secret not there":  {strings.Replace(body(""), "BILL_API_KEY", "NO_API_KEY", 1), 503, "secret_unavailable"},
		"the server's own":    {strings.Replace(body(""), "BILL_API_KEY", "GATEHOUSE_PEPPER", 1), 400, ""},
		"refused there":       {strings.Replace(body(""), "BILL_API_KEY", "MODEL_API_KEY", 1), 502, "upstream_credential_refused"},
		"no key":              {strings.Replace(body(""), "admin_key", "admin", 1), 400, "unknown_parameter"},
		"tolerance below all": {body(`,"tolerance":-1`), 400, ""},
	} {
		status, v := ask(t, s, http.MethodPost, "/gatehouse/v1/reconcile", s.AdminKey, c.body)
		e, _ := v["error"].(map[string]any)
		if status != c.status || c.code != "" && e["code"] != c.code {
			t.Errorf("%s: %d %v, want %d %s", name, status, e, c.status, c.code)
		}
		if strings.Contains(fmt.Sprint(v), billKey) {
			t.Errorf("%s: the secret is in %v", name, v)
		}
	}
	// A key that only reads usage cannot have the server use a secret.
	var key struct {
		Value string `json:"value"`
	}
	s.Admin(http.MethodPost, "/gatehouse/v1/keys", `{"class":"admin","name":"finance","scopes":["api.usage.read"]}`, &key)
	if status, v := ask(t, s, http.MethodPost, "/gatehouse/v1/reconcile", key.Value, body("")); status != http.StatusForbidden {
		t.Errorf("a key that reads: %d %v", status, v)
	}
	if status, v := ask(t, s, http.MethodGet, "/gatehouse/v1/forecast", key.Value, ""); status != http.StatusOK {
		t.Errorf("a key that reads a forecast: %d %v", status, v)
	}
}

// TestReconcileAzure sends an export of Cost Management as it is, and finds what was planted in it.
func TestReconcileAzure(t *testing.T) {
	url, _ := provider(t, "")
	s := used(t, url)
	start, end := days()
	export := "Date,MeterCategory,MeterSubCategory,MeterName,UnitOfMeasure,Quantity,CostInBillingCurrency,BillingCurrencyCode,ChargeType,ResourceId\n" +
		time.Now().UTC().Format(time.DateOnly) + ",Cognitive Services,Azure OpenAI,gpt 4o 0806 Inp glbl Tokens,1K,4,0.01,USD,Usage,/accounts/contoso\n"
	send := func(text, query string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+fmt.Sprintf("/gatehouse/v1/reconcile?start_time=%d&end_time=%d%s", start, end, query), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.AdminKey)
		req.Header.Set("Content-Type", "text/csv")
		resp, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	status, body := send(export, "")
	var r reconciled
	if err := json.Unmarshal(body, &r); err != nil || status != http.StatusOK {
		t.Fatal(status, err, string(body))
	}
	// No upstream here is Azure's: all of it went another way.
	if got := r.by(); fmt.Sprint(got) != fmt.Sprint(map[string]int64{"not_through_gatehouse": 10_000_000}) || r.Within {
		t.Errorf("%+v", r)
	}
	if status, body = send("a,b\n1,2\n", ""); status != http.StatusBadRequest || !bytes.Contains(body, []byte("invalid_cost_export")) {
		t.Errorf("another file: %d %s", status, body)
	}
	if status, body = send(export, "&tolerance=NaN"); status != http.StatusBadRequest {
		t.Errorf("a tolerance of NaN: %d %s", status, body)
	}
}

// TestExportOverHTTP reads a file as a client does and adds its costs up.
func TestExportOverHTTP(t *testing.T) {
	url, _ := provider(t, "")
	s := used(t, url)
	start, end := days()
	get := func(query string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/gatehouse/v1/usage/export?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.AdminKey)
		resp, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, body
	}
	window := fmt.Sprintf("start_time=%d&end_time=%d", start, end)
	resp, body := get(window)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Focus-Version") != "1.2" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") ||
		!strings.Contains(resp.Header.Get("Content-Disposition"), ".csv") || resp.Header.Get("X-Request-Id") == "" {
		t.Fatal(resp.Status, resp.Header)
	}
	records, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(records) != 4 { // a header, and input, cached input and output of one key
		t.Fatalf("%v in\n%s", err, body)
	}
	sum := new(big.Rat)
	for _, r := range records[1:] {
		cost, ok := new(big.Rat).SetString(r[0])
		if !ok {
			t.Fatal(r)
		}
		sum.Add(sum, cost)
	}
	if sum.Cmp(big.NewRat(9, 1000)) != 0 {
		t.Errorf("costs add up to %s, want 0.009", sum.FloatString(9))
	}
	if s.Explain(resp.Header.Get("X-Request-Id")).BytesOut != int64(len(body)) {
		t.Error("the decision does not say how much was sent")
	}
	if resp, body := get(window + "&format=parquet"); resp.StatusCode != http.StatusOK || !bytes.HasPrefix(body, []byte("PAR1")) || !bytes.HasSuffix(body, []byte("PAR1")) {
		t.Error(resp.Status, len(body))
	}
	for _, q := range []string{window + "&format=xlsx", "start_time=5&end_time=5", window + "&bucket_width=1m", window + "&time_zone=Mars/Olympus", window + "&time_zone=Local"} {
		if resp, body := get(q); resp.StatusCode != http.StatusBadRequest || !json.Valid(body) {
			t.Error(q, resp.Status, string(body))
		}
	}
}

// TestFinanceReports shows that reports of one Gatehouse agree with each other.
func TestFinanceReports(t *testing.T) {
	url, _ := provider(t, "")
	s := used(t, url)
	s.Admin(http.MethodPost, "/gatehouse/v1/projects/"+s.ProjectID, `{"labels":{"cost_center":"4711"}}`, nil)
	var c struct {
		Total int64 `json:"total_nano_usd"`
		Data  []struct {
			Groups map[string]string `json:"groups"`
			Total  int64             `json:"total_nano_usd"`
		} `json:"data"`
	}
	start, end := days()
	s.Admin(http.MethodGet, fmt.Sprintf("/gatehouse/v1/chargeback?start_time=%d&end_time=%d&by=cost_center&by=label:team", start, end), "", &c)
	if c.Total != 9_000_000 || len(c.Data) != 1 || c.Data[0].Groups["cost_center"] != "4711" || c.Data[0].Groups["label:team"] != "(unlabelled)" {
		t.Errorf("%+v", c)
	}
	var f struct {
		Total struct {
			Spent    int64  `json:"spent_nano_usd"`
			Expected int64  `json:"expected_nano_usd"`
			Note     string `json:"note"`
		} `json:"total"`
		Data []struct {
			Name string `json:"name"`
		} `json:"data"`
	}
	s.Admin(http.MethodGet, "/gatehouse/v1/forecast?group_by=project", "", &f)
	if f.Total.Spent != 9_000_000 || f.Total.Expected < f.Total.Spent || f.Total.Note == "" || len(f.Data) != 1 {
		t.Errorf("%+v", f)
	}
	var tr struct {
		Data []struct {
			Cost     int64 `json:"cost_nano_usd"`
			Complete bool  `json:"complete"`
		} `json:"data"`
	}
	s.Admin(http.MethodGet, "/gatehouse/v1/trend?period=week&count=2", "", &tr)
	if len(tr.Data) != 3 || tr.Data[2].Complete || tr.Data[2].Cost != 9_000_000 {
		t.Errorf("%+v", tr)
	}
	for _, path := range []string{"chargeback?by=weather", "chargeback?month=May", "chargeback?unlabelled=drop", "forecast?interval=2", "forecast?group_by=mood", "trend?period=hour", "trend?count=0"} {
		if status, v := ask(t, s, http.MethodGet, "/gatehouse/v1/"+path, s.AdminKey, ""); status != http.StatusBadRequest {
			t.Error(path, status, v)
		}
	}
}
