// Package adminapi is the administration over HTTP: OpenAI's Admin API in OpenAI's shapes, and below /gatehouse/v1 what OpenAI has
// no endpoint for. A handler turns a request into one call of package admin and its result into JSON; it decides nothing itself.
//
// It owns shapes, paging, status codes and the table of routes. It does not own what a change means (admin) or how an error looks
// on a wire (dialect).
//
// The shapes follow OpenAI's OpenAPI document 2.3.0 and the official clients openai-node 7.55 and openai-go 3.95, which drive it
// unmodified.
package adminapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/dialect"
	"gatehouse/internal/finance"
	"gatehouse/internal/ledger"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Config is what the API serves from. Every field but TrustedProxies, PublicURL, Bill, Price, Denied and Health is required.
type Config struct {
	Admin          *admin.Service
	Auth           *authn.Authenticator
	DB             *store.DB
	Ledger         *ledger.Ledger
	Catalog        *catalog.Catalog
	TrustedProxies []netip.Prefix
	PublicURL      string
	Logger         *slog.Logger
	// Bill returns a page of what the provider behind an upstream billed, read with an admin key that reference names; nil: no bill
	// can be read.
	Bill func(ctx context.Context, up *gatehouse.Upstream, reference, path string) ([]byte, error)
	// Price prices usage; nil: nothing has a price.
	Price func(organization string) finance.Pricer
	// LimitUse returns what is used of an organization's rate limits: a charge for each counter, with its level.
	LimitUse func(ctx context.Context, organization string) []limit.Charge
	// Denied is told of a call that its credential does not allow: who, in which project if any, and what. Nil: nobody is.
	Denied func(who *gatehouse.Principal, project, what string)
	// Health returns what this node knows of its routes at this moment, newer than what it recorded; nil: what is recorded counts.
	Health func() *gatehouse.NodeHealth
	// CallsPerMinute is how often one admin key may call; 0: DefaultCalls.
	CallsPerMinute int
}

// DefaultCalls is how often one admin key may call in a minute where nobody says otherwise.
const DefaultCalls = 6000

// maxBody is the most a request to the API may hold; a manifest is the largest.
const maxBody = 4 << 20

// API serves the administration. It is an http.Handler.
type API struct {
	cfg   Config
	mux   *http.ServeMux
	table []Route
	// versioned are the paths of objects that bear a version.
	versioned map[string]bool
	// accepts limits who tries to accept invites.
	accepts *limit.Buckets[netip.Addr]
	calls   *limit.Buckets[string] // by key: whoever has one does not keep the database from the others
}

// Route is one route and the scope that a restricted admin key needs for it.
type Route struct {
	Pattern string // method and path, as net/http has them
	Scope   string
}

// Anybody is the scope of a route that needs no credential.
const Anybody = ""

// Routes lists everything the API serves, in the order of patterns.
func Routes() []Route {
	a := New(Config{})
	slices.SortFunc(a.table, func(a, b Route) int { return strings.Compare(a.Pattern, b.Pattern) })
	return a.table
}

// prefixes are where the API lives. Everything else below /v1 is the data plane's.
var prefixes = [...]string{"/v1/organization", "/v1/projects", "/gatehouse/v1"}

