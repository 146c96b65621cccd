package gateway

import (
	"context"
	"io"
	"net/http"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/gateway/outbound"
)

// fetchTimeout is how long an upstream may take to begin an answer to the steward, and between two pieces of it.
const fetchTimeout = 30 * time.Second

// ErrUpstreamRemoved is what Fetch returns where the upstream that holds the object is no longer configured.
var ErrUpstreamRemoved error = &gatehouse.Error{Kind: gatehouse.NotFound, Code: "upstream_removed", Message: "The upstream that holds this object is no longer configured."}

// Fetch reads an object of a piece of work at its own upstream: path is below /v1. It goes the way of a request, with the upstream's
// credential, its connections and its guarded dialer, and is no request: nothing is metered, and nobody is asking. The caller closes
// the body, and reads no more of it than it has use for.
func (g *Gateway) Fetch(ctx context.Context, w *gatehouse.Work, path string) (status int, body io.ReadCloser, err error) {
	up := g.cfg.Catalog.Upstream(w.UpstreamID)
	if up == nil || up.Organization != w.Organization {
		return 0, nil, ErrUpstreamRemoved
	}
	call, err := dialect.Parse(http.MethodGet, "/v1"+path, "")
	if err != nil {
		return 0, nil, err
	}
	target, err := call.Target(up, w.UpstreamModel)
	if err != nil {
		return 0, nil, err
	}
	ep, credential, err := g.endpoints.get(ctx, up)
	if err != nil {
		return 0, nil, err
	}
	req := outbound.Request{Method: http.MethodGet, URI: target, Credential: credential, Header: []outbound.Field{
		{Name: "Accept", Value: "*/*"}, {Name: "Accept-Encoding", Value: "identity"}, {Name: "User-Agent", Value: "gatehouse"}, {Name: "X-Client-Request-Id", Value: w.Request},
	}}
	if name, value := work.Header(w.Kind); name != "" {
		req.Header = append(req.Header, outbound.Field{Name: name, Value: value})
	}
	if up.Dialect == gatehouse.Mock {
		req.Header = append(req.Header, outbound.Field{Name: "OpenAI-Project", Value: w.Project})
	}
	resp, err := ep.client.Do(ctx, &req, outbound.Timeouts{Connect: g.cfg.Timeouts.Connect, FirstByte: fetchTimeout, Idle: fetchTimeout})
	if err != nil {
		return 0, nil, err
	}
	if resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden {
		g.endpoints.refused(up)
	}
	content, err := identity(resp)
	if err != nil {
		resp.Close()
		return 0, nil, err
	}
	return resp.Status, fetched{content, resp}, nil
}

// fetched is the body of an answer, closed with it.
type fetched struct {
	io.Reader
	resp *outbound.Response
}

func (f fetched) Close() error {
	f.resp.Close()
	return nil
}
