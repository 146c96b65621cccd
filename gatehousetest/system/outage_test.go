package system_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
)

// cells are the columns of the table "When something is away" of docs/operations.md that are looked at, in its order.
var cells = []string{"live stream", "new request", "object look-up", "admin read", "admin change", "/readyz"}

// normal is what a node in good order shows in each cell.
var normal = []string{"goes on", "200", "404", "200", "200", "200"}

// outage is one row of the table: something goes away under a node that serves, and the node is looked at.
type outage struct {
	what string // the row's first cell, as the table has it
	// open starts a node and says how its surroundings fail and are mended.
	open func(t *testing.T) *scene
}

// scene is a node that serves, and what happens to it.
type scene struct {
	node   *node
	client *http.Client
	admin  string // an admin key
	key    string // a key that calls models
	keyID  string // its id: the admin change gives it another name
	model  string // of the new request
	live   string // of the live stream; "": model
	before func() // happens before the live stream begins, as what does not leave one alive; nil: nothing
	fail   func()
	mend   func()
	// settled, when not nil, waits from the failure on until what the row says has begun to hold.
	settled func()
	// after, when not nil, looks at what must be true once the node has recovered.
	after func()
}

// TestWhenSomethingIsAway holds the table of docs/operations.md to the program: for each row it makes the thing go away under a
// running node, looks at every cell, and waits until the node is in good order again by itself. It prints the table with what it
// saw.
func TestWhenSomethingIsAway(t *testing.T) {
	promised := outageTable(t)
	results := make([]string, len(outages))
	t.Run("rows", func(t *testing.T) {
		for i, row := range outages {
			want, ok := promised[row.what]
			if !ok {
				t.Errorf("docs/operations.md has no row %q", row.what)
				continue
			}
			delete(promised, row.what)
			results[i] = "| " + row.what + " | not run" + strings.Repeat(" |", len(cells)+1)
			t.Run(row.what, func(t *testing.T) {
				t.Parallel()
				results[i] = row.run(t, want)
			})
		}
	})
	for what := range promised {
		t.Errorf("docs/operations.md has a row that is not tested: %q", what)
	}
	t.Logf("\n| what | %s | recovered after |\n|%s\n%s", strings.Join(cells, " | "), strings.Repeat("---|", len(cells)+2), strings.Join(results, "\n"))
}

// outageTable reads the table of docs/operations.md: what each row promises, by its first cell.
func outageTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## When something is away\n")
	_, table, headed := strings.Cut(table, "\n| what | "+strings.Join(cells, " | ")+" | ")
	if !found || !headed {
		t.Fatal("docs/operations.md has no table of outages with the columns of this test")
	}
	rows := map[string][]string{}
	for i, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "| ") {
			break
		}
		columns := strings.Split(strings.Trim(line, "| "), " | ")
		if len(columns) != len(cells)+2 {
			t.Fatalf("row %d of the table has %d columns", i, len(columns))
		}
		rows[columns[0]] = columns[1 : len(cells)+1]
	}
	if len(rows) == 0 {
		t.Fatal("the table of outages is empty")
	}
	return rows
}

// seen is what one cell showed.
type seen struct {
	text string // in the words of the table
	took time.Duration
	body string
}

// run makes one row happen and returns its line of the result.
func (o *outage) run(t *testing.T, want []string) string {
	s := o.open(t)
	if s.live == "" {
		s.live = s.model
	}
	eventually(t, "the node is in good order at first", func() bool { return s.inOrder(t) })
	if s.before != nil {
		s.before()
	}
	stream := s.stream(t)
	s.fail()
	if s.settled != nil {
		s.settled()
	}
	got := s.look(t, stream, want[0])
	line := "| " + o.what
	for i, cell := range got {
		verdict := "PASS"
		if !matches(want[i], cell.text) {
			verdict = "FAIL"
			t.Errorf("%s: %s, the table says %s: %s", cells[i], cell.text, want[i], cell.body)
		}
		line += fmt.Sprintf(" | %s %s (%v)", verdict, cell.text, cell.took.Round(time.Millisecond))
	}
	stream.stop()
	s.mend()
	began := time.Now()
	eventually(t, "the node recovers by itself", func() bool { return s.inOrder(t) })
	again := s.stream(t)
	again.stop()
	back := time.Since(began)
	if s.after != nil {
		s.after()
	}
	if t.Failed() {
		return line + " | FAIL |"
	}
	return line + fmt.Sprintf(" | PASS %v |", back.Round(10*time.Millisecond))
}

// matches reports whether what was seen is what the table says: alternatives are joined by "or", and what stands in parentheses
// explains.
func matches(want, got string) bool {
	for _, choice := range strings.Split(want, " or ") {
		choice, _, _ = strings.Cut(choice, " (")
		if strings.ReplaceAll(choice, "`", "") == got {
			return true
		}
	}
	return false
}

// look asks for everything at once, so that what one answer waits for does not change another.
func (s *scene) look(t *testing.T, stream *liveStream, live string) []seen {
	t.Helper()
	out := make([]seen, len(cells))
	var wait sync.WaitGroup
	for i, probe := range []func() reply{nil, s.request, s.lookUp, s.read, s.change, s.readyz} {
		if probe == nil {
			continue
		}
		wait.Go(func() {
			began := time.Now()
			r := probe()
			out[i] = seen{answerText(r), time.Since(began), clipped(r.Body)}
		})
	}
	wait.Wait()
	began := time.Now()
	out[0] = seen{stream.judge(t, live), time.Since(began), ""}
	return out
}

