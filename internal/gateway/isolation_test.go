package gateway_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/dialect"
)

// maker says how something is made, and where its id is in the answer. Names in braces are ids of the other things it needs.
type maker struct{ method, path, body, id string }

// made are the things that a path or a body may name, by the names of the parameters.
var made = map[string]maker{
	"file_id":                     {"POST", "/files", fileForm("assistants", "x"), "id"},
	"batch_file":                  {"POST", "/files", fileForm("batch", batchLine), "id"},
	"linked_file":                 {"POST", "/vector_stores/{vector_store_id}/files", `{"file_id":"{file_id}"}`, "id"},
	"file_batch_id":               {"POST", "/vector_stores/{vector_store_id}/file_batches", `{"file_ids":["{file_id}"]}`, "id"},
	"vector_store_id":             {"POST", "/vector_stores", `{"name":"x"}`, "id"},
	"upload_id":                   {"POST", "/uploads", `{"purpose":"user_data","filename":"a","bytes":1,"mime_type":"text/plain"}`, "id"},
	"part_id":                     {"POST", "/uploads/{upload_id}/parts", formOf(filePart("data")), "id"},
	"uploaded_file":               {"POST", "/uploads/{upload_id}/complete", `{"part_ids":["{part_id}"]}`, "file.id"},
	"batch_id":                    {"POST", "/batches", batchBody, "id"},
	"output_file":                 {"GET", "/batches/{batch_id}", "", "output_file_id"},
	"fine_tuning_job_id":          {"POST", "/fine_tuning/jobs", `{"model":"gpt-4o","training_file":"{file_id}"}`, "id"},
	"model":                       {"GET", "/fine_tuning/jobs/{fine_tuning_job_id}", "", "fine_tuned_model"},
	"result_file":                 {"GET", "/fine_tuning/jobs/{fine_tuning_job_id}", "", "result_files.0"},
	"fine_tuned_model_checkpoint": {"GET", "/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints", "", "data.0.fine_tuned_model_checkpoint"},
	"permission_id":               {"POST", "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions", `{"project_ids":["p"]}`, "id"},
	"eval_id":                     {"POST", "/evals", `{"data_source_config":{"type":"custom"},"testing_criteria":[]}`, "id"},
	"eval_run_id":                 {"POST", "/evals/{eval_id}/runs", `{"data_source":{"type":"jsonl","source":{"type":"file_id","id":"{file_id}"}}}`, "id"},
	"output_item_id":              {"GET", "/evals/{eval_id}/runs/{eval_run_id}/output_items", "", "data.0.id"},
	"container_id":                {"POST", "/containers", `{"name":"x"}`, "id"},
	"tools_container":             {"POST", "/responses", `{"model":"gpt-4o","input":"x","store":false,"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, "output.1.container_id"},
	"container_file_id":           {"POST", "/containers/{container_id}/files", `{"file_id":"{file_id}"}`, "id"},
	"skill_id":                    {"POST", "/skills", formOf(filePart("files")), "id"},
	"version":                     {"POST", "/skills/{skill_id}/versions", formOf(filePart("files")), "id"},
	"video_id":                    {"POST", "/videos", `{"model":"sora-2","prompt":"x"}`, "id"},
	"character_id":                {"POST", "/videos/characters", formOf(filePart("video"), field("name", "x")), "id"},
	"consent_id":                  {"POST", "/audio/voice_consents", formOf(filePart("recording"), field("name", "x")), "id"},
	"voice_id":                    {"POST", "/audio/voices", formOf(filePart("audio_sample"), field("consent", "{consent_id}")), "id"},
	"assistant_id":                {"POST", "/assistants", `{"model":"gpt-4o"}`, "id"},
	"thread_id":                   {"POST", "/threads", `{}`, "id"},
	"threads_store":               {"POST", "/threads", `{"tool_resources":{"file_search":{"vector_stores":[{"file_ids":["{file_id}"]}]}}}`, "tool_resources.file_search.vector_store_ids.0"},
	"runs_thread":                 {"POST", "/threads/runs", `{"assistant_id":"{assistant_id}"}`, "thread_id"},
	"message_id":                  {"POST", "/threads/{thread_id}/messages", `{"role":"user","content":"x"}`, "id"},
	"run_id":                      {"POST", "/threads/{thread_id}/runs", `{"assistant_id":"{assistant_id}"}`, "id"},
	"drawn_file":                  {"GET", "/threads/{runs_thread}/messages", "", "data.0.content.0.image_file.file_id"},
	"step_id":                     {"GET", "/threads/{thread_id}/runs/{run_id}/steps", "", "data.0.id"},
	"response_id":                 {"POST", "/responses", `{"model":"gpt-4o","input":"x"}`, "id"},
	"output_item":                 {"POST", "/responses", `{"model":"gpt-4o","input":"x"}`, "output.0.id"},
	"conversation_id":             {"POST", "/conversations", `{}`, "id"},
	"item_id":                     {"POST", "/conversations/{conversation_id}/items", `{"items":[{"type":"message","role":"user","content":"x"}]}`, "data.0.id"},
	"completion_id":               {"POST", "/chat/completions", `{"model":"gpt-4o","messages":[],"store":true}`, "id"},
	"audio_id":                    {"POST", "/chat/completions", `{"model":"gpt-4o","messages":[],"modalities":["text","audio"]}`, "choices.0.message.audio.id"},
	"agent_id":                    {"POST", "/agents", `{"model":"gpt-4o"}`, "id"},
	"automation_id":               {"POST", "/agents/automations", `{"agent_id":"{agent_id}"}`, "id"},
	"environment_id":              {"POST", "/agents/environments", `{"environment":{"type":"openai_hosted"}}`, "id"},
	"environment_template_id":     {"POST", "/agents/environments/templates", `{"name":"x"}`, "id"},
	"session_id":                  {"POST", "/agents/sessions", `{"agent_id":"{agent_id}","environment":{"type":"none"}}`, "id"},
	"sessions_environment":        {"POST", "/agents/sessions", `{"environment":{"type":"openai_hosted"}}`, "environment.id"},
	"artifact_id":                 {"GET", "/agents/sessions/{session_id}/artifacts", "", "data.0.id"},
}

const (
	batchLine = `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"max_tokens":5}}` + "\n"
	batchBody = `{"input_file_id":"{batch_file}","endpoint":"/v1/chat/completions","completion_window":"24h"}`
	runBody   = `{"assistant_id":"{assistant_id}"}`
)

func formOf(parts ...string) string { return multipart(parts...) }

func filePart(name string) string {
	return "Content-Disposition: form-data; name=\"" + name + "\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\nx"
}

func fileForm(purpose, text string) string {
	return multipart(field("purpose", purpose), "Content-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n"+text)
}

// entries are the bodies with which each stateful operation is tried, by its method and pattern: one that has none is tried without.
// What nobody tells apart (lists, vaults, unknown paths) needs no body, for nobody gets that far.
var entries = map[string][]string{
	"DELETE /models/{model...}": nil,

	"POST /chat/completions": {
		`{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"{file_id}"}}]}]}`, `{"model":"{model}","messages":[]}`, `{"model":"{fine_tuned_model_checkpoint}","messages":[]}`,
		`{"model":"gpt-4o","messages":[{"role":"assistant","audio":{"id":"{audio_id}"}}]}`, `{"model":"gpt-4o","messages":[],"audio":{"voice":{"id":"{voice_id}"}}}`},
	"GET /chat/completions/{completion_id}": nil, "POST /chat/completions/{completion_id}": {`{"metadata":{"a":"b"}}`}, "DELETE /chat/completions/{completion_id}": nil,
	"GET /chat/completions/{completion_id}/messages": nil, "GET /chat/completions": nil,

	"POST /responses": {
		`{"model":"gpt-4o","input":"x","previous_response_id":"{response_id}"}`, `{"model":"gpt-4o","input":[{"type":"item_reference","id":"{output_item}"}]}`, `{"model":"gpt-4o","input":[{"id":"{item_id}"}]}`,
		`{"model":"gpt-4o","input":[{"type":"reasoning","id":"{output_item}","summary":[]}]}`, `{"model":"gpt-4o","input":[{"type":"image_generation_call","id":"{output_item}"}]}`,
		`{"model":"gpt-4o","input":[{"type":"reasoning","id":"{output_item}","summary":[],"encrypted_content":"gAAA"}]}`, `{"model":"gpt-4o","input":"x","tools":[{"type":"file_search","vector_store_ids":["{threads_store}"]}]}`,
		`{"model":"gpt-4o","input":"x","conversation":"{conversation_id}"}`, `{"model":"gpt-4o","input":"x","conversation":{"id":"{conversation_id}"}}`, `{"model":"{model}","input":"x"}`,
		`{"model":"gpt-4o","input":"x","tools":[{"type":"file_search","vector_store_ids":["{vector_store_id}"]}]}`, `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":"{container_id}"}]}`,
		`{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":"{tools_container}"}]}`, `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["{file_id}"]}}]}`,
		`{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"{uploaded_file}"},{"type":"input_image","file_id":"{drawn_file}"}]}]}`,
		`{"model":"gpt-4o","input":"x","tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"{skill_id}"}]}}]}`},
	"POST /responses/input_tokens":             {`{"model":"gpt-4o","input":"x","previous_response_id":"{response_id}","conversation":"{conversation_id}"}`},
	"POST /responses/compact":                  {`{"model":"gpt-4o","previous_response_id":"{response_id}"}`},
	"GET /responses/{response_id}":             nil,
	"DELETE /responses/{response_id}":          nil,
	"POST /responses/{response_id}/cancel":     nil,
	"GET /responses/{response_id}/input_items": nil,

	"POST /conversations": {`{"items":[{"role":"user","content":[{"type":"input_file","file_id":"{file_id}"}]}]}`}, "GET /conversations/{conversation_id}": nil,
	"POST /conversations/{conversation_id}": {`{"metadata":{"a":"b"}}`}, "DELETE /conversations/{conversation_id}": nil, "GET /conversations/{conversation_id}/items": nil,
	"POST /conversations/{conversation_id}/items":             {`{"items":[{"role":"user","content":[{"type":"input_image","file_id":"{file_id}"}]}]}`},
	"GET /conversations/{conversation_id}/items/{item_id}":    nil,
	"DELETE /conversations/{conversation_id}/items/{item_id}": nil,

	"POST /images/edits": {`{"model":"gpt-4o","prompt":"x","images":[{"file_id":"{file_id}"}]}`}, "POST /audio/speech": {`{"model":"gpt-4o","input":"x","voice":{"id":"{voice_id}"}}`, `{"model":"gpt-4o","input":"x","voice":"{voice_id}"}`},
	"POST /decisions": {`{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"{file_id}"}]}],"questions":[]}`},

	"POST /audio/voices": {formOf(filePart("audio_sample"), field("consent", "{consent_id}"))}, "DELETE /audio/voices/{voice_id}": nil, "GET /audio/voice_consents": nil,
	"POST /audio/voice_consents": {formOf(filePart("recording"))}, "GET /audio/voice_consents/{consent_id}": nil, "POST /audio/voice_consents/{consent_id}": {`{"name":"y"}`}, "DELETE /audio/voice_consents/{consent_id}": nil,

	"POST /files": {fileForm("user_data", "x")}, "GET /files": nil, "GET /files/{file_id}": nil, "DELETE /files/{file_id}": nil, "GET /files/{file_id}/content": nil,
	"POST /uploads": {`{"purpose":"user_data"}`}, "POST /uploads/{upload_id}/parts": {formOf(filePart("data"))}, "POST /uploads/{upload_id}/complete": {`{"part_ids":["{part_id}"]}`}, "POST /uploads/{upload_id}/cancel": nil,

	"POST /batches": {batchBody}, "GET /batches": nil, "GET /batches/{batch_id}": nil, "POST /batches/{batch_id}/cancel": nil,

	"POST /vector_stores": {`{"file_ids":["{file_id}"]}`}, "GET /vector_stores": nil, "GET /vector_stores/{vector_store_id}": nil, "POST /vector_stores/{vector_store_id}": {`{"name":"y"}`},
	"DELETE /vector_stores/{vector_store_id}": nil, "POST /vector_stores/{vector_store_id}/search": {`{"query":"x"}`}, "GET /vector_stores/{vector_store_id}/files": nil,
	"POST /vector_stores/{vector_store_id}/files":                               {`{"file_id":"{output_file}"}`, `{"file_id":"{result_file}"}`},
	"GET /vector_stores/{vector_store_id}/files/{file_id}":                      nil,
	"POST /vector_stores/{vector_store_id}/files/{file_id}":                     {`{"attributes":{"a":"b"}}`},
	"DELETE /vector_stores/{vector_store_id}/files/{file_id}":                   nil,
	"GET /vector_stores/{vector_store_id}/files/{file_id}/content":              nil,
	"POST /vector_stores/{vector_store_id}/file_batches":                        {`{"file_ids":["{file_id}"]}`, `{"files":[{"file_id":"{file_id}"}]}`},
	"GET /vector_stores/{vector_store_id}/file_batches/{file_batch_id}":         nil,
	"POST /vector_stores/{vector_store_id}/file_batches/{file_batch_id}/cancel": nil,
	"GET /vector_stores/{vector_store_id}/file_batches/{file_batch_id}/files":   nil,

	"POST /fine_tuning/jobs": {`{"model":"gpt-4o","training_file":"{file_id}"}`, `{"model":"gpt-4o","training_file":"{file_id}","validation_file":"{result_file}"}`, `{"model":"{model}","training_file":"{file_id}"}`},
	"GET /fine_tuning/jobs":  nil, "GET /fine_tuning/jobs/{fine_tuning_job_id}": nil, "POST /fine_tuning/jobs/{fine_tuning_job_id}/cancel": nil, "POST /fine_tuning/jobs/{fine_tuning_job_id}/pause": nil,
	"POST /fine_tuning/jobs/{fine_tuning_job_id}/resume": nil, "GET /fine_tuning/jobs/{fine_tuning_job_id}/events": nil, "GET /fine_tuning/jobs/{fine_tuning_job_id}/checkpoints": nil,
	"GET /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions":                    nil,
	"POST /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions":                   {`{"project_ids":["p"]}`},
	"DELETE /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}": nil,
	"POST /fine_tuning/alpha/graders/run":                                                       nil,
	"POST /fine_tuning/alpha/graders/validate":                                                  nil,

	"POST /evals": {`{"data_source_config":{"type":"custom"},"testing_criteria":[]}`}, "GET /evals": nil, "GET /evals/{eval_id}": nil, "POST /evals/{eval_id}": {`{"name":"y"}`}, "DELETE /evals/{eval_id}": nil,
	"POST /evals/{eval_id}/runs": {`{"data_source":{"type":"jsonl","source":{"type":"file_id","id":"{file_id}"}}}`,
		`{"data_source":{"type":"responses","model":"gpt-4o","source":{"type":"file_content","content":[]},"sampling_params":{"tools":[{"type":"file_search","vector_store_ids":["{vector_store_id}"]}]}}}`},
	"GET /evals/{eval_id}/runs": nil, "GET /evals/{eval_id}/runs/{eval_run_id}": nil, "POST /evals/{eval_id}/runs/{eval_run_id}": nil, "POST /evals/{eval_id}/runs/{eval_run_id}/cancel": nil,
	"DELETE /evals/{eval_id}/runs/{eval_run_id}": nil, "GET /evals/{eval_id}/runs/{eval_run_id}/output_items": nil, "GET /evals/{eval_id}/runs/{eval_run_id}/output_items/{output_item_id}": nil,

	"POST /containers": {`{"name":"x","file_ids":["{file_id}"]}`, `{"name":"x","skills":[{"type":"skill_reference","skill_id":"{skill_id}"}]}`}, "GET /containers": nil, "GET /containers/{container_id}": nil, "DELETE /containers/{container_id}": nil,
	"POST /containers/{container_id}/files": {`{"file_id":"{file_id}"}`, formOf(field("file_id", "{file_id}")), formOf(filePart("file"))}, "GET /containers/{container_id}/files": nil,
	"GET /containers/{container_id}/files/{container_file_id}": nil, "DELETE /containers/{container_id}/files/{container_file_id}": nil, "GET /containers/{container_id}/files/{container_file_id}/content": nil,

	"POST /skills": {formOf(filePart("files"))}, "GET /skills": nil, "GET /skills/{skill_id}": nil, "POST /skills/{skill_id}": {`{"default_version":"1"}`}, "DELETE /skills/{skill_id}": nil, "GET /skills/{skill_id}/content": nil,
	"POST /skills/{skill_id}/versions": {formOf(filePart("files"))}, "GET /skills/{skill_id}/versions": nil, "GET /skills/{skill_id}/versions/{version}": nil, "DELETE /skills/{skill_id}/versions/{version}": nil,
	"GET /skills/{skill_id}/versions/{version}/content": nil,

	"POST /videos": {`{"model":"sora-2","prompt":"x","input_reference":{"file_id":"{file_id}"}}`, `{"model":"sora-2","prompt":"x","characters":[{"id":"{character_id}"}]}`,
		formOf(field("model", "sora-2"), field("prompt", "x"), field("input_reference[file_id]", "{file_id}")), formOf(filePart("input_reference"), field("prompt", "x"))},
	"GET /videos": nil, "POST /videos/edits": {`{"prompt":"x","video":{"id":"{video_id}"}}`, formOf(field("prompt", "x"), field("video[id]", "{video_id}"))}, "POST /videos/extensions": {`{"prompt":"x","seconds":"4","video":{"id":"{video_id}"}}`},
	"POST /videos/characters": {formOf(filePart("video"))}, "GET /videos/characters/{character_id}": nil, "GET /videos/{video_id}": nil, "DELETE /videos/{video_id}": nil, "GET /videos/{video_id}/content": nil,
	"POST /videos/{video_id}/remix": {`{"prompt":"x"}`, formOf(field("prompt", "x"))},

	"POST /assistants": {`{"model":"gpt-4o","tool_resources":{"code_interpreter":{"file_ids":["{file_id}"]},"file_search":{"vector_store_ids":["{vector_store_id}"]}}}`, `{"model":"{model}"}`},
	"GET /assistants":  nil, "GET /assistants/{assistant_id}": nil, "POST /assistants/{assistant_id}": {`{"name":"y","tool_resources":{"code_interpreter":{"file_ids":["{file_id}"]}}}`}, "DELETE /assistants/{assistant_id}": nil,
	"POST /threads":            {`{"messages":[{"role":"user","content":"x","attachments":[{"file_id":"{file_id}"}]}],"tool_resources":{"file_search":{"vector_store_ids":["{vector_store_id}"]}}}`},
	"POST /threads/runs":       {runBody, `{"assistant_id":"{assistant_id}","stream":true}`, `{"assistant_id":"{assistant_id}","thread":{"messages":[{"role":"user","content":[{"type":"image_file","image_file":{"file_id":"{file_id}"}}]}]}}`},
	"GET /threads/{thread_id}": nil, "POST /threads/{thread_id}": {`{"tool_resources":{"code_interpreter":{"file_ids":["{file_id}"]}}}`}, "DELETE /threads/{thread_id}": nil,
	"POST /threads/{thread_id}/messages": {`{"role":"user","content":"x","attachments":[{"file_id":"{file_id}"}]}`}, "GET /threads/{thread_id}/messages": nil, "GET /threads/{thread_id}/messages/{message_id}": nil,
	"POST /threads/{thread_id}/messages/{message_id}": {`{"metadata":{"a":"b"}}`}, "DELETE /threads/{thread_id}/messages/{message_id}": nil,
	"POST /threads/{thread_id}/runs": {runBody, `{"assistant_id":"{assistant_id}","stream":true}`, `{"assistant_id":"{assistant_id}","additional_messages":[{"role":"user","content":"x","attachments":[{"file_id":"{file_id}"}]}]}`},
	"GET /threads/{thread_id}/runs":  nil, "GET /threads/{thread_id}/runs/{run_id}": nil, "POST /threads/{thread_id}/runs/{run_id}": {`{"metadata":{"a":"b"}}`}, "POST /threads/{thread_id}/runs/{run_id}/cancel": nil,
	"POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs": {`{"tool_outputs":[]}`}, "GET /threads/{thread_id}/runs/{run_id}/steps": nil, "GET /threads/{thread_id}/runs/{run_id}/steps/{step_id}": nil,

	"POST /agents": {`{"model":"gpt-4o","tools":[{"type":"file_search","vector_store_ids":["{vector_store_id}"]}]}`}, "GET /agents": nil, "GET /agents/{agent_id}": nil, "POST /agents/{agent_id}": {`{"name":"y"}`}, "DELETE /agents/{agent_id}": nil,
	"POST /agents/automations": {`{"agent_id":"{agent_id}"}`}, "GET /agents/automations": nil, "GET /agents/automations/{automation_id}": nil, "POST /agents/automations/{automation_id}": {`{"agent_id":"{agent_id}"}`},
	"DELETE /agents/automations/{automation_id}": nil, "POST /agents/environments": {`{"environment":{"type":"openai_hosted","environment_template_id":"{environment_template_id}"}}`}, "GET /agents/environments": nil,
	"POST /agents/environments/templates": {`{"files":[{"file_id":"{file_id}"}]}`}, "GET /agents/environments/templates": nil, "GET /agents/environments/templates/{environment_template_id}": nil,
	"POST /agents/environments/templates/{environment_template_id}": {`{"name":"y"}`}, "DELETE /agents/environments/templates/{environment_template_id}": nil, "GET /agents/environments/{environment_id}": nil, "DELETE /agents/environments/{environment_id}": nil,
	"POST /agents/environments/{environment_id}/files": {`{"file_id":"{file_id}"}`}, "GET /agents/environments/{environment_id}/files": nil,
	"POST /agents/sessions": {`{"agent_id":"{agent_id}","environment":{"type":"openai_hosted","environment_id":"{environment_id}"}}`, `{"environment":{"type":"openai_hosted","environment_id":"{sessions_environment}","files":[{"file_id":"{file_id}"}]}}`},
	"GET /agents/sessions":  nil, "GET /agents/sessions/{session_id}": nil, "POST /agents/sessions/{session_id}": {`{"metadata":{"a":"b"}}`}, "DELETE /agents/sessions/{session_id}": nil,
	"POST /agents/sessions/{session_id}/events": {`{"input":[{"role":"user","content":[{"type":"input_file","file_id":"{file_id}"}]}]}`}, "GET /agents/sessions/{session_id}/events": nil,
	"GET /agents/sessions/{session_id}/artifacts/{artifact_id}": nil, "DELETE /agents/sessions/{session_id}/artifacts/{artifact_id}": nil,
	"GET /agents/sessions/{session_id}/*": nil,

	"POST /vaults": nil, "GET /vaults": nil, "GET /vaults/{vault_id}": nil, "POST /vaults/{vault_id}": nil, "DELETE /vaults/{vault_id}": nil, "POST /vaults/{vault_id}/credentials": nil, "GET /vaults/{vault_id}/credentials": nil,
	"GET /vaults/{vault_id}/credentials/{credential_id}": nil, "POST /vaults/{vault_id}/credentials/{credential_id}": nil, "DELETE /vaults/{vault_id}/credentials/{credential_id}": nil,
	"GET /safety/alerts/{alert_id}": nil, "GET /safety/cases/{case_id}": nil,
}

