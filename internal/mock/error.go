package mock

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// errGone says that the caller left; there is nobody to answer.
var errGone = errors.New("the caller left")

// errCut says that a knob wants the connection aborted.
var errCut = errors.New("cut by a knob")

// apiError is an error answer in OpenAI's envelope. An empty typ is invalid_request_error; an empty code or param is null.
type apiError struct {
	status  int
	typ     string
	code    string
	param   string
	message string
}

func (e *apiError) Error() string { return e.message }

func missing(param string) *apiError {
	return &apiError{status: 400, code: "missing_required_parameter", param: param, message: "Missing required parameter: '" + param + "'."}
}

func invalid(param, format string, args ...any) *apiError {
	return &apiError{status: 400, code: "invalid_value", param: param, message: "Invalid '" + param + "': " + fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *apiError {
	return &apiError{status: 404, message: fmt.Sprintf(format, args...)}
}

var badJSON = &apiError{status: 400, message: "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, but what was sent was not valid JSON."}

// faults are the bodies OpenAI sends with the statuses that x-mock-status can ask for; any other is generic.
var faults = map[int]apiError{
	400: {code: "invalid_value", message: "The mock was asked to answer 400."},
	401: {code: "invalid_api_key", message: "Incorrect API key provided. (The mock was asked to answer 401.)"},
	403: {code: "model_not_found", message: "Project does not have access to this model. (The mock was asked to answer 403.)"},
	404: {code: "model_not_found", message: "The model does not exist or you do not have access to it. (The mock was asked to answer 404.)"},
	408: {typ: "server_error", message: "Request timed out. (The mock was asked to answer 408.)"},
	409: {message: "The resource was changed at the same time. (The mock was asked to answer 409.)"},
	422: {message: "The mock was asked to answer 422."},
	429: {typ: "requests", code: "rate_limit_exceeded", message: "Rate limit reached for requests. (The mock was asked to answer 429.)"},
	500: {typ: "server_error", message: "The server had an error while processing your request. Sorry about that! (The mock was asked to answer 500.)"},
	503: {typ: "service_unavailable_error", code: "server_is_overloaded", message: "The server is overloaded. (The mock was asked to answer 503.)"},
}

// fault returns the error that x-mock-status asks for.
func fault(status int) *apiError {
	e, ok := faults[status]
	if !ok {
		e.message = "The mock was asked to answer " + strconv.Itoa(status) + "."
		if status >= 500 {
			e.typ = "server_error"
		}
	}
	e.status = status
	return &e
}

// fail sends an error. Knobs that cut answers do not apply to errors.
func (c *call) fail(e *apiError) {
	typ := e.typ
	if typ == "" {
		typ = "invalid_request_error"
	}
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	body, err := json.Marshal(map[string]any{"error": map[string]any{"message": e.message, "type": typ, "param": null(e.param), "code": null(e.code)}})
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		ms := c.knobs.retryAfter
		h.Set("Retry-After-Ms", strconv.Itoa(ms))
		h.Set("Retry-After", strconv.Itoa((ms+999)/1000))
	}
	c.w.WriteHeader(e.status)
	_, _ = c.w.Write(body) // the caller may have left; there is nobody else to tell
}
