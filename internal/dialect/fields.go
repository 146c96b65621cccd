package dialect

import (
	"slices"
	"strings"

	"gatehouse/internal/dialect/strictjson"
)

// FieldRule is one field of a JSON body that is read because it moves a price or a permission, or names an object.
type FieldRule struct {
	strictjson.Field
	Object string // the kind of object a string there names; "" for a field that names none
	Prefix string // not empty: only a string that begins with it names one
	Model  bool   // a string there names a model that the caller must be allowed to use, as the top-level model does
	// Within are the values with which a request keeps to what it brings along; with any other it reads what the whole upstream
	// account has.
	Within []string
}

// FieldIndex are the positions of the fields that are asked for by name, as strictjson.Result.Span takes them; -1 where an
// operation does not read the field.
type FieldIndex struct {
	Model, Stream, StreamOptions, IncludeUsage                 int
	MaxTokens, MaxCompletionTokens, MaxOutputTokens, N, BestOf int
	ServiceTier, Tools, MaxToolCalls, Background, Store        int
	Modalities, WebSearchOptions, Prediction                   int
	Size, Quality, Seconds, PartialImages, InputFidelity       int
	Prompt, Input, StreamFormat, PreviousResponse              int
	PromptCacheKey                                             int
	Endpoint, InputBlob, Purpose                               int // of a batch, and of an upload
	ToolType                                                   int // in Result.Found: the type of each tool
	Metadata                                                   int // in Result.Found: every object of that name
	AnyToolType                                                int // in Result.Found: the type of each tool in any list of tools
}

const (
	str      = strictjson.String
	text     = strictjson.String | strictjson.Null
	number   = strictjson.Number | strictjson.Null
	boolean  = strictjson.Bool | strictjson.Null
	object   = strictjson.Object | strictjson.Null
	array    = strictjson.Array | strictjson.Null
	anything = strictjson.String | strictjson.Number | strictjson.Bool | strictjson.Null | strictjson.Object | strictjson.Array
)

func policy(path string, kinds strictjson.Kind) FieldRule {
	return FieldRule{Field: strictjson.Field{Path: path, Kinds: kinds}}
}

func reference(path, object string) FieldRule {
	kinds := text
	if !strings.HasPrefix(path, "**.") {
		kinds = anything // where an id may stand, a server may take an object too, whose own fields have their own rules
	}
	return FieldRule{Field: strictjson.Field{Path: path, Kinds: kinds}, Object: object}
}

func model(path string) FieldRule {
	return FieldRule{Field: strictjson.Field{Path: path, Kinds: text}, Model: true}
}

// voice is where the name of a voice stands: those that a project made are named by id, as a string or in an object.
func voice(path string) []FieldRule {
	own := policy(path, anything)
	own.Object, own.Prefix = "audio.voice", "voice_"
	return []FieldRule{own, reference(path+".id", "audio.voice")}
}

func within(path string, values ...string) FieldRule {
	rule := policy(path, text)
	rule.Within = values
	return rule
}

// metadata is free for the caller's own use, so what looks like a reference inside it is none.
var metadata = policy("**.metadata", strictjson.Object)

// toolType is what kind of tool stands in a list of tools, wherever that stands: in a request, an item, an assistant, an eval.
var toolType = policy("**.tools[].type", anything)

// fileReferences are what names a file, wherever it stands.
var fileReferences = []FieldRule{
	metadata,
	toolType,
	reference("**.file_id", "file"),
}

