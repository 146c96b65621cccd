package gateway

import (
	"context"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/ledger"
	"gatehouse/internal/otlp"
	"gatehouse/internal/secret"
)

// parse reads the request line and what the header says about the caller.
func (x *exchange) parse() (err error) {
	x.call, err = dialect.Parse(x.r.Method, x.r.URL.EscapedPath(), x.r.URL.RawQuery)
	x.caller = dialect.CallerOf(x.r.Header)
	x.record.Dialect = x.call.Face.String()
	x.record.ClientRequestID = x.caller.RequestID
	x.record.UserAgent = clip(secret.Redact(x.r.UserAgent()))
	if x.in.Addr.IsValid() {
		x.record.IP = addressText(x.in.Addr, x.r.RemoteAddr)
	}
	if err == dialect.ErrNotDataPlane {
		// Most often the client's base URL lacks its /v1.
		return &gatehouse.Error{Kind: gatehouse.NotFound, NoRetry: true, Message: "Invalid URL (" + x.r.Method + " " + clip(x.r.URL.EscapedPath()) +
			"). Models are called below /v1/ or /openai/: check the client's base URL, which ends in /v1 for OpenAI's clients."}
	}
	if x.call.Op != nil {
		x.record.Route = x.call.Op.Name
	}
	// A WebSocket is refused as what it is, also where its path takes no other GET (/v1/responses).
	if err == nil || gatehouse.KindOf(err) == gatehouse.MethodNotAllowed {
		if refusal := dialect.RefuseUpgrade(x.r.Header); refusal != nil {
			return refusal
		}
	}
	return err
}

// addressText returns an address as text, as a part of remote where it stands there.
func addressText(addr netip.Addr, remote string) string {
	var b [64]byte
	text := addr.AppendTo(b[:0])
	if n := len(text); len(remote) > n && remote[n] == ':' && remote[:n] == string(text) {
		return remote[:n]
	}
	return string(text)
}

// authenticate finds out who is calling.
func (x *exchange) authenticate() error {
	key, _, err := dialect.Presented(x.r.Header)
	if err != nil {
		return err
	}
	if key == "" {
		x.record.Rule = "credential_missing"
		return dialect.MissingCredential(x.call.Face)
	}
	x.in.Key, x.in.Organization, x.in.Project = key, x.caller.Organization, x.caller.Project
	err = x.g.cfg.Auth.Authenticate(&x.in, &x.id)
	x.in.Key = ""
	p := &x.id.Principal
	x.record.Organization, x.record.Project, x.record.Key = p.Organization, p.Project, p.Actor.Key
	if err != nil {
		return err
	}
	p.RequestID, p.Actor.IP, p.Actor.UserAgent = x.record.ID, x.record.IP, x.record.UserAgent
	x.record.Owner = x.id.Key.Owner
	if refusal := x.call.Op.Refusal(); refusal != nil {
		x.record.Rule = "endpoint_refused"
		return refusal
	}
	return nil
}

// readFields takes from a scanned body what the later stages need.
func (x *exchange) readFields() error {
	at, f := &x.call.Op.At, x.fields
	if name, ok := f.Text(f.Span(at.Model)); ok {
		x.bodyModel, x.hasModel = name, true
		// Azure's path names the deployment; what the body says beside it is not what is called.
		if x.model == "" {
			x.model = name
		}
	}
	x.stream = f.True(f.Span(at.Stream))
	x.asked = f.True(f.Span(at.IncludeUsage))
	x.record.Stream = x.stream
	x.background = f.True(f.Span(at.Background))
	x.store = f.Span(at.Store)
	x.storeTrue = f.True(x.store)
	if x.call.Op.Usage == usage.Speech {
		if text, ok := f.Text(f.Span(at.Input)); ok {
			x.spoken = int64(utf8.RuneCountInString(text))
		}
	}
	if f.Span(at.Model).Kind != 0 && x.hasModel && x.bodyModel == "" {
		return gatehouse.InvalidParam("model", "Invalid 'model': it must not be empty.")
	}
	return x.readTier()
}

// readTier reads which service tier is asked for, and which the upstream is asked for in its place where the request leaves the choice
// to its project.
func (x *exchange) readTier() error {
	at, f := x.call.Op.At.ServiceTier, x.fields
	tier, _ := f.Text(f.Span(at))
	if err := x.mayAsk(tier); err != nil {
		return err
	}
	if ask := x.id.Project.Policy.ServiceTiers.Ask(tier); ask != tier && at >= 0 && x.call.Op.TakesTier {
		x.setTier, tier = ask, ask
	}
	if tier != "" {
		x.tier = clip(tier)
	}
	return nil
}

