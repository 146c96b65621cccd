package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

func itoa(n int) string { return strconv.Itoa(n) }

// exchangeCase is one request and its answer. Bodies are templates of what was sent on the first leg and what must arrive on the
// second: <<model>> is the caller's name of the model and then the upstream's, <<model:RAW>> the same where the caller spells it
// in another way, <<+TEXT>> is added on the way and <<-TEXT>> taken out.
type exchangeCase struct {
	name         string
	method, path string
	contentType  string
	status       int
	answerType   string
	framing      string // length, chunked, bytes (a chunk for each), splits (two chunks, cut at every place in turn), trailers, close, gzip, none
	request      string
	answer       string
	reads        map[string]string // by the caller's family, openai or azure: what it reads where that is not the answer
	from         string            // the family of the upstreams that say this; empty: either
	only         []string          // variants; empty: all that fit
	owns         []string          // objects of the project's that exist before
	header       []string          // more lines of the answer's head
}

// variant is one way through the gateway: the caller's face, the upstream's wire, and its name for the model.
type variant struct {
	name     string
	prefix   string // of the caller's path, but for what the classic API has below a deployment
	query    string
	upstream func(*admin.UpstreamSpec)
	model    string // "": the caller's own
	target   string // of the upstream's path, but for what the classic API has below a deployment
	old      bool   // the upstream's version does not know stream_options
}

const (
	corpusModel  = "corpus-model"
	deploymentEU = "eu-deployment"
)

// variants are every pair of dialects, the same name at both ends, and versions of Azure from before stream_options.
var variants = []variant{
	{name: "direct", prefix: "/v1", upstream: func(*admin.UpstreamSpec) {}, target: "/v1"},
	{name: "renamed", prefix: "/v1", upstream: func(*admin.UpstreamSpec) {}, model: "renamed-model.2", target: "/v1"},
	{name: "openai-classic", prefix: "/v1", upstream: azure("2024-10-21"), model: deploymentEU, target: "/openai"},
	{name: "openai-azurev1", prefix: "/v1", upstream: azure(""), model: deploymentEU, target: "/openai/v1"},
	{name: "classic-openai", prefix: "/openai", query: "?api-version=2024-06-01", upstream: func(*admin.UpstreamSpec) {}, model: "renamed-model.2", target: "/v1"},
	{name: "classic-classic", prefix: "/openai", query: "?api-version=2024-06-01", upstream: azure("2024-10-21"), model: deploymentEU, target: "/openai"},
	{name: "classic-azurev1", prefix: "/openai", query: "?api-version=2024-06-01", upstream: azure(""), model: deploymentEU, target: "/openai/v1"},
	{name: "v1-openai", prefix: "/openai/v1", upstream: func(*admin.UpstreamSpec) {}, model: "renamed-model.2", target: "/v1"},
	{name: "v1-classic", prefix: "/openai/v1", query: "?api-version=preview", upstream: azure("2024-10-21"), model: deploymentEU, target: "/openai"},
	{name: "v1-azurev1", prefix: "/openai/v1", upstream: azure(""), model: deploymentEU, target: "/openai/v1"},
	{name: "openai-old", prefix: "/v1", upstream: azure("2024-02-01"), model: deploymentEU, target: "/openai", old: true},
	{name: "classic-old", prefix: "/openai", query: "?api-version=2024-02-01", upstream: azure("2024-02-01"), model: deploymentEU, target: "/openai", old: true},
	{name: "inference-classic", prefix: "/models", query: "?api-version=2024-05-01-preview", upstream: azure("2024-10-21"), model: deploymentEU, target: "/openai"},
}

// inDeployment are the operations that Azure's classic API has below a deployment.
var inDeployment = []string{"/chat/completions", "/completions", "/embeddings", "/images/generations", "/images/edits", "/audio/speech", "/audio/transcriptions", "/audio/translations"}

// callerPath and upstreamPath return where a case goes on each leg.
func (v *variant) callerPath(path string) string {
	if v.prefix == "/openai" && slices.Contains(inDeployment, path) {
		return v.prefix + "/deployments/" + corpusModel + path
	}
	return v.prefix + path
}