// Serves reports whether an escaped path belongs to the administration.
func Serves(path string) bool {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// New returns the API.
func New(cfg Config) *API {
	if cfg.CallsPerMinute == 0 {
		cfg.CallsPerMinute = DefaultCalls
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(), accepts: newAccepts(), calls: limit.New[string](limit.Config{Burst: cfg.CallsPerMinute, Per: time.Minute, MaxKeys: 1 << 12})}
	a.routes()
	a.versioned = versioned(a.table)
	return a
}

// call is one request to the API: who asks, and what.
type call struct {
	*http.Request
	who *gatehouse.Principal
	w   http.Header // of the answer
	// status is what a successful answer has: 200, or 202 for a change that a silent node may apply later.
	status int
}

// handler answers one request with a value that encodes as JSON.
type handler func(ctx context.Context, c *call) (any, error)

// ServeHTTP authenticates, finds the route, calls its handler and writes the answer or the error, always with a request id that
// finds the decision again.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	caller := dialect.CallerOf(r.Header)
	record := gatehouse.Request{ID: gatehouse.NewRequestID(gatehouse.MillisOf(began)), ClientRequestID: caller.RequestID, At: gatehouse.MillisOf(began), Dialect: "admin", Method: r.Method,
		UserAgent: clip(secret.Redact(r.UserAgent()), 256), Rule: ledger.RuleServed}
	addr := authn.ClientAddress(r, a.cfg.TrustedProxies)
	if addr.IsValid() {
		record.IP = addr.String()
	}
	w.Header().Set("X-Request-Id", record.ID)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	answer, status, err := a.serve(w, r, &record, &authn.Presented{Organization: caller.Organization, Addr: addr})
	text, _ := answer.(replayed)
	if f, ok := answer.(*file); ok && err == nil {
		var cut bool
		record.BytesOut, cut, err = f.send(r.Context(), w)
		if err == nil || cut {
			record.Status, record.Millis, record.ClientLeft = http.StatusOK, time.Since(began).Milliseconds(), r.Context().Err() != nil
			a.cfg.Ledger.Decide(&record)
			if cut {
				a.cfg.Logger.Warn("a file was not sent to its end", "request_id", record.ID, "error", err)
				panic(http.ErrAbortHandler)
			}
			return
		}
	} else if err == nil && text == nil {
		text, err = json.Marshal(answer, json.Deterministic(true))
	}
	if err != nil {
		status, text = a.refusal(w.Header(), &record, err)
	}
	record.Status, record.BytesOut, record.Millis = status, int64(len(text)), time.Since(began).Milliseconds()
	a.cfg.Ledger.Decide(&record)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the caller may be gone
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, record *gatehouse.Request, presented *authn.Presented) (answer any, status int, err error) {
	if r.URL.EscapedPath() == acceptPath {
		answer, err = a.acceptInvite(r, record, presented.Addr)
		return answer, http.StatusOK, err
	}
	key, _, err := dialect.Presented(r.Header)
	if err != nil {
		return nil, 0, err
	}
	if key == "" {
		return nil, 0, dialect.MissingCredential(dialect.FaceOpenAI)
	}
	presented.Key = key
	var identity authn.Identity
	err = a.cfg.Auth.AuthenticateAdmin(presented, &identity)
	who := &identity.Principal
	record.Organization, record.Key = who.Organization, who.Actor.Key
	if err != nil {
		return nil, 0, err
	}
	record.Owner = who.Actor.User + who.Actor.ServiceAccount
	rt, r, err := a.find(r)
	if err != nil {
		return nil, 0, err
	}
	who.RequestID, who.Actor.UserAgent, who.Actor.IP = record.ID, record.UserAgent, record.IP
	record.Route = r.Pattern
	defer func() {
		if a.cfg.Denied != nil && gatehouse.KindOf(err) == gatehouse.Forbidden {
			a.cfg.Denied(who, r.PathValue("project_id"), r.Pattern)
		}
	}()
	who.Need, who.Within = rt.scope, r.PathValue("project_id")
	if err := a.cfg.Auth.AuthorizeAdmin(&identity, who.Need, who.Within); err != nil {
		return nil, 0, err
	}
	if wait := a.calls.Take(who.Actor.Key, time.Now()); wait > 0 {
		return nil, 0, &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "rate_limit_exceeded", RetryAfterMillis: wait.Milliseconds() + 1,
			Message: "Too many calls of the administration with this key: at most " + strconv.Itoa(a.cfg.CallsPerMinute) + " a minute (limits.admin_calls). Try again a little later, or ask for longer pages."}
	}
	c := &call{Request: r, who: who, w: w.Header(), status: http.StatusOK}
	ctx, stop := context.WithTimeout(r.Context(), answerTime(r))
	defer stop()
	_, path, _ := strings.Cut(r.Pattern, " ")
	if r.Method != http.MethodGet {
		if who.IfVersion, err = a.ifMatch(r, path); err != nil {
			return nil, 0, err
		}
	}
	switch name := r.Header.Get("Idempotency-Key"); {
	case name != "" && r.Method == http.MethodPost:
		answer, err = a.once(ctx, c, rt, name)
	case r.Method == http.MethodGet && a.versioned[path]:
		answer, err = a.readVersioned(ctx, c, rt, path)
	default:
		answer, err = rt.handler(ctx, c)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &gatehouse.Error{Kind: gatehouse.Unavailable, Err: err,
			Message: "The database did not answer in time. Try again; a change may have been made all the same, so read before you repeat it."}
	}
	return answer, c.status, err
}

