// Package gateway is the data plane: one exchange from accept to record. It reads a request once, in one direction: accept,
// parse, authenticate, read, authorize and route, admit, forward, relay, settle. Stages are methods of one exchange that take
// and leave values on it; nothing travels in a context, and there is no SQL on the way but the documented look-up of objects
// that memory does not know.
//
// It does not own wire facts (dialect), who a caller is (authn), what is counted and kept (ledger) or how bytes reach an upstream
// (its sub-package outbound).
package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/sse"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/gateway/health"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/ledger"
	"gatehouse/internal/limit"
	"gatehouse/internal/otlp"
	"gatehouse/internal/secret"
)

// Config is what the data plane is built from. Every field is required unless its comment says otherwise.
type Config struct {
	Catalog *catalog.Catalog
	Auth    *authn.Authenticator
	Ledger  *ledger.Ledger
	// Counters count what requests take of rate limits. nil: this node alone, in memory.
	Counters Counters
	// Resolve turns a secret reference of an upstream into the secret. It may do I/O: the gateway calls it off the request path
	// but for the first request after a change.
	Resolve func(ctx context.Context, organization, reference string) (secret.Text, error)
	// FindObject reads who owns an object from the database, for objects this node does not know.
	FindObject func(ctx context.Context, id string) (*gatehouse.Object, error)
	// FindBatchInput reads what was read of a batch's input file from the database. nil: nothing is there.
	FindBatchInput func(ctx context.Context, file string) (*gatehouse.BatchInput, error)
	// WorkSeen is told that an answer has shown the end of work that outlives its request, and what it used. It must not block. nil:
	// nobody is told.
	WorkSeen func(id string, r work.Report)
	// WorkEnded is told of work that ended with the answer that began it, and with which status. It must not block. nil: nobody is.
	WorkEnded func(w *gatehouse.Work, status string)
	// Webhooks answers what a project asks of its webhook endpoints: the name of the operation, the id of the path ("" for none), the
	// query and the body. nil: there are none.
	Webhooks func(ctx context.Context, who *gatehouse.Principal, op, id string, query url.Values, body []byte) (any, error)
	// Mock returns where the built-in mock listens and the bearer token it demands, and starts it if need be.
	Mock func() (url string, token secret.Text, err error)

	Spool          string         // folder for bodies that do not fit in memory
	BodyLimit      int64          // bytes of one request body; 0: 512 MiB
	MemoryLimit    int64          // bytes of all request bodies held in memory; 0: 1 GiB
	StreamLimit    int            // open exchanges; 0: 20,000
	TrustedProxies []netip.Prefix // may be empty
	// CertificateHeader is the header in which a trusted proxy says which client certificate its client showed, in canonical form;
	// empty: none is believed.
	CertificateHeader string
	Timeouts          Timeouts            // the zero value has defaults
	AccessLog         io.Writer           // one line of JSON a request, one Write each, from any goroutine; nil: none
	Trace             func(otlp.Exchange) // takes each exchange that has ended, and copies what it keeps; nil: none
	Logger            *slog.Logger
	Now               func() time.Time
}

// Timeouts bound one exchange with an upstream.
type Timeouts struct {
	Connect   time.Duration // TCP and TLS; 0: 10 s
	FirstByte time.Duration // from the last byte sent to the first of the answer; 0: 10 min, what official SDKs wait
	Idle      time.Duration // between two pieces of an answer; 0: 5 min
	Total     time.Duration // the whole exchange; 0: 1 h
}

// Gateway serves the data plane of both inbound dialects. Create it with New.
type Gateway struct {
	cfg       Config
	memory    memory
	live      live
	open      atomic.Int64
	serial    atomic.Uint64
	endpoints endpoints
	objects   objectCache
	batches   batchInputs
	typicals  typicals
	values    labelValues
	metrics   *Metrics
	board     *health.Board
	changed   chan struct{} // of board, since somebody looked
	closing   sync.Once
	closed    chan struct{} // closed by Close
	watching  sync.WaitGroup
}

