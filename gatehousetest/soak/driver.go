package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// driver makes the load and keeps what the clients saw.
type driver struct {
	plan   *plan
	g      *gatehouse
	client *http.Client
	first  int64 // unix seconds of Gatehouse's clock at the start, roughly

	// Two projects: in the clean one every answer is complete, so that usage must be what the clients saw to the token; in the
	// other clients leave and upstreams fail.
	clean, dirty tenant

	resting  sync.RWMutex // held for reading by every request; for writing while the load rests
	requests atomic.Int64
	kinds    [len(kindNames)]atomic.Int64
	bad      atomic.Int64
	mu       sync.Mutex
	said     int // guarded by mu; how many bad answers were printed
}

// tenant is a project and the key that calls in it.
type tenant struct {
	project, account, key string

	answers, input, output atomic.Int64 // complete answers that cost, and their tokens
}

// kind is what a request does.
type kind int

const (
	jsonChat kind = iota
	streamChat
	embedding
	listing
	upload
	cancelled
	failed
	cut
	lifecycle
	apply
)

var kindNames = [...]string{"json", "stream", "embedding", "list", "upload", "cancelled", "upstream error", "cut stream", "key change", "apply"}

// weights are how often each kind comes, in a hundred; changes come by their own clock.
var weights = [...]int{jsonChat: 38, streamChat: 25, embedding: 10, listing: 8, upload: 4, cancelled: 6, failed: 6, cut: 3}

func newDriver(p *plan, g *gatehouse) *driver {
	transport := &http.Transport{MaxIdleConnsPerHost: p.workers, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
				return nil, fmt.Errorf("soak: refused to dial %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
	return &driver{plan: p, g: g, client: &http.Client{Transport: transport, Timeout: 2 * time.Minute}}
}

const manifest = `
upstreams: [{name: good, dialect: mock}, {name: faulty, dialect: mock}]
deployments:
- {name: steady, routes: [{upstream: good, model: gpt-4o-mini, weight: %d}]}
- {name: faulty, routes: [{upstream: faulty, model: gpt-4o-mini}]}
- {name: vectors, routes: [{upstream: good, model: text-embedding-3-small}]}
`

// run makes the load for as long as planned, looks twice, and gives the verdict.
func (d *driver) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	load, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	for i := range d.plan.workers {
		work.Go(func() { d.worker(load, i) })
	}
	work.Go(func() { d.changes(load) })
	work.Go(func() { d.regenerations(load) })

	began, rested := time.Now(), time.Duration(0)
	minute := time.NewTicker(min(time.Minute, d.plan.duration/4))
	defer minute.Stop()
	warm, end := time.NewTimer(d.plan.warm), time.NewTimer(d.plan.duration)
	defer warm.Stop()
	var base look
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-minute.C:
			fmt.Printf("%7s  %s\n", (time.Since(began) - rested).Round(time.Second), d.progress())
		case <-warm.C:
			paused := time.Now()
			l, err := d.rest(ctx, look{})
			if err != nil {
				return err
			}
			base = l
			if err := d.profile(ctx, "first"); err != nil {
				return err
			}
			rested = time.Since(paused)
			end.Reset(d.plan.duration - d.plan.warm)
			fmt.Printf("%7s  %s\n", "rested", l)
		case <-end.C:
			over = true
		}
	}
	stop()
	work.Wait()
	last, err := d.rest(ctx, base)
	if err != nil {
		return err
	}
	fmt.Printf("%7s  %s\n", "ended", last)
	if err := d.profile(ctx, "last"); err != nil {
		return err
	}
	return d.verdict(ctx, base, last)
}

// profile keeps a profile of the heap, where somebody asked for one.
func (d *driver) profile(ctx context.Context, name string) error {
	if d.plan.profiles == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.g.OpsURL+"/debug/pprof/heap", nil)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.plan.profiles, name+".heap"), text, 0o600)
}

func (l look) String() string {
	return fmt.Sprintf("resident %.1f MiB (Go %.1f, heap %.1f of it; files %.1f), %d goroutines, %d descriptors, %.1f h on its clock", float64(l.Resident)/(1<<20),
		float64(l.Go)/(1<<20), float64(l.Heap)/(1<<20), float64(l.Files)/(1<<20), l.Goroutines, l.Descriptors, float64(l.Clock)/3600)
}

