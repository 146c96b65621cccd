package dialect

import (
	"net/url"
	"strings"

	"gatehouse"
)

// Call is what a request asks for, read from its method, path and query alone. Its strings are parts of the request's own where
// they can be; it is a value, and nothing else refers to it.
type Call struct {
	Face       Face
	Op         *Op
	Method     string
	Path       string // below /v1 or /openai, escaped in one canonical way, e.g. "/chat/completions"; without Azure's deployment
	Query      string // the raw query to forward: without api-version (Azure) and without anything that carries a key
	Deployment string // Azure's classic path: the deployment, unescaped
	APIVersion string // Azure: the api-version as given, "" if absent
	Ref        string // the object the path names, unescaped: the one of Op.Refs[0]; "" if none
	PathModel  string // the model that a /models/{model} path names, unescaped
}

const (
	maxPath     = 4096
	maxQuery    = 8192
	maxSegments = 16
)

// ErrNotDataPlane is what Parse returns for a path that belongs to somebody else: the administration API below /v1/organization
// and /v1/projects, and everything that is neither /v1/... nor /openai/... nor one of the paths of Azure AI model inference.
var ErrNotDataPlane error = &gatehouse.Error{Kind: gatehouse.NotFound, Message: "This is not a data plane path. Models are called below /v1/ or /openai/."}

// Parse reads a request line. The path is the escaped one, as it came: what it names is decided before anything is unescaped, so
// that an encoded slash or dot never moves a segment. The error is a *gatehouse.Error that may be shown in the returned Call's
// Face, which is set in any case; an operation that is refused (Op.Refused) is not an error here, so that the caller can be
// authenticated first. It allocates nothing for a path and query without escapes.
func Parse(method, escapedPath, rawQuery string) (Call, error) {
	c := Call{Method: method}
	var segs segments
	switch firstSegment(escapedPath) {
	case "v1":
		if second := firstSegment(escapedPath[len("/v1"):]); second == "organization" || second == "projects" {
			return c, ErrNotDataPlane
		}
	case "openai":
		c.Face = FaceAzure
	case "models":
		if _, ok := inferenceProducts[firstSegment(escapedPath[len("/models"):])]; !ok {
			return c, ErrNotDataPlane // most likely an OpenAI client whose base URL lacks its /v1
		}
		c.Face = FaceAzureAI
	default:
		return c, ErrNotDataPlane
	}
	if err := segs.split(escapedPath); err != nil {
		return c, err
	}
	if !goodQuery(rawQuery) {
		return c, errQuery
	}
	rest := segs.from(1)
	if c.Face == FaceAzure && rest.n > 0 && rest.at(0) == "v1" {
		c.Face = FaceAzureV1
		rest = rest.from(1)
	}
	var ok bool
	if c.Query, c.APIVersion, ok = forwardQuery(rawQuery, c.Face.IsAzure()); !ok {
		return c, &gatehouse.Error{Kind: gatehouse.NotFound, Param: "api-version",
			Message: "Resource not found. The api-version in the query is not one: use YYYY-MM-DD or YYYY-MM-DD-preview, e.g. ?api-version=2024-10-21, or call /openai/v1/, which needs none."}
	}
	if c.Face == FaceAzure && c.APIVersion == "" {
		return c, &gatehouse.Error{Kind: gatehouse.NotFound, Param: "api-version",
			Message: "Resource not found. The api-version is missing from the query: add e.g. ?api-version=2024-10-21, or call /openai/v1/, which needs none."}
	}
	if c.Face == FaceAzure && rest.n > 2 && rest.at(0) == "deployments" {
		rest = c.takeDeployment(rest)
	}
	op, err := find(method, rest, c.Face)
	if op == nil {
		if err == errMethod {
			return c, methodNotAllowed(method, escapedPath)
		}
		return c, invalidURL(c.Face, method, escapedPath)
	}
	c.Op = op
	c.Path = rest.path()
	if segs.escaped {
		if c.Path, ok = canonical(rest, op); !ok {
			return c, errPath
		}
	}
	return c, c.readNames(rest)
}

// deploymentTails are the operations below a deployment in Azure's classic paths, the longer before what it ends with. They are
// looked for from the end, because clients send deployment names with bare slashes in them (openai-node 6).
var deploymentTails = [...][]string{
	{"extensions", "chat", "completions"},
	{"chat", "completions"},
	{"audio", "transcriptions"},
	{"audio", "translations"},
	{"audio", "speech"},
	{"images", "generations"},
	{"images", "edits"},
	{"completions"},
	{"embeddings"},
}

// extensionsPath is how 2023's previews of Azure called chat completions over one's own data.
const extensionsPath = "/extensions/chat/completions"

// takeDeployment reads deployments/{name}/{operation} and returns the operation's segments.
func (c *Call) takeDeployment(s segments) segments {
	tail := s.from(2) // an operation we do not know: the name is one segment
	for _, want := range deploymentTails {
		if s.n-1 > len(want) && s.endsWith(want) {
			tail = s.from(s.n - len(want))
			break
		}
	}
	c.Deployment = unescape(s.between(1, s.n-tail.n))
	return tail
}

