package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

const (
	newSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	oldSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// world is a database with an organization and a channel of each kind, and a Deliverer over it.
type world struct {
	t   *testing.T
	db  *store.DB
	log bytes.Buffer
	cfg Config
	d   *Deliverer // nil: none runs

	mu       sync.Mutex
	received []received
	answer   func(n int) (status int, header http.Header) // of the n-th request, from 1
	unheard  map[string]bool                              // hosts that never answer
}

// received is one request that came to a webhook.
type received struct {
	at     time.Duration
	url    string
	header http.Header
	body   []byte
}

// RoundTrip receives what is posted.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.received = append(w.received, received{time.Since(begun), r.URL.String(), r.Header.Clone(), body})
	unheard := w.unheard[r.URL.Host]
	w.mu.Unlock()
	if unheard {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status, header := http.StatusNoContent, http.Header{}
	if w.answer != nil {
		status, header = w.answer(len(w.received))
	}
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody}, nil
}

// begun is when time begins in a bubble.
var begun = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newWorld returns a world whose requests come to itself.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	if w.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "g.db"), store.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.change(func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-a"}); err != nil {
			return err
		}
		for _, c := range []gatehouse.AlertChannel{
			{ID: "alch_hook", Name: "hook", Kind: gatehouse.ChannelWebhook, URL: "https://hooks.example.com/x?y=z", Secret: "sealed://new"},
			{ID: "alch_slack", Name: "slack", Kind: gatehouse.ChannelSlack, URL: "sealed://slack"},
			{ID: "alch_mail", Name: "mail", Kind: gatehouse.ChannelEmail, Recipients: []string{"Finance <finance@example.com>", "ops@example.com"}, SubjectPrefix: "[gatehouse]"},
		} {
			c.Organization = "org-a"
			if err := tx.CreateAlertChannel(&c); err != nil {
				return err
			}
		}
		return tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_1", Organization: "org-a", Threshold: 1, Recipients: []string{"spend@example.com"}, SubjectPrefix: "Spend:"})
	})
	secrets := map[string]string{"sealed://new": newSecret, "sealed://old": oldSecret, "sealed://slack": "https://hooks.slack.example.com/services/T0/B0/verysecret"}
	w.cfg = Config{DB: w.db, Now: time.Now, Logger: slog.New(slog.NewJSONHandler(&w.log, nil)), PublicURL: "https://gatehouse.example.com",
		Client: func(bool) *http.Client { return &http.Client{Transport: w} },
		Resolve: func(_ context.Context, organization, ref string) (secret.Text, error) {
			if organization != "org-a" || secrets[ref] == "" {
				return secret.Text{}, errors.New("no such secret")
			}
			return secret.NewText(secrets[ref]), nil
		}}
	return w
}

func (w *world) change(fn func(*store.Tx) error) {
	w.t.Helper()
	if _, err := w.db.Update(context.Background(), gatehouse.Event{Type: "t", Organization: "org-a"}, fn); err != nil {
		w.t.Fatal(err)
	}
}

// raise raises an alert that is to go to channels.
func (w *world) raise(channels ...string) gatehouse.Alert {
	w.t.Helper()
	a := gatehouse.Alert{ID: gatehouse.NewID(gatehouse.PrefixAlert), Organization: "org-a", Rule: "alrule_1", RuleName: "spend-spike", Kind: gatehouse.AlertSpendSpike, Subject: gatehouse.AboutKey,
		SubjectID: "key_1", Key: "key_1", At: gatehouse.MillisOf(time.Now()), Unit: gatehouse.UnitNanoUSD, Observed: 65e9, Baseline: 4e9, Threshold: 12e9,
		Title: `key "a<b>&c" (key_1) spent $65.00`, Reason: "It usually is $4.00 – ünusual."}
	raised, err := w.db.RaiseAlerts(context.Background(), a.At, []store.Finding{{Alert: a, Mark: a.ID, Until: a.At + 1, Channels: channels}})
	if err != nil || len(raised) != 1 {
		w.t.Fatalf("raised %v, %v", raised, err)
	}
	if w.d != nil {
		w.d.Wake()
	}
	return a
}

