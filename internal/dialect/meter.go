package dialect

import (
	"strings"

	"gatehouse/internal/dialect/usage"
)

// indirect are the operations that make an upstream call models later, or in ways that their answers do not count, and what they are
// metered in. What they cost is in no answer of theirs: they are counted without a price.
var indirect = map[string]string{
	"evals.runs.create":             "evals",
	"fine_tuning.alpha.graders.run": "graders",
	"agents.sessions.create":        "agents",
	"agents.sessions.events.create": "agents",
}

// Indirect reports whether an operation's cost can be told neither from a request nor from its answer.
func (o *Op) Indirect() bool { return indirect[o.Name] != "" }

// unknownMeters are the products whose endpoints call models, and what a call of one that nobody described counts in.
var unknownMeters = map[string]string{
	"chat": "completions", "completions": "completions", "responses": "completions", "threads": "completions", "assistants": "completions",
	"embeddings": "embeddings", "moderations": "moderations", "images": "images", "audio": "audio_speeches", "videos": "videos",
	"decisions": "decisions", "evals": "evals", "agents": "agents",
}

// unknownUsage is where the answers of such an endpoint say what they used, if they do.
func unknownUsage(product string) usage.Shape {
	switch product {
	case "chat", "completions":
		return usage.Chat
	case "images":
		return usage.Images
	case "audio":
		return usage.Transcription
	}
	return usage.Responses
}

// readUnknown fills in how endpoints are metered that nobody described, or that nobody can count.
func (o *Op) readUnknown() {
	if meter := indirect[o.Name]; meter != "" {
		o.Meter = meter
	}
	if o.Unknown = strings.HasSuffix(o.Name, ".other.write"); o.Unknown {
		o.Meter, o.Usage = unknownMeters[o.Product], unknownUsage(o.Product)
	}
}

// MeterOf returns what a call counts in, "" where it costs nothing. named says that it names a model.
func (o *Op) MeterOf(named bool) string {
	if o.Unknown && o.Meter == "" && named {
		return "completions"
	}
	return o.Meter
}
