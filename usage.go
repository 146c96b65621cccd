package gatehouse

// Units is what a provider counts for one request. Details are subsets of their totals, as in OpenAI's usage objects: Cached,
// InputAudio, InputImage and InputText are parts of Input; Reasoning, OutputAudio, OutputImage and OutputText parts of Output.
type Units struct {
	Input        int64 `json:"input_tokens,omitempty"`
	Cached       int64 `json:"input_cached_tokens,omitempty"`
	CacheWrite   int64 `json:"input_cache_write_tokens,omitempty"`
	InputText    int64 `json:"input_text_tokens,omitempty"`
	InputAudio   int64 `json:"input_audio_tokens,omitempty"`
	InputImage   int64 `json:"input_image_tokens,omitempty"`
	CachedAudio  int64 `json:"input_cached_audio_tokens,omitempty"`
	CachedImage  int64 `json:"input_cached_image_tokens,omitempty"`
	Output       int64 `json:"output_tokens,omitempty"`
	Reasoning    int64 `json:"output_reasoning_tokens,omitempty"`
	OutputText   int64 `json:"output_text_tokens,omitempty"`
	OutputAudio  int64 `json:"output_audio_tokens,omitempty"`
	OutputImage  int64 `json:"output_image_tokens,omitempty"`
	Images       int64 `json:"images,omitempty"`
	Characters   int64 `json:"characters,omitempty"`
	Milliseconds int64 `json:"audio_milliseconds,omitempty"`
	// VideoMilliseconds is the length of the videos that were made.
	VideoMilliseconds int64 `json:"video_milliseconds,omitempty"`
	// Trained is the tokens that a fine-tuning job was trained on.
	Trained int64 `json:"trained_tokens,omitempty"`
	// What follows is calls of tools that the provider hosts and charges for. A search of the web counts as a preview where the
	// request had the preview tool, whose price is another.
	WebSearches       int64 `json:"web_searches,omitempty"`
	WebSearchPreviews int64 `json:"web_search_previews,omitempty"`
	FileSearches      int64 `json:"file_searches,omitempty"`
	// Containers are the sessions of code interpreters that were begun.
	Containers int64 `json:"containers,omitempty"`
}

// Confidence is where the numbers of a Usage come from.
type Confidence string

// The sources of a usage's numbers.
const (
	Reported  Confidence = "reported"  // the upstream said so
	Estimated Confidence = "estimated" // the upstream gave none, or the stream was cut; counted from the bytes that passed
	Recovered Confidence = "recovered" // the node died before it settled; the reserved amount stands
	// Unanswered is an attempt that was sent and of which nobody knows what became: its bound stands, on a line of its own.
	Unanswered Confidence = "unanswered"
	Pending    Confidence = "pending" // the work goes on; it is counted once it is done, under the id in Request.Work
)

// Usage is one settled request.
type Usage struct {
	ID             string // the request id; for work that outlives its request the upstream object's id
	At             Millis
	Organization   string
	Project        string
	Key            string
	User           string // owner of the key, when a user
	ServiceAccount string // owner of the key, when a service account
	Product        string // "completions", "embeddings", ...: OpenAI's usage endpoint this counts in
	Model          string // the deployment the caller asked for
	UpstreamModel  string
	Upstream       string
	ServiceTier    string
	Batch          bool
	Size           string // of images and videos, e.g. "1024x1024"
	Quality        string // of images, e.g. "hd"
	Source         string // of images, in OpenAI's words: "image.generation", "image.edit", "image.variation"
	Labels         string // what the caller said in headers (see LabelHeader): "name=value", separated by commas, in the order of names
	Units          Units
	Cost           NanoUSD
	CostKnown      bool  // false: no price for this model; Cost is 0 and means nothing
	Parts          Parts // of Cost
	Confidence     Confidence
}

// Attempt is one try at one route.
type Attempt struct {
	Upstream  string `json:"upstream"`
	Model     string `json:"model,omitempty"`
	Status    int    `json:"status,omitempty"` // 0: no answer
	Error     string `json:"error,omitempty"`  // redacted
	Millis    int64  `json:"ms"`               // from the first byte sent to the first byte of the answer
	RequestID string `json:"upstream_request_id,omitempty"`
}

// SkippedAttempt begins the Error of an Attempt that was not made: the route was passed over, and the rest says why.
const SkippedAttempt = "skipped: "

// Request is the decision behind one request, as `gatehouse explain` shows it: never a prompt, a completion or a secret.
type Request struct {
	ID              string     `json:"id"`
	ClientRequestID string     `json:"client_request_id,omitempty"`
	At              Millis     `json:"at"`
	Organization    string     `json:"organization,omitempty"`
	Project         string     `json:"project,omitempty"`
	Key             string     `json:"key,omitempty"`
	Owner           string     `json:"owner,omitempty"`
	IP              string     `json:"ip,omitempty"`
	UserAgent       string     `json:"user_agent,omitempty"`
	Dialect         string     `json:"dialect,omitempty"`
	Method          string     `json:"method"`
	Route           string     `json:"route,omitempty"` // the path's pattern, not the path
	Model           string     `json:"model,omitempty"`
	Deployment      string     `json:"deployment,omitempty"`
	Stream          bool       `json:"stream,omitempty"`
	Status          int        `json:"status"`
	Rule            string     `json:"rule"` // the rule that decided: "served", or why not, e.g. "key_revoked"
	Detail          string     `json:"detail,omitempty"`
	Attempts        []Attempt  `json:"attempts,omitempty"`
	UpstreamModel   string     `json:"upstream_model,omitempty"`
	Units           *Units     `json:"usage,omitempty"`
	Confidence      Confidence `json:"usage_source,omitempty"`
	Cost            NanoUSD    `json:"cost_nano_usd,omitempty"`
	CostKnown       bool       `json:"cost_known"`
	BytesIn         int64      `json:"bytes_in"`
	BytesOut        int64      `json:"bytes_out"`
	Millis          int64      `json:"ms"`
	FirstByteMillis int64      `json:"first_byte_ms,omitempty"`
	ClientLeft      bool       `json:"client_left,omitempty"`
	Labels          string     `json:"labels,omitempty"` // as Usage.Labels
	Work            string     `json:"work,omitempty"`   // the object under whose id the usage is counted, when Confidence is Pending
}

// Object is something an answer created and that later requests name by id. It belongs to the project that made it.
type Object struct {
	ID       string
	Project  string
	Upstream string
	Kind     string // "file", "response", ...
	// Deployment is what the request that made it asked for as its model, Model what the upstream knows that by; empty where the
	// request had none.
	Deployment string
	Model      string
	CreatedAt  Millis
	DeletedAt  Millis
}

// Add adds v to u, unit by unit.
func (u *Units) Add(v Units) {
	u.Input += v.Input
	u.Cached += v.Cached
	u.CacheWrite += v.CacheWrite
	u.InputText += v.InputText
	u.InputAudio += v.InputAudio
	u.InputImage += v.InputImage
	u.CachedAudio += v.CachedAudio
	u.CachedImage += v.CachedImage
	u.Output += v.Output
	u.Reasoning += v.Reasoning
	u.OutputText += v.OutputText
	u.OutputAudio += v.OutputAudio
	u.OutputImage += v.OutputImage
	u.Images += v.Images
	u.Characters += v.Characters
	u.Milliseconds += v.Milliseconds
	u.VideoMilliseconds += v.VideoMilliseconds
	u.Trained += v.Trained
	u.WebSearches += v.WebSearches
	u.WebSearchPreviews += v.WebSearchPreviews
	u.FileSearches += v.FileSearches
	u.Containers += v.Containers
}
