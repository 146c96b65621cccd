package dialect

import (
	"unicode/utf8"

	"gatehouse"
)

// look is how a kind of error looks in each face when its code says nothing more exact.
type look struct {
	status int
	kind   string // OpenAI's type
	azure  string // Azure's code
}

// looks is the table from gatehouse.Kind to what a caller sees. Nothing else decides a status.
var looks = [...]look{
	gatehouse.Internal:         {500, "server_error", "InternalServerError"},
	gatehouse.Invalid:          {400, "invalid_request_error", "BadRequest"},
	gatehouse.Unauthenticated:  {401, "invalid_request_error", "401"},
	gatehouse.Forbidden:        {403, "invalid_request_error", "403"},
	gatehouse.NotFound:         {404, "invalid_request_error", "404"},
	gatehouse.Conflict:         {409, "invalid_request_error", "409"},
	gatehouse.TooLarge:         {413, "invalid_request_error", "413"},
	gatehouse.Unsupported:      {415, "invalid_request_error", "415"},
	gatehouse.RateLimited:      {429, "requests", "429"},
	gatehouse.Unavailable:      {503, "service_unavailable_error", "ServiceUnavailable"},
	gatehouse.BadUpstream:      {502, "server_error", "BadGateway"},
	gatehouse.Timeout:          {504, "server_error", "GatewayTimeout"},
	gatehouse.MethodNotAllowed: {405, "invalid_request_error", "405"},
}

// types are the codes that have a type of their own in OpenAI's envelope.
var types = map[string]string{
	"insufficient_quota":                   "insufficient_quota",
	"credit_balance_exhausted":             "insufficient_quota",
	"organization_spend_limit_exceeded":    "insufficient_quota",
	"project_spend_limit_exceeded":         "insufficient_quota",
	"organization_usage_limit_exceeded":    "insufficient_quota",
	"slow_down":                            "rate_limit_error",
	"unsupported_country_region_territory": "request_forbidden",
}

// azureCode returns Azure's own word for a code of ours at a status, "" where it has none.
func azureCode(status int, code string) string {
	switch {
	case code == "missing_scope":
		return "PermissionDenied"
	case code == "model_not_found" && status == 404:
		return "DeploymentNotFound"
	}
	return ""
}

// What Azure itself says, before what we say: people search for these sentences.
const (
	azureBadKey       = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."
	azureNoDeployment = "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."
	ourFault          = "The server had an error while processing your request. Sorry about that! Try again, and if it persists give the administrator of this gateway the x-request-id of this answer."
)

// Status returns the HTTP status of a kind of error, the same in every face.
func Status(kind gatehouse.Kind) int {
	if int(kind) >= len(looks) {
		kind = gatehouse.Internal
	}
	return looks[kind].status
}

// AppendError appends the body of an error in a face. OpenAI's always has an object `error` with its four keys; Azure's has
// code and message, and for what is wrong with a request also type and param, as the model behind it answers. The text of an
// Internal error is not shown.
//
// OpenAI tells apart what ran out by the type of a 429: a RateLimited error whose Param is "tokens" or "requests" has that type
// and a null param.
func AppendError(dst []byte, face Face, e *gatehouse.Error) []byte {
	kind := e.Kind
	if int(kind) >= len(looks) {
		kind = gatehouse.Internal
	}
	l := looks[kind]
	message, code, param := e.Message, e.Code, e.Param
	if kind == gatehouse.Internal || message == "" {
		message = ourFault
	}
	typ := l.kind
	if t, ok := types[code]; ok {
		typ = t
	}
	if kind == gatehouse.RateLimited && (param == "tokens" || param == "requests") {
		if typ == l.kind {
			typ = param
		}
		param = ""
	}
	if !face.IsAzure() {
		dst = append(dst, `{"error":{"message":`...)
		dst = appendString(dst, message)
		dst = append(dst, `,"type":`...)
		dst = appendString(dst, typ)
		dst = append(dst, `,"param":`...)
		dst = appendNullable(dst, param)
		dst = append(dst, `,"code":`...)
		dst = appendNullable(dst, code)
		return append(dst, `}}`...)
	}
	outer := azureCode(l.status, code)
	switch {
	case outer != "":
	case kind == gatehouse.Invalid && code != "":
		outer = code
	default:
		outer = l.azure
	}
	switch {
	case code == "invalid_api_key" && kind == gatehouse.Unauthenticated:
		message = azureBadKey + " " + message
	case outer == "DeploymentNotFound":
		message = azureNoDeployment + " " + message
	}
	dst = append(dst, `{"error":{"code":`...)
	dst = appendString(dst, outer)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	if kind == gatehouse.Invalid {
		dst = append(dst, `,"type":`...)
		dst = appendString(dst, typ)
		dst = append(dst, `,"param":`...)
		dst = appendNullable(dst, param)
	}
	if code != "" && code != outer {
		dst = append(dst, `,"innererror":{"code":`...)
		dst = appendString(dst, code)
		dst = append(dst, '}')
	}
	return append(dst, `}}`...)
}

// EventForm is whether the events of a stream have names.
type EventForm uint8

// The forms.
const (
	EventUnnamed EventForm = iota // data alone: chat and legacy completions
	EventNamed                    // event and data: responses, images, audio
)

// AppendStreamError appends an error as the last event of a stream that has begun: its data has an `error`, which every SDK raises.
func AppendStreamError(dst []byte, face Face, form EventForm, e *gatehouse.Error) []byte {
	if form == EventNamed {
		dst = append(dst, "event: error\n"...)
	}
	dst = append(dst, "data: "...)
	dst = AppendError(dst, face, e)
	return append(dst, "\n\n"...)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, s)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string that is also safe inside HTML and JavaScript: control characters, <, >, &, U+2028 and
// U+2029 are escaped, and what is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			i++
			switch {
			case b == '"' || b == '\\':
				dst = append(dst, '\\', b)
			case b == '\n':
				dst = append(dst, `\n`...)
			case b == '\t':
				dst = append(dst, `\t`...)
			case b == '\r':
				dst = append(dst, `\r`...)
			case b < ' ' || b == 0x7f || b == '<' || b == '>' || b == '&':
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			default:
				dst = append(dst, b)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, "\uFFFD"...)
		case r == '\u2028':
			dst = append(dst, `\u2028`...)
		case r == '\u2029':
			dst = append(dst, `\u2029`...)
		default:
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return append(dst, '"')
}
