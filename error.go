package gatehouse

import (
	"errors"
	"fmt"
)

// Kind is the closed set of reasons for which an operation fails. Each face (OpenAI's dialect, Azure's, the CLI) has one table
// from Kind to what it shows; nothing else decides a status.
type Kind uint8

// The kinds. Internal is the zero value: an error nobody classified is ours, and its text is not shown to callers.
const (
	Internal         Kind = iota
	Invalid               // the request is malformed or breaks a rule; Param names the field where there is one
	Unauthenticated       // no credential, or one that is not accepted
	Forbidden             // the credential is good and does not reach this far
	NotFound              // there is no such thing, or the caller may not know of it
	Conflict              // the thing changed, exists already, or is in a state that does not allow this
	TooLarge              // a body or header over its limit
	Unsupported           // a media type or encoding that cannot be read where policy must read it
	RateLimited           // may be tried again after RetryAfter
	Unavailable           // a part this needs is not there now; may be tried again
	BadUpstream           // an upstream failed, or refused our credential
	Timeout               // an upstream did not answer in time
	MethodNotAllowed      // the path exists, the method does not
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not_found", "conflict", "too_large", "unsupported", "rate_limited", "unavailable", "bad_upstream", "timeout", "method_not_allowed"}

// String returns the kind's name as metrics and logs show it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Error is what a boundary returns when the reason is known. Message is shown to the caller: it says what is wrong and what to
// do, and never holds a secret. Err is for logs only.
type Error struct {
	Kind    Kind
	Code    string // machine code in OpenAI's vocabulary, e.g. "invalid_api_key"; empty means null
	Param   string // the field at fault, e.g. "model"; empty means null
	Message string
	// RetryAfterMillis is when trying again makes sense; 0 means unknown. NoRetry asks SDKs not to (x-should-retry: false).
	RetryAfterMillis int64
	NoRetry          bool
	Err              error
}

// Error returns the message and the cause, for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of a kind with a formatted message.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// InvalidParam returns an Invalid error about one field of a request.
func InvalidParam(param, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Code: "invalid_value", Param: param, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of err: the Kind of the first Error in its chain, else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