// objectReferences are the names that mean an object wherever they stand, and the commoner words at the places where they do.
var objectReferences = []FieldRule{
	metadata,
	toolType,
	reference("**.file_id", "file"),
	reference("**.file_ids[]", "file"),
	reference("**.file_ids", "file"), // one alone, as some servers take it for a list
	reference("**.input_file_id", "file"),
	reference("**.training_file", "file"),
	reference("**.validation_file", "file"),
	reference("**.vector_store_id", "vector_store"),
	reference("**.vector_store_ids[]", "vector_store"),
	reference("**.vector_store_ids", "vector_store"),
	reference("**.previous_response_id", "response"),
	reference("**.response_id", "response"),
	reference("**.comparison_response_id", "response"),
	reference("**.video_id", "video"),
	reference("**.conversation_id", "conversation"),
	reference("**.thread_id", "thread"),
	reference("**.assistant_id", "assistant"),
	reference("**.skill_id", "skill"),
	reference("**.container_id", "container"),
	reference("**.batch_id", "batch"),
	reference("**.upload_id", "upload"),
	reference("**.part_ids[]", "upload.part"),
	reference("**.input_reference", "file"),
	reference("**.agent_id", "agent"),
	reference("**.vault_id", "vault"),
	reference("**.vault_ids[]", "vault"),
	reference("**.voice_id", "audio.voice"),
	reference("conversation", "conversation"),
	reference("conversation.id", "conversation"),
	reference("prompt.id", "prompt"),
	reference("tools[].container", "container"),
	reference("input[].tools[].container", "container"),
	reference("items[].tools[].container", "container"),
	reference("data_source.sampling_params.tools[].container", "container"),
	reference("video", "video"),
	reference("video.id", "video"),
	reference("characters[].id", "video.character"),
	// An element that is only an id: see item.
	policy("input[]", anything), policy("input[].type", anything), policy("input[].id", anything), policy("input[].role", anything),
	policy("input[].content", anything), policy("input[].encrypted_content", anything), policy("input[].result", anything),
	policy("items[]", anything), policy("items[].type", anything), policy("items[].id", anything), policy("items[].role", anything),
	policy("items[].content", anything), policy("items[].encrypted_content", anything), policy("items[].result", anything),
}

// brought are what a request brings along beside text, or says where to fetch: it is counted otherwise than its bytes. Where
// only a picture or a recording can stand, its bytes are none of the text; anywhere else, as in the schema of a tool, they may be.
var brought = []FieldRule{
	policy("**.image_url", strictjson.String),
	policy("**.image_url.url", strictjson.String),
	policy("**.file_data", strictjson.String),
	policy("**.file_url", strictjson.String),
}

// innerModels are models that a request names beside its own: the image model of a tool, the judge of a moderation.
var innerModels = []FieldRule{
	model("tools[].model"),
	model("input[].tools[].model"),
	model("moderation.model"),
}

// evaluation is where an eval takes its data from, and the models it calls.
var evaluation = slices.Concat(objectReferences, []FieldRule{
	within("data_source_config.type", "custom"),
	within("data_source.source.type", "file_content", "file_id"),
	reference("data_source.source.id", "file"),
	model("data_source.model"),
	model("testing_criteria[].model"),
})

// grading are the graders of fine-tuning.
var grading = slices.Concat(work, []FieldRule{
	model("grader.model"),
	model("method.reinforcement.grader.model"),
})

// acting are the references of agents, beside those that all have.
var acting = slices.Concat(work, []FieldRule{
	reference("**.session_id", "agent.session"),
	reference("**.environment_id", "agent.environment"),
	reference("**.environment_template_id", "agent.environment_template"),
	reference("**.automation_id", "agent.automation"),
	reference("**.credential_id", "vault.credential"),
	model("agent.model"),
})

// streaming are the fields Gatehouse owns in a chat stream.
var streaming = []FieldRule{
	policy("stream", boolean),
	policy("stream_options", object),
	policy("stream_options.include_usage", boolean),
}

// answers are the fields of the Responses API.
var answers = slices.Concat(objectReferences, brought, innerModels, []FieldRule{
	policy("stream", boolean),
	policy("max_output_tokens", number),
	policy("max_tool_calls", number),
	policy("service_tier", text),
	policy("prompt_cache_key", text),
	policy("background", boolean),
	policy("store", boolean),
	policy("tools", array),
	policy("tools[].type", anything),
	policy("tools[].size", anything),
	policy("tools[].quality", anything),
	policy("tools[].partial_images", anything),
	policy("input[].tools[].type", anything),
	policy("input[].content[].image_url", anything),
	policy("input[].content[].input_audio.data", anything),
	policy("input[].output[].image_url", anything),
	policy("input[].output.image_url", anything),
	policy("prompt", anything),
	policy("modalities", array),
})

