package gatehousetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// accountRoute is one operation of an account. A segment in braces is the id of something of that kind.
type accountRoute struct {
	method, path string
	kind         string // what the operation is about
	answer       func(*accountCall)
}

// prefixes begin the ids of a kind.
var prefixes = map[string]string{
	"file": "file-", "upload": "upload_", "upload.part": "part_", "batch": "batch_", "vector_store": "vs_", "vector_store.file_batch": "vsfb_",
	"fine_tuning.job": "ftjob-", "model": "ft:gpt-4o:acme::", "checkpoint.permission": "cp_", "eval": "eval_", "eval.run": "evalrun_", "eval.run.output_item": "outputitem_",
	"container": "cntr_", "container.file": "cfile_", "skill": "skill_", "skill.version": "v", "video": "video_", "video.character": "char_", "audio.voice": "voice_",
	"audio.voice_consent": "cons_", "assistant": "asst_", "thread": "thread_", "thread.message": "msg_", "thread.run": "run_", "thread.run.step": "step_",
	"response": "resp_", "item": "msg_", "conversation": "conv_", "chat.completion": "chatcmpl-", "audio": "audio_", "agent": "agent_", "automation": "auto_",
	"environment": "env_", "environment_template": "envt_", "session": "sess_", "artifact": "art_", "vault": "vault_", "credential": "cred_", "webhook_endpoint": "whe_",
	"safety.alert": "alert_", "safety.case": "case_",
}

// innerKinds are inside what the path names.
var innerKinds = []string{"upload.part", "vector_store.file", "vector_store.file_batch", "checkpoint.permission", "eval.run", "eval.run.output_item", "container.file", "skill.version",
	"thread.message", "thread.run", "thread.run.step", "item", "artifact", "credential"}

// referenceNames are members whose text is the id of something, referenceObjects those whose "id" is.
var (
	referenceNames = map[string]string{
		"file_id": "file", "file_ids": "file", "input_file_id": "file", "training_file": "file", "validation_file": "file", "vector_store_ids": "vector_store",
		"previous_response_id": "response", "conversation": "conversation", "thread_id": "thread", "assistant_id": "assistant", "skill_id": "skill", "container_id": "container",
		"container": "container", "part_ids": "upload.part", "consent": "audio.voice_consent", "agent_id": "agent", "environment_id": "environment",
		"environment_template_id": "environment_template", "vault_ids": "vault",
	}
	referenceObjects = map[string]string{"conversation": "conversation", "video": "video", "voice": "audio.voice", "audio": "audio", "characters": "video.character"}
)

