package gateway

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/batch"
	"gatehouse/internal/dialect/bound"
	"gatehouse/internal/dialect/form"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/ledger"
	"gatehouse/internal/ledger/prices"
)

// maxBatchModels bounds the models of one file.
const maxBatchModels = 64

// batchCall is the batch of an exchange: what is read of an input file that is being uploaded, or what was read of the one that a
// batch is made from.
type batchCall struct {
	gatehouse.BatchInput
	op     *dialect.Op // what its lines call
	file   form.File   // where an uploaded one stands in the form
	models map[string]*batchModel
	ways   []*gatehouse.Upstream // those that every line so far may go to, in the order to try
	refs   []dialect.Reference   // of one line
	urls   map[string]bool       // how the lines write their endpoint
}

// batchModel is one model of a file being read.
type batchModel struct {
	lines  int64
	names  map[string]string // what each upstream that has it calls it, by the upstream's id
	limits bound.Model       // the greatest of any of them
	most   gatehouse.Units   // of its lines altogether
	open   int64
}

// isBatchInput reports whether the call uploads the input of a batch.
func (x *exchange) isBatchInput() bool {
	if !x.call.Op.BatchInput || x.body.form == nil {
		return false
	}
	purpose, _ := x.body.form.scanner.Value(formPurpose)
	return isBatch(purpose)
}

// routeBatchInput judges every line of an uploaded file like a live call, and plans to send the file to an upstream that can take
// all of them.
func (x *exchange) routeBatchInput() error {
	s := x.body.form
	files := s.scanner.Files
	if len(files) != 1 || files[0].Name != formFile || !files[0].HasName || !files[0].Plain {
		return gatehouse.InvalidParam(formFile, "The form must have one file, in the field 'file', as its bytes are: the lines of a batch's input are read before it is used.")
	}
	b := &batchCall{file: files[0], models: map[string]*batchModel{}, urls: map[string]bool{}}
	x.batch = b
	if err := x.take(min(b.file.End-b.file.Start, batch.MaxLine)); err != nil { // the longest line is in memory
		return err
	}
	lines := batch.NewReader(io.NewSectionReader(s, b.file.Start, b.file.End-b.file.Start))
	objects := belongings{x: x}
	for {
		if err := context.Cause(x.ctx); err != nil {
			return x.upstreamError(err)
		}
		l, err := lines.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if asError(err) == nil {
				err = spoolError(err)
			}
			return err
		}
		if err := x.judgeLine(b, l, &objects); err != nil {
			return batch.Wrap(l.Number, err)
		}
	}
	for _, up := range b.ways {
		x.plan.add(up, "", "", noRoute, nil)
	}
	for name, m := range b.models {
		b.Models = append(b.Models, gatehouse.BatchModel{Name: name, Lines: m.lines, Most: m.most, Open: m.open})
	}
	slices.SortFunc(b.Models, func(a, c gatehouse.BatchModel) int { return cmp.Compare(a.Name, c.Name) })
	return x.consult()
}

// formFile is the field of a form that is a file.
const formFile = "file"