// short returns a size or quality as far as one is ever long.
func short(s string) string {
	const most = 32
	if len(s) > most {
		return ""
	}
	return s
}

// authorize checks that the caller may use the operation and the models it names, and makes the exchange known, so that it is cut
// when that changes.
func (x *exchange) authorize() error {
	if err := x.g.cfg.Auth.Authorize(&x.id, x.call.Op.Scope, x.model); err != nil {
		return err
	}
	x.references = x.call.Op.References(x.fields, x.references) // behind those of a form
	for i := range x.references {
		ref := &x.references[i]
		if !ref.Model {
			continue
		}
		if err := x.innerModel(ref); err != nil {
			return err
		}
	}
	if err := x.mayRun(x.call.Op, x.fields, x.model); err != nil {
		return err
	}
	x.g.live.add(x)
	x.listed = true
	return nil
}

// innerModel checks a model inside the request. It is not renamed, so it must be one that the project has under that very name.
func (x *exchange) innerModel(ref *dialect.Reference) error {
	if !x.mayUse(ref.ID) ||
		x.g.cfg.Catalog.Deployment(x.id.Principal.Organization, x.id.Principal.Project, ref.ID) == nil {
		return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "model_not_found", Param: ref.Param,
			Message: "Project `" + x.id.Principal.Project + "` does not have access to model `" + clip(ref.ID) + "`. GET /v1/models lists the models this key may use."}
	}
	return nil
}

// settle records what the exchange cost. It runs once, before the caller can know that the answer is complete; every later call
// does nothing. Its error means that the settlement is not on disk yet: the answer must not be completed.
func (x *exchange) settle() error {
	if !x.held || x.settled {
		return nil
	}
	x.settled = true
	units, confidence, model, tier := x.count()
	x.finishRecord()
	x.settlement = ledger.Settlement{Request: &x.record, Released: x.released || !x.consumed, Units: units, Confidence: confidence, UpstreamModel: model, ServiceTier: tier}
	if up := x.answer.upstream; up != nil {
		x.settlement.Dialect, x.settlement.Upstream = up.Dialect, up.Name
		if x.answer.step != nil {
			x.settlement.PricedAs = x.answer.step.pricedAs
		}
	}
	x.settlement.Size, x.settlement.Quality = x.pictured()
	if model == "" {
		x.settlement.UpstreamModel = x.answer.model
	}
	// What an answer used that broke off, or never came to an end for its caller, only the upstream knows: the rest of the hold stays.
	x.settlement.Keep = confidence == gatehouse.Estimated && !x.complete && x.record.Rule != "upstream_refused"
	x.beginWork()
	err := x.hold.Settle(&x.settlement)
	x.learn()
	return err
}

// count returns what the answer used: what the upstream reported, else an estimate from the bytes that passed.
func (x *exchange) count() (u gatehouse.Units, c gatehouse.Confidence, model, tier string) {
	var text int64
	reported := false
	if x.tapped {
		if !x.complete {
			x.summary = x.tap.Summary()
		}
		sum := &x.summary
		u, reported, model, tier, text = sum.Units, sum.Reported, clip(sum.Model), clip(sum.ServiceTier), sum.TextBytes
	} else {
		u, reported = usage.Of(x.call.Op.Usage, &x.capture)
		model, tier, text = clip(x.capture.Text(usage.Model)), clip(x.capture.Text(usage.ServiceTier)), x.capture.TextBytes
	}
	if tier == "auto" {
		tier = ""
	}
	u.Characters = x.spoken
	u.Containers = max(u.Containers-x.containers, 0)
	if reported {
		return u, gatehouse.Reported, model, tier
	}
	u.Input = usage.Estimate(x.text)
	u.Output = usage.Estimate(text)
	if x.spoken > 0 && x.record.Status < 300 {
		u.Output = usage.EstimateSpeech(x.spoken)
		u.OutputAudio = u.Output
	}
	return u, gatehouse.Estimated, model, tier
}

// pictured returns the size and quality of the images or the video that an answer made, as far as it says so.
func (x *exchange) pictured() (size, quality string) {
	switch {
	case x.call.Op.Usage != usage.Images && x.call.Op.Begins != gatehouse.WorkVideo:
		return "", ""
	case x.tapped:
		return short(x.summary.Size), short(x.summary.Quality)
	}
	return short(x.capture.Text(usage.Size)), short(x.capture.Text(usage.Quality))
}