// readNames fills in the object or model that the path names. An object's id has no slash, dot segment, control or non-ASCII
// character in it, however it is written; a model's may have a slash.
func (c *Call) readNames(s segments) error {
	for i, part := range c.Op.segments {
		switch {
		case part.kind == segmentLiteral || part.text == "":
		case part.text == "model":
			name := s.between(i, s.n)
			c.PathModel = unescape(name)
			if len(c.Op.Refs) > 0 {
				c.Ref = c.PathModel
			}
		default:
			id := unescape(s.at(i))
			if !goodID(id) {
				return invalidURL(c.Face, c.Method, c.Op.Pattern)
			}
			if len(c.Op.Refs) > 0 && c.Op.Refs[0].Segment == i {
				c.Ref = id
			}
		}
	}
	return nil
}

// Object returns the id that the path holds for one of Op.Refs.
func (c *Call) Object(r PathRef) string {
	if r.Kind == modelKind && c.PathModel != "" {
		return c.PathModel
	}
	var s segments
	if err := s.split(c.Path); err != nil || r.Segment >= s.n {
		return ""
	}
	return unescape(s.at(r.Segment))
}

// IsFineTuned reports whether a model's name is one that providers give to a fine-tuned model or a checkpoint of one, which belongs
// to who trained it: "ft:gpt-4o-mini:acme::1a2b3c" of OpenAI, "curie:ft-acme-..." before, "gpt-4o-mini.ft-1a2b3c" of Azure.
func IsFineTuned(model string) bool {
	return len(model) > 3 && strings.EqualFold(model[:3], "ft:") || strings.Contains(model, ":ft-") || strings.Contains(model, ".ft-")
}

// products finds the operations of a path by its first segment.
var products = func() map[string][]*Op {
	m := map[string][]*Op{}
	for _, o := range ops {
		m[o.Product] = append(m[o.Product], o)
	}
	return m
}()

// inferenceProducts are the first segments below /models of the operations that Azure AI model inference has.
var inferenceProducts = func() map[string]bool {
	m := map[string]bool{}
	for _, o := range ops {
		if o.inference != notInference {
			m[o.Product] = true
		}
	}
	return m
}()

// Ops returns every operation, in the order of the table.
func Ops() []*Op { return ops }

var errMethod = gatehouse.Errorf(gatehouse.MethodNotAllowed, "method not allowed")

// find returns the operation of a path and method. The first pattern that fits the path decides; when none of the operations with
// that pattern has the method, the error is errMethod.
func find(method string, s segments, face Face) (*Op, *gatehouse.Error) {
	if s.n == 0 {
		return nil, nil
	}
	if face == FaceAzure && s.n == 3 && s.path() == extensionsPath {
		s = s.from(1)
	}
	var known *Op
	for _, o := range products[s.at(0)] {
		if known != nil && o.Pattern != known.Pattern {
			continue
		}
		if !o.fits(s) || !o.in(face) {
			continue
		}
		if o.takes(method) {
			return o, nil
		}
		known = o
	}
	if known != nil {
		return nil, errMethod
	}
	return nil, nil
}

// in reports whether the operation's path exists in a face.
func (o *Op) in(face Face) bool {
	switch {
	case face == FaceAzureAI:
		return o.inference != notInference
	case o.inference == inferenceOnly:
		return false
	}
	return !o.azureOnly || face == FaceAzure
}

func (o *Op) takes(method string) bool {
	if o.Method != other {
		return o.Method == method
	}
	return method == post || method == del || method == "PUT" || method == "PATCH"
}

func (o *Op) fits(s segments) bool {
	for i, part := range o.segments {
		switch {
		case i >= s.n:
			return false
		case part.kind == segmentRest:
			return true
		case part.kind == segmentLiteral && part.text != s.at(i):
			return false
		}
	}
	return s.n == len(o.segments)
}

func invalidURL(face Face, method, path string) *gatehouse.Error {
	text := "Invalid URL ("
	if face.IsAzure() {
		text = "Resource not found ("
	}
	return &gatehouse.Error{Kind: gatehouse.NotFound, Message: text + shown(method, 16) + " " + shown(path, 200) + ")"}
}

func methodNotAllowed(method, path string) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.MethodNotAllowed, Message: "Not allowed to " + shown(method, 16) + " on " + shown(path, 200) + ". (HINT: Perhaps you meant to use a different HTTP method?)"}
}

// shown returns at most n characters of text that may be repeated in a message.
func shown(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "..."
	}
	for i := 0; i < len(text); i++ {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return "..."
		}
	}
	return text
}

// unescape returns a segment's text. It was validated by split, so it cannot fail.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	text, err := url.PathUnescape(s)
	if err != nil {
		return ""
	}
	return text
}