func (d *driver) progress() string {
	text := fmt.Sprintf("%d requests, %d bad:", d.requests.Load(), d.bad.Load())
	for i, name := range kindNames {
		text += fmt.Sprintf(" %s %d", name, d.kinds[i].Load())
	}
	return text
}

// rest stops the load for a while, closes what is idle, and looks. Given an earlier look it waits a little longer for what is more
// than it was.
func (d *driver) rest(ctx context.Context, before look) (l look, err error) {
	d.resting.Lock()
	defer d.resting.Unlock()
	d.client.CloseIdleConnections()
	for wait, tries := d.plan.settle, 0; ; wait, tries = 5*time.Second, tries+1 {
		select {
		case <-ctx.Done():
			return l, ctx.Err()
		case <-time.After(wait):
		}
		if l, err = d.g.look(); err != nil {
			return l, err
		}
		if before == (look{}) || tries == 14 || l.Goroutines <= before.Goroutines && l.Descriptors <= before.Descriptors && l.Resident <= before.Resident*11/10 {
			return l, nil
		}
	}
}

// verdict says what was promised and what was seen.
func (d *driver) verdict(ctx context.Context, base, last look) error {
	ok := true
	say := func(good bool, format string, args ...any) {
		word := "PASS"
		if !good {
			word, ok = "FAIL", false
		}
		fmt.Printf("%s  %s\n", word, fmt.Sprintf(format, args...))
	}
	say(d.requests.Load() >= d.plan.atLeast, "%d requests, want at least %d", d.requests.Load(), d.plan.atLeast)
	say(d.bad.Load() == 0, "%d answers other than they should be", d.bad.Load())
	for i := range d.kinds {
		if d.kinds[i].Load() == 0 {
			say(false, "no request of the kind %q", kindNames[i])
		}
	}
	answers, input, output, err := d.usage(ctx, &d.clean)
	say(err == nil && answers == d.clean.answers.Load() && input == d.clean.input.Load() && output == d.clean.output.Load(),
		"usage: %d requests, %d tokens in, %d out; clients saw %d, %d, %d (%v)", answers, input, output, d.clean.answers.Load(), d.clean.input.Load(), d.clean.output.Load(), err)
	dirty, _, _, err := d.usage(ctx, &d.dirty)
	say(err == nil && dirty > 0, "usage of clients that left and upstreams that broke: %d requests (%v)", dirty, err)
	grown := 100 * (float64(last.Resident)/float64(base.Resident) - 1)
	say(grown <= 10, "resident memory %+.1f %%: %.1f MiB, then %.1f MiB", grown, float64(base.Resident)/(1<<20), float64(last.Resident)/(1<<20))
	say(last.Goroutines <= base.Goroutines, "goroutines: %d, then %d", base.Goroutines, last.Goroutines)
	say(last.Descriptors <= base.Descriptors, "descriptors: %d, then %d", base.Descriptors, last.Descriptors)
	say(time.Duration(last.Clock)*time.Second >= d.plan.clock, "%v passed on its clock, want %v", time.Duration(last.Clock)*time.Second, d.plan.clock)
	log, err := os.ReadFile(d.g.log)
	lost := bytes.Count(log, []byte(`"level":"ERROR"`))
	say(err == nil && lost == 0, "%d errors in its log (%v)", lost, err)
	if lost > 0 {
		i := bytes.Index(log, []byte(`"level":"ERROR"`))
		fmt.Printf("      %s\n", clipped(log[max(0, i-60):]))
	}
	if !ok {
		return errVerdict
	}
	return nil
}

