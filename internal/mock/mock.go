package mock

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse"
)

// Model is a model the mock knows. Any known model answers on every endpoint.
type Model struct {
	ID      string
	Created int64  // unix seconds; 0: the first day of 2024
	OwnedBy string // empty: "gatehouse-mock"
}

// Config says how a mock behaves.
type Config struct {
	// Token is the bearer token the mock demands; empty: it demands none. Only its digest is kept.
	Token string
	// Now is the clock of created_at and the like; nil: time.Now.
	Now func() time.Time
	// Models are the models it knows, in the order GET /v1/models lists them; nil: DefaultModels.
	Models []Model
}

// DefaultModels returns one or more models for every kind of endpoint.
func DefaultModels() []Model {
	var out []Model
	for _, id := range []string{
		"gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o4-mini", "gpt-3.5-turbo-instruct",
		"text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002",
		"gpt-image-1", "dall-e-2", "dall-e-3",
		"tts-1", "gpt-4o-mini-tts", "whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize",
		"omni-moderation-latest", "sora-2",
	} {
		out = append(out, Model{ID: id})
	}
	return out
}

// maxBody bounds a request body: the largest file a project can hold, and its multipart frame.
const maxBody = maxProjectBytes + 1<<20

// server is the mock. It is safe for concurrent use; its only changing state is the store.
type server struct {
	demand bool
	token  [sha256.Size]byte // of the whole Authorization header
	now    func() time.Time
	models map[string]Model
	order  []string
	store  *store
	lines  http.Handler // what answers the lines of a batch: the server itself
}

// New returns the mock as a handler of /v1 and all below it.
func New(c Config) http.Handler {
	s := &server{demand: c.Token != "", now: c.Now, models: map[string]Model{}, store: newStore()}
	s.token = sha256.Sum256([]byte("Bearer " + c.Token))
	if s.now == nil {
		s.now = time.Now
	}
	if c.Models == nil {
		c.Models = DefaultModels()
	}
	for _, m := range c.Models {
		if _, dup := s.models[m.ID]; dup {
			continue
		}
		if m.Created == 0 {
			m.Created = 1704067200
		}
		if m.OwnedBy == "" {
			m.OwnedBy = "gatehouse-mock"
		}
		s.models[m.ID] = m
		s.order = append(s.order, m.ID)
	}
	s.lines = s
	return s
}

// call is one request on its way through the mock.
type call struct {
	s       *server
	w       http.ResponseWriter
	r       *http.Request
	started time.Time
	project string
	args    []string // what stood where the route has a star
	knobs   knobs
}

// route is one line of the mock's table. A star in pattern stands for one path segment.
type route struct {
	method, pattern string
	handle          func(*call) error
}

var routes = []route{
	{"POST", "completions", (*call).completions},
	{"POST", "responses", (*call).createResponse},
	{"POST", "responses/input_tokens", (*call).countInput},
	{"POST", "responses/compact", (*call).compact},
	{"GET", "responses/*", (*call).getResponse},
	{"DELETE", "responses/*", (*call).deleteResponse},
	{"POST", "responses/*/cancel", (*call).cancelResponse},
	{"GET", "responses/*/input_items", (*call).listInputItems},
	{"POST", "conversations", (*call).createConversation},
	{"GET", "conversations/*", (*call).getConversation},
	{"POST", "conversations/*", (*call).updateConversation},
	{"DELETE", "conversations/*", (*call).deleteConversation},
	{"POST", "conversations/*/items", (*call).addItems},
	{"GET", "conversations/*/items", (*call).listItems},
	{"GET", "conversations/*/items/*", (*call).getItem},
	{"DELETE", "conversations/*/items/*", (*call).deleteItem},
	{"POST", "chat/completions", (*call).chat},
	{"GET", "chat/completions", (*call).listChats},
	{"GET", "chat/completions/*", (*call).getChat},
	{"POST", "chat/completions/*", (*call).updateChat},
	{"DELETE", "chat/completions/*", (*call).deleteChat},
	{"GET", "chat/completions/*/messages", (*call).chatMessages},
	{"POST", "embeddings", (*call).embeddings},
	{"POST", "moderations", (*call).moderations},
	{"POST", "images/generations", (*call).generateImages},
	{"POST", "images/edits", (*call).editImages},
	{"POST", "images/variations", (*call).varyImages},
	{"POST", "audio/speech", (*call).speech},
	{"POST", "audio/transcriptions", (*call).transcribe},
	{"POST", "audio/translations", (*call).translate},
	{"GET", "files", (*call).listFiles},
	{"POST", "files", (*call).uploadFile},
	{"GET", "files/*", (*call).getFile},
	{"DELETE", "files/*", (*call).deleteFile},
	{"GET", "files/*/content", (*call).fileContent},
	{"GET", "batches", (*call).listBatches},
	{"POST", "batches", (*call).createBatch},
	{"GET", "batches/*", (*call).getBatch},
	{"POST", "batches/*/cancel", (*call).cancelBatch},
	{"GET", "videos", (*call).listVideos},
	{"POST", "videos", (*call).createVideo},
	{"GET", "videos/*", (*call).getVideo},
	{"DELETE", "videos/*", (*call).deleteVideo},
	{"GET", "videos/*/content", (*call).videoContent},
	{"POST", "videos/*/remix", (*call).remixVideo},
	{"GET", "fine_tuning/jobs", (*call).listTunings},
	{"POST", "fine_tuning/jobs", (*call).createTuning},
	{"GET", "fine_tuning/jobs/*", (*call).getTuning},
	{"POST", "fine_tuning/jobs/*/cancel", (*call).cancelTuning},
	{"GET", "models", (*call).listModels},
	{"GET", "models/*", (*call).getModel},
}

