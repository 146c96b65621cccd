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
	"log/slog"
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
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu, as are the rest
	stamp   time.Time        // modification time of the certificate that is current
	checked time.Time
	said    string // what is wrong with the files and was logged
}

// certificateCheck is how often the files are looked at.
const certificateCheck = 10 * time.Second

// newCertificates reads the files for the first time. One that has expired is served all the same, and the log says so: there is
// no better one, and the node's other listeners may be what somebody needs to mend it.
func newCertificates(files *TLS, now func() time.Time, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: *files, now: now, log: log}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

// get returns the certificate. A renewal that cannot be read, or is not valid while the one before it is, leaves that in use.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.checked); c.current != nil && since >= 0 && since < certificateCheck {
		return c.current, nil
	}
	c.checked = now
	err := c.renew(now)
	if c.current == nil {
		return nil, err
	}
	if err == nil {
		err = validAt(c.current.Leaf, now)
	}
	c.say(err)
	return c.current, nil
}

// renew reads the files where they changed. The caller holds mu.
func (c *certificates) renew(now time.Time) error {
	info, err := os.Stat(c.files.Cert)
	if err != nil || c.current != nil && info.ModTime().Equal(c.stamp) {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return err
	}
	if err := validAt(pair.Leaf, now); err != nil && c.current != nil && validAt(c.current.Leaf, now) == nil {
		return err
	}
	if c.current != nil {
		c.log.Info("certificate renewed", "expires", pair.Leaf.NotAfter)
	}
	c.current, c.stamp = &pair, info.ModTime()
	return nil
}

// say logs what is wrong with the files, once. The caller holds mu.
func (c *certificates) say(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != c.said {
		c.log.Warn("the certificate files hold nothing valid; the certificate read before stays in use", "cert", c.files.Cert, "error", err, "expires", c.current.Leaf.NotAfter)
	}
	c.said = text
}

// expires returns when the certificate in use expires.
func (c *certificates) expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter
}

// validAt returns an error unless a certificate is valid at a moment.
func validAt(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate expired on %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
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
