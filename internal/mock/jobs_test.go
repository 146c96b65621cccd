package mock

import (
	"encoding/json"
	"strings"
	"testing"
)

// file uploads a file and returns its id.
func (h *host) file(purpose, content string) string {
	h.Helper()
	return h.formJSON("/v1/files", []string{"@file", content, "purpose", purpose})["id"].(string)
}

func TestBatch(t *testing.T) {
	h := serve(t)
	line := func(id, model string) string {
		b, err := json.Marshal(map[string]any{"custom_id": id, "method": "POST", "url": "/v1/chat/completions",
			"body": object{"model": model, "messages": []any{object{"role": "user", "content": "Hi"}}, "max_tokens": 4}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	in := h.file("batch", line("1", "gpt-4o")+line("2", "gpt-9")+"\n"+line("3", "gpt-4o"))
	b := h.json("POST", "/v1/batches", object{"input_file_id": in, "endpoint": "/v1/chat/completions", "completion_window": "24h"})
	h.want("status", b["status"], "validating")
	id := b["id"].(string)
	b = h.json("GET", "/v1/batches/"+id, nil)
	h.want("status", b["status"], "completed")
	h.want("completed", at(b, "request_counts", "completed"), 2)
	h.want("failed", at(b, "request_counts", "failed"), 1)
	_, out := h.do("GET", "/v1/files/"+b["output_file_id"].(string)+"/content", nil)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 {
		t.Fatalf("output:\n%s", out)
	}
	var used float64
	for _, l := range lines {
		var o object
		if err := json.Unmarshal([]byte(l), &o); err != nil {
			t.Fatal(err)
		}
		h.want("status of a line", at(o, "response", "status_code"), 200)
		used += at(o, "response", "body", "usage", "total_tokens").(float64)
	}
	h.want("usage", at(b, "usage", "total_tokens"), used)
	_, out = h.do("GET", "/v1/files/"+b["error_file_id"].(string)+"/content", nil)
	if !strings.Contains(string(out), "model_not_found") || !strings.Contains(string(out), `"custom_id":"2"`) {
		t.Errorf("errors:\n%s", out)
	}
	again := h.json("GET", "/v1/batches/"+id, nil)
	h.want("the same file", again["output_file_id"], b["output_file_id"])
	h.want("listed", at(h.json("GET", "/v1/batches", nil), "data", 0, "id"), id)
	if res, _ := h.do("POST", "/v1/batches/"+id+"/cancel", nil); res.StatusCode != 409 {
		t.Errorf("a batch that is done is cancelled: %d", res.StatusCode)
	}
	if res, _ := h.in("proj_two").do("GET", "/v1/batches/"+id, nil); res.StatusCode != 404 {
		t.Errorf("another project sees it: %d", res.StatusCode)
	}
	b = h.json("POST", "/v1/batches", object{"input_file_id": in, "endpoint": "/v1/chat/completions", "completion_window": "24h"})
	h.want("cancelled", h.json("POST", "/v1/batches/"+b["id"].(string)+"/cancel", nil)["status"], "cancelled")
	h.want("and stays so", h.json("GET", "/v1/batches/"+b["id"].(string), nil)["status"], "cancelled")
	b = h.json("POST", "/v1/batches", object{"input_file_id": h.file("batch", "no line\n"), "endpoint": "/v1/chat/completions", "completion_window": "24h"})
	h.want("a file of something else", h.json("GET", "/v1/batches/"+b["id"].(string), nil)["status"], "failed")
	for _, bad := range []object{{}, {"input_file_id": in, "endpoint": "/v1/files", "completion_window": "24h"}, {"input_file_id": in, "endpoint": "/v1/embeddings", "completion_window": "1h"},
		{"input_file_id": "file-none", "endpoint": "/v1/embeddings", "completion_window": "24h"}} {
		if res, _ := h.do("POST", "/v1/batches", bad); res.StatusCode != 400 {
			t.Errorf("batch %v: %d, want 400", bad, res.StatusCode)
		}
	}
}

func TestVideos(t *testing.T) {
	h := serve(t)
	if res, body := h.do("POST", "/v1/videos", object{"model": "sora-9", "prompt": "a cat"}); res.StatusCode != 404 {
		t.Fatalf("a model the mock was not given: %d %s", res.StatusCode, body)
	}
	v := h.json("POST", "/v1/videos", object{"model": "gpt-4o", "prompt": "a cat", "seconds": "8"})
	h.want("status", v["status"], "queued")
	id := v["id"].(string)
	if res, _ := h.do("GET", "/v1/videos/"+id+"/content", nil); res.StatusCode != 404 {
		t.Errorf("content of what is queued: %d", res.StatusCode)
	}
	v = h.json("GET", "/v1/videos/"+id, nil)
	h.want("status", v["status"], "completed")
	h.want("seconds", v["seconds"], "8")
	if _, body := h.do("GET", "/v1/videos/"+id+"/content", nil); !strings.HasPrefix(string(body), "[mock gpt-4o]") {
		t.Errorf("content %q", body)
	}
	v = h.json("POST", "/v1/videos/"+id+"/remix", object{"prompt": "a dog"})
	h.want("remix", v["remixed_from_video_id"], id)
	h.want("a form", h.formJSON("/v1/videos", []string{"model", "gpt-4o", "prompt", "x", "seconds", "4"})["seconds"], "4")
	h.want("deleted", h.json("DELETE", "/v1/videos/"+id, nil)["deleted"], true)
	for _, bad := range []object{{"model": "gpt-4o"}, {"model": "gpt-4o", "prompt": "x", "seconds": "5"}} {
		if res, _ := h.do("POST", "/v1/videos", bad); res.StatusCode != 400 {
			t.Errorf("video %v: %d, want 400", bad, res.StatusCode)
		}
	}
}

func TestFineTuning(t *testing.T) {
	h := serve(t)
	file := h.file("fine-tune", `{"messages":[]}`+"\n")
	j := h.json("POST", "/v1/fine_tuning/jobs", object{"model": "gpt-4o", "training_file": file})
	h.want("status", j["status"], "validating_files")
	id := j["id"].(string)
	j = h.json("GET", "/v1/fine_tuning/jobs/"+id, nil)
	h.want("status", j["status"], "succeeded")
	if n, ok := j["trained_tokens"].(float64); !ok || n <= 0 || int(n)%epochs != 0 || !strings.HasPrefix(j["fine_tuned_model"].(string), "ft:gpt-4o:mock::") {
		t.Errorf("job %v", j)
	}
	j = h.json("POST", "/v1/fine_tuning/jobs", object{"model": "gpt-4o", "training_file": file})
	h.want("cancelled", h.json("POST", "/v1/fine_tuning/jobs/"+j["id"].(string)+"/cancel", nil)["status"], "cancelled")
	for _, bad := range []object{{"model": "gpt-4o"}, {"model": "gpt-4o", "training_file": "file-none"}} {
		if res, _ := h.do("POST", "/v1/fine_tuning/jobs", bad); res.StatusCode != 400 {
			t.Errorf("job %v: %d, want 400", bad, res.StatusCode)
		}
	}
}
