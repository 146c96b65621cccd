package dialect

import (
	"net/http"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
)

// BodyKind is what a request body of an operation may be.
type BodyKind uint8

// The kinds of bodies.
const (
	BodyNone       BodyKind = iota // no body is read
	BodyJSON                       // application/json
	BodyForm                       // multipart/form-data
	BodyJSONOrForm                 // either, by Content-Type
	BodyAny                        // an endpoint we do not know: any media type; JSON and forms are read where they name a model
)

// ModelRule is whether a request names a model, and what happens when it does not.
type ModelRule uint8

// The rules.
const (
	ModelNone     ModelRule = iota // the operation has no model of its own
	ModelOptional                  // the body may name one; else DefaultModel, else the upstream of the object or of the project
	ModelRequired                  // a request without one is a 400
)

// StoreRule is when an answer creates an object that later requests name by id.
type StoreRule uint8

// The rules. The field is the body's top-level boolean `store`.
const (
	StoreAlways      StoreRule = iota // whenever Op.Creates is set
	StoreUnlessFalse                  // unless `store` is false (responses)
	StoreIfTrue                       // only if `store` is true (chat completions)
)

// PathRef says that one segment of an operation's path names an object.
type PathRef struct {
	Segment int    // index into the segments of Call.Path, 0 is the product
	Kind    string // "file", "response", ...
}

// Op is one operation: one row of the closed table in ops.go. Ops are package variables: compare and keep pointers.
type Op struct {
	Name    string // the label in metrics and in explain records, e.g. "chat.completions.create"
	Method  string // "" stands for every method other than GET, in a product's row for what it does not know
	Pattern string // below /v1, e.g. "/files/{file_id}/content"; "*" at the end stands for one or more segments
	Product string // the first segment, e.g. "chat"

	Body         BodyKind
	Model        ModelRule
	DefaultModel string      // the model the endpoint documents for a body without one
	Usage        usage.Shape // where an answer says what it used
	Meter        string      // the usage endpoint of OpenAI this counts in: "completions", "embeddings", ...; "" is not metered
	Scope        string      // what a restricted key needs
	Read         bool        // enough for it: api.all.read

	Creates string     // the kind of object an answer creates, "" for none
	Stores  StoreRule  // when it does
	Hands   usage.Made // the further objects an answer may make, or name for the first time, beside what it creates
	Deletes string     // the kind of object that Call.Ref names and that a successful answer ends
	Refs    []PathRef  // objects the path names, outermost first
	List    bool       // answers with objects of the whole upstream account

	// Unknown says that nobody described the endpoint: a product's row for what it does not know. A request there that names a model is
	// metered also where the product has no Meter, because it may well call one.
	Unknown bool

	Begins gatehouse.WorkKind // the work that goes on after an answer, counted by the object's id; "" for none
	Shows  gatehouse.WorkKind // an answer shows how far such work is; it costs nothing itself

	Owned       bool // every object the path names, and what the answer creates, belongs to one project, and that is enforced
	SoleTenant  bool // answered only where the upstream's credential serves one project
	Once        bool // a create: may be sent a second time only if no byte of the first was written
	InjectUsage bool // a stream says what it used only when stream_options.include_usage asks for it
	TakesTier   bool // service_tier says how the request is run
	Local       bool // answered by Gatehouse from its own directory, never by an upstream
	// Spec is what is read of a JSON body, At where it is in a scan's result; nil for an operation without one.
	Spec *strictjson.Spec
	At   FieldIndex
	// FormFields are the parts of a multipart body that are read; each may be there once. FormObjects says that some of them name
	// objects, so that the whole form is read before any of it goes upstream.
	FormFields  []string
	FormObjects bool
	// BatchInput says that a form whose purpose is batch brings the input of one: its lines are judged like calls.
	BatchInput bool

	Refused string // not empty: why this is refused, as a sentence that ends the message

	deployment bool // Azure's classic path of this operation contains the deployment
	azureOnly  bool // the path exists in Azure's classic API alone
	inference  inferenceRule
	segments   []segment
	fields     []FieldRule
	naming     []int // the fields among them that have one place and name something there
}