// accountRoutes are tried in order.
var accountRoutes = func() (rows []accountRoute) {
	add := func(method, path, kind string, answer func(*accountCall)) {
		rows = append(rows, accountRoute{method, path, kind, answer})
	}
	// crud adds a collection: c(reate), l(ist), r(etrieve), u(pdate), d(elete).
	crud := func(path, kind, verbs string) {
		for _, verb := range verbs {
			switch verb {
			case 'c':
				add("POST", path, kind, create)
			case 'l':
				add("GET", path, kind, func(c *accountCall) { c.list(c.kind) })
			case 'r':
				add("GET", path+"/{"+kind+"}", kind, retrieve)
			case 'u':
				add("POST", path+"/{"+kind+"}", kind, update)
			case 'd':
				add("DELETE", path+"/{"+kind+"}", kind, remove)
			}
		}
	}
	act := func(path string) { add("POST", path, "", retrieve) }

	crud("/chat/completions", "chat.completion", "lrud")
	add("POST", "/chat/completions", "chat.completion", completeChat)
	add("GET", "/chat/completions/{chat.completion}/messages", "message", empty)

	add("POST", "/responses/input_tokens", "", func(c *accountCall) {
		c.answer(200, map[string]any{"object": "response.input_tokens", "input_tokens": 3})
	})
	add("POST", "/responses/compact", "response", respondOnce)
	add("POST", "/responses", "response", respondOnce)
	crud("/responses", "response", "rd")
	act("/responses/{response}/cancel")
	add("GET", "/responses/{response}/input_items", "item", func(c *accountCall) { c.list("item") })

	crud("/conversations", "conversation", "crud")
	add("POST", "/conversations/{conversation}/items", "item", addItems)
	crud("/conversations/{conversation}/items", "item", "lrd")

	crud("/files", "file", "clrd")
	add("GET", "/files/{file}/content", "", content)
	crud("/uploads", "upload", "c")
	crud("/uploads/{upload}/parts", "upload.part", "c")
	add("POST", "/uploads/{upload}/complete", "", func(c *accountCall) {
		file := c.put("file", "", "", map[string]any{"purpose": "user_data"})
		c.last().fields["file"] = file.fields
		retrieve(c)
	})
	act("/uploads/{upload}/cancel")

	add("POST", "/batches", "batch", func(c *accountCall) {
		batch := c.add("batch", "", c.fields)
		batch.fields["output_file_id"], batch.fields["status"] = c.put("file", "", "", nil).id, "completed"
		batch.fields["error_file_id"] = c.put("file", "", "", nil).id
		c.answer(200, batch.fields)
	})
	crud("/batches", "batch", "lr")
	act("/batches/{batch}/cancel")

	crud("/vector_stores", "vector_store", "clrud")
	add("POST", "/vector_stores/{vector_store}/search", "", empty)
	add("POST", "/vector_stores/{vector_store}/files", "vector_store.file", func(c *accountCall) {
		id, _ := c.fields["file_id"].(string)
		c.answer(200, c.add("vector_store.file", id, c.fields).fields)
	})
	crud("/vector_stores/{vector_store}/files", "vector_store.file", "lrud")
	add("GET", "/vector_stores/{vector_store}/files/{vector_store.file}/content", "", empty)
	crud("/vector_stores/{vector_store}/file_batches", "vector_store.file_batch", "cr")
	act("/vector_stores/{vector_store}/file_batches/{vector_store.file_batch}/cancel")
	add("GET", "/vector_stores/{vector_store}/file_batches/{vector_store.file_batch}/files", "", empty)

	add("POST", "/fine_tuning/jobs", "fine_tuning.job", func(c *accountCall) {
		job := c.add("fine_tuning.job", "", c.fields)
		job.fields["fine_tuned_model"] = c.put("model", "", "", nil).id
		job.fields["result_files"] = []any{c.put("file", "", "", nil).id}
		c.answer(200, job.fields)
	})
	crud("/fine_tuning/jobs", "fine_tuning.job", "lr")
	for _, verb := range []string{"cancel", "pause", "resume"} {
		act("/fine_tuning/jobs/{fine_tuning.job}/" + verb)
	}
	add("GET", "/fine_tuning/jobs/{fine_tuning.job}/events", "", empty)
	add("GET", "/fine_tuning/jobs/{fine_tuning.job}/checkpoints", "", func(c *accountCall) {
		id := fmt.Sprint(c.last().fields["fine_tuned_model"], ":ckpt-step-1")
		c.put("model", "", id, nil)
		c.answer(200, map[string]any{"object": "list", "data": []any{map[string]any{"id": "ftckpt_1", "fine_tuned_model_checkpoint": id}}})
	})
	crud("/fine_tuning/checkpoints/{model}/permissions", "checkpoint.permission", "cld")
	add("DELETE", "/models/{model}", "", remove)

	crud("/evals", "eval", "clrud")
	crud("/evals/{eval}/runs", "eval.run", "clrd")
	act("/evals/{eval}/runs/{eval.run}")
	act("/evals/{eval}/runs/{eval.run}/cancel")
	add("GET", "/evals/{eval}/runs/{eval.run}/output_items", "eval.run.output_item", func(c *accountCall) {
		c.add("eval.run.output_item", "", nil)
		c.list("eval.run.output_item")
	})
	crud("/evals/{eval}/runs/{eval.run}/output_items", "eval.run.output_item", "r")

	crud("/containers", "container", "clrd")
	crud("/containers/{container}/files", "container.file", "clrd")
	add("GET", "/containers/{container}/files/{container.file}/content", "", content)

	crud("/skills", "skill", "clrud")
	add("GET", "/skills/{skill}/content", "", content)
	crud("/skills/{skill}/versions", "skill.version", "clrd")
	add("GET", "/skills/{skill}/versions/{skill.version}/content", "", content)

	crud("/videos/characters", "video.character", "cr")
	for _, path := range []string{"/videos", "/videos/edits", "/videos/extensions", "/videos/{video}/remix"} {
		crud(path, "video", "c")
	}
	crud("/videos", "video", "lrd")
	add("GET", "/videos/{video}/content", "", content)

	crud("/audio/voices", "audio.voice", "cd")
	crud("/audio/voice_consents", "audio.voice_consent", "clrud")
	add("POST", "/audio/speech", "", content)

	crud("/assistants", "assistant", "clrud")
	add("POST", "/threads/runs", "thread.run", func(c *accountCall) {
		c.path = append(c.path, c.put("thread", "", "", nil))
		startRun(c)
	})
	add("POST", "/threads", "thread", func(c *accountCall) {
		thread := c.add("thread", "", c.fields)
		// A store that is described instead of named is made.
		resources, _ := c.fields["tool_resources"].(map[string]any)
		search, _ := resources["file_search"].(map[string]any)
		if search["vector_stores"] != nil {
			thread.fields["tool_resources"] = map[string]any{"file_search": map[string]any{"vector_store_ids": []any{c.put("vector_store", "", "", nil).id}}}
		}
		c.answer(http.StatusOK, thread.fields)
	})
	crud("/threads", "thread", "rud")
	crud("/threads/{thread}/messages", "thread.message", "clrud")
	add("POST", "/threads/{thread}/runs", "thread.run", startRun)
	crud("/threads/{thread}/runs", "thread.run", "lru")
	act("/threads/{thread}/runs/{thread.run}/cancel")
	act("/threads/{thread}/runs/{thread.run}/submit_tool_outputs")
	add("GET", "/threads/{thread}/runs/{thread.run}/steps", "thread.run.step", func(c *accountCall) {
		c.add("thread.run.step", "", nil)
		c.list("thread.run.step")
	})
	crud("/threads/{thread}/runs/{thread.run}/steps", "thread.run.step", "r")

	crud("/agents/automations", "automation", "clrud")
	crud("/agents/environments/templates", "environment_template", "clrud")
	crud("/agents/environments", "environment", "clrd")
	add("POST", "/agents/environments/{environment}/files", "", retrieve)
	add("GET", "/agents/environments/{environment}/files", "", empty)
	add("POST", "/agents/sessions", "session", func(c *accountCall) {
		session := c.add("session", "", c.fields)
		session.fields["environment"] = map[string]any{"type": "openai_hosted", "id": c.put("environment", "", "", nil).id}
		c.path = []*thing{session}
		c.add("artifact", "", nil)
		c.answer(200, session.fields)
	})
	crud("/agents/sessions", "session", "lrud")
	act("/agents/sessions/{session}/events")
	add("GET", "/agents/sessions/{session}/events", "", empty)
	add("GET", "/agents/sessions/{session}/artifacts", "artifact", func(c *accountCall) { c.list("artifact") })
	crud("/agents/sessions/{session}/artifacts", "artifact", "rd")
	crud("/agents", "agent", "clrud")

	crud("/vaults", "vault", "clrud")
	crud("/vaults/{vault}/credentials", "credential", "clrud")
	crud("/webhook_endpoints", "webhook_endpoint", "clrud")
	act("/webhook_endpoints/{webhook_endpoint}/rotate_secret")
	act("/webhook_endpoints/{webhook_endpoint}/test")
	add("GET", "/webhook_event_types", "", empty)
	crud("/safety/alerts", "safety.alert", "r")
	crud("/safety/cases", "safety.case", "r")

	for _, path := range []string{"/images/edits", "/images/generations", "/decisions", "/fine_tuning/alpha/graders/run", "/fine_tuning/alpha/graders/validate"} {
		add("POST", path, "", func(c *accountCall) { c.answer(200, map[string]any{"object": "answer"}) })
	}
	return rows
}()

