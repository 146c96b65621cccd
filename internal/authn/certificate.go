package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"gatehouse"
)

// ClientCertificate is what a caller showed of a client certificate (mutual TLS): in the session itself, or to a trusted proxy.
type ClientCertificate struct {
	// Chain is what the session's handshake has proved the caller to hold the key of: the certificate, then those that came with it.
	Chain []*x509.Certificate
	// Forwarded is the value of a trusted proxy's header, which says what was proved to it; it goes before Chain.
	Forwarded string
}

// ForwardedCertificate returns what a proxy's header says of its client's certificate: "" unless the peer is a trusted proxy that sent
// it once. Somebody else's header is as if it were not there. With Client-Cert the chain is in Client-Cert-Chain (RFC 9440).
func ForwardedCertificate(r *http.Request, header string, trusted []netip.Prefix) string {
	values := r.Header[header]
	if len(values) != 1 || !contains(trusted, parsePeer(r.RemoteAddr)) {
		return ""
	}
	if header != rfcHeader {
		return values[0]
	}
	if chain := r.Header[rfcHeader+"-Chain"]; len(chain) > 0 {
		return values[0] + "," + strings.Join(chain, ",")
	}
	return values[0]
}

const rfcHeader = "Client-Cert"

// certified checks that a caller shows a client certificate where its organization or its project demands one. Each of the two must be
// satisfied by itself, so that neither can widen what the other allows.
func (a *Authenticator) certified(shown *ClientCertificate, org *gatehouse.Organization, project *gatehouse.Project) *gatehouse.Error {
	if project == nil || len(org.Certificates) == 0 && len(project.Policy.Certificates) == 0 {
		return nil
	}
	if shown.Forwarded == "" && len(shown.Chain) == 0 {
		return certificateMissing()
	}
	sum := shown.sum()
	now := a.cfg.Now()
	for _, rule := range [...][]string{org.Certificates, project.Policy.Certificates} {
		if len(rule) > 0 && !a.issued(shown, sum, rule, now) {
			return certificateUntrusted()
		}
	}
	return nil
}