// New returns a gateway that is ready to serve. The caller stops it with Close after the listeners have drained.
func New(cfg Config) *Gateway {
	if cfg.BodyLimit == 0 {
		cfg.BodyLimit = 512 << 20
	}
	if cfg.MemoryLimit == 0 {
		cfg.MemoryLimit = 1 << 30
	}
	if cfg.StreamLimit == 0 {
		cfg.StreamLimit = 20000
	}
	if cfg.Counters == nil {
		cfg.Counters = limit.NewMemory(cfg.Now)
	}
	setDefault(&cfg.Timeouts.Connect, 10*time.Second)
	setDefault(&cfg.Timeouts.FirstByte, 10*time.Minute)
	setDefault(&cfg.Timeouts.Idle, 5*time.Minute)
	setDefault(&cfg.Timeouts.Total, time.Hour)
	g := &Gateway{cfg: cfg, metrics: newMetrics(), changed: make(chan struct{}, 1), closed: make(chan struct{})}
	g.metrics.open, g.metrics.memory = g.open.Load, g.memory.used.Load
	g.memory.limit = cfg.MemoryLimit
	g.board = health.New(health.Config{Start: cfg.Now(), OnChange: g.healthChanged})
	g.metrics.health = func() ([]gatehouse.RouteHealth, health.Counts) { return g.board.Report(g.cfg.Now()), g.board.Counts() }
	g.endpoints.init(cfg)
	g.objects.init()
	cfg.Catalog.OnChange(g.cut)
	g.watching.Add(1)
	go g.watchTime() // ends with Close
	return g
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Close ends idle upstream connections. Exchanges still open are cancelled.
func (g *Gateway) Close() {
	g.closing.Do(func() { close(g.closed) })
	g.watching.Wait()
	g.live.each(func(x *exchange) { x.ctx.Cut(errDraining) })
	g.endpoints.close()
}

var errDraining = errors.New("the gateway is shutting down")

// cut ends every open exchange whose credential is no longer accepted. It runs after each change that narrowed somebody's
// authority and when the node's lease ran out, so that a revoked credential's streams end within a second (law 5).
func (g *Gateway) cut() {
	g.live.each(func(x *exchange) {
		if g.cfg.Auth.Recheck(&x.id) != nil {
			x.ctx.Cut(errCut)
			// A caller that does not read blocks the relay in a write, one that does not send blocks the body that is passed on;
			// deadlines free both. They fail only when the connection is gone already. A body that was read leaves the server
			// reading for a caller that leaves: a deadline would look like one.
			_ = x.control.SetWriteDeadline(time.Now().Add(lastWords))
			if x.body.stream != nil {
				_ = x.control.SetReadDeadline(time.Unix(1, 0))
			}
		}
	})
}

// lastWords is how long an exchange that was cut may take to say why: well below the second in which it must have ended.
const lastWords = 300 * time.Millisecond

// exchange is one request on its way. It is reused: what belongs to one request is reset by end, buffers stay.
type exchange struct {
	current
	references []dialect.Reference
	charges    []limit.Charge // of rate limits, each with its Level when it was taken
	capture    usage.Capture
	response   outbound.Response // of the last attempt
	head       answerHead
	emit       sse.Emit // made once, kept for the next exchange
}

// draft is what a request needs until its answer begins: a stream does without it for minutes.
type draft struct {
	fields   strictjson.Result
	outgoing outbound.Request
	header   [24]outbound.Field // of outgoing
	segments [8][]byte          // of its body
	target   []byte
}

var (
	drafts = sync.Pool{New: func() any { return new(draft) }}
	taps   = sync.Pool{New: func() any { return new(sse.Tap) }}

	// noFields stands for the fields of a body that was given back.
	noFields strictjson.Result
)

// current is what belongs to one request.
type current struct {
	g       *Gateway
	w       http.ResponseWriter
	r       *http.Request
	control control
	ctx     *lifetime
	serial  uint64
	started time.Time
	at      time.Time // what the clock said when the exchange last had to wait, or at its start
	pushed  time.Time // when the deadline for writing was last moved; zero: there is none
	draft   *draft    // nil once the answer has begun
	fields  *strictjson.Result
	tap     *sse.Tap  // of a stream
	prev    *exchange // neighbours in live, guarded by its shard
	next    *exchange

	call       dialect.Call
	caller     dialect.Caller
	in         authn.Presented
	id         authn.Identity
	body       body
	model      string          // what the caller asked for: the deployment's name
	bodyModel  string          // what the body says, where Azure's path says something else
	tier       string          // the service tier the request asks for
	setTier    string          // the same, where it is the project's choice and the body is to say so
	text       int64           // bytes of a JSON body, for an estimate of its tokens; of a form nothing is known, its bytes are files
	spoken     int64           // characters of the text to be spoken
	containers int64           // of those that the answer names, the ones that were there before
	store      strictjson.Span // of the body's "store"
	plan       plan
	batch      *batchCall    // nil but for the upload of a batch's input, and a batch
	tries      int           // attempts made
	permit     health.Permit // for the attempt under way
	endRoute   func()        // stops the clock of a route with a total timeout; nil: it has none
	allowance
	charge     ledger.Charge
	hold       ledger.Hold
	settlement ledger.Settlement
	answer     answer
	summary    sse.Summary // of a stream, as of the last look at it
	record     gatehouse.Request
	attempts   [maxAttempts]gatehouse.Attempt

	hasModel   bool // the body has a model
	account    bool // the body asks for what the whole upstream account has
	passedOn   bool // the body goes upstream as it arrives
	bodyRead   bool // and was read to its end
	storeTrue  bool // and says "store": true
	background bool // the caller asked for work in the background
	stream     bool // the caller asked for a stream
	asked      bool // and for its usage
	tapped     bool // the answer is a stream: the tap has counted it, not capture
	held       bool
	settled    bool
	crowded    bool // there are more open requests than there may be
	consumed   bool // an upstream had the whole request: what it did with it may cost something
	released   bool // it answered that it did nothing
	ratesTaken bool // charges are taken and not corrected
	complete   bool // what the answer made is recorded
	wrote      bool // the head of the answer is out: an error can no longer be a status
	aborted    bool // the answer must not look complete: the connection ends with it
	listed     bool // in live
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.head.reset()
	return x
}}