// rules are the fields of the operations that call models, beside `model` itself. Every other operation with a JSON body reads
// the objects it names, and those with a model what caps and streams its work.
var rules = map[string][]FieldRule{
	"chat.completions.create": slices.Concat(streaming, fileReferences, brought, []FieldRule{
		policy("messages", anything),
		policy("**.input_audio.data", str),
		policy("max_tokens", number),
		policy("max_completion_tokens", number),
		policy("n", number),
		policy("service_tier", text),
		policy("prompt_cache_key", text),
		policy("store", boolean),
		policy("tools", array),
		policy("tools[].type", anything),
		policy("modalities", array),
		policy("web_search_options", object),
		policy("prediction", object),
		policy("data_sources", anything), // Azure's: what is found there goes into the prompt
		model("moderation.model"),
		reference("messages[].audio.id", "audio"),
	}, voice("audio.voice")),
	"completions.create": slices.Concat(streaming, []FieldRule{
		policy("max_tokens", number),
		policy("n", number),
		policy("best_of", number),
		policy("prompt", anything),
		policy("service_tier", text),
	}),
	"responses.create":       answers,
	"responses.input_tokens": answers,
	"responses.compact":      answers,
	"decisions.create":       answers,
	"embeddings.create":      {policy("service_tier", text)},
	"moderations.create":     {},
	"images.generate": {
		policy("stream", boolean),
		policy("n", number),
		policy("size", text),
		policy("quality", text),
		policy("partial_images", number),
	},
	"images.edit": slices.Concat(fileReferences, brought, []FieldRule{
		policy("images", anything),
		policy("stream", boolean),
		policy("n", number),
		policy("size", text),
		policy("quality", text),
		policy("partial_images", number),
		policy("input_fidelity", text),
	}),
	"audio.speech.create": slices.Concat([]FieldRule{
		policy("input", text),
		policy("stream_format", text),
	}, voice("voice")),
	"batches.create":                slices.Concat(objectReferences, []FieldRule{policy("endpoint", str), policy("input_blob", anything)}), // input_blob: Azure's, for a file that nobody has read
	"uploads.create":                slices.Concat(objectReferences, []FieldRule{policy("purpose", text)}),
	"evals.create":                  evaluation,
	"evals.runs.create":             evaluation,
	"fine_tuning.jobs.create":       grading,
	"fine_tuning.alpha.graders.run": grading,
}

// work is what an operation that is not in rules reads when it may call a model.
var work = slices.Concat(objectReferences, brought, innerModels, []FieldRule{
	policy("stream", boolean),
	policy("n", number),
	policy("max_tokens", number),
	policy("max_prompt_tokens", number),
	policy("max_completion_tokens", number),
	policy("max_output_tokens", number),
	policy("service_tier", text),
	policy("tools", array),
	policy("tools[].type", anything),
	policy("seconds", anything),
	policy("size", text),
	policy("quality", text),
})

// formFields are the fields of multipart bodies that are read; a second part of that name is a 400.
var formFields = map[string][]string{
	"images.edit":                 {"model", "stream", "n", "size", "quality", "partial_images", "input_fidelity"},
	"images.variation":            {"model", "n", "size"},
	"audio.transcriptions.create": {"model", "stream", "response_format"},
	"audio.translations.create":   {"model", "response_format"},
	"audio.voices.create":         {"consent"},
	"videos.create":               {"model", "seconds", "size", "input_reference", "input_reference[file_id]"},
	"videos.edits.create":         {"model", "seconds", "size", "video", "video[id]"},
	"videos.extensions.create":    {"model", "seconds", "size", "video", "video[id]"},
	"videos.remix":                {"model", "seconds", "size"},
	"containers.files.create":     {"file_id"},
	"files.create":                {"purpose"},
}

// FormObject returns the kind of object that the text of a multipart field names, "" for a field that names none.
func FormObject(field string) string {
	switch field {
	case "file_id", "input_reference", "input_reference[file_id]":
		return "file"
	case "video", "video[id]":
		return "video"
	case "consent":
		return "audio.voice_consent"
	}
	return ""
}

