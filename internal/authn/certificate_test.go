package authn_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/authn"
	"gatehouse/internal/store"
)

// certify stores an authority's certificate and returns its id.
func (w *world) certify(a *gatehousetest.Authority) string {
	w.tb.Helper()
	c := &gatehouse.Certificate{ID: gatehouse.NewID(gatehouse.PrefixCertificate), Organization: w.org.ID}
	_, err := gatehouse.ParseCertificate(a.PEM, time.Now(), c)
	must(w.tb, err)
	w.update(gatehouse.SubjectCertificate, c.ID, func(tx *store.Tx) error { return tx.CreateCertificate(c) })
	return c.ID
}

// demand puts certificates into force in the organization and in the project.
func (w *world) demand(org, project []string) {
	w.tb.Helper()
	w.org.Certificates, w.project.Policy.Certificates = org, project
	w.update(gatehouse.SubjectOrganization, w.org.ID, func(tx *store.Tx) error { return tx.SaveOrganization(w.org) })
	w.update(gatehouse.SubjectProject, w.project.ID, func(tx *store.Tx) error { return tx.SaveProject(w.project) })
}

// chainOf parses what a client shows.
func chainOf(tb testing.TB, c tls.Certificate) (chain []*x509.Certificate) {
	tb.Helper()
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		must(tb, err)
		chain = append(chain, cert)
	}
	return chain
}

