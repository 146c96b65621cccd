package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// certificates serves a certificate from files and reads them again when they changed, so that a renewal needs no restart.
type certificates struct {
	files TLS

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu, as are the rest
	stamp   time.Time        // modification time of the certificate that is current
	checked time.Time
}

// certificateCheck is how often the files are looked at.
const certificateCheck = 10 * time.Second

func newCertificates(files *TLS) (*certificates, error) {
	c := &certificates{files: *files}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

// get returns the certificate. A renewal that cannot be read leaves the one before it in use.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.checked) < certificateCheck {
		return c.current, nil
	}
	c.checked = time.Now()
	info, err := os.Stat(c.files.Cert)
	if err == nil && c.current != nil && info.ModTime().Equal(c.stamp) {
		return c.current, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.files.Cert, c.files.Key); err == nil {
			c.current, c.stamp = &pair, info.ModTime()
		}
	}
	if c.current == nil {
		return nil, err
	}
	return c.current, nil
}

// localCertificates makes a certificate authority and a certificate for this host below dir, unless they are there and good for
// another month, and returns the server's files and the authority's.
func localCertificates(dir string, now time.Time) (files *TLS, authority string, err error) {
	files = &TLS{Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}
	authority = filepath.Join(dir, "ca.pem")
	if pair, err := tls.LoadX509KeyPair(files.Cert, files.Key); err == nil && pair.Leaf != nil && now.AddDate(0, 1, 0).Before(pair.Leaf.NotAfter) {
		if _, err := os.Stat(authority); err == nil {
			return files, authority, nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	ca := certificate("Gatehouse dev CA", now)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf := certificate("localhost", now)
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, "", err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	return files, authority, errors.Join(
		writePEM(files.Key, "PRIVATE KEY", keyDER, 0o600),
		writePEM(files.Cert, "CERTIFICATE", leafDER, 0o644),
		writePEM(authority, "CERTIFICATE", caDER, 0o644),
	)
}

func certificate(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