// sum identifies what was shown.
func (c *ClientCertificate) sum() [sha256.Size]byte {
	if c.Forwarded != "" {
		return sha256.Sum256([]byte(c.Forwarded))
	}
	h := sha256.New()
	for _, cert := range c.Chain {
		h.Write(cert.Raw) // each says itself how long it is
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// issued reports whether one of the certificates in force issued what was shown.
func (a *Authenticator) issued(shown *ClientCertificate, sum [sha256.Size]byte, rule []string, now time.Time) bool {
	for _, id := range rule {
		key := verdictKey{sum, id}
		if ok, known := a.verdicts.get(key, now); known {
			if ok {
				return true
			}
			continue
		}
		issuer := a.cfg.Catalog.Certificate(id)
		if issuer == nil {
			continue
		}
		v := judge(shown, issuer, now)
		a.verdicts.put(key, v)
		if v.ok {
			return true
		}
	}
	return false
}

// verdictKey is what was shown, and to which certificate in force it was held. What an id stands for never changes.
type verdictKey struct {
	sum    [sha256.Size]byte
	issuer string
}

// verdict is whether a certificate was issued by another, and until when that is so.
type verdict struct {
	ok    bool
	until time.Time
}

// badVerdict is how long a certificate that is not good is remembered as such: one that is not valid yet becomes so.
const badVerdict = time.Minute

// verdicts remembers how certificates were judged: signatures are checked once for each, not for each request. It is safe for concurrent
// use.
type verdicts struct {
	mu   sync.Mutex
	last map[verdictKey]verdict // guarded by mu
}

// maxVerdicts bounds the memory of verdicts: somebody with a key may show ever new certificates.
const maxVerdicts = 4096

func (v *verdicts) get(key verdictKey, now time.Time) (ok, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, known := v.last[key]
	return last.ok, known && now.Before(last.until)
}

func (v *verdicts) put(key verdictKey, last verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.last) >= maxVerdicts || v.last == nil {
		v.last = map[verdictKey]verdict{} // who is still there is judged again
	}
	v.last[key] = last
}

// judge checks what was shown against a certificate in force: signatures, times, and that it may be a client's.
func judge(shown *ClientCertificate, issuer *gatehouse.Certificate, now time.Time) verdict {
	bad := verdict{until: now.Add(badVerdict)}
	chain := shown.Chain
	if shown.Forwarded != "" {
		var err error
		if chain, err = parseForwarded(shown.Forwarded); err != nil {
			return bad
		}
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if !opts.Roots.AppendCertsFromPEM([]byte(issuer.Content)) {
		return bad
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	found, err := chain[0].Verify(opts)
	if err != nil {
		return bad
	}
	good := verdict{ok: true}
	for _, way := range found {
		until := way[0].NotAfter
		for _, cert := range way {
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}
		}
		if until.After(good.until) {
			good.until = until
		}
	}
	return good
}

// maxForwarded bounds a proxy's header and the certificates in it.
const (
	maxForwarded    = 64 << 10
	maxForwardChain = 10
)

var errForwarded = errors.New("the header of the client certificate cannot be read")

// parseForwarded reads a proxy's header in any of the forms that are in use:
//
//   - RFC 9440: :BASE64: of the DER, and a list of them for the chain
//   - PEM, percent-encoded: nginx's $ssl_client_escaped_cert, AWS's X-Amzn-Mtls-Clientcert
//   - base64 of the DER, a list for the chain: HAProxy's %[ssl_c_der,base64], Traefik's X-Forwarded-Tls-Client-Cert
//   - Envoy's X-Forwarded-Client-Cert with Cert and Chain in it; of several elements the last, which the nearest proxy wrote
func parseForwarded(text string) ([]*x509.Certificate, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxForwarded {
		return nil, errForwarded
	}
	switch {
	case strings.HasPrefix(text, "-----BEGIN"):
		return parseEscaped(text)
	case strings.Contains(text, "="+`"`) || strings.HasPrefix(text, "Hash=") || strings.HasPrefix(text, "By="):
		fields := lastElement(text)
		if fields["chain"] != "" {
			return parseEscaped(fields["chain"]) // it begins with the certificate itself
		}
		return parseEscaped(fields["cert"])
	}
	var chain []*x509.Certificate
	for item := range strings.SplitSeq(text, ",") {
		item = strings.Trim(strings.TrimSpace(item), ":")
		if unescaped, err := url.PathUnescape(item); err == nil {
			item = unescaped
		}
		der, err := base64.StdEncoding.DecodeString(item)
		if err != nil {
			return nil, errForwarded
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil || len(chain) == maxForwardChain {
			return nil, errForwarded
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// parseEscaped reads percent-encoded PEM.
func parseEscaped(text string) ([]*x509.Certificate, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, errForwarded
	}
	var chain []*x509.Certificate
	for rest := []byte(plain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(chain) == maxForwardChain {
			return nil, errForwarded
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errForwarded
	}
	return chain, nil
}

// lastElement returns the fields of the last element of Envoy's header, by their names in lower case: elements are separated by commas
// and fields by semicolons, and values may be quoted.
func lastElement(text string) map[string]string {
	fields := map[string]string{}
	var name, value strings.Builder
	inName, quoted := true, false
	end := func() {
		fields[strings.ToLower(strings.TrimSpace(name.String()))] = value.String()
		name.Reset()
		value.Reset()
		inName = true
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\' && i+1 < len(text):
			i++
			value.WriteByte(text[i])
		case c == '"' && !inName:
			quoted = !quoted
		case quoted:
			value.WriteByte(c)
		case c == ';':
			end()
		case c == ',':
			end()
			clear(fields)
		case inName && c == '=':
			inName = false
		case inName:
			name.WriteByte(c)
		default:
			value.WriteByte(c)
		}
	}
	end()
	return fields
}