// named is an id in a path and what it must be.
type named struct{ kind, id string }

// findRoute returns the first operation that fits, and what the path names.
func findRoute(method, path string) (*accountRoute, []named) {
	parts := strings.Split(path, "/")
	for i := range accountRoutes {
		route := &accountRoutes[i]
		want := strings.Split(route.path, "/")
		if route.method != method || len(want) != len(parts) {
			continue
		}
		var names []named
		fits := true
		for n, w := range want {
			if strings.HasPrefix(w, "{") {
				names = append(names, named{w[1 : len(w)-1], parts[n]})
			} else if w != parts[n] {
				fits = false
				break
			}
		}
		if fits {
			return route, names
		}
	}
	return nil, nil
}

func create(c *accountCall) {
	status := http.StatusOK
	if strings.HasPrefix(c.kind, "eval") {
		status = http.StatusCreated
	}
	c.answer(status, c.add(c.kind, "", c.fields).fields)
}

func retrieve(c *accountCall) { c.answer(http.StatusOK, c.last().fields) }

func update(c *accountCall) {
	for name, value := range c.fields {
		c.last().fields[name] = value
	}
	retrieve(c)
}

func remove(c *accountCall) {
	t := c.last()
	c.drop(t)
	c.answer(http.StatusOK, map[string]any{"id": t.id, "object": t.kind + ".deleted", "deleted": true})
}