// answerTime is how long a request may wait for a database that does not answer. A large manifest takes a while to apply, a bill to be
// read page by page or sent as a file.
func answerTime(r *http.Request) time.Duration {
	switch {
	case r.Pattern == reconcilePattern:
		return fileTime
	case r.Method == http.MethodGet:
		return 10 * time.Second
	}
	return 30 * time.Second
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// route is a handler with the scope it needs, as the mux holds it.
type route struct {
	handler
	scope string
}

// finder is the writer that API.find hands to the mux, to learn which route it chose and what its pattern captured.
type finder struct {
	http.ResponseWriter
	route   route
	request *http.Request
}

// ServeHTTP tells a finder that this route was chosen. The mux serves nobody else.
func (rt route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := w.(*finder)
	f.route, f.request = rt, r
}

// find returns the route of a request, and the request with what the pattern captured. Nothing is ever redirected: a path that is not spelled as the table has it is unknown.
func (a *API) find(r *http.Request) (*route, *http.Request, error) {
	path := r.URL.EscapedPath()
	unknown := &gatehouse.Error{Kind: gatehouse.NotFound, Message: "Invalid URL (" + r.Method + " " + clip(path, 256) + ")"}
	if strings.Contains(path, "//") || strings.Contains(path, "/.") || strings.HasSuffix(path, "/") {
		return nil, nil, unknown
	}
	if _, ok := first(a.mux.Handler(r)).(route); ok {
		var f finder
		a.mux.ServeHTTP(&f, r)
		return &f.route, f.request, nil
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPut} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, ok := first(a.mux.Handler(other)).(route); ok {
			return nil, nil, &gatehouse.Error{Kind: gatehouse.MethodNotAllowed, Message: "Not allowed to " + r.Method + " on " + clip(path, 256) + ". (HINT: Perhaps you meant to use a different HTTP method?)"}
		}
	}
	return nil, nil, unknown
}

func first(h http.Handler, _ string) http.Handler { return h }

// refusal writes an error in OpenAI's shape and says what is not for callers to the log.
func (a *API) refusal(h http.Header, record *gatehouse.Request, err error) (int, []byte) {
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok {
		e = &gatehouse.Error{Kind: gatehouse.Internal}
	}
	if e.Kind == gatehouse.Internal {
		a.cfg.Logger.Error("administration request failed", "request_id", record.ID, "error", err)
	}
	if record.Rule = string(authn.RuleOf(err)); record.Rule == "" {
		record.Rule = e.Kind.String()
	}
	dialect.RetryHeaders(e, func(name, value string) { h.Set(name, value) })
	shown := *e
	shown.Message = secret.Redact(e.Message) // a path or an id that is a key by mistake
	return dialect.Status(e.Kind), dialect.AppendError(nil, dialect.FaceOpenAI, &shown)
}

// body reads the request's JSON into a T: one object, no unknown, repeated or differently spelled fields. An empty body is an empty
// object, because clients send none where every field is optional.
func body[T any](c *call) (*T, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, c.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, gatehouse.Errorf(gatehouse.TooLarge, "The request body is larger than %d bytes.", maxBody)
		}
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The request body could not be read.", Err: err}
	}
	return decoded[T](text)
}

// decoded reads a T as body does.
func decoded[T any](text []byte) (*T, error) {
	var v T
	if len(text) == 0 {
		return &v, nil
	}
	if err := json.Unmarshal(text, &v, json.RejectUnknownMembers(true)); err != nil {
		return nil, bodyError(err)
	}
	return &v, nil
}

// bodyError says which field is wrong without repeating what stands in it.
func bodyError(err error) error {
	e := &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The request body is not valid JSON of the expected shape.", Err: err}
	if se, ok := errors.AsType[*json.SemanticError](err); ok {
		name := strings.TrimPrefix(strings.ReplaceAll(string(se.JSONPointer), "/", "."), ".")
		e.Param = name
		if errors.Is(err, json.ErrUnknownName) {
			e.Code, e.Message = "unknown_parameter", "Unknown parameter: '"+clip(name, 128)+"'."
		} else if name != "" {
			e.Code, e.Message = "invalid_type", "Invalid type for '"+clip(name, 128)+"'."
		}
	}
	return e
}

// required returns a missing_required_parameter error for a field that is absent or empty.
func required(param string, present bool) error {
	if present {
		return nil
	}
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "missing_required_parameter", Param: param, Message: "Missing required parameter: '" + param + "'."}
}

// effect sets the status of a change that narrows authority: 202 says until when a node that is silent may act on what it knew.
func (c *call) effect(e admin.Effect) *int64 {
	if e.Everywhere {
		return nil
	}
	c.status = http.StatusAccepted
	at := e.EffectiveBy.Seconds() + 1
	return &at
}
