package sdk

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"

	"gatehouse/gatehousetest"
)

// until waits for something that takes a moment, without holding a busy machine to a time.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

// TestGoBatch drives a batch and a background response with openai-go, whose forms have the file before its purpose.
func TestGoBatch(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c, ctx := client(s), t.Context()
	lines := `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"text-embedding-3-small","input":"one"}}` + "\n" +
		`{"custom_id":"b","method":"POST","url":"/v1/embeddings","body":{"model":"text-embedding-3-small","input":"two words"}}` + "\n"
	file := must[*openai.FileObject](t)(c.Files.New(ctx, openai.FileNewParams{File: openai.File(strings.NewReader(lines), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch}))
	batch := must[*openai.Batch](t)(c.Batches.New(ctx, openai.BatchNewParams{InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1Embeddings, CompletionWindow: openai.BatchNewParamsCompletionWindow24h}))
	until(t, "the batch", func() bool {
		batch = must[*openai.Batch](t)(c.Batches.Get(ctx, batch.ID))
		return batch.Status == openai.BatchStatusCompleted
	})
	res := must[*http.Response](t)(c.Files.Content(ctx, batch.OutputFileID))
	defer res.Body.Close()
	var got []string
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		var l struct {
			ID       string `json:"custom_id"`
			Response struct {
				Status int `json:"status_code"`
			}
		}
		if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Response.Status != 200 {
			t.Errorf("line %s: %v", in.Bytes(), err)
		}
		got = append(got, l.ID)
	}
	if strings.Join(got, " ") != "a b" {
		t.Errorf("answers to %q", got)
	}
	_, err := c.Batches.New(ctx, openai.BatchNewParams{InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, CompletionWindow: openai.BatchNewParamsCompletionWindow24h})
	failure{status: 400, code: "mismatched_endpoint"}.check(t, s, err)

	r := must[*responses.Response](t)(c.Responses.New(ctx, responses.ResponseNewParams{Model: "gpt-4o", Background: openai.Bool(true), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hi")}}))
	if r.Status != responses.ResponseStatusQueued {
		t.Errorf("status %s", r.Status)
	}
	until(t, "the response", func() bool {
		r = must[*responses.Response](t)(c.Responses.Get(ctx, r.ID, responses.ResponseGetParams{}))
		return r.Status == responses.ResponseStatusCompleted
	})
	wantLabel(t, r.OutputText(), "gpt-4o")
}