func (w *world) deliveries(alert string) (list []gatehouse.AlertDelivery) {
	w.t.Helper()
	err := w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		list, err = tx.AlertDeliveries(alert)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// inBubble runs fn with a world in a time of its own and a Deliverer that runs and asks the queue so often.
func inBubble(t *testing.T, poll time.Duration, fn func(t *testing.T, w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		w.cfg.Poll = poll
		d := New(w.cfg)
		w.d = d
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) }) // ends with ctx
		synctest.Wait()                   // it has looked once
		fn(t, w)
		stop()
		running.Wait()
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// verify holds what was received to OpenAI's own client, which checks Standard Webhooks.
func verify(t *testing.T, r received, key string, now time.Time) error {
	t.Helper()
	client := openai.NewClient(option.WithAPIKey("none"))
	return client.Webhooks.VerifySignatureWithToleranceAndTime(r.body, r.header, 5*time.Minute, now, option.WithWebhookSecret(key))
}

// pass lets time go by, and everything come to rest that began in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// answers says what webhooks answer from now on.
func (w *world) answers(fn func(n int) (int, http.Header)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = fn
}

// silent says whether a host answers no more.
func (w *world) silent(host string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unheard = map[string]bool{host: is}
}

// got returns what has come to webhooks.
func (w *world) got() []received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.received)
}

// TestSignature is the example of the specification.
func TestSignature(t *testing.T) {
	got, err := Sign(newSecret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestWebhook: what arrives verifies, says what was found and how to know it again, and bears no secret.
func TestWebhook(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		a := w.raise("alch_hook", gatehouse.LogChannel)
		pass(2 * time.Second)
		if len(w.got()) != 1 {
			t.Fatalf("%d requests, want 1", len(w.got()))
		}
		r := w.got()[0]
		if err := verify(t, r, newSecret, time.Now()); err != nil {
			t.Errorf("signature: %v", err)
		}
		if verify(t, r, oldSecret, time.Now()) == nil {
			t.Error("another secret verifies as well")
		}
		var m Message
		if err := json.Unmarshal(r.body, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != "alert.raised" || m.Data.ID != a.ID || m.Data.Observed != a.Observed || m.URL != "https://gatehouse.example.com/gatehouse/v1/alerts/"+a.ID {
			t.Errorf("message %s", r.body)
		}
		for _, d := range w.deliveries(a.ID) {
			if d.State != gatehouse.DeliveryDelivered || d.Tries != 1 || d.EndedAt == 0 {
				t.Errorf("delivery %+v", d)
			}
			if d.Channel == "alch_hook" && r.header.Get("Webhook-Id") != d.ID {
				t.Errorf("id %q, want %q", r.header.Get("Webhook-Id"), d.ID)
			}
		}
		if !strings.Contains(w.log.String(), `"msg":"alert","alert":"`+a.ID+`"`) || strings.Contains(w.log.String()+string(r.body), "whsec_") {
			t.Errorf("log %s", w.log.String())
		}
	})
}

// TestEndpoint: an event of a project reaches its endpoints in the words of OpenAI's webhooks; one that is gone is not tried again.
func TestEndpoint(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		e := gatehouse.WebhookEndpoint{ID: "whe_1", Organization: "org-a", Project: "proj_1", URL: "https://hooks.example.com/events", EventTypes: []string{"response.completed"}, Secret: "sealed://new",
			OldSecret: "sealed://old", OldUntil: gatehouse.MillisOf(time.Now().Add(time.Hour))}
		w.change(func(tx *store.Tx) error { return tx.CreateWebhookEndpoint(&e) })
		raise := func(id string) *gatehouse.ProjectEvent {
			t.Helper()
			ev := gatehouse.WorkEvent(&gatehouse.Work{ID: id, Kind: gatehouse.WorkResponse, Organization: "org-a", Project: "proj_1", UpstreamID: "upst_1"}, "completed", gatehouse.MillisOf(time.Now()))
			for i := range 2 { // as two nodes do
				if raised, err := w.db.RaiseProjectEvent(t.Context(), ev); err != nil || raised != (i == 0) {
					t.Fatalf("raised %v, %v", raised, err)
				}
			}
			w.d.Wake()
			return ev
		}
		w.answers(func(n int) (int, http.Header) {
			if n == 1 {
				return http.StatusServiceUnavailable, nil
			}
			return http.StatusOK, nil
		})
		ev := raise("resp_1")
		pass(10 * time.Second)
		got := w.got()
		if len(got) != 2 || got[0].header.Get("Webhook-Id") != got[1].header.Get("Webhook-Id") {
			t.Fatalf("%d requests, want one and another try of it", len(got))
		}
		r := got[1]
		if err := errors.Join(verify(t, r, newSecret, time.Now()), verify(t, r, oldSecret, time.Now())); err != nil {
			t.Error(err)
		}
		want := fmt.Sprintf(`{"id":%q,"object":"event","created_at":%d,"type":"response.completed","data":{"id":"resp_1"}}`, ev.ID, ev.At.Seconds())
		if string(r.body) != want {
			t.Errorf("body %s\nwant %s", r.body, want)
		}
		if d := w.deliveries(ev.ID); len(d) != 1 || d[0].State != gatehouse.DeliveryDelivered {
			t.Errorf("deliveries %+v", d)
		}
		for _, status := range []int{http.StatusOK, http.StatusInternalServerError, 0} {
			w.answers(func(int) (int, http.Header) { return status, nil })
			if got, err := w.d.Test(t.Context(), &e, "batch.failed"); got != status || (err == nil) != (status == http.StatusOK) {
				t.Errorf("test: %d, %v, want %d", got, err, status)
			}
		}
		before := len(w.got()) // who refuses at once is tried as anybody
		ev = raise("resp_3")
		pass(10 * time.Second)
		if d := w.deliveries(ev.ID); len(w.got()) != before+2 || !strings.Contains(d[0].Error, "connection refused") {
			t.Errorf("refused at once: %d tries, %+v", len(w.got())-before, d)
		}
		w.answers(func(int) (int, http.Header) { return http.StatusInternalServerError, nil })
		ev = raise("resp_2")
		pass(time.Second)
		w.change(func(tx *store.Tx) error {
			e.RemovedAt = tx.Now
			return tx.SaveWebhookEndpoint(&e)
		})
		n := len(w.got())
		pass(time.Minute)
		if d := w.deliveries(ev.ID); len(d) != 1 || d[0].State != gatehouse.DeliveryDead || !strings.Contains(d[0].Error, "gone") || len(w.got()) != n {
			t.Errorf("an endpoint that was deleted: %+v, %d more requests", d, len(w.got())-n)
		}
	})
}

