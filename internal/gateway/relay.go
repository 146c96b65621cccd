package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/sse"
	"gatehouse/internal/gateway/outbound"
)

const (
	// maxErrorBody is how much of an upstream's error is read and shown.
	maxErrorBody = 1 << 20
	// maxUnzipped is how far a compressed answer may expand, over what came in, before it is taken for a bomb.
	maxUnzipRatio = 200
)

// relay gives the upstream's answer to the caller and counts it on the way. It closes resp.
func (x *exchange) relay(resp *outbound.Response) error {
	defer resp.Close()
	x.dropBody()
	x.consumed = x.consumed || resp.Status < 300
	body, err := identity(resp)
	if err != nil {
		return err
	}
	switch status := resp.Status; {
	case status == http.StatusNotModified:
		return x.relayBody(resp, body)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		x.record.Detail = "the upstream refused the credential it is called with (" + strconv.Itoa(status) + ")"
		return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_credential_refused", NoRetry: true,
			Message: "The upstream refused the credential Gatehouse calls it with. This is not about your key: ask the operator to check upstream `" + x.answer.upstream.Name + "`."}
	case status >= 400:
		return x.relayError(resp, body)
	case status >= 300:
		x.record.Detail = "the upstream answered with a redirect, which is not followed (" + strconv.Itoa(status) + ")"
		return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_redirect", NoRetry: true,
			Message: "The upstream answered with a redirect, which Gatehouse does not follow. Ask the operator to check the base_url of upstream `" + x.answer.upstream.Name + "`."}
	case isEventStream(resp.Header.Get("Content-Type")):
		return x.relayStream(resp, body)
	}
	return x.relayBody(resp, body)
}

// dropBody gives the request's body back before its answer is relayed: a stream may run for minutes, and nothing of the body is
// needed any more.
func (x *exchange) dropBody() {
	x.dropDraft()
	x.body.release(&x.g.memory)
}

func isEventStream(contentType string) bool {
	const media = "text/event-stream"
	return len(contentType) >= len(media) && strings.EqualFold(contentType[:len(media)], media)
}

// identity returns the answer's body without its content coding. We ask upstreams for none; one that compresses all the same is
// still metered, and its caller gets what it would have got.
func identity(resp *outbound.Response) (io.Reader, error) {
	coding := strings.ToLower(resp.Header.Get("Content-Encoding"))
	if resp.ContentLength == 0 {
		coding = "" // of nothing
	}
	switch coding {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		in := &countingReader{r: resp.Body}
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_encoding", Message: "The upstream's answer says it is gzip and is not, or broke off. Try again.", Err: err}
		}
		resp.ContentLength = -1
		return &unzipped{z: z, in: in}, nil
	default:
		return nil, &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_encoding", NoRetry: true,
			Message: "The upstream answered in a content coding that was not asked for (" + clip(coding) + ")."}
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unzipped reads a gzip body and stops at a bomb.
type unzipped struct {
	z   *gzip.Reader
	in  *countingReader
	out int64
}

func (u *unzipped) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	u.out += int64(n)
	if u.out > 1<<20 && u.out > u.in.n*maxUnzipRatio {
		return 0, errors.New("gzip answer expands beyond its limit")
	}
	return n, err
}

// answerWith writes the status and the header of the answer from the allow list.
func (x *exchange) answerWith(resp *outbound.Response, length int64) {
	h := &x.head
	for name, value := range resp.Header.All() {
		// What was compressed is not any more: see identity.
		if name, ok := dialect.ResponseHeader(name, value); ok && name != "Content-Encoding" {
			h.add(name, value)
		}
	}
	if x.tapped && !h.has("Cache-Control") {
		h.add("Cache-Control", "no-cache")
	}
	if x.answer.upstream.Dialect == gatehouse.Mock {
		h.set("X-Gatehouse-Mock", "1")
	}
	if length >= 0 && resp.Status != http.StatusNoContent && resp.Status != http.StatusNotModified {
		h.set("Content-Length", strconv.FormatInt(length, 10))
	}
	x.identify()
	x.rateHeaders(h.set)
	x.writeHead(resp.Status)
}

// relayError gives an upstream's refusal to the caller, in the caller's dialect.
func (x *exchange) relayError(resp *outbound.Response, body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return x.upstreamError(err)
	}
	x.record.Rule = "upstream_refused"
	text = x.withoutCredential(text)
	out := dialect.TranslateError(dialect.FaceOf(x.answer.upstream), x.call.Face, resp.Status, text)
	if resp.Status == http.StatusBadRequest && bytes.Contains(text, []byte(`"content_filter"`)) {
		// Azure counts the prompt of a request that its filter refuses: the estimate of its size stands.
		x.consumed = true
	} else {
		x.released = true
	}
	x.begun(resp)
	if err := x.settleWith(len(out)); err != nil {
		return err
	}
	if !bytes.Equal(out, text) {
		resp.Header.Set("Content-Type", "application/json")
	}
	x.answerWith(resp, int64(len(out)))
	return x.write(out)
}

