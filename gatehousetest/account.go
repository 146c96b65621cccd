package gatehousetest

import (
	"encoding/json"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Account is an account at a provider: a server that keeps what it is asked to make, of every product whose objects later requests
// name by id, and gives it to whoever asks with the account's credential. It checks that what a request names is there, as a
// provider does, and knows of nobody's projects: whoever keeps those apart stands in front of it.
//
// It is written from OpenAI's reference, not from what Gatehouse makes of it, and is small: what is made looks as its create
// request did, with an id and a few members more.
type Account struct {
	URL string // without a trailing slash; paths begin with /v1

	mu       sync.Mutex
	things   map[string]*thing // by kind, parent and id
	order    []*thing
	serial   int
	requests int
}

// thing is one object of the account.
type thing struct {
	id, kind, parent string
	fields           map[string]any
}

// NewAccount starts an empty account that ends with the test.
func NewAccount(tb testing.TB) *Account {
	tb.Helper()
	a := &Account{things: map[string]*thing{}}
	s := httptest.NewServer(a)
	tb.Cleanup(s.Close)
	a.URL = s.URL
	return a
}

// Requests returns how many requests came so far.
func (a *Account) Requests() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// Has reports whether something of a kind is there, at the top or inside something else.
func (a *Account) Has(kind, id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.any(kind, id) != nil
}

// accountCall is one request, with mu held.
type accountCall struct {
	*Account
	w      http.ResponseWriter
	fields map[string]any // of the body
	path   []*thing       // what the path names, outermost first
	kind   string         // of what the path's last parameter, or a create, is about
	query  string
}

// missing is the refusal of a request that names what is not there.
type missing struct{ kind, id string }

// ServeHTTP answers one request.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	c := &accountCall{Account: a, w: w, query: r.URL.RawQuery}
	var err error
	if c.fields, err = readFields(r); err != nil {
		c.fail(http.StatusBadRequest, err.Error())
		return
	}
	route, names := findRoute(r.Method, strings.TrimPrefix(r.URL.Path, "/v1"))
	if route == nil {
		c.fail(http.StatusNotFound, "Invalid URL ("+r.Method+" "+r.URL.Path+")")
		return
	}
	parent := ""
	for _, n := range names {
		t := a.things[key(n.kind, parent, n.id)]
		if t == nil {
			c.fail(http.StatusNotFound, "No such "+n.kind+": "+n.id)
			return
		}
		c.path, parent = append(c.path, t), n.id
	}
	if m := a.missing("", c.fields); m != nil {
		c.fail(http.StatusNotFound, "No such "+m.kind+": "+m.id)
		return
	}
	c.kind = route.kind
	route.answer(c)
}

// readFields decodes a JSON body, or the text parts of a form with the names of its files.
func readFields(r *http.Request) (map[string]any, error) {
	fields := map[string]any{}
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // none for a request without a body
	switch media {
	case "multipart/form-data":
		f, err := multipart.NewReader(r.Body, params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return nil, err
		}
		for name, values := range f.Value {
			base, member, nested := strings.Cut(strings.TrimSuffix(name, "]"), "[")
			if nested && member != "" {
				fields[base] = map[string]any{member: values[0]}
			} else {
				fields[base] = values[0]
			}
		}
		for name, files := range f.File {
			fields["name_of_"+name] = files[0].Filename
		}
		return fields, f.RemoveAll()
	case "application/json":
		if r.ContentLength == 0 {
			return fields, nil
		}
		return fields, json.NewDecoder(r.Body).Decode(&fields)
	}
	return fields, nil
}

func key(kind, parent, id string) string { return kind + " " + parent + " " + id }

// add makes something inside the last thing the path names, or at the top.
func (c *accountCall) add(kind, id string, fields map[string]any) *thing {
	parent := ""
	if len(c.path) > 0 && slices.Contains(innerKinds, kind) {
		parent = c.path[len(c.path)-1].id
	}
	return c.put(kind, parent, id, fields)
}

func (a *Account) put(kind, parent, id string, fields map[string]any) *thing {
	if id == "" {
		a.serial++
		id = fmt.Sprintf("%s%04d", prefixes[kind], a.serial)
	}
	t := &thing{id, kind, parent, map[string]any{}}
	for name, value := range fields {
		t.fields[name] = value
	}
	t.fields["id"], t.fields["object"] = id, kind
	a.things[key(kind, parent, id)] = t
	a.order = append(a.order, t)
	return t
}

// drop takes something out, with what is inside it.
func (a *Account) drop(t *thing) {
	delete(a.things, key(t.kind, t.parent, t.id))
	a.order = slices.DeleteFunc(a.order, func(o *thing) bool { return o == t })
	for _, inner := range slices.Clone(a.order) {
		if inner.parent == t.id {
			a.drop(inner)
		}
	}
}

// any returns a thing of a kind wherever it is, or nil.
func (a *Account) any(kind, id string) *thing {
	for _, t := range a.order {
		if t.kind == kind && t.id == id {
			return t
		}
	}
	return nil
}

// missing looks through a body for the first thing it names that is not there. Metadata is the caller's own.
func (a *Account) missing(name string, value any) *missing {
	switch v := value.(type) {
	case map[string]any:
		if _, typed := v["type"]; name == "input" && (v["type"] == "item_reference" || !typed && v["role"] == nil && v["id"] != nil) {
			return a.absent("item", v["id"])
		}
		if kind := referenceObjects[name]; kind != "" && v["id"] != nil {
			if m := a.absent(kind, v["id"]); m != nil {
				return m
			}
		}
		for inner, value := range v {
			if inner == "metadata" {
				continue
			}
			if m := a.missing(inner, value); m != nil {
				return m
			}
		}
	case []any:
		for _, element := range v {
			if m := a.missing(name, element); m != nil {
				return m
			}
		}
	case string:
		if name == "model" && strings.HasPrefix(v, "ft:") {
			return a.absent("model", v)
		}
		if kind := referenceNames[name]; kind != "" {
			return a.absent(kind, v)
		}
	}
	return nil
}

func (a *Account) absent(kind string, id any) *missing {
	text, _ := id.(string)
	if a.any(kind, text) == nil {
		return &missing{kind, text}
	}
	return nil
}

func (c *accountCall) last() *thing { return c.path[len(c.path)-1] }

func (c *accountCall) answer(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(v) // a client that left needs no answer
}

func (c *accountCall) fail(status int, message string) {
	c.answer(status, map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": nil}})
}

// list answers with everything of a kind that is inside the last thing the path names, or at the top.
func (c *accountCall) list(kind string) {
	parent := ""
	if len(c.path) > 0 {
		parent = c.last().id
	}
	data := []any{}
	for _, t := range c.order {
		if t.kind == kind && t.parent == parent {
			data = append(data, t.fields)
		}
	}
	c.answer(http.StatusOK, map[string]any{"object": "list", "data": data, "has_more": false})
}