func (v *variant) upstreamPath(path string) string {
	if v.target == "/openai" && slices.Contains(inDeployment, path) {
		return v.target + "/deployments/" + deploymentEU + path
	}
	return v.target + path
}

// families returns the families of the caller's face and of the upstream's wire.
func (v *variant) families() (caller, upstream string) {
	caller, upstream = "azure", "azure"
	if v.prefix == "/v1" {
		caller = "openai"
	}
	if v.target == "/v1" {
		upstream = "openai"
	}
	return caller, upstream
}

// fits reports whether a case can be sent along a variant.
func (c *exchangeCase) fits(v *variant) bool {
	_, upstream := v.families()
	switch {
	case len(c.only) > 0:
		return slices.Contains(c.only, v.name)
	case c.from != "" && c.from != upstream:
		return false
	case v.prefix == "/models":
		return c.path == "/chat/completions" || c.path == "/embeddings"
	case v.old && strings.Contains(c.request, "stream_options"):
		return false
	}
	return true
}

var token = regexp.MustCompile(`(?s)<<(model(?::.*?)?|[+-].*?)>>`)

// render returns both legs of a template.
func render(text string, v *variant) (first, second string) {
	leg := func(two bool) string {
		return token.ReplaceAllStringFunc(text, func(t string) string {
			t = t[2 : len(t)-2]
			switch {
			case t[0] == '+' && two, t[0] == '-' && !two:
				return t[1:]
			case t[0] == '+' || t[0] == '-':
				return ""
			case two && v.model != "":
				return v.model
			case t == "model":
				return corpusModel
			}
			return t[len("model:"):]
		})
	}
	return leg(false), leg(true)
}

// readCorpus reads the cases of testdata/corpus. A case begins with "=== name" and lines of what is not a body:
//
//	POST /path content/type
//	answer 200 content/type framing
//	only variant variant
//	from azure
//	header Retry-After: 30
//	owns file-1 file-2
//
// and then "--- request" and "--- answer", each followed by the body up to the next such line, without the line break before it.
// "--- reads openai" and "--- reads azure" say what callers of that family read where it is not what the upstream said. After
// "--- request quoted" the lines are joined and read as a Go string without its quotes.
func readCorpus(t *testing.T) []exchangeCase {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.txt")
	must(t, err)
	var cases []exchangeCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		for _, text := range strings.Split("\n"+string(raw), "\n=== ")[1:] {
			c, err := parseCase(strings.TrimSuffix(text, "\n"))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func parseCase(text string) (c exchangeCase, err error) {
	parts := strings.Split(text, "\n--- ")
	head := strings.Split(parts[0], "\n")
	c.name = head[0]
	for _, line := range head[1:] {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "only":
			c.only = words[1:]
		case words[0] == "header":
			c.header = append(c.header, strings.TrimPrefix(line, "header "))
		case words[0] == "from":
			c.from = words[1]
		case words[0] == "owns":
			c.owns = words[1:]
		case words[0] == "answer":
			if c.status, err = strconv.Atoi(words[1]); err != nil {
				return c, err
			}
			rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, "answer "), words[1]))
			if i := strings.LastIndex(rest, " framing "); i >= 0 {
				rest, c.framing = rest[:i], rest[i+len(" framing "):]
			}
			c.answerType = rest
		default:
			c.method = words[0]
			c.path = words[1]
			c.contentType = strings.TrimSpace(strings.TrimPrefix(line, words[0]+" "+words[1]))
		}
	}
	for _, p := range parts[1:] {
		title, body, _ := strings.Cut(p, "\n")
		if strings.HasSuffix(title, " quoted") {
			if body, err = strconv.Unquote(`"` + strings.ReplaceAll(body, "\n", "") + `"`); err != nil {
				return c, fmt.Errorf("case %s, %s: %w", c.name, title, err)
			}
		}
		switch words := strings.Fields(title); words[0] {
		case "reads":
			if c.reads == nil {
				c.reads = map[string]string{}
			}
			c.reads[words[1]] = body
		case "request":
			c.request = body
		case "answer":
			c.answer = body
		default:
			return c, fmt.Errorf("case %s: section %q", c.name, title)
		}
	}
	return c, nil
}

