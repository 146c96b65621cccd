package gatehouse

// Work is what an upstream goes on doing after the request that asked for it was answered: it is open from that answer on until
// somebody saw its end. Its usage is counted once, under its ID, by whoever sees the end first: a stream that runs to it, a node
// that polls.
type Work struct {
	ID             string // the upstream object's id
	Kind           WorkKind
	Request        string // the request that began it
	Organization   string
	Project        string
	Key            string
	User           string // owner of the key, when a user
	ServiceAccount string // owner of the key, when a service account
	Product        string // as Usage.Product
	Model          string // the deployment the caller asked for
	UpstreamID     string
	Upstream       string // its name
	Dialect        Dialect
	UpstreamModel  string
	ServiceTier    string
	PricedAs       string // the model's name in the table of prices, where the route says one
	Size           string // of a video
	Quality        string
	Batch          bool
	Labels         string // as Usage.Labels
	At             Millis // when it began
	Expires        Millis // not waited for any longer than this: settled at its reserve
	Input          int64  // what is reserved, in tokens
	Output         int64
	// VideoMilliseconds is reserved beside tokens, for videos.
	VideoMilliseconds int64
	Poll              string // the path below /v1 that reads it, e.g. "/threads/thread_1/runs/run_1"
	Next              Millis // when it is to be looked at
	Tries             int64  // how often it was looked at
	// Bound is what it may cost at most, which counts in Budgets from when it began until it ends, at Node.
	Bound   NanoUSD
	Node    string
	Budgets []BudgetWindow
}

// WorkKind is the closed set of kinds of work.
type WorkKind string

// The kinds of work.
const (
	WorkResponse   WorkKind = "response"
	WorkRun        WorkKind = "thread.run"
	WorkBatch      WorkKind = "batch"
	WorkVideo      WorkKind = "video"
	WorkFineTuning WorkKind = "fine_tuning.job"
)

// BatchInput is what was read of a batch's input file when it was uploaded: what its lines ask for and may cost at most. A batch
// over a file without one is refused.
type BatchInput struct {
	File      string // the upstream object's id
	Project   string
	Upstream  string // the id of the one upstream that every line may go to
	Endpoint  string // what every line calls, as OpenAI writes it: "/v1/chat/completions"
	Lines     int64
	Input     int64 // the sum of the lines' bounds, in tokens
	Output    int64
	Models    []BatchModel // in the order of their names
	CreatedAt Millis
}

// BatchModel is one model of a BatchInput.
type BatchModel struct {
	Name     string `json:"name"`     // the deployment that the lines asked for
	Upstream string `json:"upstream"` // what the upstream calls it, and what stands in the lines it got
	Lines    int64  `json:"lines"`
	// Most is what its lines may use at most altogether, and Open what of that has no upper bound, as bits of package bound.
	Most Units `json:"most,omitzero"`
	Open int64 `json:"open,omitempty"`
}
