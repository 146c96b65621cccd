package dialect

import (
	"strconv"
	"strings"
	"time"

	"gatehouse"
)

// RateLimit is what a rate limit refused, in the words of the error that says so.
type RateLimit struct {
	Model        string // empty: the call has none
	Organization string
	Metric       string // as OpenAI names it, e.g. "tokens per min (TPM)"
	Tokens       bool   // tokens ran out, not requests or what counts like them
	Limit        int64
	Used         int64
	Requested    int64
	WaitMillis   int64  // until this very request would pass
	Never        bool   // it asks for more than the limit
	Whose        string // whom the limit binds, e.g. "project proj_1"
}

// RateLimitError returns the error of a call that a rate limit refused, in the words of its face: people and programs search for them.
// One that asks for more than the limit will never pass and is not to be tried again.
func RateLimitError(c *Call, r *RateLimit) *gatehouse.Error {
	e := &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "rate_limit_exceeded", Param: "requests", RetryAfterMillis: r.WaitMillis}
	if r.Tokens {
		e.Param = "tokens"
	}
	wait := time.Duration(r.WaitMillis) * time.Millisecond
	var b strings.Builder
	if c.Face.IsAzure() {
		version := c.APIVersion
		if version == "" {
			version = "v1"
		}
		kind := "call rate limit"
		if r.Tokens {
			kind = "token rate limit"
		}
		b.WriteString("Requests to the " + azureOperation(c.Op) + " Operation under Azure OpenAI API version " + version + " have exceeded " + kind + " of your current OpenAI S0 pricing tier. ")
		if !r.Never {
			b.WriteString("Please retry after " + strconv.FormatInt((r.WaitMillis+999)/1000, 10) + " seconds. ")
		}
		b.WriteString("(" + strings.ToUpper(r.Metric[:1]) + r.Metric[1:] + ": ")
		numbers(&b, r)
		b.WriteString(".)")
	} else {
		b.WriteString("Rate limit reached")
		if r.Never {
			b.Reset()
			b.WriteString("Request too large")
		}
		if r.Model != "" {
			b.WriteString(" for " + r.Model)
		}
		b.WriteString(" in organization " + r.Organization + " on " + r.Metric + ": ")
		numbers(&b, r)
		b.WriteString(".")
		if !r.Never {
			b.WriteString(" Please try again in " + wait.String() + ".")
		}
	}
	if r.Never {
		e.NoRetry, e.RetryAfterMillis = true, 0
		switch {
		case r.Tokens:
			b.WriteString(" The input or output tokens must be reduced in order to run successfully.")
		default:
			b.WriteString(" It must ask for less in order to run successfully.")
		}
	}
	b.WriteString(" This is the limit of " + r.Whose + ", set by the administrator of this gateway.")
	e.Message = b.String()
	return e
}

// numbers appends "Limit 500, Used 500, Requested 1".
func numbers(b *strings.Builder, r *RateLimit) {
	b.WriteString("Limit " + strconv.FormatInt(r.Limit, 10))
	if !r.Never {
		b.WriteString(", Used " + strconv.FormatInt(r.Used, 10))
	}
	b.WriteString(", Requested " + strconv.FormatInt(r.Requested, 10))
}

// azureOperation returns an operation's name as Azure's errors spell it: chat.completions.create is ChatCompletions_Create.
func azureOperation(op *Op) string {
	parts := strings.FieldsFunc(op.Name, func(c rune) bool { return c == '.' || c == '_' })
	var b strings.Builder
	for i, p := range parts {
		if i > 0 && i == len(parts)-1 {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToUpper(p[:1]) + p[1:])
	}
	return b.String()
}

// RateState is what is left of a limit. Limit 0 stands for none.
type RateState struct {
	Limit, Remaining, ResetMillis int64
}

// rateHeaders are the names of the headers about requests and about tokens: limit, remaining and reset.
var rateHeaders = [2][3]string{
	{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
}

// RateHeaders calls set for the headers that say what is left of a caller's limits of requests and of tokens. OpenAI's resets are
// durations as Go writes them (1s, 6m0s, 120ms), Azure's whole seconds. It allocates once.
func RateHeaders(face Face, requests, tokens RateState, set func(name, value string)) {
	var buf [160]byte
	var ends [6]int
	text := buf[:0]
	for i, r := range [...]*RateState{&requests, &tokens} {
		if r.Limit > 0 {
			text = strconv.AppendInt(text, r.Limit, 10)
			ends[3*i] = len(text)
			text = strconv.AppendInt(text, r.Remaining, 10)
			ends[3*i+1] = len(text)
			if face.IsAzure() {
				text = strconv.AppendInt(text, (r.ResetMillis+999)/1000, 10)
			} else {
				text = appendDuration(text, r.ResetMillis)
			}
		} else {
			ends[3*i], ends[3*i+1] = len(text), len(text)
		}
		ends[3*i+2] = len(text)
	}
	all, start := string(text), 0
	for i, end := range ends {
		if end > start {
			set(rateHeaders[i/3][i%3], all[start:end])
		}
		start = end
	}
}

// appendDuration appends milliseconds as time.Duration.String writes them.
func appendDuration(dst []byte, ms int64) []byte {
	switch {
	case ms <= 0:
		return append(dst, "0s"...)
	case ms < 1000:
		return append(strconv.AppendInt(dst, ms, 10), "ms"...)
	}
	seconds := ms / 1000
	if seconds >= 3600 {
		dst = append(strconv.AppendInt(dst, seconds/3600, 10), 'h')
	}
	if seconds >= 60 {
		dst = append(strconv.AppendInt(dst, seconds/60%60, 10), 'm')
	}
	dst = strconv.AppendInt(dst, seconds%60, 10)
	if part := ms % 1000; part > 0 {
		dst = append(dst, '.', byte('0'+part/100), byte('0'+part/10%10), byte('0'+part%10))
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 's')
}
