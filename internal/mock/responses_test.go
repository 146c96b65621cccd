package mock

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/mock/prose"
)

func responseOf(more string) string { return `{"model":"gpt-4o","input":"What is up?"` + more + `}` }

func responseText(r object) string {
	s, _ := at(r, "output", -1, "content", 0, "text").(string)
	return s
}

func TestResponse(t *testing.T) {
	h := serve(t)
	r := h.json("POST", "/v1/responses", responseOf(`,"metadata":{"a":"b"},"temperature":0.25`))
	text := responseText(r)
	if !strings.HasPrefix(text, "[mock gpt-4o] ") {
		t.Errorf("text %q bears no label", text)
	}
	h.want("object", r["object"], "response")
	h.want("status", r["status"], "completed")
	h.want("metadata", at(r, "metadata", "a"), "b")
	h.want("temperature", r["temperature"], 0.25)
	prompt := prose.Tokens("What is up?") + 3 + 3
	h.want("input", at(r, "usage", "input_tokens"), prompt)
	h.want("output", at(r, "usage", "output_tokens"), prose.Tokens(text))
	h.want("total", at(r, "usage", "total_tokens"), prompt+prose.Tokens(text))
	again := h.json("POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_text","text":"What is up?"}]}]}`)
	h.want("the same input as items", responseText(again), text)
	for _, key := range []string{"error", "incomplete_details", "instructions", "max_output_tokens", "previous_response_id", "user"} {
		if v, ok := r[key]; !ok || v != nil {
			t.Errorf("%s = %v, %v, want null", key, v, ok)
		}
	}

	id := r["id"].(string)
	h.want("kept", mustJSON(t, h.json("GET", "/v1/responses/"+id, nil)), mustJSON(t, r))
	items := h.json("GET", "/v1/responses/"+id+"/input_items", nil)
	h.want("input item", at(items, "data", 0, "content", 0, "text"), "What is up?")
	if res, _ := h.do("POST", "/v1/responses/"+id+"/cancel", nil); res.StatusCode != 400 {
		t.Errorf("cancel of a synchronous response: %d", res.StatusCode)
	}
	for _, request := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/cancel"}, {"GET", "/input_items"}} {
		if res, b := h.in("proj_two").do(request[0], "/v1/responses/"+id+request[1], nil); res.StatusCode != 404 {
			t.Errorf("%s of another project's response: %d %s", request[0], res.StatusCode, b)
		}
	}
	if res, b := h.do("DELETE", "/v1/responses/"+id, nil); res.StatusCode != 200 || len(b) != 0 {
		t.Errorf("delete: %d %q", res.StatusCode, b)
	}
	if res, _ := h.do("GET", "/v1/responses/"+id, nil); res.StatusCode != 404 {
		t.Errorf("after delete: %d", res.StatusCode)
	}
	id = h.json("POST", "/v1/responses", responseOf(`,"store":false`))["id"].(string)
	if res, _ := h.do("GET", "/v1/responses/"+id, nil); res.StatusCode != 404 {
		t.Errorf("a response that was not to be stored: %d", res.StatusCode)
	}
}

func TestResponseParameters(t *testing.T) {
	h := serve(t)
	r := h.json("POST", "/v1/responses", `{"model":"gpt-5","input":"x","reasoning":{"effort":"low"}}`, "x-mock-tokens", "9", "x-mock-cached-tokens", "2")
	h.want("items", at(r, "output", 0, "type"), "reasoning")
	h.want("reasoning", at(r, "usage", "output_tokens_details", "reasoning_tokens"), 32)
	h.want("output", at(r, "usage", "output_tokens"), 41)
	h.want("cached", at(r, "usage", "input_tokens_details", "cached_tokens"), 2)
	h.want("effort", at(r, "reasoning", "effort"), "low")

	r = h.json("POST", "/v1/responses", responseOf(`,"max_output_tokens":4`))
	h.want("status", r["status"], "incomplete")
	h.want("reason", at(r, "incomplete_details", "reason"), "max_output_tokens")
	h.want("output", at(r, "usage", "output_tokens"), 4)
	h.want("tokens", prose.Tokens(responseText(r)), 4)

	r = h.json("POST", "/v1/responses", responseOf(`,"text":{"format":{"type":"json_object"}}`), "x-mock-no-usage", "1")
	if !json.Valid([]byte(responseText(r))) || r["usage"] != nil {
		t.Errorf("text %q, usage %v", responseText(r), r["usage"])
	}
	n := h.json("POST", "/v1/responses/input_tokens", responseOf(``))
	h.want("counted", n["input_tokens"], prose.Tokens("What is up?")+6)
	h.want("object", n["object"], "response.input_tokens")
	n = h.json("POST", "/v1/responses/input_tokens", responseOf(`,"instructions":"Be brief"`))
	h.want("counted", n["input_tokens"], prose.Tokens("What is up?")+6+prose.Tokens("Be brief"))

	c := h.json("POST", "/v1/responses/compact", `{"model":"gpt-4o","input":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`)
	h.want("object", c["object"], "response.compaction")
	h.want("first", at(c, "output", 0, "role"), "user")
	h.want("last", at(c, "output", -1, "type"), "compaction")
	h.want("items", len(c["output"].([]any)), 2)
	h.want("usage", at(c, "usage", "input_tokens"), 1+1+2*3+3)
}

func TestResponseStream(t *testing.T) {
	h := serve(t)
	events := h.events("POST", "/v1/responses", `{"model":"o4-mini","input":"x","stream":true}`, "x-mock-tokens", "6")
	var names []string
	text := ""
	for i, e := range events {
		o := e.json(t)
		h.want("type", o["type"], e.name)
		h.want("sequence_number", o["sequence_number"], i)
		names = append(names, strings.TrimPrefix(e.name, "response."))
		if e.name == "response.output_text.delta" {
			text += o["delta"].(string)
			if _, ok := o["obfuscation"]; !ok {
				t.Error("a delta is not padded")
			}
		}
	}
	want := []string{
		"created", "in_progress", "output_item.added", "output_item.done", "output_item.added", "content_part.added",
		"output_text.delta", "output_text.delta", "output_text.delta", "output_text.delta", "output_text.delta", "output_text.delta",
		"output_text.done", "content_part.done", "output_item.done", "completed",
	}
	if !slices.Equal(names, want) {
		t.Errorf("events\n%v, want\n%v", names, want)
	}
	last := events[len(events)-1].json(t)["response"].(object)
	h.want("whole text", responseText(last), text)
	h.want("output", at(last, "usage", "output_tokens"), 64+6)
	if first := events[0].json(t)["response"].(object); first["usage"] != nil || first["status"] != "in_progress" || len(first["output"].([]any)) != 0 {
		t.Errorf("the first event tells the end: %v", first)
	}
	id := last["id"].(string)
	h.want("stored", mustJSON(t, h.json("GET", "/v1/responses/"+id, nil)), mustJSON(t, last))

	rest := h.events("GET", "/v1/responses/"+id+"?stream=true&starting_after=11", nil)
	h.want("replayed", fmt.Sprint(rest), fmt.Sprint(events[12:]))
	if res, _ := h.do("GET", "/v1/responses/"+id+"?stream=true&starting_after=x", nil); res.StatusCode != 400 {
		t.Errorf("odd starting_after: %d", res.StatusCode)
	}

	cut := h.events("POST", "/v1/responses", responseOf(`,"stream":true,"max_output_tokens":2,"stream_options":{"include_obfuscation":false}`))
	h.want("last event", cut[len(cut)-1].name, "response.incomplete")
	if strings.Contains(fmt.Sprint(cut), "obfuscation\"") {
		t.Error("a delta is padded")
	}
}

func TestBackgroundResponse(t *testing.T) {
	h := serve(t)
	start := func() string {
		r := h.json("POST", "/v1/responses", responseOf(`,"background":true`))
		h.want("status", r["status"], "queued")
		h.want("usage", r["usage"], nil)
		h.want("output", len(r["output"].([]any)), 0)
		return r["id"].(string)
	}
	id := start()
	r := h.json("GET", "/v1/responses/"+id, nil)
	h.want("status", r["status"], "completed")
	h.want("output", at(r, "usage", "output_tokens"), prose.Tokens(responseText(r)))
	h.want("cancel after the end", h.json("POST", "/v1/responses/"+id+"/cancel", nil)["status"], "completed")

	id = start()
	h.want("cancelled", h.json("POST", "/v1/responses/"+id+"/cancel", nil)["status"], "cancelled")
	h.want("stays so", h.json("GET", "/v1/responses/"+id, nil)["status"], "cancelled")

	id = start()
	next := h.json("POST", "/v1/responses", responseOf(`,"previous_response_id":"`+id+`"`))
	items := h.json("GET", "/v1/responses/"+next["id"].(string)+"/input_items?order=asc", nil)
	h.want("history", len(items["data"].([]any)), 3)

	events := h.events("POST", "/v1/responses", responseOf(`,"background":true,"stream":true`))
	h.want("second event", events[1].name, "response.queued")
	if res, _ := h.do("POST", "/v1/responses", responseOf(`,"background":true,"store":false`)); res.StatusCode != 400 {
		t.Errorf("background without store: %d", res.StatusCode)
	}
}

func TestPreviousResponse(t *testing.T) {
	h := serve(t)
	first := h.json("POST", "/v1/responses", responseOf(``))
	second := h.json("POST", "/v1/responses", `{"input":"And now?","previous_response_id":"`+first["id"].(string)+`"}`)
	h.want("model of the first", second["model"], "gpt-4o")
	want := prose.Tokens("What is up?") + prose.Tokens(responseText(first)) + prose.Tokens("And now?") + 3*3 + 3
	h.want("input", at(second, "usage", "input_tokens"), want)
	alone := h.json("POST", "/v1/responses", `{"model":"gpt-4o","input":"And now?"}`)
	if responseText(alone) == responseText(second) {
		t.Error("what went before makes no difference")
	}
	if res, b := h.in("proj_two").do("POST", "/v1/responses", `{"input":"x","previous_response_id":"`+first["id"].(string)+`"}`); res.StatusCode != 404 {
		t.Errorf("another project's response: %d %s", res.StatusCode, b)
	}
	item := at(first, "output", 0, "id").(string)
	referred := h.json("POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"`+item+`"}]}`)
	h.want("input", at(referred, "usage", "input_tokens"), prose.Tokens(responseText(first))+3+3)
}