// FormFiles are the fields that FormObject knows and that may be a file instead, which then names nothing.
var FormFiles = []string{"input_reference", "video"}

// readFields fills in what an operation reads of its body.
func (o *Op) readFields() {
	o.At = indexOf(nothing)
	if o.Body == BodyForm || o.Body == BodyJSONOrForm || o.Body == BodyAny {
		if o.FormFields = formFields[o.Name]; o.FormFields == nil && o.Model != ModelNone {
			o.FormFields = []string{"model"}
		}
		o.FormObjects = slices.ContainsFunc(o.FormFields, func(name string) bool { return FormObject(name) != "" })
	}
	if o.Body == BodyNone || o.Body == BodyForm || o.Refused != "" {
		return
	}
	own, known := rules[o.Name]
	switch {
	case known:
	case o.Product == "agents":
		own = acting
	case o.Model == ModelNone:
		own = objectReferences
	default:
		own = work
	}
	o.fields, o.Spec = compile(o.Model, own)
	for i := range o.fields {
		if o.fields[i].isSingle() && o.fields[i].names() {
			o.naming = append(o.naming, i)
		}
	}
	o.At = indexOf(o.Spec)
}

var nothing = strictjson.NewSpec()

func indexOf(s *strictjson.Spec) FieldIndex {
	return FieldIndex{
		Model: s.Index("model"), Stream: s.Index("stream"), StreamOptions: s.Index("stream_options"), IncludeUsage: s.Index("stream_options.include_usage"),
		MaxTokens: s.Index("max_tokens"), MaxCompletionTokens: s.Index("max_completion_tokens"), MaxOutputTokens: s.Index("max_output_tokens"),
		N: s.Index("n"), BestOf: s.Index("best_of"),
		ServiceTier: s.Index("service_tier"), Tools: s.Index("tools"), MaxToolCalls: s.Index("max_tool_calls"), Background: s.Index("background"), Store: s.Index("store"),
		Modalities: s.Index("modalities"), WebSearchOptions: s.Index("web_search_options"), Prediction: s.Index("prediction"),
		Size: s.Index("size"), Quality: s.Index("quality"), Seconds: s.Index("seconds"), PartialImages: s.Index("partial_images"), InputFidelity: s.Index("input_fidelity"),
		Prompt: s.Index("prompt"), Input: s.Index("input"), StreamFormat: s.Index("stream_format"), PreviousResponse: s.Index("**.previous_response_id"),
		PromptCacheKey: s.Index("prompt_cache_key"),
		ToolType:       s.Index("tools[].type"),
		AnyToolType:    s.Index("**.tools[].type"),
		Metadata:       s.Index("**.metadata"),
		Endpoint:       s.Index("endpoint"), InputBlob: s.Index("input_blob"), Purpose: s.Index("purpose"),
	}
}

// compiled are the lists that were compiled already: most operations share theirs, and compiling one takes milliseconds.
var compiled = map[compiledKey]*compiledList{}

type compiledKey struct {
	rule  ModelRule
	first *FieldRule // the list, by its identity
	n     int
}

type compiledList struct {
	fields []FieldRule
	spec   *strictjson.Spec
}

// compile returns a list with the field model before it, and its Spec. It is called while the package's variables are made, by
// one goroutine.
func compile(rule ModelRule, own []FieldRule) ([]FieldRule, *strictjson.Spec) {
	key := compiledKey{rule: rule, n: len(own)}
	if len(own) > 0 {
		key.first = &own[0]
	}
	if c, ok := compiled[key]; ok {
		return c.fields, c.spec
	}
	var list []FieldRule
	switch rule {
	case ModelRequired:
		list = append(list, policy("model", str))
	case ModelOptional:
		list = append(list, policy("model", text))
	}
	list = append(list, own...)
	fields := make([]strictjson.Field, len(list))
	for i, f := range list {
		fields[i] = f.Field
	}
	c := &compiledList{list, strictjson.NewSpec(fields...)}
	compiled[key] = c
	return c.fields, c.spec
}