// judgeLine applies to one line what a live call passes: the key's scope and models, the project's deployments, objects and inner
// models. It narrows the ways to those that this line can go, and adds what it may cost.
func (x *exchange) judgeLine(b *batchCall, l *batch.Line, objects *belongings) error {
	b.op, b.Endpoint = l.Op, l.Endpoint
	b.urls[l.URL] = true
	at, f := &l.Op.At, l.Fields
	if f.True(f.Span(at.Background)) {
		return gatehouse.InvalidParam("background", "Invalid 'background': the lines of a batch are in the background already.")
	}
	name, ok := f.Text(f.Span(at.Model))
	if !ok {
		name = l.Op.DefaultModel
	}
	if name == "" {
		return missing("model")
	}
	m := b.models[name]
	if m == nil {
		var err error
		if m, err = x.batchModel(b, l.Op, name); err != nil {
			return err
		}
		if err := objects.checkModel(name, "model"); err != nil {
			return err
		}
		b.models[name] = m
	}
	m.lines++
	b.refs = l.Op.References(f, b.refs[:0])
	for i := range b.refs {
		ref := &b.refs[i]
		var err error
		switch {
		case ref.Account:
			err = gatehouse.InvalidParam(ref.Param, "Invalid '%s': a batch cannot ask for what the whole account of an upstream has.", ref.Param)
		case ref.Model:
			if err = x.innerModel(ref); err == nil {
				err = objects.checkModel(ref.ID, ref.Param)
			}
		case ref.Told:
			err = objects.checkTold(ref.ID, ref.Param)
		case ref.ID != "":
			err = objects.check(ref.ID, ref.Param)
		}
		if err != nil {
			return err
		}
	}
	b.ways = slices.DeleteFunc(b.ways, func(up *gatehouse.Upstream) bool {
		return m.names[up.ID] == "" || objects.pinned.upstream != "" && objects.pinned.upstream != up.ID
	})
	if len(b.ways) == 0 {
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: batch.CodeSpread, Param: "model",
			Message: "no upstream can take this line and all before it. The lines of one file go to one upstream: put models, and objects, of different ones into files of their own."}
	}
	tier, _ := f.Text(f.Span(at.ServiceTier))
	if err := x.mayAsk(tier); err != nil {
		return err
	}
	hosted := l.Op.Hosted(f)
	if err := x.mayRunHosted(l.Op, f, name, hosted); err != nil {
		return err
	}
	for _, upstream := range m.names {
		if tools := dialect.ModelTools(l.Op.Usage, upstream) & x.id.Project.Policy.DeniedTools; tools != 0 {
			return x.toolDenied(tools, "model")
		}
		m.open |= batchRuns(l.Op, hosted, upstream)
	}
	m.open |= batchRuns(l.Op, hosted, name) | batchTier(tier)
	b.Lines++
	ask := bound.Read(l.Op, f, int64(len(l.Body)), refers(b.refs))
	ask.Video = videoOf(l.Op, f)
	most := ask.Of(&m.limits)
	m.most.Add(most.Units)
	for fee := range most.Fees {
		m.most.Add(fee)
	}
	m.open |= int64(most.Open)
	if most.Tools&bound.ImageTool != 0 {
		m.open |= int64(bound.OpenTools) // pictures that a tool makes have a price that a batch is not held to
	}
	if most.Guessed {
		m.open |= guessedBit
	}
	b.Input += most.Units.Input
	b.Output += most.Units.Output
	return nil
}

// batchModel looks a model up that a line names for the first time.
func (x *exchange) batchModel(b *batchCall, op *dialect.Op, name string) (*batchModel, error) {
	if len(b.models) >= maxBatchModels {
		return nil, gatehouse.InvalidParam("model", "Invalid 'model': the lines of one file may name at most %d models.", maxBatchModels)
	}
	if err := x.mayCall(op, name); err != nil {
		return nil, err
	}
	dep := x.g.cfg.Catalog.Deployment(x.id.Principal.Organization, x.id.Principal.Project, name)
	if dep == nil {
		return nil, modelNotFound(name)
	}
	m := &batchModel{names: map[string]string{}}
	var order [maxSteps]int
	var ways []*gatehouse.Upstream
	for _, i := range orderRoutes(dep.Routes, order[:0]) {
		route := &dep.Routes[i]
		up := x.g.cfg.Catalog.Upstream(route.Upstream)
		if up == nil || m.names[route.Upstream] != "" || !x.mayReach(up) {
			continue
		}
		if m.names[up.ID] = route.Model; route.Model == "" {
			m.names[up.ID] = name
		}
		ways = append(ways, up)
		x.widen(&m.limits, up, m.names[up.ID])
	}
	if len(ways) == 0 {
		if err := x.outOfRegion("Deployment `"+clip(name)+"`", x.routesTo(dep)...); err != nil {
			return nil, err
		}
		return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "no_route", NoRetry: true,
			Message: "Deployment `" + clip(name) + "` has no route this project may use. Ask the operator to add one (gatehouse deployments)."}
	}
	if b.ways == nil {
		b.ways = ways
	}
	return m, nil
}

// widen makes limits the greatest of what they are and of a model at an upstream. A limit that one of them does not have is not known.
func (x *exchange) widen(limits *bound.Model, up *gatehouse.Upstream, model string) {
	of := prices.Of{Organization: x.id.Principal.Organization, Dialect: up.Dialect, Upstream: up.Name, Model: model, Tier: prices.Batch, At: x.record.At}
	l, _ := x.g.cfg.Ledger.Prices().Limits(&of)
	if limits.Name == "" {
		*limits = bound.Model{Name: model, Context: l.Context, Input: l.Input, Output: l.Output}
		return
	}
	wider := func(known *int64, n int64) {
		if *known = max(*known, n); n == 0 {
			*known = 0
		}
	}
	wider(&limits.Context, l.Context)
	wider(&limits.Input, l.Input)
	wider(&limits.Output, l.Output)
	if bound.PictureTokens(model) > bound.PictureTokens(limits.Name) {
		limits.Name = model
	}
}

// guessedBit in the Open of a batch's model says that nothing caps the output of a line but its model.
const guessedBit = 1 << 8