// withoutCredential takes the credential an upstream was called with out of what it says about it.
func (x *exchange) withoutCredential(text []byte) []byte {
	up := x.answer.upstream
	_, credential, err := x.g.endpoints.get(x.ctx, up)
	if err != nil {
		return text // it is gone: there is nothing to compare with
	}
	_, prefix := dialect.CredentialHeader(up)
	value := strings.TrimPrefix(credential.Value.Reveal(), prefix)
	if len(value) < 8 {
		return text // a placeholder, as local servers take; it would be found in the middle of words
	}
	return bytes.ReplaceAll(text, []byte(value), []byte("[redacted]"))
}

// relayBody copies an answer that is not a stream of events. Its last byte waits for the settlement.
func (x *exchange) relayBody(resp *outbound.Response, body io.Reader) error {
	x.capture.Reset()
	x.capture.Want = x.call.Op.Hands
	x.begun(resp)
	if resp.ContentLength == 0 || resp.Status == http.StatusNoContent || resp.Status == http.StatusNotModified {
		if err := x.finishAnswer(0); err != nil {
			return err
		}
		x.answerWith(resp, resp.ContentLength)
		return nil
	}
	var total int64
	held, holding := [1]byte{}, false
	bufp := copyPool.Get().(*[]byte)
	defer copyPool.Put(bufp)
	buf := *bufp
	for {
		n, err := body.Read(buf)
		if n > 0 {
			total += int64(n)
			x.capture.Write(buf[:n])
			last := total == resp.ContentLength
			if last {
				if err := x.finishAnswer(int(total - x.record.BytesOut)); err != nil {
					return err
				}
			}
			if !x.wrote {
				x.answerWith(resp, resp.ContentLength)
			}
			if holding {
				if err := x.write(held[:]); err != nil {
					return err
				}
				holding = false
			}
			out := buf[:n]
			if !last {
				held[0], holding, out = buf[n-1], true, buf[:n-1]
			}
			if err := x.write(out); err != nil {
				return err
			}
			if last {
				return nil
			}
		}
		switch {
		case err == io.EOF:
			if err := x.finishAnswer(int(total - x.record.BytesOut)); err != nil {
				return err
			}
			if !x.wrote {
				x.answerWith(resp, resp.ContentLength)
			}
			if holding {
				return x.write(held[:])
			}
			return nil
		case err != nil:
			return x.broken(err)
		}
		if resp.ContentLength < 0 {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
}

// relayStream copies a stream of events, each as soon as it is complete. The event that ends the stream for an SDK waits for the
// settlement; nothing else does.
func (x *exchange) relayStream(resp *outbound.Response, body io.Reader) error {
	x.stream, x.record.Stream = true, true
	x.tapped = true
	x.begun(resp)
	x.tap = taps.Get().(*sse.Tap)
	x.tap.Reset(sse.Options{
		Shape:          x.call.Op.Usage,
		Hands:          x.call.Op.Hands,
		HideUsageChunk: x.answer.hide,
		FixAzure:       x.answer.upstream.Dialect == gatehouse.Azure && !x.call.Face.IsAzure(),
	})
	pieces := resp.Body.Pieces()
	if body != io.Reader(resp.Body) {
		pieces = outbound.Pieces(body)
	}
	for piece, err := range pieces {
		if err != nil {
			return x.broken(err)
		}
		if err := x.relayPiece(resp, piece); err != nil {
			return err
		}
		if x.tap.TextBytes() > x.watch && !x.settled {
			if none := x.holdMore(); none != nil {
				return x.cutForMoney(none)
			}
		}
	}
	if !x.wrote {
		x.answerWith(resp, -1)
	}
	if err := x.tap.Close(x.emitEvent()); err != nil {
		return err
	}
	return x.finishAnswer(0)
}

// relayPiece hands the next piece of a stream on.
func (x *exchange) relayPiece(resp *outbound.Response, piece []byte) error {
	if !x.wrote {
		x.answerWith(resp, -1)
	}
	if err := x.tap.Feed(piece, x.emitEvent()); err != nil {
		return err
	}
	return x.flush()
}

// emitEvent returns the function that the tap hands complete events to; it is made once per exchange and reused.
func (x *exchange) emitEvent() func(b []byte, final bool) error {
	if x.emit == nil {
		x.emit = func(b []byte, final bool) error {
			if final {
				if err := x.finishAnswer(len(b)); err != nil {
					return err
				}
			}
			return x.write(b)
		}
	}
	return x.emit
}

// begun notes the status that the caller gets and when: the record of a short answer is written before the answer is.
func (x *exchange) begun(resp *outbound.Response) {
	x.record.Status = resp.Status
	x.record.FirstByteMillis = x.elapsed()
}

// finishAnswer records what the answer made and settles it. It runs once, before the caller can know that the answer is complete;
// rest is how many bytes of it are still to be written.
func (x *exchange) finishAnswer(rest int) error {
	if x.complete {
		return nil
	}
	if err := x.keep(); err != nil {
		return err
	}
	if x.call.Op.BatchInput && x.batch != nil && x.record.Status < 300 {
		if err := x.keepBatchInput(); err != nil {
			return err
		}
	}
	if x.call.Op.Deletes != "" && x.call.Op.Owned {
		if err := x.disown(); err != nil {
			return err
		}
	}
	x.complete = true
	x.showWork()
	return x.settleWith(rest)
}

// settleWith settles an answer of which rest bytes are still to be written: the record counts them. One that costs nothing has a
// record too, which is found as soon as the answer has ended.
func (x *exchange) settleWith(rest int) error {
	x.record.BytesOut += int64(rest)
	err := x.settle()
	if !x.held {
		x.finishRecord()
		x.g.cfg.Ledger.Decide(&x.record)
		x.settled = true
	}
	x.record.BytesOut -= int64(rest)
	return err
}

// broken ends an answer that the upstream did not finish. What passed is settled as an estimate; the caller must not take what it
// got for complete.
func (x *exchange) broken(err error) error {
	if !x.wrote {
		return x.upstreamError(err)
	}
	x.aborted = true
	switch cause := context.Cause(x.ctx); {
	case errors.Is(cause, errCut):
		x.record.Rule, x.record.Detail = "credential_revoked", "the credential stopped being accepted while the answer ran"
		if rule := authn.RuleOf(x.g.cfg.Auth.Recheck(&x.id)); rule == authn.NotFresh {
			x.record.Rule, x.record.Detail = string(rule), "the node had not heard from its database for too long while the answer ran"
		}
	case x.clientLeft():
		x.record.ClientLeft, x.record.Rule = true, "client_left"
	case errors.Is(cause, errDraining):
		x.record.Rule, x.record.Detail = "draining", "the gateway shut down before the answer ended"
	default:
		x.record.Rule, x.record.Detail = "upstream_broke", redactError(err)
		x.brokeOff(err)
	}
	if x.tapped && !x.record.ClientLeft {
		// SDKs raise what stands in an event's error; then the connection ends, so that nobody takes the stream for complete.
		e := gatehouse.Error{Kind: gatehouse.BadUpstream, Code: x.record.Rule, Message: "The stream ended before it was complete. `gatehouse explain " + x.record.ID + "` says why."}
		x.lastEvent(&e)
	}
	return nil
}

// errClientGone is returned when an answer can no longer be written.
var errClientGone = errors.New("the caller closed the connection")

func (x *exchange) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if x.record.BytesOut >= copyBuffer {
		x.pushDeadline()
	}
	n, err := x.w.Write(b)
	x.record.BytesOut += int64(n)
	if err != nil {
		return x.writeFailed()
	}
	return nil
}

// writeTime is how long a caller may not read at all before its answer is given up; the deadline moves on at most every pushEvery.
const (
	writeTime = 2 * time.Minute
	pushEvery = 15 * time.Second
)

// pushDeadline gives the next writes their time. Only answers that take more than one write have a deadline, and none that our own
// server writes.
func (x *exchange) pushDeadline() {
	if x.control.own != nil {
		return
	}
	if now := time.Now(); now.Sub(x.pushed) > pushEvery && context.Cause(x.ctx) == nil {
		x.pushed = now
		_ = x.control.SetWriteDeadline(now.Add(writeTime)) // only a ResponseWriter without a connection, as in tests, cannot
		if context.Cause(x.ctx) != nil {
			_ = x.control.SetWriteDeadline(now.Add(lastWords)) // it was cut meanwhile: see Gateway.cut
		}
	}
}

func (x *exchange) flush() error {
	x.pushDeadline()
	if err := x.control.Flush(); err != nil {
		return x.writeFailed()
	}
	return nil
}

// writeFailed notes why an answer could not be written: the caller left, or its credential was cut under it.
func (x *exchange) writeFailed() error {
	x.aborted = true
	if errors.Is(context.Cause(x.ctx), errCut) {
		x.record.Rule = "credential_revoked"
		return errClientGone
	}
	x.record.ClientLeft = true
	if !x.settled {
		x.record.Rule = "client_left"
	}
	return errClientGone
}
