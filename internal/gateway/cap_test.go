package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// The price of a token of input and of output in these tests, in nano-USD, and the limits of the one model.
const (
	inputNano, outputNano = 1_000, 2_000
	modelOutput           = 1_000
	framing               = 1_024 // what package bound adds to the bytes of a request
)

// newCap returns a gate whose only model costs a round sum at an upstream of each dialect, OpenAI's first.
func newCap(t testing.TB) (*gate, *script) {
	s := newScript(t, respond(200, "application/json", answerOf(7, 5)))
	g := newGate(t, func(cfg *gateway.Config) {
		cfg.FindBatchInput = func(context.Context, string) (*gatehouse.BatchInput, error) {
			return nil, &gatehouse.Error{Kind: gatehouse.NotFound}
		}
	})
	g.priced("m", `{"cost":{"input":"1","output":"2","input_audio":"1","output_audio":"2","input_image":"1","output_image":"2","images":"1","characters":"1","audio_seconds":"1",
		"video_seconds":"1000000","web_searches":"10000","web_search_previews":"10000"},"service_tiers":{"batch":{"factor":"0.5"}},"limit":{"context":100000,"output":1000}}`)
	g.upstream("openai", s.URL, g.ownAccount)
	g.deploy("m", admin.RouteSpec{Upstream: "openai"})
	return g, s
}

// priced gives a model of OpenAI's dialect a price.
func (g *gate) priced(model, terms string) {
	g.tb.Helper()
	parsed, err := prices.ParseTerms([]byte(terms))
	must(g.tb, err)
	table, err := prices.BuiltIn().With([]prices.Override{{Organization: g.who.Organization, Dialect: gatehouse.OpenAI, Model: model, Terms: parsed}})
	must(g.tb, err)
	g.ledger.SetPrices(table)
}

// answerOf is an answer that says what it used in every spelling, and that m gave it.
func answerOf(input, output int) string {
	return fmt.Sprintf(`{"id":"x_1","object":"y","model":"m","status":"completed","choices":[],"data":[{"b64_json":""}],"usage":{"prompt_tokens":%[1]d,"completion_tokens":%[2]d,"input_tokens":%[1]d,"output_tokens":%[2]d,"total_tokens":9}}`, input, output)
}

// chatBound is how much a chat with this body may cost at most.
func chatBound(body string, output int) gatehouse.NanoUSD {
	return gatehouse.NanoUSD((len(body)+framing)*inputNano + output*outputNano)
}