// escaped is a certificate and those behind it as PEM in a header, the way nginx and Envoy write it.
func escaped(c tls.Certificate, n int) string {
	var text strings.Builder
	for _, der := range c.Certificate[:n] {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return url.PathEscape(text.String())
}

func base(c tls.Certificate, around string) string {
	var items []string
	for _, der := range c.Certificate {
		items = append(items, around+base64.StdEncoding.EncodeToString(der)+around)
	}
	return strings.Join(items, ", ")
}

// TestClientCertificates shows every kind of certificate, by every way it may arrive, to projects that demand one.
func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	key := w.issue(gatehouse.ClassService).text
	ours, theirs, stranger := gatehousetest.NewAuthority(t, "ours"), gatehousetest.NewAuthority(t, "theirs"), gatehousetest.NewAuthority(t, "stranger")
	between := ours.Below(t, "between")
	oursID, theirsID := w.certify(ours), w.certify(theirs)
	good, deep, other, unknown := ours.Client(t, "good", nil), between.Client(t, "deep", nil), theirs.Client(t, "other", nil), stranger.Client(t, "unknown", nil)
	now := time.Now()
	late := ours.Client(t, "late", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) })
	early := ours.Client(t, "early", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) })
	server := ours.Client(t, "server", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	forged := good
	forged.Certificate = append([][]byte{unknown.Certificate[0]}, good.Certificate...) // somebody else's in front of a good one
	shown := func(c tls.Certificate) authn.ClientCertificate {
		return authn.ClientCertificate{Chain: chainOf(t, c)}
	}
	sent := func(text string) authn.ClientCertificate { return authn.ClientCertificate{Forwarded: text} }
	for name, c := range map[string]struct {
		org, project []string
		certificate  authn.ClientCertificate
		rule         authn.Rule
	}{
		"nothing is demanded":               {nil, nil, authn.ClientCertificate{}, ""},
		"nothing is demanded of a stranger": {nil, nil, shown(unknown), ""},
		"none":                              {[]string{oursID}, nil, authn.ClientCertificate{}, authn.CertificateMissing},
		"none, of the project":              {nil, []string{oursID}, authn.ClientCertificate{}, authn.CertificateMissing},
		"good":                              {[]string{oursID}, nil, shown(good), ""},
		"good, of the project":              {nil, []string{oursID}, shown(good), ""},
		"one of two":                        {nil, []string{theirsID, oursID}, shown(good), ""},
		"below another authority":           {nil, []string{oursID}, shown(deep), ""},
		"another's":                         {nil, []string{oursID}, shown(other), authn.CertificateUntrusted},
		"nobody's":                          {nil, []string{oursID}, shown(unknown), authn.CertificateUntrusted},
		"a good one behind another":         {nil, []string{oursID}, shown(forged), authn.CertificateUntrusted},
		"expired":                           {nil, []string{oursID}, shown(late), authn.CertificateUntrusted},
		"not yet valid":                     {nil, []string{oursID}, shown(early), authn.CertificateUntrusted},
		"a server's":                        {nil, []string{oursID}, shown(server), authn.CertificateUntrusted},
		"the organization's is not enough":  {[]string{oursID}, []string{theirsID}, shown(good), authn.CertificateUntrusted},
		"the project's is not enough":       {[]string{oursID}, []string{theirsID}, shown(other), authn.CertificateUntrusted},
		"both levels":                       {[]string{oursID}, []string{theirsID, oursID}, shown(good), ""},
		"one that is gone":                  {nil, []string{"cert_gone"}, shown(good), authn.CertificateUntrusted},

		"RFC 9440":                         {nil, []string{oursID}, sent(base(good, ":")), ""},
		"RFC 9440, a chain":                {nil, []string{oursID}, sent(base(deep, ":")), ""},
		"RFC 9440, another's":              {nil, []string{oursID}, sent(base(other, ":")), authn.CertificateUntrusted},
		"nginx":                            {nil, []string{oursID}, sent(escaped(good, 1)), ""},
		"nginx, expired":                   {nil, []string{oursID}, sent(escaped(late, 1)), authn.CertificateUntrusted},
		"HAProxy":                          {nil, []string{oursID}, sent(base(good, "")), ""},
		"Traefik, a chain":                 {nil, []string{oursID}, sent(base(deep, "")), ""},
		"Envoy":                            {nil, []string{oursID}, sent(`By=spiffe://a;Hash=ab;Cert="` + escaped(good, 1) + `";Subject="CN=a;b, \"c\"";URI=`), ""},
		"Envoy, a chain":                   {nil, []string{oursID}, sent(`Hash=ab;Cert="` + escaped(deep, 1) + `";Chain="` + escaped(deep, 2) + `"`), ""},
		"Envoy, the nearest proxy's":       {nil, []string{oursID}, sent(`Hash=ab;Cert="` + escaped(unknown, 1) + `",Hash=cd;Cert="` + escaped(good, 1) + `"`), ""},
		"Envoy, what the client wrote":     {nil, []string{oursID}, sent(`Hash=ab;Cert="` + escaped(good, 1) + `",Hash=cd;Cert="` + escaped(unknown, 1) + `"`), authn.CertificateUntrusted},
		"Envoy, a hash alone":              {nil, []string{oursID}, sent(`Hash=abcd`), authn.CertificateUntrusted},
		"nonsense":                         {nil, []string{oursID}, sent("nonsense"), authn.CertificateUntrusted},
		"the proxy's word before the link": {nil, []string{oursID}, authn.ClientCertificate{Chain: chainOf(t, good), Forwarded: base(other, ":")}, authn.CertificateUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			w.tb = t
			w.demand(c.org, c.project)
			for range 2 { // the second time from memory
				var id authn.Identity
				err := w.auth.Authenticate(&authn.Presented{Key: key, Addr: here, Certificate: c.certificate}, &id)
				if got := authn.RuleOf(err); got != c.rule {
					t.Errorf("got %q (%v), want %q", got, err, c.rule)
				}
			}
		})
	}
	w.tb = t
	t.Run("while it is in use", func(t *testing.T) {
		w.demand(nil, nil)
		var id authn.Identity
		must(t, w.auth.Authenticate(&authn.Presented{Key: key, Addr: here, Certificate: shown(good)}, &id))
		w.demand(nil, []string{oursID})
		must(t, w.auth.Recheck(&id))
		w.demand(nil, []string{theirsID})
		if got := authn.RuleOf(w.auth.Recheck(&id)); got != authn.CertificateUntrusted {
			t.Errorf("another is demanded: %q", got)
		}
		w.demand(nil, []string{oursID})
		must(t, w.auth.Recheck(&id))
		w.now.Add(25 * time.Hour.Milliseconds())
		if got := authn.RuleOf(w.auth.Recheck(&id)); got != authn.CertificateUntrusted {
			t.Errorf("it has expired since: %q", got)
		}
	})
}

// TestForwardedCertificates: only a trusted proxy's header is believed, and only where it is there once.
func TestForwardedCertificates(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	header := func(values ...string) http.Header {
		return http.Header{"Client-Cert": values, "Client-Cert-Chain": {":YQ==:", ":Yg==:"}}
	}
	for name, c := range map[string]struct {
		peer, name, want string
		header           http.Header
	}{
		"a proxy":             {"192.0.2.7:1", "Client-Cert", ":eA==:,:YQ==:,:Yg==:", header(":eA==:")},
		"somebody":            {"198.51.100.7:1", "Client-Cert", "", header(":eA==:")},
		"twice":               {"192.0.2.7:1", "Client-Cert", "", header(":eA==:", ":eQ==:")},
		"none":                {"192.0.2.7:1", "Client-Cert", "", header()},
		"a header of its own": {"192.0.2.7:1", "X-Ssl-Client-Cert", "x", http.Header{"X-Ssl-Client-Cert": {"x"}, "Client-Cert-Chain": {"y"}}},
	} {
		if got := authn.ForwardedCertificate(&http.Request{RemoteAddr: c.peer, Header: c.header}, c.name, trusted); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
