package otlp

import (
	"crypto/rand"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"gatehouse"
)

// The field numbers of opentelemetry/proto/trace/v1/trace.proto and of what it is made of. They are frozen there; the test decodes
// what is written here with the project's own generated code.
const (
	requestResourceSpans   = 1
	resourceSpansResource  = 1
	resourceSpansScopes    = 2
	resourceSpansSchemaURL = 3
	resourceAttributes     = 1
	scopeSpansScope        = 1
	scopeSpansSpans        = 2
	scopeName              = 1
	scopeVersion           = 2
	spanTraceID            = 1
	spanID                 = 2
	spanParentID           = 4
	spanName               = 5
	spanKind               = 6
	spanStart              = 7
	spanEnd                = 8
	spanAttributes         = 9
	spanStatus             = 15
	statusCode             = 3
	attributeKey           = 1
	attributeValue         = 2
	valueString            = 1
	valueBool              = 2
	valueInt               = 3
	valueArray             = 5
	arrayValues            = 1

	kindServer  = 2
	kindClient  = 3
	statusError = 2
)

const schemaURL = "https://opentelemetry.io/schemas/1.37.0"

// encode writes one message with the spans of a batch.
func (e *Exporter) encode(batch []Exchange) []byte {
	var spans []byte
	for i := range batch {
		spans = appendExchange(spans, &batch[i])
	}
	scope := appendText(appendText(nil, scopeName, "gatehouse"), scopeVersion, e.cfg.Version)
	scopes := append(appendMessage(nil, scopeSpansScope, scope), spans...)
	b := append([]byte{}, e.resource...)
	b = appendMessage(b, resourceSpansScopes, scopes)
	b = appendText(b, resourceSpansSchemaURL, schemaURL)
	return appendMessage(nil, requestResourceSpans, b)
}

func appendResource(b []byte, cfg *Config) []byte {
	var a attributes
	a.text(resourceAttributes, "service.name", cfg.Service)
	a.text(resourceAttributes, "service.version", cfg.Version)
	a.text(resourceAttributes, "service.instance.id", cfg.Node)
	return appendMessage(b, resourceSpansResource, a)
}

// appendExchange writes the spans of one exchange: its own, and one for each attempt below it.
func appendExchange(b []byte, x *Exchange) []byte {
	trace, parent, _, continued := parseTraceparent(x.Traceparent)
	if !continued {
		_, _ = rand.Read(trace[:]) // never returns an error
	}
	own := newSpanID()
	r := &x.Request
	operation := operationName(r.Route)
	end := r.At + gatehouse.Millis(r.Millis)

	s := span{trace: trace, id: own, name: spanNameOf(operation, r.Model), kind: kindServer, start: r.At, end: end, failed: r.Status >= 500}
	if continued {
		s.parent = parent[:]
	}
	s.text("gen_ai.operation.name", operation)
	s.text("gen_ai.request.model", r.Model)
	s.text("gen_ai.response.model", r.UpstreamModel)
	s.provider(x.Dialect)
	if x.Units != (gatehouse.Units{}) {
		s.int("gen_ai.usage.input_tokens", x.Units.Input)
		s.int("gen_ai.usage.output_tokens", x.Units.Output)
	}
	s.text("http.request.method", r.Method)
	s.text("http.route", r.Route)
	s.int("http.response.status_code", int64(r.Status))
	s.text("gatehouse.request_id", r.ID)
	s.text("gatehouse.client_request_id", r.ClientRequestID)
	s.text("gatehouse.organization", r.Organization)
	s.text("gatehouse.project", r.Project)
	s.text("gatehouse.key", r.Key)
	s.text("gatehouse.deployment", r.Deployment)
	s.text("gatehouse.rule", r.Rule)
	s.bool("gatehouse.stream", r.Stream)
	if r.Status >= 400 {
		s.text("error.type", r.Rule)
	}
	b = s.append(b)

	// The record knows how long each attempt took to its first byte and not when it began: they follow one another, and the last
	// ends with the answer.
	at := r.At
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if strings.HasPrefix(a.Error, gatehouse.SkippedAttempt) {
			continue
		}
		c := span{trace: trace, id: newSpanID(), parent: own[:], name: spanNameOf(operation, a.Model), kind: kindClient, start: at, end: at + gatehouse.Millis(a.Millis), failed: a.Status == 0 || a.Status >= 400}
		if last := i == len(r.Attempts)-1; last {
			if r.FirstByteMillis > 0 {
				c.start = max(at, r.At+gatehouse.Millis(r.FirstByteMillis-a.Millis))
			}
			c.end = max(end, c.start)
			c.provider(x.Dialect)
		}
		at = c.end
		c.text("gen_ai.operation.name", operation)
		c.text("gen_ai.request.model", a.Model)
		c.text("gatehouse.upstream", a.Upstream)
		c.int("gatehouse.attempt", int64(i+1))
		if a.Status != 0 {
			c.int("http.response.status_code", int64(a.Status))
		}
		if a.RequestID != "" {
			c.texts("http.response.header.x-request-id", a.RequestID)
		}
		switch {
		case a.Error != "":
			kind, _, _ := strings.Cut(a.Error, ":")
			c.text("error.type", kind)
		case a.Status >= 400:
			c.text("error.type", strconv.Itoa(a.Status))
		}
		b = c.append(b)
	}
	return b
}