// most fills the charge of a batch from what its lines may use at most, and returns what of that has no end.
func (b *batchCall) most(x *exchange) reach {
	c := &x.charge
	up := x.plan.steps[0].upstream
	all := reach{priced: true}
	c.Bound = 0
	for i := range b.Models {
		m := &b.Models[i]
		of := prices.Of{Organization: c.Organization, Dialect: up.Dialect, Upstream: up.Name, Model: m.Upstream, Tier: prices.Batch, At: c.At}
		most := m.Most
		if most == (gatehouse.Units{}) { // its file was read before anybody asked for a bound
			most = gatehouse.Units{Input: b.Input, Output: b.Output}
		}
		money, priced := x.g.cfg.Ledger.Prices().Bound(&of, &most)
		c.Bound += money
		all.priced = all.priced && priced
		all.open |= bound.Open(m.Open & (guessedBit - 1))
		all.guessed = all.guessed || m.Open&guessedBit != 0
	}
	c.BoundKnown = all.priced && all.open == 0
	return all
}

// mayCall checks the key's policy for an operation and a model beside the exchange's own, which stays what is checked again.
func (x *exchange) mayCall(op *dialect.Op, model string) error {
	id := x.id
	return x.g.cfg.Auth.Authorize(&id, op.Scope, model)
}

// batchForm gives the request the form with the lines as the upstream wants them: its name for their models, its spelling of their
// endpoint. A file that needs neither goes as it came.
func (x *exchange) batchForm(s *step, req *outbound.Request) error {
	b, f := x.batch, x.body.form
	url := batch.URLFor(s.upstream, b.Endpoint)
	b.Upstream = s.upstream.ID
	change := len(b.urls) > 1 || !b.urls[url]
	for i := range b.Models {
		m := &b.Models[i]
		m.Upstream = b.models[m.Name].names[s.upstream.ID]
		change = change || m.Upstream != m.Name
	}
	if !change {
		req.Reader, req.Length = io.NewSectionReader(f, 0, f.size), f.size
		return nil
	}
	if x.body.sent != nil { // of an earlier attempt
		x.body.sent.close()
	}
	x.body.sent = &spool{dir: x.g.cfg.Spool}
	out := bufio.NewWriterSize(x.body.sent, copyBuffer)
	if err := copySection(out, f, 0, b.file.Start); err != nil {
		return err
	}
	lines := batch.NewReader(io.NewSectionReader(f, b.file.Start, b.file.End-b.file.Start))
	var text []byte
	for {
		l, err := lines.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return spoolError(err) // it was read before
		}
		name, named := l.Fields.Text(l.Fields.Span(l.Op.At.Model))
		if !named {
			name = l.Op.DefaultModel
		}
		model := b.models[name].names[s.upstream.ID]
		if !named && model == name {
			model = "" // the endpoint's default there too
		}
		text = append(l.Append(text[:0], url, model), '\n')
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	if err := copySection(out, f, b.file.End, f.size); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	req.Reader, req.Length = io.NewSectionReader(x.body.sent, 0, x.body.sent.size), x.body.sent.size
	return nil
}

// copySection copies a stretch of a spooled form.
func copySection(to io.Writer, from *spool, start, end int64) error {
	if _, err := io.Copy(to, io.NewSectionReader(from, start, end-start)); err != nil {
		if asError(err) == nil {
			err = spoolError(err)
		}
		return err
	}
	return nil
}

// keepBatchInput records what was read of a file that the upstream took.
func (x *exchange) keepBatchInput() error {
	in := x.batch.BatchInput
	in.File, in.Project, in.CreatedAt = x.answerID(), x.id.Principal.Project, gatehouse.MillisOf(x.g.cfg.Now())
	if in.File == "" || len(in.File) > maxID {
		return nil
	}
	x.g.batches.put(&in)
	return x.g.cfg.Ledger.KeepBatchInput(&in)
}

// refuseUpload refuses an upload in parts of what is read as a whole.
func (x *exchange) refuseUpload() error {
	at := x.call.Op.At.Purpose
	if text, ok := x.fields.Text(x.fields.Span(at)); !ok || !isBatch(text) {
		return nil
	}
	return gatehouse.InvalidParam("purpose", "Invalid 'purpose': the input of a batch cannot be uploaded in parts here, because its lines are judged as they come. Send it whole with POST /v1/files.")
}

