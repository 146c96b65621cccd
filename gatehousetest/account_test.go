package gatehousetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// ask makes a request of an account and returns the status and the decoded answer.
func ask(t *testing.T, a *gatehousetest.Account, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL+"/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(body, "--b\r\n") {
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	}
	client := &http.Client{Transport: gatehousetest.Transport(t)}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return resp.StatusCode, out
}

// TestAccount keeps what it makes, gives it to everybody, and refuses what names nothing that is there.
func TestAccount(t *testing.T) {
	a := gatehousetest.NewAccount(t)
	id := func(method, path, body string) string {
		t.Helper()
		status, out := ask(t, a, method, path, body)
		text, ok := out["id"].(string)
		if status > 201 || !ok {
			t.Fatalf("%s %s: %d %v", method, path, status, out)
		}
		return text
	}
	want := func(status int, method, path, body string) map[string]any {
		t.Helper()
		got, out := ask(t, a, method, path, body)
		if got != status {
			t.Errorf("%s %s %s: %d %v, want %d", method, path, body, got, out, status)
		}
		return out
	}
	file := id("POST", "/files", "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n")
	store := id("POST", "/vector_stores", `{"file_ids":["`+file+`"]}`)
	if got := id("POST", "/vector_stores/"+store+"/files", `{"file_id":"`+file+`"}`); got != file {
		t.Errorf("a file in a store is %s, want %s", got, file)
	}
	other := id("POST", "/vector_stores", `{}`)
	want(404, "GET", "/vector_stores/"+other+"/files/"+file, "")
	want(404, "POST", "/vector_stores", `{"file_ids":["file-none"]}`)
	want(200, "POST", "/vector_stores", `{"metadata":{"file_id":"file-none"}}`)
	want(200, "DELETE", "/vector_stores/"+store+"/files/"+file, "")
	want(200, "GET", "/files/"+file, "")

	run := want(200, "POST", "/threads/runs", `{"assistant_id":"`+id("POST", "/assistants", `{"model":"m"}`)+`"}`)
	thread, _ := run["thread_id"].(string)
	steps := "/threads/" + thread + "/runs/" + run["id"].(string) + "/steps"
	if list := want(200, "GET", steps, ""); len(list["data"].([]any)) != 1 {
		t.Errorf("steps: %v", list)
	}
	want(200, "DELETE", "/threads/"+thread, "")
	want(404, "GET", steps, "")

	job := want(200, "POST", "/fine_tuning/jobs", `{"model":"m","training_file":"`+file+`"}`)
	tuned, _ := job["fine_tuned_model"].(string)
	want(200, "POST", "/chat/completions", `{"model":"`+tuned+`","messages":[]}`)
	want(200, "DELETE", "/models/"+tuned, "")
	want(404, "POST", "/chat/completions", `{"model":"`+tuned+`","messages":[]}`)

	response := want(200, "POST", "/responses", `{"model":"m","input":"x"}`)
	item := response["output"].([]any)[0].(map[string]any)["id"].(string)
	want(200, "POST", "/responses", `{"model":"m","previous_response_id":"`+response["id"].(string)+`","input":[{"type":"item_reference","id":"`+item+`"}]}`)
	want(404, "POST", "/responses", `{"model":"m","input":[{"id":"msg_none"}]}`)
	want(404, "POST", "/responses", `{"model":"m","conversation":{"id":"conv_none"}}`)
	if list := want(200, "GET", "/files", ""); len(list["data"].([]any)) != 3 {
		t.Errorf("everybody's files: %v", list)
	}
	if !a.Has("file", file) || a.Has("file", "file-none") || a.Has("thread", thread) || a.Requests() == 0 {
		t.Error("Has or Requests")
	}
	want(404, "GET", "/nothing", "")
	want(400, "POST", "/responses", `{`)
}