// TestSilentEndpoint: an endpoint that does not answer holds up neither alerts nor, for long, another endpoint, and gets everything once it
// answers again.
func TestSilentEndpoint(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		for _, name := range []string{"dead", "well"} {
			e := gatehouse.WebhookEndpoint{ID: "whe_" + name, Organization: "org-a", Project: "proj_" + name, URL: "https://" + name + ".example.com", EventTypes: []string{"response.completed"}, Secret: "sealed://new"}
			w.change(func(tx *store.Tx) error { return tx.CreateWebhookEndpoint(&e) })
		}
		to := func(host string) (n int) {
			for _, r := range w.got() {
				if strings.Contains(r.url, host) {
					n++
				}
			}
			return n
		}
		raise := func(project, id string) {
			t.Helper()
			ev := gatehouse.WorkEvent(&gatehouse.Work{ID: id, Kind: gatehouse.WorkResponse, Organization: "org-a", Project: project}, "completed", gatehouse.MillisOf(time.Now()))
			if _, err := w.db.RaiseProjectEvent(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
		w.silent("dead.example.com", true)
		for i := range 100 {
			raise("proj_dead", fmt.Sprintf("resp_%d", i))
		}
		w.d.Wake()
		pass(time.Second) // all there is room for waits for an answer
		if n := to("dead"); n != atOnce {
			t.Errorf("%d requests to the dead endpoint, want %d", n, atOnce)
		}
		w.raise("alch_hook")
		pass(time.Second)
		if to("hooks") != 1 {
			t.Error("an alert waits for an endpoint")
		}
		raise("proj_well", "resp_well")
		w.d.Wake()
		pass(tryTimeout + 2*time.Second)
		if to("well") != 1 {
			t.Error("an endpoint waits for another for longer than a try lasts")
		}
		pass(time.Minute)
		if n := to("dead"); n > atOnce+4 {
			t.Errorf("%d requests to the dead endpoint in a minute, want a few", n)
		}
		w.silent("dead.example.com", false)
		pass(6 * time.Hour)
		got := map[string]bool{}
		for _, r := range w.got() {
			if strings.Contains(r.url, "dead") && r.at > 80*time.Second {
				got[string(r.body)] = true
			}
		}
		if len(got) != 100 {
			t.Errorf("%d of 100 events arrived", len(got))
		}
	})
}