// usage reads what a project is to pay for, once nothing more of it is on its way.
func (d *driver) usage(ctx context.Context, t *tenant) (answers, input, output int64, err error) {
	for tries := range 60 {
		if tries > 0 {
			<-time.After(500 * time.Millisecond)
		}
		var list struct {
			Data []struct {
				ProjectID string `json:"project_id"`
				Requests  int64  `json:"requests"`
				Input     int64  `json:"input_tokens"`
				Output    int64  `json:"output_tokens"`
			}
		}
		path := fmt.Sprintf("/gatehouse/v1/usage?group_by[]=project&start_time=%d&end_time=%d", d.first, time.Now().Unix())
		if err = d.admin(ctx, http.MethodGet, path, nil, &list); err != nil {
			return 0, 0, 0, err
		}
		answers, input, output = 0, 0, 0
		for _, u := range list.Data {
			if u.ProjectID == t.project {
				answers, input, output = answers+u.Requests, input+u.Input, output+u.Output
			}
		}
		if answers >= t.answers.Load() {
			break
		}
	}
	return answers, input, output, nil
}

// prepare makes the two projects.
func (d *driver) prepare(ctx context.Context) error {
	d.first = time.Now().Add(-2*d.plan.clock - 3*time.Hour).Unix()
	if err := d.admin(ctx, http.MethodPost, "/gatehouse/v1/apply", []byte(fmt.Sprintf(manifest, 1)), nil); err != nil {
		return err
	}
	for _, t := range []*tenant{&d.clean, &d.dirty} {
		var made struct{ ID, Value string }
		if err := d.admin(ctx, http.MethodPost, "/v1/organization/projects", object{"name": "soak"}, &made); err != nil {
			return err
		}
		t.project = made.ID
		if err := d.admin(ctx, http.MethodPost, "/gatehouse/v1/projects/"+t.project, object{"upstream": "good"}, nil); err != nil {
			return err
		}
		accounts := "/v1/organization/projects/" + t.project + "/service_accounts"
		if err := d.admin(ctx, http.MethodPost, accounts, object{"name": "soak", "create_service_account_only": true}, &made); err != nil {
			return err
		}
		t.account = made.ID
		if err := d.admin(ctx, http.MethodPost, accounts+"/"+t.account+"/api_keys", object{"name": "soak"}, &made); err != nil {
			return err
		}
		t.key = made.Value
	}
	return nil
}

type object = map[string]any

// admin makes one call of the administration that has to succeed.
func (d *driver) admin(ctx context.Context, method, path string, body, out any) error {
	status, text, err := d.ask(ctx, method, path, "Bearer "+d.g.AdminKey, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if status != http.StatusOK && status != http.StatusAccepted {
		return fmt.Errorf("%s %s: status %d: %s", method, path, status, clipped(text))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// ask makes one request and reads its answer. A body that is not bytes is sent as JSON; header is names and values.
func (d *driver) ask(ctx context.Context, method, path, authorization string, body any, header ...string) (int, []byte, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.g.URL+path, r)
	if err != nil {
		return 0, nil, err
	}
	if key, azure := strings.CutPrefix(authorization, "api-key "); azure {
		req.Header.Set("Api-Key", key)
	} else {
		req.Header.Set("Authorization", authorization)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// worker makes one request after another at its share of the rate.
func (d *driver) worker(ctx context.Context, number int) {
	every := time.Duration(float64(d.plan.workers) / d.plan.rate * float64(time.Second))
	next := time.Now().Add(time.Duration(rand.Int64N(int64(every))))
	for i := number; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		if next = next.Add(every); time.Since(next) > time.Second {
			next = time.Now() // it cannot keep up
		}
		d.within(func() { d.one(pick(), i%2 == 1) })
	}
}

// within runs what belongs to the load: not while it rests.
func (d *driver) within(f func()) {
	d.resting.RLock()
	defer d.resting.RUnlock()
	f()
}

func pick() kind {
	n := rand.IntN(100)
	for k, w := range weights {
		if n -= w; n < 0 {
			return kind(k)
		}
	}
	return jsonChat
}

// wrong notes an answer that is not as it should be. The first few are printed.
func (d *driver) wrong(k kind, format string, args ...any) {
	d.bad.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.said++; d.said <= 20 {
		fmt.Printf("    bad  %s: %s\n", kindNames[k], fmt.Sprintf(format, args...))
	}
}

func clipped(text []byte) string {
	if len(text) > 300 {
		text = text[:300]
	}
	return string(text)
}
