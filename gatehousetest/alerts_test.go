package gatehousetest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// TestAlertReachesAWebhook: a running Gatehouse signs what it sends so that OpenAI's own client verifies it.
func TestAlertReachesAWebhook(t *testing.T) {
	type message struct {
		header http.Header
		body   []byte
	}
	got := make(chan message, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- message{r.Header, body}
	}))
	defer hook.Close()
	s := gatehousetest.Start(t, gatehousetest.Options{})
	var channel struct{ ID, Secret string }
	s.Admin("POST", "/gatehouse/v1/alert_channels", `{"name":"ops","kind":"webhook","url":"`+hook.URL+`","allow_private":true}`, &channel)
	var alert struct{ ID string }
	s.Admin("POST", "/gatehouse/v1/alert_channels/ops/test", "", &alert)
	var m message
	select {
	case m = <-got:
	case <-t.Context().Done():
		t.Fatal("nothing arrived")
	case <-time.After(time.Minute):
		t.Fatal("nothing arrived within a minute")
	}
	client := openai.NewClient(option.WithAPIKey("none"))
	if err := client.Webhooks.VerifySignature(m.body, m.header, option.WithWebhookSecret(channel.Secret)); err != nil {
		t.Errorf("signature: %v", err)
	}
	if !strings.Contains(string(m.body), `"type":"alert.test"`) || !strings.Contains(string(m.body), alert.ID) {
		t.Errorf("body %s", m.body)
	}
	var list struct {
		Data []struct{ Secret, URL string }
	}
	s.Admin("GET", "/gatehouse/v1/alert_channels", "", &list)
	if len(list.Data) != 1 || list.Data[0].Secret != "" || list.Data[0].URL != hook.URL {
		t.Errorf("channels %+v", list)
	}
	var rules struct {
		Data []struct{ Name string }
	}
	s.Admin("GET", "/gatehouse/v1/alert_rules", "", &rules)
	if len(rules.Data) < 10 {
		t.Errorf("rules %+v", rules)
	}
}
