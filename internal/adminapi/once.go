package adminapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"

	"gatehouse"
	"gatehouse/internal/secret"
)

// replayed is an answer that was given before, as it was written then.
type replayed []byte

// maxAnswer bounds the answers that are kept for calls that are repeated.
const maxAnswer = 64 << 10

// shownOnce finds the members of an answer that hold a secret. Such an answer is not kept: a secret exists once, in the answer that
// creates it.
var shownOnce = regexp.MustCompile(`"(value|secret|link)":"`)

// once makes a call that has an Idempotency-Key, or gives the answer of the one that was made with it before.
func (a *API) once(ctx context.Context, c *call, rt *route, name string) (any, error) {
	if len(name) > 255 {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "Invalid Idempotency-Key: it must have at most 255 characters.")
	}
	if secret.Redact(name) != name {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "Invalid Idempotency-Key: it holds what looks like a credential. Treat that as leaked, and use a random value.")
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, c.Body, maxBody+1))
	if err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The request body could not be read, or is larger than 4 MiB.", Err: err}
	}
	c.Body = io.NopCloser(bytes.NewReader(text))
	h := sha256.New()
	h.Write([]byte(c.URL.RequestURI() + "\n"))
	h.Write(text)
	who := *c.who
	who.Once = &gatehouse.Once{Name: name, Hash: hex.EncodeToString(h.Sum(nil))}
	c.who = &who
	made, before, err := a.cfg.Admin.Answered(ctx, c.who, name, who.Once.Hash)
	if err != nil {
		return nil, err
	}
	if made != 0 {
		c.status = made
		c.w.Set("Idempotent-Replayed", "true")
		return replayed(before), nil
	}
	answer, err := rt.handler(ctx, c)
	if err != nil {
		return nil, err
	}
	written, err := json.Marshal(answer, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	status, kept := c.status, string(written)
	if len(written) > maxAnswer || shownOnce.Match(written) || secret.Redact(kept) != kept {
		status, kept = -1, ""
	}
	// The change is made, so that its answer is given whether or not it can be kept.
	keep, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if err := a.cfg.Admin.Keep(keep, c.who, status, kept); err != nil {
		a.cfg.Logger.Warn("the answer of a call with an Idempotency-Key is not kept", "request_id", who.RequestID, "error", err)
	}
	return answer, nil
}
