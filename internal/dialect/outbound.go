package dialect

import (
	"net/url"
	"strings"

	"gatehouse"
)

// isClassic reports whether an upstream is called with Azure's classic paths: those with a dated api-version.
func isClassic(up *gatehouse.Upstream) bool {
	return up.Dialect == gatehouse.Azure && isDated(up.APIVersion)
}

// inPath reports whether the upstream's path of this operation, and not the body, names the model.
func (o *Op) inPath(up *gatehouse.Upstream) bool { return o.deployment && isClassic(up) }

// Target returns the request URI (path and query) for the call at an upstream; model is the upstream's own name for it and may be
// empty where the operation has none. The error is a *gatehouse.Error: the upstream needs a model that nobody named.
//
// BaseURL may end in a path. For the OpenAI wire it is everything before the operation's path, "/v1" if there is none. For Azure
// a path before /openai (an API gateway's, for instance) is kept, and /openai or /openai/v1 at its end may be there or not:
// APIVersion alone decides between the classic API (a date) and v1 (empty, v1, preview, latest).
func (c *Call) Target(up *gatehouse.Upstream, model string) (string, error) {
	b, err := c.AppendTarget(make([]byte, 0, 160), up, model)
	return string(b), err
}

// AppendTarget appends what Target returns to dst. Without escapes in the model it allocates only to grow dst.
func (c *Call) AppendTarget(dst []byte, up *gatehouse.Upstream, model string) ([]byte, error) {
	base := basePath(up.BaseURL)
	path := c.Path
	if path == extensionsPath && !hasExtensions(up) {
		path = path[len("/extensions"):]
	}
	version := ""
	switch {
	case up.Dialect != gatehouse.Azure:
		if base == "" {
			base = "/v1"
		}
		dst = append(dst, base...)
	case !isClassic(up):
		dst = append(append(dst, azureBase(base)...), "/openai/v1"...)
		if up.APIVersion != "v1" {
			version = up.APIVersion
		}
	case c.Op.deployment:
		if model == "" {
			return dst, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "missing_required_parameter", Param: "model",
				Message: "Missing required parameter: 'model'. This call goes to a deployment of Azure OpenAI, which must be named."}
		}
		dst = append(append(dst, azureBase(base)...), "/openai/deployments/"...)
		dst = append(dst, url.PathEscape(model)...)
		dst = append(dst, path...)
		return appendQuery(dst, up.APIVersion, c.Query), nil
	default:
		dst = append(append(dst, azureBase(base)...), "/openai"...)
		version = up.APIVersion
	}
	dst = append(dst, path...)
	return appendQuery(dst, version, c.Query), nil
}

// extensionsUntil is the first month of Azure's api-versions without /extensions/chat/completions: since then one's own data is a
// field of chat completions.
const extensionsUntil = "2024-02"

// hasExtensions reports whether an upstream has the path of 2023's previews for chat completions over one's own data.
func hasExtensions(up *gatehouse.Upstream) bool {
	return isClassic(up) && up.APIVersion < extensionsUntil
}

func appendQuery(dst []byte, version, query string) []byte {
	sep := byte('?')
	if version != "" {
		dst = append(append(dst, "?api-version="...), version...)
		sep = '&'
	}
	if query != "" {
		dst = append(append(dst, sep), query...)
	}
	return dst
}

// basePath returns the path of a base URL without the slash at its end.
func basePath(base string) string {
	if i := strings.Index(base, "://"); i >= 0 {
		base = base[i+3:]
	}
	i := strings.IndexByte(base, '/')
	if i < 0 {
		return ""
	}
	return strings.TrimRight(base[i:], "/")
}

// AdminTarget returns the path and query at an upstream of OpenAI's dialect for a path of its administration, which is no operation of
// the data plane: costs, usage.
func AdminTarget(up *gatehouse.Upstream, path string) string {
	base := basePath(up.BaseURL)
	if base == "" {
		base = "/v1"
	}
	return base + path
}

// azureBase returns what stands before /openai.
func azureBase(base string) string {
	if before, ok := strings.CutSuffix(base, "/openai/v1"); ok {
		return before
	}
	return strings.TrimSuffix(base, "/openai")
}

// ModelEdit is what has to happen to a body's model before it goes to an upstream.
type ModelEdit uint8

// The edits.
const (
	ModelKeep    ModelEdit = iota // forward the bytes as they came
	ModelReplace                  // set the body's model to the upstream's name
	ModelInsert                   // the body has no model and the upstream needs one there
)

// BodyModel returns what has to happen to the body's model at an upstream that knows it as model. present says that the body has
// the field, and body is its value.
//
// Azure's classic callers need not put a model in the body, and may put another than the deployment in their path there: the path
// wins. Where the upstream's path names the model, a body without one stays as it is.
func (c *Call) BodyModel(up *gatehouse.Upstream, present bool, body, model string) ModelEdit {
	switch {
	case c.Op.Model == ModelNone || model == "":
		return ModelKeep
	case present && body != model:
		return ModelReplace
	case present || c.Op.inPath(up):
		return ModelKeep
	case c.Deployment == "" && model == c.Op.DefaultModel:
		return ModelKeep
	}
	return ModelInsert
}

// streamOptionsSince is the first api-version of Azure that knows stream_options.
const streamOptionsSince = "2024-09-01"

// IncludeUsageKnown reports whether an upstream knows stream_options.include_usage. One that does not answers 400 to it.
func IncludeUsageKnown(up *gatehouse.Upstream) bool {
	return !isClassic(up) || up.APIVersion[:len(streamOptionsSince)] >= streamOptionsSince
}

// CredentialHeader returns the header that carries an upstream's credential and what stands before the credential in it. A
// CredentialHeader of the upstream's own carries the bare credential, unless it is Authorization.
func CredentialHeader(up *gatehouse.Upstream) (name, prefix string) {
	switch {
	case up.CredentialHeader != "" && strings.EqualFold(up.CredentialHeader, "Authorization"):
		return "Authorization", "Bearer "
	case up.CredentialHeader != "":
		return up.CredentialHeader, ""
	case up.Dialect == gatehouse.Azure:
		return "api-key", ""
	}
	return "Authorization", "Bearer "
}
