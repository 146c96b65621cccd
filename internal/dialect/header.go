package dialect

import (
	"strconv"
	"strings"
	"time"

	"gatehouse"
)

// RequestHeader reports whether a caller's header is copied to the upstream. name is canonical. It is the whole list: credentials,
// cookies, organization and project, addresses, Accept-Encoding, User-Agent, X-Stainless-* and every hop-by-hop header stay here,
// and so does what nobody thought of.
func RequestHeader(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "Openai-Beta",
		"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since":
		return true
	}
	return strings.HasPrefix(name, "Aoai-") // Azure's switches for preview features, e.g. aoai-evals: preview
}

// maxResponseHeader is the length of the longest name that ResponseHeader knows.
const maxResponseHeader = len("openai-processing-ms")

// ResponseHeader reports whether an upstream's header is copied to the caller, and its canonical name. Lengths and framing are the
// transport's; request ids, rate limits, cookies and what tells about the provider's account stay here. It does not allocate.
func ResponseHeader(name, value string) (canonical string, ok bool) {
	var room [maxResponseHeader]byte
	if len(name) > len(room) {
		return "", false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		room[i] = c
	}
	switch string(room[:len(name)]) {
	case "content-type":
		return "Content-Type", true
	case "content-disposition":
		return "Content-Disposition", true
	case "content-encoding":
		return "Content-Encoding", true
	case "content-language":
		return "Content-Language", true
	case "content-range":
		return "Content-Range", true
	case "accept-ranges":
		return "Accept-Ranges", true
	case "cache-control":
		return "Cache-Control", true
	case "etag":
		return "Etag", true
	case "last-modified":
		return "Last-Modified", true
	case "deprecation":
		return "Deprecation", true
	case "sunset":
		return "Sunset", true
	case "location":
		// An absolute one would send the caller, and its key, past Gatehouse.
		return "Location", strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") && !strings.Contains(value, `\`)
	case "openai-processing-ms":
		return "Openai-Processing-Ms", true
	case "openai-version":
		return "Openai-Version", true
	case "openai-model":
		return "Openai-Model", true
	case "openai-poll-after-ms":
		return "Openai-Poll-After-Ms", true
	case "retry-after":
		return "Retry-After", true
	case "retry-after-ms":
		return "Retry-After-Ms", true
	case "x-should-retry":
		return "X-Should-Retry", true
	}
	return "", false
}

// FaceHeaders calls set for the headers that an answer bears in a face: the request id, and in Azure's its own names for it, the
// region of the upstream (none if empty), and the caller's id repeated (Azure repeats its own where the caller sent none).
func FaceHeaders(face Face, requestID, echoID, region string, set func(name, value string)) {
	set("X-Request-Id", requestID)
	if !face.IsAzure() {
		return
	}
	if echoID == "" {
		echoID = requestID
	}
	set("Apim-Request-Id", requestID)
	set("X-Ms-Client-Request-Id", echoID)
	if region != "" {
		set("X-Ms-Region", region)
	}
}

// maxHint is the longest wait an SDK obeys: openai-node ignores longer hints and tries again at once, openai-python and openai-go
// give up from 120 s on.
const maxHint = 60 * time.Second

// RetryHeaders calls set for the headers that tell an SDK whether and when to try again. A wait longer than SDKs obey is told
// truthfully, with x-should-retry: false beside it, else openai-node would come back in half a second. What only a person can
// mend, a quota or a spend limit that stands whatever open requests come to, has no time at all.
func RetryHeaders(e *gatehouse.Error, set func(name, value string)) {
	if types[e.Code] == "insufficient_quota" && (e.NoRetry || e.RetryAfterMillis <= 0) {
		set("X-Should-Retry", "false") // without Retry-After: time does not help
		return
	}
	switch {
	case e.NoRetry, e.Kind == gatehouse.Conflict, e.RetryAfterMillis > maxHint.Milliseconds():
		set("X-Should-Retry", "false")
	case e.RetryAfterMillis > 0:
		set("X-Should-Retry", "true")
	}
	if e.RetryAfterMillis <= 0 {
		return
	}
	set("Retry-After", strconv.FormatInt((e.RetryAfterMillis+999)/1000, 10))
	set("Retry-After-Ms", strconv.FormatInt(e.RetryAfterMillis, 10))
}

// Retryable reports whether an upstream's answer may be followed by another attempt, and how long the upstream wants to be left
// alone before it; 0 means it did not say. header returns the first value of a header or "". x-should-retry decides where it is
// there; else 408, 429 and everything from 500 up may.
func Retryable(status int, header func(name string) string, now time.Time) (bool, time.Duration) {
	if status < 400 {
		return false, 0
	}
	retry := status == 408 || status == 429 || status >= 500
	switch verdict := header("X-Should-Retry"); {
	case strings.EqualFold(verdict, "true"):
		retry = true
	case strings.EqualFold(verdict, "false"):
		retry = false
	}
	if !retry {
		return false, 0
	}
	return true, retryDelay(header, now)
}

// retryDelay reads retry-after-ms (milliseconds, may have a fraction), then retry-after (seconds, or an HTTP date). Numbers that
// make no sense count as absent: Azure is known to send negative ones. The longest delay is a day.
func retryDelay(header func(name string) string, now time.Time) time.Duration {
	const day = 24 * time.Hour
	if ms, err := strconv.ParseFloat(header("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, float64(day.Milliseconds())) * float64(time.Millisecond))
	}
	text := header("Retry-After")
	if text == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		if !(s > 0) { // false for NaN too
			return 0
		}
		return time.Duration(min(s, day.Seconds()) * float64(time.Second))
	}
	at, err := time.Parse(time.RFC1123, text)
	if err != nil || !at.After(now) {
		return 0
	}
	return min(at.Sub(now), day)
}
