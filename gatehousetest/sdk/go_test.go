package sdk

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// TestMain takes away the environment from which openai-go fills in what a test does not say.
func TestMain(m *testing.M) {
	for _, name := range []string{"OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_WEBHOOK_SECRET"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if code == 0 {
		code = checkCalled()
	}
	os.Exit(code)
}

// client returns openai-go as a user configures it, with both keys and without retries; opts come last.
func client(s *gatehousetest.Server, opts ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL(s.URL + "/v1/"), option.WithAPIKey(s.APIKey), option.WithAdminAPIKey(s.AdminKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0), noteCalls,
	}, opts...)...)
}

// ask is the request most tests make.
func ask(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello.")}}
}

// label is how every text of the mock's begins.
func label(model string) string { return "[mock " + model + "]" }

// wantLabel fails the test unless text begins with the mock's label.
func wantLabel(t *testing.T, text, model string) {
	t.Helper()
	if !strings.HasPrefix(text, label(model)) {
		t.Errorf("text %q, want one that begins with %q", text, label(model))
	}
}

// must returns v and fails the test on an error.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// failure is what openai-go's error must say; empty fields are not looked at.
type failure struct {
	status             int
	code, param, text  string
	typ                string
	header, headerText string
}

// check fails the test unless err is openai-go's own error and says what it should, and unless Gatehouse can explain it.
func (f failure) check(t *testing.T, s *gatehousetest.Server, err error) {
	t.Helper()
	e, ok := errors.AsType[*openai.Error](err)
	if !ok {
		t.Fatalf("error %T %v, want *openai.Error with status %d", err, err, f.status)
	}
	if e.StatusCode != f.status || f.code != "" && e.Code != f.code || f.param != "" && e.Param != f.param || f.typ != "" && e.Type != f.typ || !strings.Contains(e.Message, f.text) {
		t.Errorf("error %d code %q param %q type %q %q, want %+v", e.StatusCode, e.Code, e.Param, e.Type, e.Message, f)
	}
	if f.header != "" && e.Response.Header.Get(f.header) != f.headerText {
		t.Errorf("%s: %q, want %q", f.header, e.Response.Header.Get(f.header), f.headerText)
	}
	id := e.Response.Header.Get("X-Request-Id")
	if !strings.HasPrefix(id, "req_") {
		t.Fatalf("x-request-id %q", id)
	}
	if r := s.Explain(id); r.ID != id || r.Status != f.status || r.Rule == "" {
		t.Errorf("explain %s: %+v, want status %d", id, r, f.status)
	}
}

// status makes the mock answer with a status.
func status(code string) []option.RequestOption {
	return []option.RequestOption{option.WithHeader("x-mock-status", code), option.WithHeader("x-mock-retry-after-ms", "0")}
}

// pages reads an auto-paginating list whole.
func pages[T any](t *testing.T, next func() bool, current func() T, err func() error) []T {
	t.Helper()
	var all []T
	for next() {
		all = append(all, current())
	}
	if err := err(); err != nil {
		t.Fatal(err)
	}
	return all
}
