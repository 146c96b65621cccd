package deliver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse"
)

// SecretPrefix begins the secret of a webhook as Standard Webhooks has it; base64 follows.
const SecretPrefix = "whsec_"

// Message is the body of a webhook.
type Message struct {
	Type      string          `json:"type"` // alert.raised, or alert.test
	Timestamp string          `json:"timestamp"`
	Data      gatehouse.Alert `json:"data"`
	URL       string          `json:"url,omitempty"` // where the alert can be read
}

// webhook posts an alert, signed with the channel's secret, and until its old one ends with that too.
func (d *Deliverer) webhook(ctx context.Context, v *gatehouse.AlertDelivery, a *gatehouse.Alert, c *gatehouse.AlertChannel) error {
	m := Message{Type: "alert.raised", Timestamp: a.At.Time().Format(time.RFC3339Nano), Data: *a, URL: d.link(a)}
	if a.Kind == gatehouse.AlertTest {
		m.Type = "alert.test"
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = d.signed(ctx, v.ID, c, body)
	return err
}

// signed posts a body with the signatures of a channel.
func (d *Deliverer) signed(ctx context.Context, id string, c *gatehouse.AlertChannel, body []byte) (status int, err error) {
	now := d.cfg.Now()
	secrets := []string{c.Secret}
	if c.OldSecret != "" && gatehouse.MillisOf(now) < c.OldUntil {
		secrets = append(secrets, c.OldSecret)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, ref := range secrets {
		text, err := d.cfg.Resolve(ctx, c.Organization, ref)
		if err != nil {
			return 0, failed("the secret of the channel cannot be read: %v", err)
		}
		signature, err := Sign(text.Reveal(), id, stamp, body)
		if err != nil {
			return 0, hopeless("the secret of the channel is not in the form of Standard Webhooks; rotate it")
		}
		signatures = append(signatures, signature)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {strings.Join(signatures, " ")}}
	return d.post(ctx, c, h, body)
}

// event is an event of a project as OpenAI's webhooks have it.
type event struct {
	ID        string          `json:"id"`
	Object    string          `json:"object"`
	CreatedAt int64           `json:"created_at"` // unix seconds
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
}

// endpoint posts an event to a webhook endpoint of its project, under an id that is the same at every try.
func (d *Deliverer) endpoint(ctx context.Context, id string, ev *gatehouse.ProjectEvent, e *gatehouse.WebhookEndpoint) (status int, err error) {
	body, err := json.Marshal(event{ev.ID, "event", ev.At.Seconds(), ev.Type, ev.Data})
	if err != nil {
		return 0, err
	}
	c := &gatehouse.AlertChannel{Organization: e.Organization, URL: e.URL, Secret: e.Secret, OldSecret: e.OldSecret, OldUntil: e.OldUntil}
	if u, err := url.Parse(e.URL); err == nil {
		c.AllowPrivate = d.cfg.PrivateHost != nil && d.cfg.PrivateHost(u.Hostname())
	}
	return d.signed(ctx, id, c, body)
}

// Test sends an event of a type to a webhook endpoint, about nothing that there is, and returns what its receiver answered.
func (d *Deliverer) Test(ctx context.Context, e *gatehouse.WebhookEndpoint, eventType string) (status int, err error) {
	ctx, stop := context.WithTimeout(ctx, tryTimeout)
	defer stop()
	ev := &gatehouse.ProjectEvent{ID: gatehouse.NewID(gatehouse.PrefixProjectEvent), Type: eventType, Data: json.RawMessage(`{"id":"test"}`), At: gatehouse.MillisOf(d.cfg.Now())}
	return d.endpoint(ctx, gatehouse.NewID(gatehouse.PrefixAlertDelivery), ev, e)
}

// Sign returns the signature of a webhook as Standard Webhooks has it: v1, HMAC-SHA256 over id, timestamp and body.
func Sign(key, id, timestamp string, body []byte) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, SecretPrefix))
	if err != nil || len(raw) < 24 {
		return "", errors.New("not a secret of a webhook")
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// slack posts an alert to an incoming webhook.
func (d *Deliverer) slack(ctx context.Context, a *gatehouse.Alert, c *gatehouse.AlertChannel) error {
	// Slack's own escapes: these three characters are all that can be markup beyond a word.
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	text := "*" + escape(a.Title) + "*\n" + escape(a.Reason) + "\n" + escape(signature(a))
	if link := d.link(a); link != "" {
		text += "\n<" + link + ">"
	}
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	_, err = d.post(ctx, c, http.Header{"Content-Type": {"application/json"}}, body)
	return err
}

// post sends a body to a channel's URL. Only an answer of 200 to 299 counts as received; 410 says that nobody will ever be there.
func (d *Deliverer) post(ctx context.Context, c *gatehouse.AlertChannel, h http.Header, body []byte) (status int, err error) {
	target := c.URL
	if !strings.HasPrefix(target, "https://") && !strings.HasPrefix(target, "http://") {
		text, err := d.cfg.Resolve(ctx, c.Organization, c.URL)
		if err != nil {
			return 0, failed("the URL of the channel cannot be read: %v", err)
		}
		target = text.Reveal()
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && c.AllowPrivate) {
		return 0, failed("the URL of the channel is not one of https://")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, failed("the URL of the channel cannot be used")
	}
	h.Set("User-Agent", "gatehouse-alerts")
	req.Header = h
	resp, err := d.cfg.Client(c.AllowPrivate).Do(req)
	if err != nil {
		// url.Error repeats the URL, whose path may be a secret.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return 0, failed("%s cannot be reached: %v", u.Host, err)
	}
	defer func() { _ = resp.Body.Close() }() // what it says besides does not matter
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	f := failed("%s answered with status %d", u.Host, resp.StatusCode)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return resp.StatusCode, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		f.text += "; redirects are not followed"
	case resp.StatusCode == http.StatusGone:
		f.final = true
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		f.after = min(time.Duration(seconds), longestWait/time.Second) * time.Second
	}
	return resp.StatusCode, f
}

// link returns where an alert can be read, "" where this installation does not know how it is reached.
func (d *Deliverer) link(a *gatehouse.Alert) string {
	if d.cfg.PublicURL == "" {
		return ""
	}
	return d.cfg.PublicURL + "/gatehouse/v1/alerts/" + a.ID
}

// signature says where an alert comes from.
func signature(a *gatehouse.Alert) string {
	return "Alert " + a.ID + ", rule " + a.RuleName + ", " + a.At.Time().Format("2006-01-02 15:04:05") + " UTC"
}
