package gatehousetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Authority issues certificates to clients.
type Authority struct {
	Certificate *x509.Certificate
	PEM         string

	key  crypto.Signer
	path []*x509.Certificate // what a client must show between its own and this one: authorities that were issued by another
}

// NewAuthority returns an authority that nobody has heard of, valid for a day.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	return issued(tb, nil, authority(name))
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
}

// Below returns another authority that this one has issued.
func (a *Authority) Below(tb testing.TB, name string) *Authority {
	tb.Helper()
	b := issued(tb, a, authority(name))
	b.path = append([]*x509.Certificate{b.Certificate}, a.path...)
	return b
}

// Client issues a client's certificate, as change makes it where it is not nil. Its Leaf is set.
func (a *Authority) Client(tb testing.TB, name string, change func(*x509.Certificate)) tls.Certificate {
	tb.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	c := issued(tb, a, template)
	out := tls.Certificate{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.key, Leaf: c.Certificate}
	for _, between := range a.path {
		out.Certificate = append(out.Certificate, between.Raw)
	}
	return out
}

// issued is issue for tests.
func issued(tb testing.TB, by *Authority, c *x509.Certificate) *Authority {
	tb.Helper()
	a, err := issue(by, c)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// issue makes a certificate, valid for a day where c does not say; nil issues its own.
func issue(by *Authority, c *x509.Certificate) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	parent, signer := c, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: cert, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key: key}, nil
}