// ServeHTTP answers one request. An answer that a knob cuts short, or whose caller has left, ends by panicking with
// http.ErrAbortHandler, as net/http wants it: to return would make an empty 200 of an answer that was not begun.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, started: s.now(), project: r.Header.Get("OpenAI-Project")}
	h := w.Header()
	h["X-Gatehouse-Mock"] = []string{"1"}
	h["X-Request-Id"] = []string{gatehouse.NewID(gatehouse.PrefixRequest)}
	h["Openai-Version"] = []string{"2020-10-01"}
	err := c.serve()
	if err == nil {
		return
	}
	if errors.Is(err, errCut) || errors.Is(err, errGone) {
		panic(http.ErrAbortHandler)
	}
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		e = &apiError{status: 500, typ: "server_error", message: "The mock had an error while processing your request: " + err.Error()}
	}
	c.fail(e)
}

func (c *call) serve() error {
	if c.s.demand {
		sum := sha256.Sum256([]byte(c.r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(sum[:], c.s.token[:]) != 1 {
			return &apiError{status: 401, code: "invalid_api_key", message: "Incorrect API key provided to the mock upstream."}
		}
	}
	if err := c.knobs.parse(c.r.Header); err != nil {
		return err
	}
	handle, err := c.route()
	if err != nil {
		return err
	}
	if err := c.wait(c.knobs.latency); err != nil {
		return err
	}
	if err := c.injected(); err != nil {
		return err
	}
	return handle(c)
}

// route finds what answers the request. It works on the escaped path, since a model's name may hold a slash.
func (c *call) route() (func(*call) error, error) {
	if c.r.Method == http.MethodPost && c.r.URL.Path == "/v1/chat/completions" {
		return (*call).chat, nil
	}
	path, ok := strings.CutPrefix(c.r.URL.EscapedPath(), "/v1/")
	if ok {
		segments := strings.Split(path, "/")
		var allow []string
		for _, rt := range routes {
			args, ok := match(rt.pattern, segments)
			if !ok {
				continue
			}
			if rt.method == c.r.Method {
				c.args = args
				return rt.handle, nil
			}
			allow = append(allow, rt.method)
		}
		if allow != nil {
			c.w.Header().Set("Allow", strings.Join(allow, ", "))
			return nil, &apiError{status: 405, message: "Not allowed to " + c.r.Method + " on " + c.r.URL.Path + ". (HINT: Perhaps you meant to use a different HTTP method?)"}
		}
	}
	return nil, &apiError{status: 404, message: "Invalid URL (" + c.r.Method + " " + c.r.URL.Path + ")"}
}

// match compares a pattern with the segments of an escaped path and returns what its stars stand for, unescaped.
func match(pattern string, segments []string) ([]string, bool) {
	var args []string
	for i, s := range segments {
		p, rest, more := strings.Cut(pattern, "/")
		if more == (i == len(segments)-1) {
			return nil, false
		}
		if p == "*" {
			arg, err := url.PathUnescape(s)
			if err != nil || arg == "" {
				return nil, false
			}
			args = append(args, arg)
		} else if p != s {
			return nil, false
		}
		pattern = rest
	}
	return args, true
}

// model returns the error of a model nobody declared, or nil. An empty name is a missing parameter.
func (c *call) model(name string) error {
	if name == "" {
		return missing("model")
	}
	if _, ok := c.s.models[name]; !ok {
		return &apiError{status: 404, code: "model_not_found", message: "The model `" + name + "` does not exist or you do not have access to it. (The mock upstream answers for the models it was given only.)"}
	}
	return nil
}

// write sends a complete answer, its headers first, and applies the knobs that cut an answer short.
func (c *call) write(status int, contentType string, body []byte) error {
	h := c.w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Openai-Processing-Ms"] = []string{strconv.FormatInt(c.s.now().Sub(c.started).Milliseconds(), 10)}
	c.w.WriteHeader(status)
	cut := len(body)
	if c.knobs.breakAfter >= 0 {
		cut = min(cut, c.knobs.breakAfter)
	}
	if c.knobs.stallAfter >= 0 {
		cut = min(cut, c.knobs.stallAfter)
	}
	if _, err := c.w.Write(body[:cut]); err != nil {
		return errGone
	}
	if cut == len(body) {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.cut(cut)
}

func (c *call) flush() error {
	if err := http.NewResponseController(c.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errGone
	}
	return nil
}
