package sdk

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/webhooks"

	"gatehouse/gatehousetest"
)

// TestGoWebhooks has a background response told to an endpoint with openai-go, and lets nobody of another project near it.
func TestGoWebhooks(t *testing.T) {
	type message struct {
		header http.Header
		body   []byte
	}
	came := make(chan message, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a body that is cut off does not verify
		came <- message{r.Header, body}
	}))
	defer hook.Close()
	next := func() message {
		t.Helper()
		select {
		case m := <-came:
			return m
		case <-time.After(time.Minute):
			t.Fatal("nothing arrived within a minute")
		}
		return message{}
	}

	s := gatehousetest.Start(t, gatehousetest.Options{})
	c, ctx := client(s), t.Context()
	types := must[*webhooks.WebhookEventTypeList](t)(c.Webhooks.EventTypes.List(ctx))
	if len(types.Data) < 20 {
		t.Errorf("types %q", types.Data)
	}
	made := must[*webhooks.WebhookEndpointWithSecret](t)(c.Webhooks.New(ctx, webhooks.WebhookNewParams{Name: "ours", URL: hook.URL, EventTypes: []string{"response.completed"}}))
	rotated := must[*webhooks.WebhookEndpointWithSecret](t)(c.Webhooks.RotateSecret(ctx, made.ID, webhooks.WebhookRotateSecretParams{}))
	if rotated.SigningSecret == made.SigningSecret {
		t.Error("the secret is the old one")
	}
	tested := must[*webhooks.WebhookEndpointTestResult](t)(c.Webhooks.Test(ctx, made.ID, webhooks.WebhookTestParams{EventType: "video.completed"}))
	if tested.StatusCode != 200 || !tested.Success {
		t.Errorf("tested %+v", tested)
	}
	m := next()
	if event := must[*webhooks.UnwrapWebhookEventUnion](t)(c.Webhooks.Unwrap(m.body, m.header, option.WithWebhookSecret(rotated.SigningSecret))); event.Type != "video.completed" {
		t.Errorf("event %s", m.body)
	}

	r := must[*responses.Response](t)(c.Responses.New(ctx, responses.ResponseNewParams{Model: "gpt-4o", Background: openai.Bool(true), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hi")}}))
	m = next()
	event := must[*webhooks.UnwrapWebhookEventUnion](t)(c.Webhooks.Unwrap(m.body, m.header, option.WithWebhookSecret(rotated.SigningSecret)))
	if event.Type != "response.completed" || event.AsResponseCompleted().Data.ID != r.ID {
		t.Errorf("event %s, want the end of %s", m.body, r.ID)
	}

	var project struct{ ID string }
	s.Admin("POST", "/v1/organization/projects", `{"name":"elsewhere"}`, &project)
	var account struct {
		Key struct{ Value string } `json:"api_key"`
	}
	s.Admin("POST", "/v1/organization/projects/"+project.ID+"/service_accounts", `{"name":"robot"}`, &account)
	other := client(s, option.WithAPIKey(account.Key.Value))
	if page := must[int](t)(count(other.Webhooks.ListAutoPaging(ctx, webhooks.WebhookListParams{}))); page != 0 {
		t.Errorf("another project sees %d endpoints", page)
	}
	_, err := other.Webhooks.Get(ctx, made.ID)
	failure{status: 404}.check(t, s, err)
	_, err = other.Webhooks.Update(ctx, made.ID, webhooks.WebhookUpdateParams{URL: openai.String("https://elsewhere.example.com")})
	failure{status: 404}.check(t, s, err)
	_, err = other.Webhooks.RotateSecret(ctx, made.ID, webhooks.WebhookRotateSecretParams{})
	failure{status: 404}.check(t, s, err)
	_, err = other.Webhooks.Delete(ctx, made.ID)
	failure{status: 404}.check(t, s, err)

	updated := must[*webhooks.WebhookEndpoint](t)(c.Webhooks.Update(ctx, made.ID, webhooks.WebhookUpdateParams{EventTypes: []string{"batch.failed"}}))
	if got := must[*webhooks.WebhookEndpoint](t)(c.Webhooks.Get(ctx, made.ID)); got.URL != hook.URL || len(got.EventTypes) != 1 || got.EventTypes[0] != "batch.failed" || got.UpdatedAt != updated.UpdatedAt {
		t.Errorf("endpoint %+v", got)
	}
	if gone := must[*webhooks.DeletedWebhookEndpoint](t)(c.Webhooks.Delete(ctx, made.ID)); !gone.Deleted {
		t.Errorf("deleted %+v", gone)
	}
}

// count returns how many elements a list has.
func count[T any](pages interface {
	Next() bool
	Current() T
	Err() error
}) (n int, err error) {
	for pages.Next() {
		n++
	}
	return n, pages.Err()
}
