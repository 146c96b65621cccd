package gatehouse

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"
)

// Certificate is one by which clients are known: an authority's, or a client's own. Where it is in force, who calls models must show a
// client certificate (mutual TLS) that it issued, or that is it. Which certificates are in force stands in Organization.Certificates and
// ProjectPolicy.Certificates: each of the two lists that is not empty must be satisfied by itself.
type Certificate struct {
	ID           string
	Organization string
	Name         string // may be empty
	Content      string // PEM, one certificate
	Fingerprint  string // SHA-256 of the certificate, in hexadecimal; unique among an organization's
	ValidAt      Millis
	ExpiresAt    Millis
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// MaxCertificates bounds the certificates of an organization; MaxToggled is how many one call may activate or deactivate, as OpenAI's
// API document says.
const (
	MaxCertificates = 100
	MaxToggled      = 10
)

// CertificateFingerprint returns the Fingerprint of the first certificate in a text, "" where there is none.
func CertificateFingerprint(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

const maxCertificateText = 64 << 10

// ParseCertificate reads the text of a certificate and fills in Content, Fingerprint and times of c. It returns an Invalid error, which
// names the parameter certificate, unless the text is one certificate in PEM that has not expired and is signed in a way that client
// certificates are still accepted by.
func ParseCertificate(text string, now time.Time, c *Certificate) (*x509.Certificate, error) {
	invalid := func(format string, args ...any) (*x509.Certificate, error) {
		return nil, InvalidParam("certificate", "Invalid 'certificate': "+format, args...)
	}
	if len(text) > maxCertificateText {
		return invalid("it is longer than %d bytes.", maxCertificateText)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return invalid("it must be one certificate in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.")
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return invalid("this is a private key, which nobody but its owner may have. Upload the certificate, and replace the key: it was sent over a network.")
	case block.Type != "CERTIFICATE":
		return invalid("the PEM block is of type %q, not CERTIFICATE.", block.Type)
	}
	if strings.Contains(string(rest), "-----BEGIN") {
		return invalid("it holds more than one PEM block. Upload each certificate by itself, and a private key never.")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return invalid("the certificate cannot be read: %s.", strings.TrimPrefix(err.Error(), "x509: "))
	}
	if now.After(cert.NotAfter) {
		return invalid("the certificate expired on %s.", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	c.Content = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	c.Fingerprint, c.ValidAt, c.ExpiresAt = CertificateFingerprint(c.Content), MillisOf(cert.NotBefore), MillisOf(cert.NotAfter)
	return cert, nil
}