// routeBatch finds what was read of the file that a batch is made from, judges its models again, and plans to go where the file is.
func (x *exchange) routeBatch() error {
	if _, err := x.owned(); err != nil {
		return err
	}
	if x.fields.Span(x.call.Op.At.InputBlob).Kind != 0 {
		return gatehouse.InvalidParam("input_blob", "Invalid 'input_blob': the input of a batch is uploaded with POST /v1/files, purpose=batch, so that its lines are judged.")
	}
	file := ""
	for i := range x.references {
		if ref := &x.references[i]; ref.Param == "input_file_id" {
			if file != "" {
				return gatehouse.InvalidParam("input_file_id", "Invalid 'input_file_id': it is there more than once.")
			}
			file = ref.ID
		}
	}
	endpoint, ok := x.fields.Text(x.fields.Span(x.call.Op.At.Endpoint))
	switch {
	case file == "":
		return missing("input_file_id")
	case !ok:
		return missing("endpoint")
	}
	in, err := x.g.batchInput(x.ctx, file)
	if err != nil {
		return err
	}
	if in == nil || in.Project != x.id.Principal.Project {
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: batch.CodeUnread, Param: "input_file_id",
			Message: "The lines of file '" + clip(file) + "' are not known here: it was not uploaded through this gateway with purpose=batch. Upload it again with POST /v1/files and use the new id."}
	}
	canonical, op := batch.Endpoint(endpoint)
	if op == nil || canonical != in.Endpoint {
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: batch.CodeEndpoint, Param: "endpoint",
			Message: "Invalid 'endpoint': the lines of the file call " + in.Endpoint + "."}
	}
	for i := range in.Models {
		name := in.Models[i].Name
		if err := x.mayCall(op, name); err != nil {
			return err
		}
		if x.g.cfg.Catalog.Deployment(x.id.Principal.Organization, x.id.Principal.Project, name) == nil {
			return modelNotFound(name)
		}
		if err := x.mayRunBatch(&in.Models[i]); err != nil {
			return err
		}
	}
	x.batch = &batchCall{BatchInput: *in, op: op}
	if len(in.Models) == 1 {
		x.record.Model = clip(in.Models[0].Name)
	}
	if err := x.routePinned(in.Upstream); err != nil {
		return err
	}
	return x.consult()
}

func missing(param string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "missing_required_parameter", Param: param, Message: "Missing required parameter: '" + param + "'."}
}

// charge makes the charge of a batch that of its lines.
func (b *batchCall) charge(c *ledger.Charge) {
	c.Product, c.Batch, c.Input, c.Output = b.op.Meter, true, b.Input, b.Output
	if len(b.Models) == 1 {
		c.Model, c.UpstreamModel = b.Models[0].Name, b.Models[0].Upstream
	}
}

// batchBody gives the request the caller's body with the endpoint as the upstream writes it.
func (x *exchange) batchBody(s *step, req *outbound.Request) {
	span := x.fields.Span(x.call.Op.At.Endpoint)
	url := batch.URLFor(s.upstream, x.batch.Endpoint)
	if x.fields.Is(span, url) {
		req.Body = append(x.draft.segments[:0], x.body.data)
		return
	}
	req.Body = append(x.draft.segments[:0], x.body.data[:span.Start], []byte(`"`+url+`"`), x.body.data[span.End:])
}

// batchInputs is what this node knows of the files that batches are made from: a miss is answered by the database.
type batchInputs struct {
	mu   sync.Mutex
	byID map[string]*gatehouse.BatchInput // guarded by mu; what it holds does not change
}

const batchInputsMost = 1024

func (b *batchInputs) put(in *gatehouse.BatchInput) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byID == nil || len(b.byID) >= batchInputsMost {
		b.byID = make(map[string]*gatehouse.BatchInput)
	}
	b.byID[in.File] = in
}

func (b *batchInputs) get(file string) *gatehouse.BatchInput {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byID[file]
}

// batchInput returns what was read of a file, nil where nobody has read it. As with objects, another node may have read it within
// the last second.
func (g *Gateway) batchInput(ctx context.Context, file string) (*gatehouse.BatchInput, error) {
	for try := range 2 {
		if in := g.batches.get(file); in != nil {
			return in, nil
		}
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Second):
			}
		}
		if g.cfg.FindBatchInput == nil {
			return nil, nil
		}
		look, stop := context.WithTimeout(ctx, findTime)
		in, err := g.cfg.FindBatchInput(look, file)
		stop()
		switch {
		case err == nil:
			g.batches.put(in)
			return in, nil
		case gatehouse.KindOf(err) != gatehouse.NotFound:
			return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "ownership_unavailable", RetryAfterMillis: 1000,
				Message: "What is known of this file cannot be looked up right now. Try again.", Err: err}
		}
	}
	return nil, nil
}