// ServeHTTP serves one data-plane request. Every way out of it settles exactly once: answered, refused, cancelled, failed or
// panicked.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := g.begin(w, r)
	defer g.end(x)
	if err := x.walk(); err != nil {
		x.refuse(err)
	}
}

// walk is a request from its first line to the last byte of its answer, in the order in which it happens.
func (x *exchange) walk() error {
	if err := x.parse(); err != nil {
		return err
	}
	if err := x.admitConnection(); err != nil {
		return err
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if err := x.read(); err != nil {
		return err
	}
	if err := x.authorize(); err != nil {
		return err
	}
	if x.call.Op.Local {
		return x.serveLocal()
	}
	if err := x.route(); err != nil {
		return err
	}
	if err := x.takeRates(); err != nil {
		return err
	}
	if err := x.reserve(); err != nil {
		x.returnRates()
		return err
	}
	answer, err := x.forward()
	if err != nil {
		return err
	}
	return x.relay(answer)
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := exchanges.Get().(*exchange)
	x.g, x.w, x.r = g, w, r
	x.draft = drafts.Get().(*draft)
	x.fields = &x.draft.fields
	x.control = newControl(w)
	x.started = x.look()
	x.serial = g.serial.Add(1)
	x.crowded = g.open.Add(1) > int64(g.cfg.StreamLimit)
	x.ctx = newLifetime(r.Context())
	x.record = gatehouse.Request{ID: gatehouse.NewRequestID(gatehouse.MillisOf(x.started)), At: gatehouse.MillisOf(x.started), Method: r.Method, Attempts: x.attempts[:0]}
	x.in.Addr = authn.ClientAddress(r, g.cfg.TrustedProxies)
	if r.TLS != nil {
		x.in.Certificate.Chain = r.TLS.PeerCertificates
	}
	if g.cfg.CertificateHeader != "" {
		x.in.Certificate.Forwarded = authn.ForwardedCertificate(r, g.cfg.CertificateHeader, g.cfg.TrustedProxies)
	}
	return x
}

// end settles what is still open, writes the record and gives everything back. It is the one place through which every exchange
// leaves.
func (g *Gateway) end(x *exchange) {
	panicked := recover()
	if panicked != nil && panicked != http.ErrAbortHandler {
		g.cfg.Logger.Error("request panicked", "request_id", x.record.ID, "stack", string(debug.Stack()))
		x.record.Rule, x.record.Detail = "internal_error", "the gateway failed while it served this request; its log has the stack"
		if x.wrote {
			x.aborted = true
		} else {
			x.refuse(&gatehouse.Error{Kind: gatehouse.Internal})
		}
	}
	if x.permit.Held() {
		x.permit.Report(g.cfg.Now(), health.Unknown, x.serial, "")
	}
	if x.wrote && !x.complete && x.record.Status < 300 && x.answer.upstream != nil {
		// The answer broke off, but what it made is there: a caller that left a background response comes back for it.
		if err := x.keep(); err != nil {
			g.cfg.Logger.Error("objects of a broken answer are not recorded", "request_id", x.record.ID, "error", err)
		}
	}
	if err := x.settle(); err != nil {
		g.cfg.Logger.Error("settlement waits for the journal", "request_id", x.record.ID, "error", err)
	}
	x.settleRates()
	g.finish(x)
	if x.listed {
		g.live.remove(x)
	}
	g.open.Add(-1)
	wasCut := context.Cause(x.ctx) == errCut // for good: nobody cuts what is not listed
	if x.endRoute != nil {
		x.endRoute()
	}
	x.ctx.end()
	aborted := x.aborted || panicked == http.ErrAbortHandler
	if !aborted && (wasCut || !x.pushed.IsZero()) {
		_ = x.control.SetWriteDeadline(time.Time{}) // the connection serves the next request
	}
	if !aborted && wasCut && x.body.stream != nil && x.r.ProtoMajor == 1 {
		// Nobody knows how far its body was read: the answer goes out and the connection ends.
		aborted = x.control.Flush() == nil
	}
	if !aborted && !wasCut && x.wrote && x.unread() {
		x.linger()
	}
	x.body.release(&g.memory)
	x.reset()
	exchanges.Put(x)
	if aborted {
		// The answer is out in part: end the connection so that the caller cannot take it for complete.
		panic(http.ErrAbortHandler)
	}
}

// reset makes an exchange ready for the next request.
func (x *exchange) reset() {
	x.dropDraft()
	if x.tap != nil {
		x.tap.Reset(sse.Options{})
		taps.Put(x.tap)
	}
	x.current = current{}
	clear(x.references)
	x.references = x.references[:0]
	clear(x.charges)
	x.charges = x.charges[:0]
	x.response = outbound.Response{}
	x.head.reset()
	x.capture.Reset()
}

// dropDraft gives back what only a request that is not answered yet needs.
func (x *exchange) dropDraft() {
	d := x.draft
	if d == nil {
		return
	}
	x.draft, x.fields = nil, &noFields
	d.fields.Reset()
	d.outgoing = outbound.Request{}
	clear(d.header[:])
	clear(d.segments[:])
	drafts.Put(d)
}

// admitConnection refuses a request beyond what one node holds open.
func (x *exchange) admitConnection() error {
	if x.crowded {
		return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "server_is_overloaded", RetryAfterMillis: 1000,
			Message: "This gateway has as many open requests as it may have. Try again in a second; the operator can raise limits.streams."}
	}
	return nil
}

// asError returns the first gatehouse.Error in an error's chain, nil when there is none.
func asError(err error) *gatehouse.Error {
	if e, ok := errors.AsType[*gatehouse.Error](err); ok {
		return e
	}
	return nil
}