func TestConversations(t *testing.T) {
	h := serve(t)
	v := h.json("POST", "/v1/conversations", `{"metadata":{"a":"b"},"items":[{"type":"message","role":"user","content":"Hello"}]}`)
	h.want("object", v["object"], "conversation")
	h.want("metadata", at(v, "metadata", "a"), "b")
	path := "/v1/conversations/" + v["id"].(string)
	h.want("updated", at(h.json("POST", path, `{"metadata":{"a":"c"}}`), "metadata", "a"), "c")
	h.want("got", at(h.json("GET", path, nil), "metadata", "a"), "c")
	added := h.json("POST", path+"/items", `{"items":[{"role":"user","content":"One"},{"role":"user","content":"Two"}]}`)
	h.want("added", len(added["data"].([]any)), 2)
	two := at(added, "data", 1, "id").(string)
	list := h.json("GET", path+"/items?limit=2", nil)
	h.want("newest first", at(list, "data", 0, "id"), two)
	h.want("has_more", list["has_more"], true)
	h.want("item", at(h.json("GET", path+"/items/"+two, nil), "content", 0, "text"), "Two")
	h.want("conversation after a deletion", h.json("DELETE", path+"/items/"+two, nil)["id"], v["id"])
	if res, _ := h.do("GET", path+"/items/"+two, nil); res.StatusCode != 404 {
		t.Errorf("deleted item: %d", res.StatusCode)
	}
	r := h.json("POST", "/v1/responses", responseOf(`,"conversation":{"id":"`+v["id"].(string)+`"}`))
	h.want("input", at(r, "usage", "input_tokens"), prose.Tokens("Hello")+prose.Tokens("One")+prose.Tokens("What is up?")+3*3+3)
	h.want("conversation", at(r, "conversation", "id"), v["id"])
	h.want("items with the turn", len(h.json("GET", path+"/items", nil)["data"].([]any)), 4)
	if res, _ := h.in("proj_two").do("GET", path, nil); res.StatusCode != 404 {
		t.Errorf("another project's conversation: %d", res.StatusCode)
	}
	h.want("deleted", h.json("DELETE", path, nil)["deleted"], true)
	if res, _ := h.do("GET", path+"/items", nil); res.StatusCode != 404 {
		t.Errorf("deleted conversation: %d", res.StatusCode)
	}
	many := `{"items":[` + strings.Repeat(`{"role":"user","content":"x"},`, maxItems) + `{"role":"user","content":"x"}]}`
	if res, _ := h.do("POST", "/v1/conversations", many); res.StatusCode != 400 {
		t.Errorf("too many items: %d", res.StatusCode)
	}
	h.want("empty list", h.json("GET", "/v1/conversations/"+h.json("POST", "/v1/conversations", nil)["id"].(string)+"/items", nil)["first_id"], nil)
}
