package sdk

import (
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"gatehouse"
	gatehouseclient "gatehouse/client"
	"gatehouse/gatehousetest"
)

// TestGoResource calls with KEY1 and KEY2 of a Resource through openai-go's Azure client, and makes KEY1 anew through Gatehouse's own.
func TestGoResource(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{TLS: true})
	ctx := t.Context()
	admin, err := gatehouseclient.New(gatehouseclient.Config{URL: s.URL, AdminKey: s.AdminKey, HTTPClient: s.Client})
	if err != nil {
		t.Fatal(err)
	}
	made := must[*gatehouseclient.Resource](t)(admin.CreateResource(ctx, gatehouseclient.ResourceCreate{Project: s.ProjectID, Name: "contoso"}))
	with := func(key string) openai.Client {
		return openai.NewClient(azure.WithEndpoint(s.URL, "2025-03-01-preview"), azure.WithAPIKey(key), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
	}
	for _, key := range []string{made.Key1.Value, made.Key2.Value} {
		c := with(key)
		done := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(ctx, ask("gpt-4o")))
		wantLabel(t, done.Choices[0].Message.Content, "gpt-4o")
		stream := c.Chat.Completions.NewStreaming(ctx, ask("gpt-4o"))
		if chunks := pages(t, stream.Next, stream.Current, stream.Err); len(chunks) < 3 {
			t.Errorf("%d chunks", len(chunks))
		}
		answer := must[*responses.Response](t)(c.Responses.New(ctx, responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hi")}}))
		wantLabel(t, answer.OutputText(), "gpt-4o")
		made := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("one")}}))
		if len(made.Data[0].Embedding) != 1536 {
			t.Errorf("embedding %.200s", made.RawJSON())
		}
		list := c.Models.ListAutoPaging(ctx)
		if models := pages(t, list.Next, list.Current, list.Err); len(models) == 0 || models[0].Created == 0 || models[0].OwnedBy == "" {
			t.Errorf("models %+v", models)
		}
	}
	after := must[*gatehouseclient.Resource](t)(admin.RegenerateKey(ctx, made.ID, gatehouse.Key1))
	if after.Key2.ID != made.Key2.ID || after.Key2.Value != "" || after.Key1.Value == "" {
		t.Errorf("regenerated %+v", after)
	}
	old := with(made.Key1.Value)
	_, err = old.Chat.Completions.New(ctx, ask("gpt-4o"))
	failure{status: 401, text: "revoked"}.check(t, s, err)
	for _, key := range []string{after.Key1.Value, made.Key2.Value} {
		c := with(key)
		must[*openai.ChatCompletion](t)(c.Chat.Completions.New(ctx, ask("gpt-4o")))
	}
	found := must[*gatehouseclient.Resource](t)(admin.Resource(ctx, made.ID))
	if found.Key1.ID != after.Key1.ID || found.Key1.Value != "" {
		t.Errorf("read back %+v", found)
	}
	must[*gatehouseclient.Deletion](t)(admin.RemoveResource(ctx, made.ID))
	gone := with(made.Key2.Value)
	_, err = gone.Chat.Completions.New(ctx, ask("gpt-4o"))
	failure{status: 401}.check(t, s, err)
}