// TestTheCapBindsEveryEndpoint: with a budget of nothing no endpoint that costs something reaches the upstream, in either dialect, and
// with one that is large enough each does. What no budget looks at is an endpoint through which it is overspent.
func TestTheCapBindsEveryEndpoint(t *testing.T) {
	form := func(parts ...string) string {
		return multipart(append([]string{"Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nID3 some audio"}, parts...)...)
	}
	const formType = "multipart/form-data; boundary=b"
	azure := func(op string) string { return "/openai/deployments/m/" + op + "?api-version=2024-10-21" }
	for _, c := range []struct{ name, path, body, contentType string }{
		{"chat", "/v1/chat/completions", `{"model":"m","messages":[]}`, ""},
		{"chat as a stream", "/v1/chat/completions", `{"model":"m","messages":[],"stream":true}`, ""},
		{"responses", "/v1/responses", `{"model":"m","input":"x"}`, ""},
		{"responses in the background", "/v1/responses", `{"model":"m","input":"x","background":true}`, ""},
		{"compaction", "/v1/responses/compact", `{"model":"m","input":"x"}`, ""},
		{"completions", "/v1/completions", `{"model":"m","prompt":"x"}`, ""},
		{"embeddings", "/v1/embeddings", `{"model":"m","input":"x"}`, ""},
		{"moderations", "/v1/moderations", `{"model":"m","input":"x"}`, ""},
		{"images", "/v1/images/generations", `{"model":"m","prompt":"x"}`, ""},
		{"image edits", "/v1/images/edits", `{"model":"m","prompt":"x","images":[]}`, ""},
		{"image edits as a form", "/v1/images/edits", form(field("model", "m")), formType},
		{"image variations", "/v1/images/variations", form(field("model", "m")), formType},
		{"speech", "/v1/audio/speech", `{"model":"m","input":"x","voice":"alloy"}`, ""},
		{"transcriptions", "/v1/audio/transcriptions", form(field("model", "m")), formType},
		{"translations", "/v1/audio/translations", form(field("model", "m")), formType},
		{"videos", "/v1/videos", `{"model":"m","prompt":"x","seconds":"4"}`, ""},
		{"what nobody described", "/v1/chat/of_tomorrow", `{"model":"m"}`, ""},
		{"of a product without a meter", "/v1/safety/of_tomorrow", `{"model":"m"}`, ""},
		{"Azure's chat", azure("chat/completions"), `{"messages":[]}`, ""},
		{"Azure's embeddings", azure("embeddings"), `{"input":"x"}`, ""},
		{"Azure's images", azure("images/generations"), `{"prompt":"x"}`, ""},
		{"Azure's transcriptions", azure("audio/transcriptions"), form(), formType},
		{"Azure's responses", "/openai/v1/responses", `{"model":"m","input":"x"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, s := newCap(t)
			var headers []string
			inAzure := strings.HasPrefix(c.path, "/openai")
			if inAzure {
				headers = []string{"Authorization", "", "api-key", g.key.Value.Reveal()}
			}
			if c.contentType != "" {
				headers = append(headers, "Content-Type", c.contentType)
			}
			if a := g.do("POST", c.path, c.body, headers...); a.status >= 300 && a.status != 404 {
				t.Fatalf("without a budget: %d %s", a.status, a.body)
			} else if a.status == 404 {
				t.Skip("it names an object that is not there")
			}
			g.budget(1000)
			if a := g.do("POST", c.path, c.body, headers...); a.status >= 300 {
				t.Fatalf("with a budget that is large enough: %d %s", a.status, a.body)
			}
			g.budget(0.000_000_001, func(b *gatehouse.Budget) { b.Name = "next to nothing" })
			s.set(respond(200, "application/json", answerOf(7, 5)))
			a := g.do("POST", c.path, c.body, headers...)
			if a.status != 429 || s.got().Method != "" {
				t.Fatalf("with a budget of nothing: %d %s; the upstream got %q", a.status, a.body, s.got().Method)
			}
			var e struct {
				Error struct {
					Type, Code string
					Innererror struct{ Code string }
				}
			}
			must(t, json.Unmarshal([]byte(a.body), &e))
			code := e.Error.Code
			if inAzure {
				if code != "429" {
					t.Errorf("Azure's code is %q", code)
				}
				code = e.Error.Innererror.Code
			} else if e.Error.Type != "insufficient_quota" {
				t.Errorf("its type is %q", e.Error.Type)
			}
			if code != "organization_spend_limit_exceeded" || a.header.Get("X-Should-Retry") != "false" || a.header.Get("Retry-After") != "" || a.header.Get("Retry-After-Ms") != "" {
				t.Errorf("code %q, headers %v", code, a.header)
			}
			if r := g.explain(a.id()); r.Rule != "organization_spend_limit_exceeded" || !strings.Contains(r.Detail, "next to nothing") || !strings.Contains(r.Detail, "$") {
				t.Errorf("explain says %q: %q", r.Rule, r.Detail)
			}
		})
	}
}

// TestAFullBudgetIsTriedAgainAndASpentOneIsNot: what is only reserved comes back, what is spent does not. Nobody is refused for good
// while most of a budget is there.
func TestAFullBudgetIsTriedAgainAndASpentOneIsNot(t *testing.T) {
	g, s := newCap(t)
	body := `{"model":"m","max_tokens":10,"messages":[]}`
	most := chatBound(body, 10)
	g.budget(float64(most)/1e9 + 1e-6) // one at a time
	goOn, reached := make(chan struct{}), make(chan struct{})
	s.set(sequence(gatehousetest.Reached(reached), gatehousetest.Hold(goOn), respond(200, "application/json", answerOf(7, 5))))
	first := make(chan *answer, 1)
	req := g.request("POST", "/v1/chat/completions", body)
	go func() { first <- g.try(req) }() // ends with its answer
	<-reached
	a := g.do("POST", "/v1/chat/completions", body)
	if a.status != 429 || a.header.Get("X-Should-Retry") != "true" || a.header.Get("Retry-After-Ms") == "" || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "insufficient_quota") {
		t.Errorf("while the first is open: %d %v %s", a.status, a.header, a.body)
	}
	close(goOn)
	if a := <-first; a.status != 200 {
		t.Fatalf("the first: %d %s, %v", a.status, a.body, a.err)
	}
	s.set(respond(200, "application/json", answerOf(1000, 5))) // which spends all but everything
	if a := g.do("POST", "/v1/chat/completions", `{"model":"m","max_tokens":1,"messages":[]}`); a.status != 200 {
		t.Fatalf("the next: %d %s", a.status, a.body)
	}
	a = g.do("POST", "/v1/chat/completions", body)
	if a.status != 429 || a.header.Get("X-Should-Retry") != "false" || a.header.Get("Retry-After-Ms") != "" {
		t.Errorf("once it is spent: %d %v %s", a.status, a.header, a.body)
	}
}

// TestACallerThatLeavesPaysWhatPassed lets callers leave a stream after every byte of its text: what passed is settled as an estimate,
// the rest of the hold stays until somebody knows better, and no hold is left open.
func TestACallerThatLeavesPaysWhatPassed(t *testing.T) {
	g, s := newCap(t)
	body := `{"model":"m","max_tokens":40,"messages":[],"stream":true}`
	most := chatBound(body, 40)
	text := strings.ReplaceAll(delta("the first piece")+delta("and the second")+delta("and a third"), "gpt-4o-2024-08-06", "m")
	g.budget(1000)
	s.set(streaming(gatehousetest.Chunk(text), gatehousetest.Stall()))
	var callers sync.WaitGroup
	for at := range len(text) + 1 {
		callers.Go(func() {
			resp, r := g.open(body, "X-Client-Request-Id", fmt.Sprintf("left after %d", at))
			_, err := io.CopyN(io.Discard, r, int64(at))
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	for at := range len(text) + 1 {
		rec := g.settled(fmt.Sprintf("left after %d", at))
		u := g.usage(rec.ID)
		if u == nil || u.Confidence != gatehouse.Estimated || u.Cost <= 0 || u.Cost > most || !rec.ClientLeft {
			t.Fatalf("after %d bytes: %+v, %+v", at, u, rec)
		}
		if kept := g.keptOf(rec.ID); kept != most-u.Cost {
			t.Fatalf("after %d bytes %d of %d is kept beside %d", at, kept, most, u.Cost)
		}
	}
	if n := g.ledger.Stats().Holds; n != 0 {
		t.Errorf("%d holds are open", n)
	}
}

// keptOf returns what is kept of a request's hold.
func (g *gate) keptOf(request string) (sum gatehouse.NanoUSD) {
	g.tb.Helper()
	must(g.tb, g.db.View(deadline(g.tb), func(tx *store.Tx) error {
		list, _, err := tx.KeptHolds(g.who.Organization, store.Page{Limit: 1000})
		for i := range list {
			if list[i].ID == request {
				sum = list[i].Amount
			}
		}
		return err
	}))
	return sum
}

// TestACallerThatLeavesACallIsNoUpstreamsWork: a call that is no stream is ended at the upstream too.
func TestACallerThatLeavesACallIsNoUpstreamsWork(t *testing.T) {
	g, s := newCap(t)
	g.budget(1000)
	for _, path := range []string{"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/images/generations"} {
		reached := make(chan struct{})
		s.set(sequence(gatehousetest.Reached(reached), gatehousetest.Stall()))
		ctx, leave := context.WithCancel(context.Background())
		req := g.request("POST", path, `{"model":"m"}`, "X-Client-Request-Id", path).WithContext(ctx)
		done := make(chan *answer, 1)
		go func() { done <- g.try(req) }() // ends with the request
		<-reached
		leave()
		<-done
		must(t, s.Closed(deadline(t)))
		rec := g.settled(path)
		if u := g.usage(rec.ID); u == nil || u.Confidence != gatehouse.Estimated || !rec.ClientLeft {
			t.Errorf("%s: usage %+v, record %+v", path, u, rec)
		}
		if g.keptOf(rec.ID) == 0 {
			t.Errorf("%s: nothing is kept of what was held", path)
		}
	}
}

// TestAStreamIsCutWhereTheMoneyEnds: an upstream that does not keep to the cap is cut when the hold and the budget are used up, with an
// error that the caller's SDK raises.
func TestAStreamIsCutWhereTheMoneyEnds(t *testing.T) {
	long := strings.Repeat("All work and no play makes Jack a dull boy. ", 100)
	chat := strings.ReplaceAll(delta(long), "gpt-4o-2024-08-06", "m")
	response := `event: response.output_text.delta` + "\n" + `data: {"type":"response.output_text.delta","delta":"` + long + `"}` + "\n\n"
	for _, c := range []struct{ name, path, body, piece, want string }{
		{"chat", "/v1/chat/completions", `{"model":"m","max_tokens":1,"messages":[],"stream":true}`, chat, "data: {\"error\":{\"message\":"},
		{"responses", "/v1/responses", `{"model":"m","max_output_tokens":16,"input":"x","stream":true}`, response, "event: error\ndata: {\"error\":{\"message\":"},
		{"Azure", "/openai/deployments/m/chat/completions?api-version=2024-10-21", `{"max_tokens":1,"messages":[],"stream":true}`, chat, "data: {\"error\":{\"code\":\"429\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, s := newCap(t)
			const room = 0.01
			g.budget(room)
			s.set(streaming(func(x *gatehousetest.Exchange) error {
				for range 100 {
					if err := gatehousetest.Chunk(c.piece)(x); err != nil {
						return nil // the gateway closed the connection
					}
				}
				return gatehousetest.Stall()(x) // it would go on for ever
			}))
			var headers []string
			if strings.HasPrefix(c.path, "/openai") {
				headers = []string{"Authorization", "", "api-key", g.key.Value.Reveal()}
			}
			a := g.do("POST", c.path, c.body, headers...)
			if a.status != 200 || !strings.Contains(a.body, c.want) || !strings.Contains(a.body, "organization_spend_limit_exceeded") {
				t.Errorf("answer %d ... %s", a.status, a.body[max(0, len(a.body)-600):])
			}
			must(t, s.Closed(deadline(t)))
			rec := g.explain(a.id())
			if rec.Rule != "organization_spend_limit_exceeded" || !strings.Contains(rec.Detail, "cut") {
				t.Errorf("explain says %q: %q", rec.Rule, rec.Detail)
			}
			u := g.usage(a.id())
			if u == nil || u.Confidence != gatehouse.Estimated || u.Units.Output < 1000 || u.Cost > room*1e9*1.2 {
				t.Errorf("usage %+v", u)
			}
			if m := g.metrics(); m["gatehouse_streams_cut_for_spend_total"] != 1 {
				t.Errorf("%v streams were cut", m["gatehouse_streams_cut_for_spend_total"])
			}
		})
	}
}

// TestTheNextAttemptNeedsItsOwnHold: where a budget has room for one attempt there is no other.
func TestTheNextAttemptNeedsItsOwnHold(t *testing.T) {
	g, talks := newCap(t)
	silent := newScript(t, func(*gatehousetest.Exchange) error { return errors.New("the connection ends") })
	g.upstream("silent", silent.URL)
	g.deploy("m", admin.RouteSpec{Upstream: "silent", Priority: 1}, admin.RouteSpec{Upstream: "openai", Priority: 2})
	body := `{"model":"m","max_tokens":10,"messages":[]}`
	most := chatBound(body, 10)
	g.budget(float64(most) * 1.5 / 1e9)
	a := g.do("POST", "/v1/chat/completions", body)
	if a.status != 429 || !strings.Contains(a.body, "organization_spend_limit_exceeded") || talks.got().Method != "" {
		t.Fatalf("answer %d %s; the next upstream got %q", a.status, a.body, talks.got().Method)
	}
	if u := g.usage(a.id() + "/1"); u == nil || u.Cost != most || u.Confidence != gatehouse.Unanswered {
		t.Errorf("the attempt: %+v, want a cost of %d", u, most)
	}
	if u := g.usage(a.id()); u != nil {
		t.Errorf("the request itself: %+v", u)
	}
	if n := g.ledger.Stats().Holds; n != 0 {
		t.Errorf("%d holds are open", n)
	}
}

// TestTypicalHoldsWhatIsTypical: once a hundred answers are known, a budget with room for no whole answer of the model has room for one
// that is typical.
func TestTypicalHoldsWhatIsTypical(t *testing.T) {
	g, _ := newCap(t)
	body := `{"model":"m","messages":[]}`
	room := float64(chatBound(body, modelOutput/2)) / 1e9
	g.budget(room, uncapped(gatehouse.UncappedTypical), func(b *gatehouse.Budget) { b.Window = gatehouse.Window{Period: gatehouse.Total} })
	if a := g.do("POST", "/v1/chat/completions", body); a.status != 429 {
		t.Fatalf("before anything is typical: %d %s", a.status, a.body)
	}
	g2, _ := newCap(t)
	for range 100 {
		if a := g2.do("POST", "/v1/chat/completions", body); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	g2.flush() // what was answered before counts in the month
	spent := 0.0
	must(t, g2.db.View(context.Background(), func(tx *store.Tx) error {
		return tx.EachUsage(func(u *gatehouse.Usage) error {
			spent += float64(u.Cost) / 1e9
			return nil
		})
	}))
	g2.budget(spent+room, uncapped(gatehouse.UncappedTypical))
	if a := g2.do("POST", "/v1/chat/completions", body); a.status != 200 {
		t.Errorf("with a hundred answers of five tokens: %d %s", a.status, a.body)
	}
	g2.budget(spent+room, func(b *gatehouse.Budget) { b.Name = "strict" })
	if a := g2.do("POST", "/v1/chat/completions", body); a.status != 429 {
		t.Errorf("a budget that holds the model's limit: %d %s", a.status, a.body)
	}
}

// TestWhatRunsOverItsHoldIsCounted: an answer that says it used more than it could is settled truthfully, and told.
func TestWhatRunsOverItsHoldIsCounted(t *testing.T) {
	g, s := newCap(t)
	g.budget(1000)
	body := `{"model":"m","max_tokens":1,"messages":[]}`
	s.set(respond(200, "application/json", answerOf(5000, 1)))
	a := g.do("POST", "/v1/chat/completions", body)
	u := g.usage(a.id())
	if a.status != 200 || u == nil || u.Cost != 5000*inputNano+outputNano {
		t.Fatalf("answer %d, usage %+v", a.status, u)
	}
	m := g.metrics()
	want := float64(u.Cost-chatBound(body, 1)) / 1e9
	if m["gatehouse_requests_over_hold_total"] != 1 || m["gatehouse_over_hold_usd_total"] < want*0.999 || m["gatehouse_over_hold_usd_total"] > want*1.001 {
		t.Errorf("%v requests over by %v USD, want %v", m["gatehouse_requests_over_hold_total"], m["gatehouse_over_hold_usd_total"], want)
	}
}
