package dialect

import (
	"encoding/base64"
	"net/http"
	"strings"

	"gatehouse"
)

// Source is where in a request a credential stood.
type Source uint8

// The sources, in the order in which they win.
const (
	SourceNone            Source = iota // no credential at all
	SourceAPIKey                        // api-key
	SourceSubscriptionKey               // Ocp-Apim-Subscription-Key
	SourceBearer                        // Authorization: Bearer
	SourceBasic                         // Authorization: Basic, the password
)

var sourceNames = [...]string{"none", "api-key", "ocp-apim-subscription-key", "bearer", "basic"}

// String returns the source's name as logs show it.
func (s Source) String() string { return sourceNames[s] }

// maxCredential is the longest credential that is looked at; an access token of Entra ID is at most a few KiB.
const maxCredential = 16 << 10

// Presented returns the credential in a request's headers: in either face any of the headers that either face knows, so that a
// client that sends two is judged by the one its wire means. A header that is empty counts as absent. With no credential at all
// the key is "" and the error nil: see MissingCredential. The error is a *gatehouse.Error of kind Unauthenticated: a header that
// cannot be read, or that is there twice. h has canonical keys. It allocates nothing but for Basic.
func Presented(h http.Header) (key string, from Source, err error) {
	if key, err = single(h, "Api-Key", "api-key"); key != "" || err != nil {
		return key, SourceAPIKey, err
	}
	if key, err = single(h, "Ocp-Apim-Subscription-Key", "Ocp-Apim-Subscription-Key"); key != "" || err != nil {
		return key, SourceSubscriptionKey, err
	}
	values := h["Authorization"]
	if len(values) == 0 {
		return "", SourceNone, nil
	}
	if len(values) > 1 {
		return "", SourceBearer, badCredential("The Authorization header is there more than once. Send it once.")
	}
	scheme, text, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	text = strings.TrimLeft(text, " \t")
	switch {
	case scheme == "":
		return "", SourceNone, nil
	case strings.EqualFold(scheme, "bearer"):
		if text == "" {
			return "", SourceNone, nil
		}
		if !visible(text) {
			return "", SourceBearer, badCredential("The credential in the Authorization header has characters in it that no key has. Check it for line breaks, spaces and quotation marks from copying.")
		}
		return text, SourceBearer, nil
	case strings.EqualFold(scheme, "basic"):
		key, err = password(text)
		if key == "" && err == nil {
			return "", SourceNone, nil
		}
		return key, SourceBasic, err
	}
	return "", SourceBearer, badCredential("The Authorization header has a form that is not known here. Send 'Authorization: Bearer YOUR_KEY' (a key alone, without 'Bearer', is not accepted).")
}

// MissingCredential returns the error for a request without a credential, in the words of its face.
func MissingCredential(face Face) *gatehouse.Error {
	if face.IsAzure() {
		return &gatehouse.Error{Kind: gatehouse.Unauthenticated,
			Message: "Access denied due to missing subscription key. Make sure to include subscription key when making requests to an API: send it as 'api-key: YOUR_KEY' or 'Authorization: Bearer YOUR_KEY'."}
	}
	return &gatehouse.Error{Kind: gatehouse.Unauthenticated,
		Message: "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from the administrator of this gateway."}
}

func badCredential(message string) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: "invalid_api_key", Message: message}
}

// single returns the value of a header that may be there once.
func single(h http.Header, canonical, name string) (string, error) {
	values := h[canonical]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", badCredential("The " + name + " header is there more than once. Send it once.")
	}
	key := strings.TrimSpace(values[0])
	if key != "" && !visible(key) {
		return "", badCredential("The credential in the " + name + " header has characters in it that no key has. Check it for line breaks, spaces and quotation marks from copying.")
	}
	return key, nil
}

func password(text string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(text) > maxCredential {
		return "", badCredential("The Authorization header says Basic and what follows is not base64 of 'user:password'. Send the key as the password, with a blank user name.")
	}
	_, key, found := strings.Cut(string(raw), ":")
	if !found || key != "" && !visible(key) {
		return "", badCredential("The Authorization header says Basic and holds no password. Send the key as the password, with a blank user name.")
	}
	return key, nil
}

// visible reports whether s is visible ASCII of a length that a credential may have.
func visible(s string) bool {
	if len(s) > maxCredential {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Caller is what a request's headers say about itself beside the credential.
type Caller struct {
	Organization string // OpenAI-Organization
	Project      string // OpenAI-Project
	RequestID    string // the caller's own id for this request, "" if it sent none or one that cannot be kept
	EchoID       string // x-ms-client-request-id, which Azure's face repeats in its answer
}

// maxRequestID is the longest id of a caller's that is kept; OpenAI documents 512 ASCII characters for X-Client-Request-Id.
const maxRequestID = 512

// CallerOf reads a request's headers. Ids that are not printable ASCII, longer than 512 characters, or that hold a credential, are
// ignored: they are for logs and answers and never a reason to refuse. h has canonical keys.
func CallerOf(h http.Header) Caller {
	c := Caller{Organization: first(h, "Openai-Organization"), Project: first(h, "Openai-Project"), EchoID: requestID(h, "X-Ms-Client-Request-Id")}
	for _, name := range [...]string{"X-Client-Request-Id", "X-Request-Id"} {
		if c.RequestID = requestID(h, name); c.RequestID != "" {
			return c
		}
	}
	c.RequestID = c.EchoID
	return c
}

func first(h http.Header, canonical string) string {
	if v := h[canonical]; len(v) > 0 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

func requestID(h http.Header, canonical string) string {
	id := first(h, canonical)
	if id == "" || len(id) > maxRequestID {
		return ""
	}
	for i := 0; i < len(id); i++ {
		if id[i] < ' ' || id[i] >= 0x7f {
			return ""
		}
	}
	if holdsCredential(id) {
		return ""
	}
	return id
}

// RefuseUpgrade returns an error for a request that wants to leave HTTP (a WebSocket), nil for every other.
func RefuseUpgrade(h http.Header) *gatehouse.Error {
	if len(h["Upgrade"]) == 0 && len(h["Sec-Websocket-Key"]) == 0 {
		return nil
	}
	// Clients offer h2c and newer TLS in Upgrade headers too; those may be ignored, as RFC 9110 section 7.8 has it.
	if len(h["Sec-Websocket-Key"]) == 0 && !strings.EqualFold(first(h, "Upgrade"), "websocket") {
		return nil
	}
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "unsupported_endpoint", NoRetry: true,
		Message: "This gateway does not serve WebSockets: " + unmetered}
}