// finishRecord completes the explain record as far as it is known now.
func (x *exchange) finishRecord() {
	x.look()
	x.record.Millis = x.elapsed()
	if x.record.Status == 0 {
		x.record.Status = StatusClientClosed
	}
	if x.record.Rule == "" {
		x.record.Rule = ledger.RuleServed
	}
	if x.record.Detail == "" && x.plan.sticky != "" {
		x.record.Detail = "its routes are ordered by its " + stickyNames[x.plan.sticky]
	}
	x.record.UpstreamModel = x.answer.model
	if x.id.Project != nil && !gatehouse.RetentionOf(x.id.Org, x.id.Project).KeepsCallers() {
		x.record.IP, x.record.UserAgent, x.record.ClientRequestID = "", "", ""
	}
}

// look reads the clock. That costs as much as a stage does, so an exchange looks only where it may have waited for somebody, and takes
// x.at in between.
func (x *exchange) look() time.Time {
	x.at = x.g.cfg.Now()
	return x.at
}

// elapsed returns the milliseconds from the request's beginning to when it last looked at the clock.
func (x *exchange) elapsed() int64 { return x.at.Sub(x.started).Milliseconds() }

// finish writes the explain record of an exchange that was never held, and the access log's line.
func (g *Gateway) finish(x *exchange) {
	if !x.settled {
		x.finishRecord()
		g.cfg.Ledger.Decide(&x.record)
	}
	g.metrics.observe(x)
	if g.cfg.AccessLog != nil {
		g.logAccess(x)
	}
	if g.cfg.Trace != nil {
		g.cfg.Trace(otlp.Exchange{Request: x.record, Units: x.settlement.Units, Dialect: x.settlement.Dialect, Traceparent: x.r.Header.Get("Traceparent")})
	}
}

// StatusClientClosed is what the records show for an exchange whose caller left before there was an answer. It is never sent.
const StatusClientClosed = 499

// refuse answers with an error in the caller's dialect. Once the head of an answer is out it can only end the connection.
func (x *exchange) refuse(err error) {
	if err == errClientGone || x.wrote {
		x.aborted = true
		return
	}
	e := gatehouse.Error{Kind: gatehouse.Internal, Err: err}
	if known := asError(err); known != nil {
		e = *known
	}
	if x.clientLeft() {
		x.record.ClientLeft = true
	}
	if e.Kind == gatehouse.Internal {
		x.g.cfg.Logger.Error("request failed", "request_id", x.record.ID, "error", err)
	}
	if x.record.Rule == "" {
		x.record.Rule = string(authn.RuleOf(err))
		if x.record.Rule == "" {
			x.record.Rule = firstOf(e.Code, e.Kind.String())
		}
	}
	if x.record.Detail == "" && e.Err != nil && authn.RuleOf(err) == "" {
		x.record.Detail = redactError(e.Err)
	}
	x.record.Status = dialect.Status(e.Kind)
	if err := x.settle(); err != nil {
		x.g.cfg.Logger.Error("settlement waits for the journal", "request_id", x.record.ID, "error", err)
	}
	x.head.set("Content-Type", jsonType)
	x.identify()
	set := x.head.set
	if x.r.ProtoMajor == 1 && context.Cause(x.ctx) == errCut {
		set("Connection", "close") // its deadlines are over
	}
	dialect.RetryHeaders(&e, set)
	x.rateHeaders(set)
	if e.Kind == gatehouse.Unauthenticated && !x.call.Face.IsAzure() {
		set("Www-Authenticate", `Bearer realm="gatehouse"`)
	}
	e.Message = secret.Redact(e.Message) // a path, a model or an id that is a key by mistake
	text := dialect.AppendError(nil, x.call.Face, &e)
	set("Content-Length", strconv.Itoa(len(text)))
	x.writeHead(x.record.Status)
	if err := x.write(text); err != nil {
		return // the caller left; the record says so
	}
}

const jsonType = "application/json"

// identify sets the headers by which an answer can be found again.
func (x *exchange) identify() {
	if x.unread() {
		x.head.set("Connection", "close")
	}
	region := ""
	if x.answer.upstream != nil {
		region = x.answer.upstream.Region
	}
	dialect.FaceHeaders(x.call.Face, x.record.ID, x.caller.EchoID, region, x.head.set)
}
