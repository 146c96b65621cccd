package gatehousetest

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
)

// issue makes an authority, keeps its certificate in u and returns one for this host that the authority signed.
func (u *Upstream) issue() (tls.Certificate, error) {
	ca, err := issue(nil, authority("gatehousetest authority"))
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := issue(ca, &x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return tls.Certificate{}, err
	}
	u.CA = []byte(ca.PEM)
	u.Pool = x509.NewCertPool()
	u.Pool.AppendCertsFromPEM(u.CA)
	return tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.key}, nil
}
