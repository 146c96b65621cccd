package gateway

import (
	"strconv"
	"sync"
	"time"

	"gatehouse/internal/dialect/strictjson"
)

// accessLine is a line of the access log while it is written. It is JSON as slog writes it, without slog's price: this is the one line
// that every request writes.
type accessLine []byte

var accessLines = sync.Pool{New: func() any { return new(accessLine) }}

func (l *accessLine) text(name, value string) {
	l.name(name)
	*l = strictjson.AppendQuoted(*l, value)
}

// word is an id of ours or a name out of a list of ours: it needs no escaping.
func (l *accessLine) word(name, value string) {
	l.name(name)
	*l = append(append(append(*l, '"'), value...), '"')
}

func (l *accessLine) number(name string, value int64) {
	l.name(name)
	*l = strconv.AppendInt(*l, value, 10)
}

// name appends a member's name, which needs no escaping.
func (l *accessLine) name(name string) {
	*l = append(append(append(*l, `,"`...), name...), `":`...)
}

// logAccess writes one line about an exchange: ids and numbers, never a secret or content.
func (g *Gateway) logAccess(x *exchange) {
	r := &x.record
	upstream := ""
	if n := len(r.Attempts); n > 0 {
		upstream = r.Attempts[n-1].Upstream
	}
	l := accessLines.Get().(*accessLine)
	*l = append((*l)[:0], `{"time":"`...)
	*l = x.at.AppendFormat(*l, time.RFC3339Nano)
	*l = append(*l, `","level":"INFO","msg":"request"`...)
	l.word("request_id", r.ID)
	l.word("key", r.Key)
	l.word("project", r.Project)
	l.word("operation", r.Route)
	l.text("deployment", r.Deployment)
	l.text("upstream", upstream)
	l.number("status", int64(r.Status))
	l.text("rule", r.Rule)
	l.name("stream")
	*l = strconv.AppendBool(*l, r.Stream)
	l.number("input_tokens", x.settlement.Units.Input)
	l.number("output_tokens", x.settlement.Units.Output)
	l.number("bytes_in", r.BytesIn)
	l.number("bytes_out", r.BytesOut)
	l.number("ms", r.Millis)
	l.text("ip", r.IP)
	*l = append(*l, "}\n"...)
	_, _ = g.cfg.AccessLog.Write(*l) // a log that cannot be written has nowhere to be reported
	accessLines.Put(l)
}