// span is one span being written.
type span struct {
	trace      [16]byte
	id         [8]byte
	parent     []byte
	name       string
	kind       uint64
	start, end gatehouse.Millis
	failed     bool
	attributes attributes
}

func (s *span) text(key, value string)  { s.attributes.text(spanAttributes, key, value) }
func (s *span) int(key string, n int64) { s.attributes.int(spanAttributes, key, n) }
func (s *span) bool(key string, v bool) { s.attributes.bool(spanAttributes, key, v) }
func (s *span) texts(key, value string) { s.attributes.texts(spanAttributes, key, value) }

// provider names who answered, under the attribute's name of today and the one before.
func (s *span) provider(d gatehouse.Dialect) {
	name := ""
	switch d {
	case gatehouse.OpenAI:
		name = "openai"
	case gatehouse.Azure:
		name = "azure.ai.openai"
	case gatehouse.Mock:
		name = "gatehouse.mock"
	}
	s.text("gen_ai.provider.name", name)
	s.text("gen_ai.system", name)
}

func (s *span) append(b []byte) []byte {
	var m []byte
	m = appendBytes(m, spanTraceID, s.trace[:])
	m = appendBytes(m, spanID, s.id[:])
	if len(s.parent) > 0 {
		m = appendBytes(m, spanParentID, s.parent)
	}
	m = appendText(m, spanName, s.name)
	m = protowire.AppendVarint(protowire.AppendTag(m, spanKind, protowire.VarintType), s.kind)
	m = protowire.AppendFixed64(protowire.AppendTag(m, spanStart, protowire.Fixed64Type), uint64(s.start)*1e6)
	m = protowire.AppendFixed64(protowire.AppendTag(m, spanEnd, protowire.Fixed64Type), uint64(s.end)*1e6)
	m = append(m, s.attributes...)
	if s.failed {
		m = appendMessage(m, spanStatus, protowire.AppendVarint(protowire.AppendTag(nil, statusCode, protowire.VarintType), statusError))
	}
	return appendMessage(b, scopeSpansSpans, m)
}

// attributes are encoded attributes of a message. Empty texts are left out.
type attributes []byte

func (a *attributes) add(field protowire.Number, key string, value []byte) {
	*a = appendMessage(*a, field, appendMessage(appendText(nil, attributeKey, key), attributeValue, value))
}

func (a *attributes) text(field protowire.Number, key, value string) {
	if value != "" {
		a.add(field, key, appendText(nil, valueString, value))
	}
}

func (a *attributes) int(field protowire.Number, key string, n int64) {
	a.add(field, key, protowire.AppendVarint(protowire.AppendTag(nil, valueInt, protowire.VarintType), uint64(n)))
}

func (a *attributes) bool(field protowire.Number, key string, v bool) {
	a.add(field, key, protowire.AppendVarint(protowire.AppendTag(nil, valueBool, protowire.VarintType), protowire.EncodeBool(v)))
}

// texts is an attribute that is a list, of one text.
func (a *attributes) texts(field protowire.Number, key, value string) {
	list := appendMessage(nil, arrayValues, appendText(nil, valueString, value))
	a.add(field, key, appendMessage(nil, valueArray, list))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendMessage(b []byte, field protowire.Number, m []byte) []byte {
	return appendBytes(b, field, m)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(s, "?"))
}

func newSpanID() (id [8]byte) {
	_, _ = rand.Read(id[:]) // never returns an error
	return id
}

// operations are GenAI's names for what an operation does. One that has none there keeps its own.
var operations = map[string]string{
	"chat.completions.create": "chat",
	"responses.create":        "chat",
	"completions.create":      "text_completion",
	"embeddings.create":       "embeddings",
}

func operationName(route string) string {
	if name := operations[route]; name != "" {
		return name
	}
	return route
}

func spanNameOf(operation, model string) string {
	switch {
	case operation == "":
		return "request" // of a path nobody knows
	case model == "":
		return operation
	}
	return operation + " " + model
}
