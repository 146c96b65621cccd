package gatehouse

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// WebhookEndpoint is where a project has its events sent, in the words of OpenAI's webhook endpoints. Each message is signed as Standard
// Webhooks has it.
type WebhookEndpoint struct {
	ID           string
	Organization string
	Project      string
	Name         string
	URL          string // https://...
	EventTypes   []string
	// Secret is the sealed:// reference of what messages are signed with, and OldSecret of what they were signed with before, which goes
	// on signing beside it until OldUntil. Hint is the end of the secret, to tell secrets apart.
	Secret    string
	OldSecret string
	OldUntil  Millis
	Hint      string
	CreatedAt Millis
	UpdatedAt Millis
	RemovedAt Millis
	Rev       int64
}

// ProjectEvent is what happened in a project that its webhook endpoints are told of.
type ProjectEvent struct {
	ID           string // the same for the same thing, so that it is told once however many nodes saw it
	Organization string
	Project      string
	Type         string // one of WebhookEventTypes
	Data         json.RawMessage
	At           Millis
}

// WebhookEventTypes are the types of events that an endpoint can have sent, as openai-node 7.55 lists them. Gatehouse sees the end of
// responses, batches, videos and fine-tuning jobs; the others are taken and happen nowhere it looks.
var WebhookEventTypes = []string{
	"batch.cancelled", "batch.completed", "batch.expired", "batch.failed",
	"response.cancelled", "response.completed", "response.failed", "response.incomplete",
	"fine_tuning.job.cancelled", "fine_tuning.job.failed", "fine_tuning.job.succeeded",
	"video.completed", "video.failed",
	"eval.run.canceled", "eval.run.failed", "eval.run.succeeded",
	"realtime.call.incoming",
	"agent.environment.expired", "agent.environment.failed", "agent.environment.ready", "agent.environment.suspended",
	"agent.session.action_required", "agent.session.created", "agent.session.failed", "agent.session.idle", "agent.session.in_progress",
	"safety.alert.created",
}

// MaxWebhookEndpoints bounds the endpoints of a project.
const MaxWebhookEndpoints = 20

// WorkEvent returns the event that some work has ended with a status, as its object says it; nil for work and statuses that no type of
// event is about.
func WorkEvent(w *Work, status string, at Millis) *ProjectEvent {
	name := string(w.Kind) + "." + status
	if w.Project == "" || !slices.Contains(WebhookEventTypes, name) {
		return nil
	}
	sum := sha256.Sum256([]byte(w.UpstreamID + "\n" + w.ID + "\n" + name))
	data, err := json.Marshal(map[string]string{"id": w.ID})
	if err != nil {
		panic(err) // a text always encodes
	}
	return &ProjectEvent{ID: PrefixProjectEvent + hex.EncodeToString(sum[:16]), Organization: w.Organization, Project: w.Project, Type: name, Data: data, At: at}
}

// CheckEventTypes returns an Invalid error unless there is a type, and each is known and there once.
func CheckEventTypes(types []string) error {
	if len(types) == 0 {
		return InvalidParam("event_types", "Invalid 'event_types': must have at least one type.")
	}
	for i, name := range types {
		if !slices.Contains(WebhookEventTypes, name) {
			return InvalidParam("event_types", "Invalid 'event_types': %q is no type of event. GET /v1/webhook_event_types lists them.", name)
		}
		if slices.Contains(types[:i], name) {
			return InvalidParam("event_types", "Invalid 'event_types': %q is there twice.", name)
		}
	}
	return nil
}
