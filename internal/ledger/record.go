package ledger

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"gatehouse"
)

// maxText bounds one string of a record. Identifiers are far shorter; what a client or an upstream wrote at length (a user
// agent, an error's text) is cut at a character.
const maxText = 4096

// The payloads below are the fields in the order of the code: strings as a uvarint length and their bytes, integers as
// zig-zag varints, flags as one byte of bits. A text that is most often the same as another has one more for its length, and 0 where it is.

const (
	flagReleased  = 1 << 0 // nothing was consumed: no usage row
	flagDecision  = 1 << 1 // the rest of the request follows
	flagBatch     = 1 << 2
	flagCostKnown = 1 << 3
	flagStream    = 1 << 4
	flagLeft      = 1 << 5
	flagUnits     = 1 << 6
	flagWork      = 1 << 7 // work goes on, and follows; no usage row

	// The flags of a charge; flagBatch is one too.
	flagBoundKnown = 1 << 0
	flagWorkEnds   = 1 << 1 // it is the end of work, settled without a hold
)

func appendText(b []byte, s string) []byte {
	s = clipped(s)
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendSame appends a text that most often is one the reader has already, and then takes a byte.
func appendSame(b []byte, s, as string) []byte {
	if s == as {
		return append(b, 0)
	}
	s = clipped(s)
	return append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
}

func clipped(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > maxText-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// appendUnits appends which units there are, a bit for each, and how many of those.
func appendUnits(b []byte, u *gatehouse.Units) []byte {
	fields := unitFields(u)
	some := uint64(0)
	for i, n := range fields {
		if *n != 0 {
			some |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, some)
	for ; some != 0; some &= some - 1 {
		b = binary.AppendVarint(b, *fields[bits.TrailingZeros64(some)])
	}
	return b
}

// unitFields lists the fields of u in the order they have on disk; new ones go last, with a new payload version.
func unitFields(u *gatehouse.Units) [22]*int64 {
	return [22]*int64{
		&u.Input, &u.Cached, &u.CacheWrite, &u.InputText, &u.InputAudio, &u.InputImage, &u.CachedAudio, &u.CachedImage,
		&u.Output, &u.Reasoning, &u.OutputText, &u.OutputAudio, &u.OutputImage, &u.Images, &u.Characters, &u.Milliseconds,
		&u.VideoMilliseconds, &u.Trained, &u.WebSearches, &u.WebSearchPreviews, &u.FileSearches, &u.Containers,
	}
}

// appendCharge is the payload of a held record, and the beginning of a settled one. Whoever writes it gives the journal the charge's chain.
func appendCharge(b []byte, c *Charge) []byte {
	var flags byte
	if c.Batch {
		flags |= flagBatch
	}
	if c.BoundKnown {
		flags |= flagBoundKnown
	}
	if c.work {
		flags |= flagWorkEnds
	}
	b = append(b, flags)
	b = appendText(b, c.RequestID)
	b = appendText(b, c.UsageID)
	b = appendText(b, c.Organization)
	b = appendText(b, c.Project)
	b = appendText(b, c.Key)
	b = appendText(b, c.User)
	b = appendText(b, c.ServiceAccount)
	b = appendText(b, c.Product)
	b = appendText(b, c.Model)
	b = appendText(b, string(c.Dialect))
	b = appendText(b, c.Upstream)
	b = appendText(b, c.UpstreamModel)
	b = appendText(b, c.ServiceTier)
	b = binary.AppendVarint(b, int64(c.At))
	b = binary.AppendVarint(b, c.Input)
	b = binary.AppendVarint(b, c.Output)
	b = binary.AppendVarint(b, c.VideoMilliseconds)
	b = appendText(b, c.PricedAs)
	b = appendText(b, c.Size)
	b = appendText(b, c.Quality)
	b = appendText(b, c.Source)
	b = appendText(b, c.Labels)
	b = binary.AppendVarint(b, int64(c.Bound))
	chain := uint64(0) // none
	if c.chain != nil {
		chain = c.chain.Number
	}
	return binary.AppendUvarint(b, chain)
}

// appendSettled is the payload of a settled record: the charge as it turned out, what was consumed, and the decision.
func appendSettled(b []byte, c *Charge, s *Settlement) []byte {
	var flags byte
	if s.Released {
		flags |= flagReleased
	}
	if s.Request != nil {
		flags |= flagDecision
	}
	if s.CostKnown {
		flags |= flagCostKnown
	}
	if s.Work != nil {
		flags |= flagWork
	}
	b = append(b, flags)
	b = appendCharge(b, c)
	b = appendUnits(b, &s.Units)
	b = binary.AppendVarint(b, int64(s.Cost))
	b = binary.AppendVarint(b, int64(s.kept))
	b = appendSame(b, string(s.Confidence), string(gatehouse.Reported))
	if s.Request != nil {
		b = appendDecision(b, s.Request, c)
	}
	if s.Work != nil {
		b = appendWork(b, s.Work)
	}
	return b
}

// appendDecision appends what a request's explain record says beyond its charge.
func appendDecision(b []byte, r *gatehouse.Request, c *Charge) []byte {
	var flags byte
	if r.Stream {
		flags |= flagStream
	}
	if r.ClientLeft {
		flags |= flagLeft
	}
	b = append(b, flags)
	b = appendText(b, r.ClientRequestID)
	b = appendSame(b, r.Owner, cmp.Or(c.User, c.ServiceAccount))
	b = appendText(b, r.IP)
	b = appendText(b, r.UserAgent)
	b = appendSame(b, r.Dialect, string(c.Dialect))
	b = appendText(b, r.Method)
	b = appendText(b, r.Route)
	b = appendSame(b, r.Model, c.Model)
	b = appendSame(b, r.Deployment, r.Model)
	b = appendSame(b, r.Rule, RuleServed)
	b = appendText(b, r.Detail)
	b = appendText(b, r.Work)
	for _, n := range decisionNumbers(r) {
		b = binary.AppendVarint(b, *n)
	}
	b = binary.AppendVarint(b, int64(r.Status))
	attempts := r.Attempts[:min(len(r.Attempts), maxAttempts)]
	b = binary.AppendUvarint(b, uint64(len(attempts)))
	for i := range attempts {
		a := &attempts[i]
		b = appendSame(b, a.Upstream, c.Upstream)
		b = appendSame(b, a.Model, c.UpstreamModel)
		b = appendText(b, a.Error)
		b = appendText(b, a.RequestID)
		b = binary.AppendVarint(b, int64(a.Status))
		b = binary.AppendVarint(b, a.Millis)
	}
	return b
}

// maxAttempts bounds the attempts one record keeps, so that a record stays below maxPayload whatever it says.
const maxAttempts = 32

func decisionNumbers(r *gatehouse.Request) [4]*int64 {
	return [4]*int64{&r.BytesIn, &r.BytesOut, &r.Millis, &r.FirstByteMillis}
}

// appendRefusal is the payload of a decision record: a whole gatehouse.Request.
func appendRefusal(b []byte, r *gatehouse.Request) []byte {
	var flags byte
	if r.CostKnown {
		flags |= flagCostKnown
	}
	if r.Units != nil {
		flags |= flagUnits
	}
	b = append(b, flags)
	b = appendText(b, r.ID)
	b = binary.AppendVarint(b, int64(r.At))
	b = appendText(b, r.Organization)
	b = appendText(b, r.Project)
	b = appendText(b, r.Key)
	b = appendText(b, r.UpstreamModel)
	b = appendText(b, string(r.Confidence))
	b = binary.AppendVarint(b, int64(r.Cost))
	if r.Units != nil {
		b = appendUnits(b, r.Units)
	}
	return appendText(appendDecision(b, r, &Charge{}), r.Labels)
}

// appendObject is the payload of own and disown records.
func appendObject(b []byte, o *gatehouse.Object) []byte {
	b = appendText(b, o.ID)
	b = appendText(b, o.Project)
	b = appendText(b, o.Upstream)
	b = appendText(b, o.Kind)
	b = binary.AppendVarint(b, int64(o.CreatedAt))
	b = binary.AppendVarint(b, int64(o.DeletedAt))
	b = appendText(b, o.Deployment)
	return appendText(b, o.Model)
}