// wire returns the bytes with which the upstream answers.
func (c *exchangeCase) wire(body string) string {
	lines := "HTTP/1.1 " + itoa(c.status) + " " + http.StatusText(c.status) + "\r\n"
	if c.answerType != "" {
		lines += "Content-Type: " + c.answerType + "\r\n"
	}
	for _, line := range c.header {
		lines += line + "\r\n"
	}
	chunk := func(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }
	var b strings.Builder
	switch c.framing {
	case "", "length":
		return lines + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body
	case "none":
		return lines + "\r\n"
	case "close":
		return lines + "Connection: close\r\n\r\n" + body
	case "gzip":
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write([]byte(body)) // memory takes everything
		_ = w.Close()
		return lines + "Content-Encoding: gzip\r\nContent-Length: " + itoa(z.Len()) + "\r\n\r\n" + z.String()
	case "bytes":
		for i := range len(body) {
			b.WriteString(chunk(body[i : i+1]))
		}
	case "trailers":
		b.WriteString(fmt.Sprintf("%X;name=value\r\n%s\r\n", len(body), body))
		return lines + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + b.String() + "0\r\nX-Sum: 1\r\n\r\n"
	default: // chunked, or cut in two
		if at, cut := strings.CutPrefix(c.framing, "cut "); cut {
			n, err := strconv.Atoi(at)
			if err != nil {
				panic(err)
			}
			b.WriteString(chunk(body[:n]))
			body = body[n:]
			b.WriteString(chunk(body))
			body = ""
		}
		for len(body) > 0 {
			n := min(len(body), 31)
			b.WriteString(chunk(body[:n]))
			body = body[n:]
		}
	}
	return lines + "Transfer-Encoding: chunked\r\n\r\n" + b.String() + "0\r\n\r\n"
}

// TestFaithfulness sends every case of the corpus through every variant that it fits, and compares byte by byte what came out on
// both legs.
func TestFaithfulness(t *testing.T) {
	cases := append(readCorpus(t), generated()...)
	if len(cases) < 200 {
		t.Errorf("the corpus has %d cases, want at least 200", len(cases))
	}
	names := map[string]bool{}
	for i := range cases {
		if names[cases[i].name] {
			t.Errorf("two cases are named %s", cases[i].name)
		}
		names[cases[i].name] = true
	}
	runs := 0
	defer func() { t.Logf("%d cases, %d ways, %d runs", len(cases), len(variants), runs) }()
	for i := range variants {
		v := &variants[i]
		t.Run(v.name, func(t *testing.T) {
			up := newScript(t, nil)
			g := newGate(t)
			g.upstream("up", up.URL, v.upstream)
			for _, name := range []string{corpusModel, "omni-moderation-latest", "dall-e-2", "gpt-image-1.5"} {
				model := ""
				if name == corpusModel {
					model = v.model
				}
				g.deploy(name, admin.RouteSpec{Upstream: "up", Model: model})
			}
			for i := range cases {
				if c := &cases[i]; c.fits(v) {
					runs++
					t.Run(c.name, func(t *testing.T) { c.run(t, g, up, v) })
				}
			}
		})
	}
}