// inferenceRule is whether Azure AI model inference has an operation.
type inferenceRule uint8

const (
	notInference  inferenceRule = iota
	alsoInference               // it is OpenAI's, below another path
	inferenceOnly
)

// segment is one part of a Pattern.
type segment struct {
	text string // the literal, or the name of the parameter
	kind segmentKind
}

type segmentKind uint8

const (
	segmentLiteral segmentKind = iota
	segmentParam               // {name}: exactly one segment
	segmentRest                // {name...} or *: one or more segments
)

// Refusal returns the error a refused operation is answered with, nil for one that is served.
func (o *Op) Refusal() *gatehouse.Error {
	if o.Refused == "" {
		return nil
	}
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "unsupported_endpoint", NoRetry: true,
		Message: "This gateway does not serve " + o.Pattern + ": " + o.Refused}
}

// objectKinds maps the name of a path parameter to the kind of object it names. What belongs to another object of the same path
// (an item of a conversation, a run of a thread) has no kind of its own: the outer object decides.
var objectKinds = map[string]string{
	"file_id":                     "file",
	"response_id":                 "response",
	"conversation_id":             "conversation",
	"completion_id":               "chat.completion",
	"upload_id":                   "upload",
	"batch_id":                    "batch",
	"vector_store_id":             "vector_store",
	"fine_tuning_job_id":          "fine_tuning.job",
	"fine_tuned_model_checkpoint": "model",
	"eval_id":                     "eval",
	"container_id":                "container",
	"skill_id":                    "skill",
	"video_id":                    "video",
	"character_id":                "video.character",
	"assistant_id":                "assistant",
	"thread_id":                   "thread",
	"voice_id":                    "audio.voice",
	"consent_id":                  "audio.voice_consent",
	"agent_id":                    "agent",
	"automation_id":               "agent.automation",
	"environment_id":              "agent.environment",
	"environment_template_id":     "agent.environment_template",
	"session_id":                  "agent.session",
}

// modelKind is the kind of a fine-tuned model, whose name is its id.
const modelKind = "model"

// build completes the rows: what follows from a pattern and a method is said once, here, and not in every row.
func build(rows []Op) []*Op {
	ops := make([]*Op, len(rows))
	for i := range rows {
		o := &rows[i]
		for n, text := range strings.Split(o.Pattern[1:], "/") {
			s := parseSegment(text)
			o.segments = append(o.segments, s)
			kind := objectKinds[s.text]
			if s.text == "model" && o.Owned {
				kind = modelKind
			}
			if s.kind != segmentLiteral && kind != "" {
				o.Refs = append(o.Refs, PathRef{Segment: n, Kind: kind})
			}
		}
		last := o.segments[len(o.segments)-1]
		o.Product = o.segments[0].text
		o.Read = o.Method == http.MethodGet
		if o.Scope == "" {
			o.Scope = "api." + o.Product + ".write"
			if o.Read {
				o.Scope = "api." + o.Product + ".read"
			}
		}
		if o.Method == http.MethodDelete && last.kind != segmentLiteral && len(o.Refs) == 1 && o.Refs[0].Segment == len(o.segments)-1 {
			o.Deletes = o.Refs[0].Kind
		}
		if o.Hands == 0 && o.Meter != "" {
			o.Hands = usage.MadeInside
		}
		if o.Method != http.MethodGet && o.Method != http.MethodDelete && o.Meter == "" {
			o.Once = true
		}
		o.readWork()
		o.readUnknown()
		o.readFields()
		o.InjectUsage = o.At.IncludeUsage >= 0
		o.TakesTier = o.Name == "chat.completions.create" || o.Name == "responses.create"
		ops[i] = o
	}
	return ops
}

func parseSegment(text string) segment {
	switch {
	case text == "*":
		return segment{kind: segmentRest}
	case strings.HasSuffix(text, "...}"):
		return segment{text: text[1 : len(text)-4], kind: segmentRest}
	case strings.HasPrefix(text, "{"):
		return segment{text: text[1 : len(text)-1], kind: segmentParam}
	}
	return segment{text: text}
}