func empty(c *accountCall) {
	c.answer(http.StatusOK, map[string]any{"object": "list", "data": []any{}, "has_more": false})
}

func content(c *accountCall) {
	c.w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = c.w.Write([]byte("content")) // a client that left needs no answer
}

func completeChat(c *accountCall) {
	message := map[string]any{"role": "assistant", "content": "hello"}
	if c.fields["modalities"] != nil {
		message["audio"] = map[string]any{"id": c.put("audio", "", "", nil).id}
	}
	fields := map[string]any{"choices": []any{map[string]any{"index": 0, "message": message}}, "usage": map[string]any{"prompt_tokens": 1, "completion_tokens": 1}}
	if c.fields["store"] == true {
		c.answer(http.StatusOK, c.add("chat.completion", "", fields).fields)
		return
	}
	fields["id"] = "chatcmpl-unkept"
	c.answer(http.StatusOK, fields)
}

// respondOnce makes a response with one item, and a container where a tool wants a new one.
func respondOnce(c *accountCall) {
	response := c.put("response", "", "", map[string]any{"status": "completed", "model": c.fields["model"], "usage": map[string]any{"input_tokens": 1, "output_tokens": 1}})
	output := []any{map[string]any{"type": "message", "id": c.put("item", response.id, "", nil).id, "content": []any{}}}
	if c.fields["tools"] != nil {
		output = append(output, map[string]any{"type": "code_interpreter_call", "id": c.put("item", response.id, "", nil).id, "container_id": c.put("container", "", "", nil).id})
	}
	response.fields["output"] = output
	c.answer(http.StatusOK, response.fields)
}

// addItems keeps the items of a request, each under an id of the account's.
func addItems(c *accountCall) {
	items, _ := c.fields["items"].([]any)
	data := []any{}
	for range items {
		data = append(data, c.add("item", "", map[string]any{"type": "message"}).fields)
	}
	c.answer(http.StatusOK, map[string]any{"object": "list", "data": data, "has_more": false})
}

// startRun runs an assistant to its end: it leaves a message with a picture.
func startRun(c *accountCall) {
	thread := c.last()
	run := c.add("thread.run", "", map[string]any{"thread_id": thread.id, "status": "completed", "usage": map[string]any{"prompt_tokens": 1, "completion_tokens": 1}})
	picture := map[string]any{"type": "image_file", "image_file": map[string]any{"file_id": c.put("file", "", "", nil).id}}
	message := c.add("thread.message", "", map[string]any{"role": "assistant", "content": []any{picture}})
	if c.fields["stream"] != true {
		c.answer(http.StatusOK, run.fields)
		return
	}
	c.w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range []struct {
		name string
		data any
	}{{"thread.created", thread.fields}, {"thread.run.created", run.fields}, {"thread.message.completed", message.fields}, {"thread.run.completed", run.fields}} {
		text, err := json.Marshal(e.data)
		if err != nil {
			panic(err) // only what a request or this file made
		}
		fmt.Fprintf(c.w, "event: %s\ndata: %s\n\n", e.name, text)
	}
	fmt.Fprint(c.w, "event: done\ndata: [DONE]\n\n")
}
