// Package client is the Go client of Gatehouse's own API: what OpenAI's Admin API has, and what it does not (keys of every class,
// upstreams, deployments, manifests, usage, explanations). The command line and tests use it; programs may.
//
// It owns requests and shapes. It decides nothing, keeps nothing and never repeats a request: a create that was lost on its way
// back may have happened, and only its caller can find out.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config is what a client is made from.
type Config struct {
	// URL is where Gatehouse is, e.g. http://127.0.0.1:4180.
	URL string
	// AdminKey is an sk-admin- key. It is sent to URL and nowhere else: redirects are not followed.
	AdminKey string
	// HTTPClient makes the requests; nil means one with the standard transport. A copy of it is used.
	HTTPClient *http.Client
	// Timeout bounds each request, from its start to the end of its answer. Default 30 s; a change may take 2 s to reach every node.
	Timeout time.Duration
}

// Client calls one Gatehouse as one admin key. Its methods may be called concurrently.
type Client struct {
	base    string
	http    http.Client
	timeout time.Duration
	// authorize is a function so that no way of printing a Client prints the key.
	authorize func(http.Header)
}

const (
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 20
	// pageSize is the most elements the API lists at a time.
	pageSize = "100"
)

// New returns a client. It makes no request.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http or https URL such as http://127.0.0.1:4180", cfg.URL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the URL must not have credentials, a query or a fragment")
	}
	c := &Client{base: strings.TrimSuffix(strings.TrimRight(cfg.URL, "/"), "/v1"), timeout: cfg.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if cfg.HTTPClient != nil {
		c.http = *cfg.HTTPClient
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	bearer := "Bearer " + cfg.AdminKey
	c.authorize = func(h http.Header) {
		if cfg.AdminKey != "" {
			h.Set("Authorization", bearer)
		}
	}
	return c, nil
}

// Error is an answer of the API that is not a success.
type Error struct {
	Status    int    // of the HTTP response
	Code      string // in OpenAI's vocabulary, e.g. invalid_api_key; may be empty
	Param     string // the field at fault; may be empty
	Message   string
	RequestID string // what `gatehouse explain` and the server's log know the request by
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Answer is embedded in everything the API answers with.
type Answer struct {
	// JSON is the object as the server sent it, with fields this client does not know.
	JSON json.RawMessage `json:"-"`
}

func (a *Answer) keep(raw json.RawMessage) { a.JSON = raw }

// answer is a pointer to a T that embeds Answer.
type answer[T any] interface {
	*T
	keep(json.RawMessage)
}

// request is one call of the API. body is encoded as JSON unless it is []byte or a csvBody, which are sent as they are.
type request struct {
	method string
	path   []string // segments, unescaped
	query  url.Values
	body   any
}

// do makes one request and decodes its answer into a T.
func do[T any, P answer[T]](ctx context.Context, c *Client, r request) (*T, error) {
	raw, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return decode[T, P](raw)
}

func decode[T any, P answer[T]](raw json.RawMessage) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	P(v).keep(raw)
	return v, nil
}

// all lists page after page. The sequence ends after the first error.
func all[T any, P answer[T]](ctx context.Context, c *Client, query url.Values, path ...string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		q := url.Values{"limit": {pageSize}}
		for k, v := range query {
			q[k] = v
		}
		for {
			raw, err := c.send(ctx, request{method: http.MethodGet, path: path, query: q})
			if err != nil {
				yield(nil, err)
				return
			}
			var page struct {
				Data    []json.RawMessage `json:"data"`
				LastID  string            `json:"last_id"`
				HasMore bool              `json:"has_more"`
				Next    string            `json:"next"` // OpenAI's lists have it or last_id
			}
			if err := json.Unmarshal(raw, &page); err != nil {
				yield(nil, fmt.Errorf("read the server's answer: %w", err))
				return
			}
			for _, element := range page.Data {
				v, err := decode[T, P](element)
				if !yield(v, err) || err != nil {
					return
				}
			}
			// A page that does not move on would be asked for without end.
			at := page.LastID + page.Next
			if !page.HasMore || at == "" || at == q.Get("after") {
				return
			}
			q.Set("after", at)
		}
	}
}

// send makes one request and returns the body of a successful answer.
func (c *Client) send(ctx context.Context, r request) (json.RawMessage, error) {
	ctx, stop := context.WithTimeout(ctx, c.timeout)
	defer stop()
	req, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or nothing more of it matters
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the server's answer is larger than %d bytes", maxAnswer)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp, body)
	}
	return body, nil
}

func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	target := c.base
	for _, segment := range r.path {
		if segment == "" {
			return nil, errors.New("an id or a name is empty")
		}
		target += "/" + escape(segment)
	}
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	contentType := "application/json"
	switch b := r.body.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(b), "application/yaml"
	case csvBody:
		body, contentType = b.Reader, "text/csv"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", "gatehouse-client")
	c.authorize(req.Header)
	return req, nil
}

// escape writes a segment of a path so that no name in it, "..", "/" or "*" included, means anything to a path.
func escape(segment string) string {
	return strings.ReplaceAll(url.PathEscape(segment), ".", "%2E")
}

// refusal turns an answer that is not a success into an Error.
func refusal(resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id")}
	var envelope struct {
		Error struct {
			Message string `json:"message"`
			Code    string `json:"code"`
			Param   string `json:"param"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &envelope); err == nil && envelope.Error.Message != "" {
		e.Message, e.Code, e.Param = envelope.Error.Message, envelope.Error.Code, envelope.Error.Param
		return e
	}
	e.Message = "the server answered " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode) + " and not as a Gatehouse does"
	return e
}

// Deletion is what removing something answers with.
type Deletion struct {
	Answer
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
	// EffectiveBy is set when a node did not answer: it may act on what it knew until this time (unix seconds). 0: the deletion
	// holds everywhere.
	EffectiveBy int64 `json:"effective_by"`
}
