package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
)

// maxBill bounds one page of what a provider says it billed.
const maxBill = 32 << 20

// FetchBill reads what the provider behind an upstream says about money: path is below /v1. It goes to the upstream's own host, through
// the guarded dialer, with an admin key of the provider instead of the upstream's credential: reference names it, and it is bound to
// that host like every credential. It returns a *gatehouse.Error of kind BadUpstream where the provider does not answer with a page.
func (g *Gateway) FetchBill(ctx context.Context, up *gatehouse.Upstream, reference, path string) ([]byte, error) {
	if up.Dialect != gatehouse.OpenAI {
		return nil, gatehouse.InvalidParam("upstream", "Upstream `%s` is no account of OpenAI's: its dialect is %s.", up.Name, up.Dialect)
	}
	value, err := g.cfg.Resolve(ctx, up.Organization, reference)
	if err != nil {
		return nil, err
	}
	client, err := outbound.NewEndpoint(outbound.Config{BaseURL: up.BaseURL, AllowPrivate: up.AllowPrivate, HTTP2: up.HTTP2})
	if err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_misconfigured", NoRetry: true, Message: "Upstream `" + up.Name + "` cannot be called: its base_url is not usable.", Err: err}
	}
	defer client.Close()
	req := outbound.Request{Method: http.MethodGet, URI: dialect.AdminTarget(up, path),
		Credential: outbound.Credential{Name: "Authorization", Value: secret.NewText("Bearer " + value.Reveal()), Origin: client.Origin()},
		Header:     []outbound.Field{{Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "identity"}, {Name: "User-Agent", Value: "gatehouse"}}}
	resp, err := client.Do(ctx, &req, outbound.Timeouts{Connect: g.cfg.Timeouts.Connect, FirstByte: fetchTimeout, Idle: fetchTimeout})
	if err != nil {
		return nil, billError(up, "upstream_unreachable", "did not answer", err)
	}
	defer resp.Close()
	content, err := identity(resp)
	if err != nil {
		return nil, billError(up, "upstream_encoding", "answered in an encoding that cannot be read", err)
	}
	body, err := io.ReadAll(io.LimitReader(content, maxBill+1))
	switch {
	case err != nil:
		return nil, billError(up, "upstream_unreachable", "broke its answer off", err)
	case len(body) > maxBill:
		return nil, billError(up, "upstream_bill_refused", fmt.Sprintf("answered with more than %d bytes", maxBill), nil)
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return nil, billError(up, "upstream_credential_refused", "does not accept the admin key (it must be one of an organization owner, with the permission api.usage.read)", nil)
	case resp.Status != http.StatusOK:
		return nil, billError(up, "upstream_bill_refused", fmt.Sprintf("answered with status %d", resp.Status), nil)
	}
	return body, nil
}

func billError(up *gatehouse.Upstream, code, what string, cause error) error {
	return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: code, Message: "The provider of upstream `" + up.Name + "` " + what + ".", Err: cause}
}