// TestRotation: while a secret is replaced messages verify with both, and afterwards with the new one alone.
func TestRotation(t *testing.T) {
	inBubble(t, 10*time.Minute, func(t *testing.T, w *world) {
		w.change(func(tx *store.Tx) error {
			c, err := tx.AlertChannel("alch_hook")
			if err != nil {
				return err
			}
			c.OldSecret, c.OldUntil = "sealed://old", gatehouse.MillisOf(time.Now().Add(24*time.Hour))
			return tx.SaveAlertChannel(c)
		})
		w.raise("alch_hook")
		pass(2 * time.Second)
		r := w.got()[0]
		if err := errors.Join(verify(t, r, newSecret, time.Now()), verify(t, r, oldSecret, time.Now())); err != nil {
			t.Errorf("within the overlap: %v", err)
		}
		pass(24 * time.Hour)
		w.raise("alch_hook")
		pass(2 * time.Second)
		r = w.got()[1]
		if err := verify(t, r, newSecret, time.Now()); err != nil || verify(t, r, oldSecret, time.Now()) == nil {
			t.Errorf("after the overlap: %v", err)
		}
	})
}

// TestRetries: what fails is tried again later and later with the same id, for two days, is then dead, and can be sent again.
func TestRetries(t *testing.T) {
	inBubble(t, 5*time.Minute, func(t *testing.T, w *world) {
		w.answers(func(n int) (int, http.Header) {
			switch n {
			case 1:
				return 0, nil
			case 2:
				return http.StatusMovedPermanently, nil
			case 3:
				return http.StatusTooManyRequests, http.Header{"Retry-After": {"3600"}}
			}
			return http.StatusInternalServerError, nil
		})
		a := w.raise("alch_hook")
		pass(3 * 24 * time.Hour)
		if len(w.got()) != len(waits)+1 {
			t.Fatalf("%d tries, want %d", len(w.got()), len(waits)+1)
		}
		ids := map[string]bool{}
		for i, r := range w.got() {
			ids[r.header.Get("Webhook-Id")] = true
			if i == 0 {
				continue
			}
			least, wait := waits[i-1], r.at-w.got()[i-1].at
			if i == 3 {
				least = time.Hour // what the receiver asked for
			}
			if wait < least || wait > least+waits[i-1]/4+w.cfg.Poll {
				t.Errorf("try %d after %s, want %s and up to a quarter more", i+1, wait, least)
			}
			if err := verify(t, r, newSecret, begun.Add(r.at)); err != nil {
				t.Errorf("try %d: %v", i+1, err)
			}
		}
		if len(ids) != 1 {
			t.Errorf("ids %v, want one", ids)
		}
		d := w.deliveries(a.ID)[0]
		if d.State != gatehouse.DeliveryDead || d.Error != "hooks.example.com answered with status 500" {
			t.Fatalf("delivery %+v", d)
		}
		w.answers(nil)
		w.change(func(tx *store.Tx) error { return tx.ReplayDelivery(d.ID) })
		w.d.Wake()
		pass(2 * time.Second)
		if again := w.deliveries(a.ID)[0]; again.State != gatehouse.DeliveryDelivered || again.Tries != 1 || w.got()[len(w.got())-1].header.Get("Webhook-Id") != d.ID {
			t.Errorf("replayed: %+v", again)
		}
	})
}

// TestHopeless: what nobody will ever receive is not tried again.
func TestHopeless(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		w.answers(func(int) (int, http.Header) { return http.StatusGone, nil })
		w.change(func(tx *store.Tx) error {
			c, err := tx.AlertChannel("alch_slack")
			if err != nil {
				return err
			}
			c.RemovedAt = 1
			return tx.SaveAlertChannel(c)
		})
		gone, removed, unknown := w.raise("alch_hook"), w.raise("alch_slack"), w.raise("alch_none")
		pass(2 * w.cfg.Poll)
		for _, a := range []gatehouse.Alert{gone, removed, unknown} {
			if d := w.deliveries(a.ID)[0]; d.State != gatehouse.DeliveryDead || d.Tries != 1 {
				t.Errorf("delivery to %s: %+v", d.Channel, d)
			}
		}
		if len(w.got()) != 1 {
			t.Errorf("%d requests, want one", len(w.got()))
		}
	})
}

