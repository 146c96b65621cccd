package client_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/client"
)

// TestExportThatBreaksOff shows that a part of a file is not taken for the whole, and that a refusal is one.
func TestExportThatBreaksOff(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("format") == "xlsx" {
			w.Header().Set("X-Request-Id", "req_1")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"Invalid 'format'","code":null,"param":"format","type":"invalid_request_error"}}`)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("a,b\n", 1000))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	c, err := client.New(client.Config{URL: s.URL, AdminKey: "sk-admin-test"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Export(t.Context(), client.ExportQuery{Format: "csv"}, &out); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("a file that was cut: %v after %d bytes", err, out.Len())
	}
	out.Reset()
	if err := c.Export(t.Context(), client.ExportQuery{Format: "xlsx"}, &out); err == nil || err.Error() != "Invalid 'format'" || out.Len() != 0 {
		t.Errorf("a refusal: %v after %d bytes", err, out.Len())
	}
}
