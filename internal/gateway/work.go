package gateway

import (
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/dialect/work"
)

// firstLook is how long after its beginning work is looked at for the first time.
const firstLook = time.Second

// said is what an answer says of the work it stands for.
type said struct{ id, status, thread string }

// says returns what the answer said so far.
func (x *exchange) says() said {
	if !x.tapped {
		return said{x.capture.Text(usage.ID), x.capture.Text(usage.Status), x.capture.Text(usage.Thread)}
	}
	s := said{id: x.summary.ID, status: x.summary.Status}
	for _, m := range x.summary.Made {
		if m.Kind == usage.MadeThread {
			s.thread = m.ID
			break
		}
	}
	return s
}

// beginWork turns the settlement of an answer that began work into what it is: the beginning of that work, or its end where the
// answer has shown it already. Both count under the object's id, so that nobody else counts it again. An answer that named no
// object began nothing that could be asked for later, and stays the request's own.
func (x *exchange) beginWork() {
	kind := x.call.Op.Begins
	if kind == "" || x.settlement.Released {
		return
	}
	if x.unanswered() && (kind != gatehouse.WorkResponse || x.background) {
		// It may be at work, and nobody knows its name: what it may cost at most stands.
		x.settlement.Bound = true
		x.settlement.Units = gatehouse.Units{Input: x.charge.Input, Output: x.charge.Output, VideoMilliseconds: x.charge.VideoMilliseconds}
		return
	}
	if x.record.Status >= 300 {
		return
	}
	s := x.says()
	if kind == gatehouse.WorkResponse && !x.background && (x.tapped || s.status != "queued" && s.status != "in_progress") {
		return // it ended with its answer, or with its caller
	}
	if s.thread == "" {
		s.thread = x.call.Ref
	}
	path := work.Path(kind, s.id, s.thread)
	if path == "" || len(s.id) > maxID {
		return
	}
	if work.Ended(kind, s.status) {
		x.settlement.UsageID = s.id
		if x.g.cfg.WorkEnded != nil {
			p := &x.id.Principal
			x.g.cfg.WorkEnded(&gatehouse.Work{ID: s.id, Kind: kind, Organization: p.Organization, Project: p.Project, UpstreamID: x.answer.upstream.ID}, s.status)
		}
		if kind != gatehouse.WorkResponse && kind != gatehouse.WorkRun {
			if r, ok := work.Read(kind, s.id, &x.capture); ok {
				x.settlement.Units, x.settlement.Confidence = r.Units, confidence(r.Reported)
			}
		}
		return
	}
	now := x.g.cfg.Now()
	x.settlement.Work = &gatehouse.Work{ID: s.id, Kind: kind, UpstreamID: x.answer.upstream.ID, Poll: path,
		Expires: gatehouse.MillisOf(now.Add(work.Bound(kind))), Next: gatehouse.MillisOf(now.Add(firstLook))}
}

// unanswered reports whether the last attempt was sent and its answer never came.
func (x *exchange) unanswered() bool {
	n := len(x.record.Attempts)
	return n > 0 && x.record.Attempts[n-1].Status == 0 && x.consumed
}

func confidence(reported bool) gatehouse.Confidence {
	if reported {
		return gatehouse.Reported
	}
	return gatehouse.Estimated
}

// showWork tells the steward that an answer has shown the end of work, and what it used: it need not look again, and finds it even
// when the caller deletes the object next.
func (x *exchange) showWork() {
	kind := x.call.Op.Shows
	if kind == "" || x.record.Status >= 300 || x.g.cfg.WorkSeen == nil {
		return
	}
	s := x.says()
	if s.id == "" || !work.Ended(kind, s.status) {
		return
	}
	if !x.tapped {
		if r, ok := work.Read(kind, s.id, &x.capture); ok {
			x.g.cfg.WorkSeen(s.id, r)
		}
		return
	}
	sum := &x.summary
	r := work.Report{Ended: true, Status: s.status, Units: sum.Units, Reported: sum.Reported, Model: sum.Model, ServiceTier: sum.ServiceTier}
	if !r.Reported {
		r.Units = gatehouse.Units{Output: usage.Estimate(sum.TextBytes)}
	}
	x.g.cfg.WorkSeen(s.id, r)
}

// The lengths of videos that are held where a request says none, or cannot: OpenAI's default, and its longest.
const (
	defaultVideo = 4_000
	longestVideo = 12_000
)

// videoBound is the length of the video that the request asks for, in milliseconds.
func (x *exchange) videoBound() int64 {
	if x.call.Op.Begins != gatehouse.WorkVideo {
		return 0
	}
	if form := x.body.form; form != nil {
		text, _ := form.scanner.Value("seconds")
		return videoLength(x.call.Op, text)
	}
	return videoOf(x.call.Op, x.fields)
}

// videoOf is videoBound of a JSON body.
func videoOf(op *dialect.Op, f *strictjson.Result) int64 {
	if op.Begins != gatehouse.WorkVideo {
		return 0
	}
	span := f.Span(op.At.Seconds)
	text, ok := f.Text(span)
	if !ok && span.Kind != 0 {
		text = string(f.Raw(span))
	}
	return videoLength(op, text)
}

func videoLength(op *dialect.Op, seconds string) int64 {
	if ms, ok := usage.Milliseconds([]byte(seconds)); ok && ms > 0 {
		return ms
	}
	if op.Name == videosCreate {
		return defaultVideo
	}
	return longestVideo
}

const videosCreate = "videos.create"