// TestSlack: the text is escaped, and the URL, which is a secret, is in no error.
func TestSlack(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		w.answers(func(n int) (int, http.Header) { return map[bool]int{true: 0, false: 200}[n == 1], nil })
		a := w.raise("alch_slack")
		pass(2 * time.Second)
		d := w.deliveries(a.ID)[0]
		if d.Error != "hooks.slack.example.com cannot be reached: connection refused" || strings.Contains(w.log.String(), "verysecret") {
			t.Errorf("error %q, log %s", d.Error, w.log.String())
		}
		pass(time.Minute)
		var m struct{ Text string }
		if err := json.Unmarshal(w.got()[1].body, &m); err != nil {
			t.Fatal(err)
		}
		if w.got()[1].url != "https://hooks.slack.example.com/services/T0/B0/verysecret" || !strings.HasPrefix(m.Text, `*key "a&lt;b&gt;&amp;c" (key_1) spent $65.00*`+"\n") {
			t.Errorf("posted %q to %s", m.Text, w.got()[1].url)
		}
	})
}

// TestKilled: a node that dies after it claimed, and before it noted what came of it, loses nothing; the receiver knows it by its id.
func TestKilled(t *testing.T) {
	inBubble(t, poll, func(t *testing.T, w *world) {
		w.answers(func(n int) (int, http.Header) { return http.StatusNoContent, nil })
		wake := w.d
		w.d = nil // another node raises it
		a := w.raise("alch_hook")
		w.d = wake
		now := time.Now()
		claimed, err := w.db.ClaimDeliveries(t.Context(), store.DeliveryClaim{Now: gatehouse.MillisOf(now), Until: gatehouse.MillisOf(now.Add(claimFor)), Limit: 1})
		if err != nil || len(claimed) != 1 {
			t.Fatal(claimed, err)
		}
		pass(claimFor - 5*time.Second)
		if len(w.got()) != 0 {
			t.Fatal("it was tried while another node held it")
		}
		pass(10 * time.Second)
		if len(w.got()) != 1 || w.got()[0].header.Get("Webhook-Id") != claimed[0].ID {
			t.Fatalf("received %+v", w.got())
		}
		if d := w.deliveries(a.ID)[0]; d.State != gatehouse.DeliveryDelivered {
			t.Errorf("delivery %+v", d)
		}
	})
}

// TestGuard: a webhook on loopback is refused unless its channel allows private addresses, and a redirect is not followed.
func TestGuard(t *testing.T) {
	hits := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		hits <- r.URL.Path
		if r.URL.Path == "/moved" {
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	w := newWorld(t, t.TempDir())
	defer func() { _ = w.db.Close() }()
	w.cfg.Client = outbound.NewClient
	d := New(w.cfg)
	post := func(url string, private bool) error {
		_, err := d.post(t.Context(), &gatehouse.AlertChannel{Organization: "org-a", URL: url, AllowPrivate: private}, http.Header{}, []byte("{}"))
		return err
	}
	if err := post(strings.Replace(server.URL, "http://", "https://", 1), false); err == nil || !strings.Contains(err.Error(), "private address") {
		t.Errorf("loopback: %v", err)
	}
	if err := post(server.URL, false); err == nil || !strings.Contains(err.Error(), "not one of https://") {
		t.Errorf("http: %v", err)
	}
	if err := post(server.URL+"/fine", true); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if err := post(server.URL+"/moved", true); err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("redirect: %v", err)
	}
	if err := post("http://169.254.169.254/latest", true); err == nil || !strings.Contains(err.Error(), "never called") {
		t.Errorf("metadata: %v", err)
	}
	server.Close()
	close(hits)
	var paths []string
	for p := range hits {
		paths = append(paths, p)
	}
	if want := []string{"/fine", "/moved"}; !slices.Equal(paths, want) {
		t.Errorf("called %q, want %q", paths, want)
	}
}