// placeholder is the id of something that has to be made.
var placeholder = regexp.MustCompile(`\{([a-z_]+)(?:\.\.\.)?\}`)

func placeholders(text string) (names []string) {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// tenant is one of the two projects.
type tenant struct {
	*testing.T
	g      *gate
	header []string
}

func (p *tenant) call(method, path, body string) *answer {
	p.Helper()
	header := p.header
	if strings.HasPrefix(body, "--b\r\n") {
		header = append([]string{"Content-Type", "multipart/form-data; boundary=b"}, header...)
	}
	return p.g.do(method, "/v1"+path, body, header...)
}

// fill replaces every placeholder of a text by the id of something of this project, made now unless ids has it.
func (p *tenant) fill(text string, ids map[string]string) string {
	p.Helper()
	return placeholder.ReplaceAllStringFunc(text, func(match string) string {
		name := placeholder.FindStringSubmatch(match)[1]
		if ids[name] == "" {
			ids[name] = p.make(name, ids)
		}
		return ids[name]
	})
}

func (p *tenant) make(name string, ids map[string]string) string {
	p.Helper()
	if ids["vector_store_id"] != "" && name == "file_id" && ids["linked_file"] == "" {
		ids["linked_file"] = "pending"
		file := p.make("file_id", ids)
		got := p.call("POST", "/vector_stores/"+ids["vector_store_id"]+"/files", `{"file_id":"`+file+`"}`)
		if got.status != 200 {
			p.Fatalf("link %s: %d %s", file, got.status, got.body)
		}
		return file
	}
	m, ok := made[name]
	if !ok {
		return "x" // what nobody tells apart
	}
	got := p.call(m.method, p.fill(m.path, ids), p.fill(m.body, ids))
	id := gjson.Get(got.body, m.id).String()
	if got.status > 201 || id == "" {
		p.Fatalf("make %s: %d %s", name, got.status, got.body)
	}
	return id
}

// stateful reports whether an operation reaches what was made before, or makes what is reached later.
func stateful(o *dialect.Op) bool {
	if o.Local || o.Refused != "" {
		return false
	}
	return o.Owned || o.SoleTenant || o.List || o.FormObjects || slices.ContainsFunc(o.Fields(), func(f dialect.FieldRule) bool { return f.Object != "" })
}

// TestProjectsAreKeptApart lets two projects share one credential, and every operation that has a state be tried by one on what the
// other made: by its path, and by every reference of its body. A row without an entry fails.
func TestProjectsAreKeptApart(t *testing.T) {
	account := gatehousetest.NewAccount(t)
	g := newGate(t)
	g.upstream("up", account.URL)
	g.deploy("*", admin.RouteSpec{Upstream: "up"})
	_, key := g.newProject("other")
	ours, theirs := &tenant{t, g, nil}, &tenant{t, g, []string{"Authorization", "Bearer " + key.Value.Reveal()}}
	foreign := ours.make("voice_id", map[string]string{})
	operations, checks, allowed := 0, 0, 0
	used := map[string]bool{}
	refused := func(what string, o *dialect.Op, call func() *answer) {
		t.Helper()
		checks++
		before := account.Requests()
		if got := call(); got.status != 404 && got.status != 403 || account.Requests() != before {
			t.Errorf("%s %s, %s: %d %s (%d requests went upstream)", o.Method, o.Pattern, what, got.status, got.body, account.Requests()-before)
		}
	}
	for _, o := range dialect.Ops() {
		if !stateful(o) {
			continue
		}
		operations++
		name := o.Method + " " + o.Pattern
		bodies, known := entries[name]
		used[name] = true
		if !known && !strings.Contains(o.Name, ".other.") {
			t.Errorf("%s has no entry: say how it is tried", name)
			continue
		}
		if len(bodies) == 0 {
			bodies = []string{""}
		}
		path := strings.ReplaceAll(o.Pattern, "*", "artifacts")
		if o.SoleTenant {
			path = strings.ReplaceAll(o.Pattern, "*", "some/new/thing")
		}
		for _, body := range bodies {
			if o.SoleTenant || o.List {
				method := o.Method
				if method == "" {
					method = http.MethodPatch
				}
				for who, p := range map[string]*tenant{"the one": ours, "the other": theirs} {
					full := ours.fill(path, map[string]string{})
					refused("by "+who, o, func() *answer { return p.call(method, full, body) })
				}
				continue
			}
			own := map[string]string{}
			ownPath := theirs.fill(path, own)
			ownBody := theirs.fill(body, own)
			if len(o.Refs) > 0 {
				full := ours.fill(path, map[string]string{})
				refused("the other's path", o, func() *answer { return theirs.call(o.Method, full, ownBody) })
			}
			for _, r := range o.Refs[min(1, len(o.Refs)):] {
				ids := map[string]string{}
				segments := strings.Split(ownPath, "/")
				segments[r.Segment+1] = ours.make(placeholders(strings.Split(path, "/")[r.Segment+1])[0], ids)
				refused("the other's inner "+r.Kind, o, func() *answer { return theirs.call(o.Method, strings.Join(segments, "/"), ownBody) })
			}
			for _, ref := range placeholders(body) {
				ids := map[string]string{}
				for n, id := range own {
					ids[n] = id
				}
				ids[ref] = ours.make(ref, map[string]string{})
				refused("the other's "+ref, o, func() *answer { return theirs.call(o.Method, ownPath, theirs.fill(body, ids)) })
			}
			for _, f := range o.Fields() {
				if f.Object != "" {
					refused("the other's "+f.Path, o, func() *answer { return theirs.call(o.Method, ownPath, bodyWith(f.Path, foreign)) })
				}
			}
			// What is its own it may use, and what it deleted is gone.
			allowed++
			if got := theirs.call(o.Method, ownPath, ownBody); got.status < 200 || got.status > 299 || got.err != nil {
				t.Errorf("%s %s of its own: %d %s", o.Method, ownPath, got.status, got.body)
			}
			if o.Deletes != "" {
				refused("after its deletion", o, func() *answer { return theirs.call(o.Method, ownPath, "") })
			}
		}
	}
	for name := range entries {
		if !used[name] {
			t.Errorf("%s is not an operation with a state", name)
		}
	}
	t.Logf("%d operations with a state, %d tries of what another project made refused, %d of one's own answered", operations, checks, allowed)
}

// bodyWith returns a body that has an id at the place of a field.
func bodyWith(path, id string) string {
	path, deep := strings.CutPrefix(path, "**.")
	var value any = id
	names := strings.Split(path, ".")
	for _, name := range slices.Backward(names) {
		name, array := strings.CutSuffix(name, "[]")
		if array {
			value = []any{value}
		}
		value = map[string]any{name: value}
	}
	if deep {
		value = map[string]any{"deep": []any{value}}
	}
	fields := value.(map[string]any)
	fields["model"] = "gpt-4o"
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}