func (c *exchangeCase) run(t *testing.T, g *gate, up *script, v *variant) {
	for _, id := range c.owns {
		list, err := g.admin.Upstreams(context.Background(), g.who)
		must(t, err)
		must(t, g.ledger.Own(gatehouse.Object{ID: id, Project: g.project, Upstream: list[0].ID, Kind: "test", CreatedAt: 1}))
		g.flush()
	}
	if c.framing == "splits" {
		said, _ := render(c.answer, v)
		for cut := 1; cut < len(said); cut++ {
			one := *c
			one.framing = "cut " + itoa(cut)
			if one.run(t, g, up, v); t.Failed() {
				t.Fatalf("cut after byte %d", cut)
			}
		}
		return
	}
	sent, forwarded := render(c.request, v)
	upstreamSaid, callerReads := render(c.answer, v)
	caller, _ := v.families()
	if text, differs := c.reads[caller]; differs {
		_, callerReads = render(text, v)
	}
	wire := c.wire(upstreamSaid)
	up.set(func(x *gatehousetest.Exchange) error {
		if err := x.Write([]byte(wire)); err != nil || c.framing != "close" {
			return err
		}
		return gatehousetest.Close()(x)
	})
	path, query, _ := strings.Cut(c.path, "?")
	if query != "" {
		query = "?" + query + strings.Replace(v.query, "?", "&", 1)
	} else {
		query = v.query
	}
	req := g.request(c.method, v.callerPath(path)+query, sent)
	req.Header.Del("Content-Type")
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	got := g.send(req)
	if got.err != nil {
		t.Fatalf("the answer broke off: %v", got.err)
	}
	if got.status != c.status {
		t.Fatalf("status %d, want %d: %s", got.status, c.status, shorten(got.body))
	}
	arrived := up.got()
	if at, _, _ := strings.Cut(arrived.Target, "?"); at != v.upstreamPath(path) {
		t.Errorf("the upstream was called at %s, want %s", at, v.upstreamPath(path))
	}
	if string(arrived.Body) != forwarded {
		t.Errorf("the upstream got\n%s\nwant\n%s", shorten(string(arrived.Body)), shorten(forwarded))
	}
	if got := arrived.Header.Get("Content-Type"); got != c.contentType {
		t.Errorf("the upstream got Content-Type %q, want %q", got, c.contentType)
	}
	if got.body != callerReads {
		t.Errorf("the caller got\n%s\nwant\n%s", shorten(got.body), shorten(callerReads))
	}
	if got := got.header.Get("Content-Type"); got != c.answerType {
		t.Errorf("the caller got Content-Type %q, want %q", got, c.answerType)
	}
	if got := got.header["Content-Encoding"]; got != nil {
		t.Errorf("the caller got Content-Encoding %q for what is not encoded", got)
	}
}

func shorten(s string) string {
	if len(s) <= 3000 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:1500], len(s))
}

// generated are the cases that are too large or too regular to be written out.
func generated() []exchangeCase {
	const megabytes = 10 << 20
	nested := strings.Repeat(`{"a":[`, 31) + `"\ud800"` + strings.Repeat(`]}`, 31)
	long := strings.Repeat("the quick brown fox \\u00fc\u00fc \\\"jumps\\\" ", megabytes/48)
	binary := make([]byte, 3<<20)
	for i := range binary {
		binary[i] = byte(i*7 + i>>8)
	}
	form := "--xYzZY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n" + string(binary) +
		"\r\n--xYzZY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n<<model>>\r\n--xYzZY--\r\n"
	var stream strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&stream, "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word %d \"},\"finish_reason\":null}]}\n\n", i)
	}
	chat := exchangeCase{method: "POST", path: "/chat/completions", contentType: "application/json", status: 200, answerType: "application/json"}
	deep, large, largeChunked, streamed := chat, chat, chat, chat
	deep.name, deep.request, deep.answer = "nested-63", `{"model":"<<model>>","messages":[],"x":`+nested+`}`, `{"id":"c","x":`+nested+`}`
	large.name = "ten-megabytes"
	large.request = `{"messages":[{"role":"user","content":"` + long + `"}],"model":"<<model>>"}`
	large.answer = `{"id":"c","choices":[{"message":{"content":"` + long + `"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`
	largeChunked.name, largeChunked.framing = "ten-megabytes-chunked-answer", "trailers"
	largeChunked.request, largeChunked.answer = `{"model":"<<model>>","messages":[]}`, large.answer
	streamed.name, streamed.answerType, streamed.framing = "stream-of-2000", "text/event-stream", "chunked"
	streamed.request = `{<<+"stream_options":{"include_usage":true},>>"model":"<<model>>","stream":true}`
	streamed.answer = stream.String() + "<<-data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2000}}\n\n>>data: [DONE]\n\n"
	return []exchangeCase{deep, large, largeChunked, streamed,
		{name: "spooled-form", method: "POST", path: "/audio/transcriptions", contentType: "multipart/form-data; boundary=xYzZY", status: 200,
			answerType: "application/json", request: form, answer: `{"text":"hello"}`},
		{name: "speech-3-megabytes", method: "POST", path: "/audio/speech", contentType: "application/json", status: 200, answerType: "audio/mpeg", framing: "chunked",
			request: `{"model":"<<model>>","input":"hi","voice":"alloy"}`, answer: strings.ReplaceAll(strings.ReplaceAll(string(binary), "<<", "<"), ">>", ">")},
	}
}