// Fields returns the closed list of the fields that are read of a JSON body, in the order of Spec. It must not be changed.
func (o *Op) Fields() []FieldRule { return o.fields }

// Reference is an object or a model that a body names, or more than that.
type Reference struct {
	ID      string
	Kind    string // of the object; "" when Model or Account is set
	Param   string // the field, as an error names it
	Model   bool
	Account bool // the value of the field asks for what the whole upstream account has; ID is that value
	Told    bool // the object is brought along whole, so that nobody need have recorded it
}

// References appends what a scanned body names to dst: objects that the caller's project must own, models beside the top-level
// one that the caller must be allowed to use, and fields that ask for what nobody tells apart. It allocates only when there are any, and its time is proportional to the
// number of fields found.
func (o *Op) References(r *strictjson.Result, dst []Reference) []Reference {
	for _, i := range o.naming {
		dst = o.fields[i].appendTo(dst, r, r.Span(i))
	}
	// From the end, because an object is found where it ends: metadata before what is inside it, an item before its members.
	var own strictjson.Span // the metadata we are in
	var last item
	for i := len(r.Found) - 1; i >= 0; i-- {
		found := r.Found[i]
		if own.Start < found.Span.Start && found.Span.End < own.End {
			continue
		}
		f := &o.fields[found.Field]
		switch f.Path {
		case metadata.Path:
			own = found.Span
		case "input[]", "items[]":
			dst = last.appendTo(dst, r)
			last = item{param: f.Path}
		case "input[].id", "items[].id":
			last.id = found.Span
		case "input[].type", "items[].type":
			last.typ = found.Span
		case "input[].role", "items[].role":
			last.role = found.Span
		case "input[].content", "items[].content", "input[].encrypted_content", "items[].encrypted_content", "input[].result", "items[].result":
			last.told = last.told || found.Span.Kind&(strictjson.String|strictjson.Array) != 0 && found.Span.End-found.Span.Start > len(`""`)
		default:
			dst = f.appendTo(dst, r, found.Span)
		}
	}
	return last.appendTo(dst, r)
}

// names reports whether the field names anything that References returns.
func (f *FieldRule) names() bool { return f.Object != "" || f.Model || f.Within != nil }

// isSingle reports whether the field has one place, so that its value is in Result.Span. That of any other is in Result.Found.
func (f *FieldRule) isSingle() bool {
	return !strings.HasPrefix(f.Path, "**.") && !strings.Contains(f.Path, "[]")
}

func (f *FieldRule) appendTo(dst []Reference, r *strictjson.Result, s strictjson.Span) []Reference {
	if !f.names() || s.Kind == 0 {
		return dst
	}
	id, ok := r.Text(s)
	if !ok || id == "" || !strings.HasPrefix(id, f.Prefix) || slices.Contains(f.Within, id) {
		return dst
	}
	return append(dst, Reference{ID: id, Kind: f.Object, Model: f.Model, Account: f.Within != nil, Param: strings.TrimPrefix(f.Path, "**.")})
}

// item is an element of a Responses input. One that says only its id, {"type": "item_reference", "id": ...}, whose type may be
// left out, stands for an item that the upstream stored, and so do a reasoning and a picture without their content. Every other
// brings its content along, and its id refers to nothing.
type item struct {
	param         string
	id, typ, role strictjson.Span
	told          bool // it has content
}

func (it *item) appendTo(dst []Reference, r *strictjson.Result) []Reference {
	if it.id.Kind != strictjson.String {
		return dst
	}
	bare := it.typ.Kind != strictjson.String && it.role.Kind != strictjson.String
	stored := !bare && !r.Is(it.typ, "item_reference") // its type has a content of its own
	if stored && !r.Is(it.typ, "reasoning") && !r.Is(it.typ, "image_generation_call") {
		return dst
	}
	id, ok := r.Text(it.id)
	if !ok || id == "" {
		return dst
	}
	return append(dst, Reference{ID: id, Kind: "item", Param: it.param, Told: stored && it.told})
}
