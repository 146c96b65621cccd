package adminapi

import (
	"context"
	"net/http"
	"net/url"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// webhookEndpoint is OpenAI's.
type webhookEndpoint struct {
	Object     string   `json:"object"`
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	URL        string   `json:"url"`
	EventTypes []string `json:"event_types"`
	CreatedAt  int64    `json:"created_at"`
	UpdatedAt  int64    `json:"updated_at"`
	Hint       *string  `json:"signing_secret_hint"`
	Secret     string   `json:"signing_secret,omitempty"`
}

func showEndpoint(e *gatehouse.WebhookEndpoint) (*webhookEndpoint, string) {
	return &webhookEndpoint{Object: "webhook_endpoint", ID: e.ID, Name: e.Name, URL: e.URL, EventTypes: e.EventTypes, CreatedAt: e.CreatedAt.Seconds(), UpdatedAt: e.UpdatedAt.Seconds(), Hint: text(e.Hint)}, e.ID
}

type endpointRequest struct {
	Name       *string   `json:"name"`
	URL        *string   `json:"url"`
	EventTypes *[]string `json:"event_types"`
}

func (r *endpointRequest) update() admin.EndpointUpdate {
	return admin.EndpointUpdate{Name: optional(r.Name), URL: optional(r.URL), EventTypes: optional(r.EventTypes)}
}

// Webhooks answers what a project asks of its webhook endpoints, and which events there are. The
// gateway has authenticated who asks, and that their scopes cover it.
type Webhooks struct {
	Admin *admin.Service
	// Test sends a test event to an endpoint and returns the status that its receiver answered with, 0 and why where there was none.
	Test func(ctx context.Context, e *gatehouse.WebhookEndpoint, eventType string) (status int, err error)
}

// Serve answers one call: the operation by its name in the table of operations, and the id of its path, "" for none.
func (s *Webhooks) Serve(ctx context.Context, who *gatehouse.Principal, op, id string, query url.Values, body []byte) (any, error) {
	switch op {
	case "webhook_event_types.list":
		return struct {
			Object string   `json:"object"`
			Data   []string `json:"data"`
		}{"list", gatehouse.WebhookEventTypes}, nil
	case "webhook_endpoints.list":
		c := &call{Request: &http.Request{URL: &url.URL{RawQuery: query.Encode()}}}
		return listed(c, true, func(page store.Page) ([]gatehouse.WebhookEndpoint, bool, error) {
			return s.Admin.Endpoints(ctx, who, page)
		}, showEndpoint)
	case "webhook_endpoints.create":
		return s.create(ctx, who, body)
	case "webhook_endpoints.rotate_secret":
		return s.rotate(ctx, who, id, body)
	case "webhook_endpoints.test":
		return s.test(ctx, who, id, body)
	case "webhook_endpoints.delete":
		if err := s.Admin.DeleteEndpoint(ctx, who, id); err != nil {
			return nil, err
		}
		return deleted{Object: "webhook_endpoint.deleted", ID: id, Deleted: true}, nil
	case "webhook_endpoints.update":
		req, err := decoded[endpointRequest](body)
		if err != nil {
			return nil, err
		}
		e, err := s.Admin.UpdateEndpoint(ctx, who, id, req.update())
		return shown(e, err, showEndpoint)
	case "webhook_endpoints.retrieve":
		e, err := s.Admin.Endpoint(ctx, who, id)
		return shown(e, err, showEndpoint)
	}
	return nil, &gatehouse.Error{Kind: gatehouse.NotFound, Message: "Unknown operation " + op + "."}
}

func (s *Webhooks) create(ctx context.Context, who *gatehouse.Principal, body []byte) (any, error) {
	req, err := decoded[endpointRequest](body)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name  string
		there bool
	}{{"name", req.Name != nil}, {"url", req.URL != nil}, {"event_types", req.EventTypes != nil}} {
		if err := required(f.name, f.there); err != nil {
			return nil, err
		}
	}
	e, minted, err := s.Admin.CreateEndpoint(ctx, who, req.update())
	if err != nil {
		return nil, err
	}
	v, _ := showEndpoint(e)
	v.Secret = minted.Reveal()
	return v, nil
}

func (s *Webhooks) rotate(ctx context.Context, who *gatehouse.Principal, id string, body []byte) (any, error) {
	req, err := decoded[struct {
		Keep *bool `json:"keep_old_secret_active_for_24_hours"`
	}](body)
	if err != nil {
		return nil, err
	}
	e, minted, err := s.Admin.RotateEndpoint(ctx, who, id, optional(req.Keep))
	if err != nil {
		return nil, err
	}
	v, _ := showEndpoint(e)
	v.Secret = minted.Reveal()
	return v, nil
}

// endpointTest is OpenAI's: success is that there was an answer, whatever its status.
type endpointTest struct {
	Object    string `json:"object"`
	Endpoint  string `json:"webhook_endpoint_id"`
	EventType string `json:"event_type"`
	Status    int    `json:"status_code"`
	Success   bool   `json:"success"`
}

func (s *Webhooks) test(ctx context.Context, who *gatehouse.Principal, id string, body []byte) (any, error) {
	req, err := decoded[struct {
		EventType string `json:"event_type"`
	}](body)
	if err != nil {
		return nil, err
	}
	if err := required("event_type", req.EventType != ""); err != nil {
		return nil, err
	}
	if gatehouse.CheckEventTypes([]string{req.EventType}) != nil {
		return nil, gatehouse.InvalidParam("event_type", "Invalid 'event_type': GET /v1/webhook_event_types lists the types there are.")
	}
	e, err := s.Admin.Endpoint(ctx, who, id)
	if err != nil {
		return nil, err
	}
	status, err := s.Test(ctx, e, req.EventType)
	if err != nil && status == 0 {
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "webhook_test_failed", Param: "url", NoRetry: true, Message: "The test event got no answer: " + err.Error() + "."}
	}
	return endpointTest{"webhook_endpoint.test", id, req.EventType, status, true}, nil
}