// inOrder reports whether every cell but the stream's is as it should be.
func (s *scene) inOrder(t *testing.T) bool {
	for i, probe := range []func() reply{nil, s.request, s.lookUp, s.read, s.change, s.readyz} {
		if probe == nil {
			continue
		}
		if r := probe(); answerText(r) != normal[i] {
			if t.Context().Err() == nil && os.Getenv("GATEHOUSE_TEST_VERBOSE") == "1" {
				t.Logf("%s: %s %s", cells[i], answerText(r), clipped(r.Body))
			}
			return false
		}
	}
	return true
}

// answerText is an answer in the words of the table: its status, and the code of an error that has one, or the state /readyz gives.
func answerText(r reply) string {
	if r.Err != nil {
		return "no answer: " + r.Err.Error()
	}
	var body struct {
		Error  struct{ Code any }
		Status string
	}
	_ = json.Unmarshal(r.Body, &body) // other answers have neither
	text := fmt.Sprint(r.Status)
	if code, ok := body.Error.Code.(string); ok && r.Status != http.StatusNotFound {
		text += " " + code
	}
	if r.Status == http.StatusServiceUnavailable && body.Status != "" {
		text += " " + body.Status
	}
	return text
}

// probeTime bounds one look: what takes longer does not answer.
const probeTime = 45 * time.Second

func (s *scene) ask(method, url, key string, body any) reply {
	ctx, stop := context.WithTimeout(context.Background(), probeTime)
	defer stop()
	return ask(ctx, s.client, method, url, key, body)
}

func (s *scene) request() reply {
	return s.ask(http.MethodPost, s.node.URL+"/v1/chat/completions", s.key, map[string]any{"model": s.model, "messages": []map[string]string{{"role": "user", "content": "Say something short."}}})
}

// lookUp asks for an object that this node has not seen, and that nobody made: a database that can be asked answers 404.
func (s *scene) lookUp() reply {
	return s.ask(http.MethodGet, s.node.URL+"/v1/files/file-"+gatehouse.RandomBase62(24), s.key, nil)
}

func (s *scene) read() reply {
	return s.ask(http.MethodGet, s.node.URL+"/v1/organization/projects", s.admin, nil)
}

func (s *scene) change() reply {
	return s.ask(http.MethodPost, s.node.URL+"/gatehouse/v1/keys/"+s.keyID, s.admin, map[string]any{"name": "renamed " + gatehouse.RandomBase62(6)})
}

func (s *scene) readyz() reply {
	return s.ask(http.MethodGet, s.node.OpsURL+"/readyz", "", nil)
}

// liveStream is an answer that goes on for minutes.
type liveStream struct {
	stop   func() // ends it and waits until it has ended
	events atomic.Int64
	whole  atomic.Bool
	failed atomic.Bool // it ended with an event that says what went wrong
	ended  chan struct{}
}

// stream opens a stream and waits for its first event.
func (s *scene) stream(t *testing.T) *liveStream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	body, err := json.Marshal(map[string]any{"model": s.live, "stream": true, "messages": []map[string]string{{"role": "user", "content": "Go on"}}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.node.URL+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + s.key, "Content-Type": "application/json", "X-Mock-Tokens": "5000", "X-Mock-Chunk-Delay-Ms": "50"} {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	if first, err := lines.ReadString('\n'); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("open a stream: status %d, %v: %s", resp.StatusCode, err, first)
	}
	l := &liveStream{ended: make(chan struct{})}
	l.stop = func() {
		cancel()
		<-l.ended
	}
	t.Cleanup(l.stop)
	go func() { // ends with the stream, or with stop
		defer close(l.ended)
		defer resp.Body.Close()
		for {
			line, err := lines.ReadBytes('\n')
			switch {
			case bytes.HasPrefix(line, []byte("data: [DONE]")):
				l.whole.Store(true)
			case bytes.HasPrefix(line, []byte(`data: {"error"`)):
				l.failed.Store(true)
			case bytes.HasPrefix(line, []byte("data: ")):
				l.events.Add(1)
			}
			if err != nil {
				return
			}
		}
	}()
	return l
}

// judge says what becomes of the stream. It waits until it is as the table promises, for as long as a test may wait.
func (l *liveStream) judge(t *testing.T, promised string) string {
	t.Helper()
	timeout := time.After(patience)
	if matches(promised, "goes on") && !strings.Contains(promised, " or ") {
		at := l.events.Load()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for l.events.Load() < at+3 {
			select {
			case <-l.ended:
				return l.end()
			case <-tick.C:
			case <-timeout:
				return "stands still"
			}
		}
		return "goes on"
	}
	if strings.Contains(promised, " or ") {
		timeout = time.After(2 * time.Second)
	}
	select {
	case <-l.ended:
		return l.end()
	case <-timeout:
		return "goes on"
	}
}

func (l *liveStream) end() string {
	switch {
	case l.whole.Load():
		return "ends complete"
	case l.failed.Load():
		return "ends with an error"
	}
	return "is cut"
}
