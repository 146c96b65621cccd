package deliver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// mailServer is a small server of SMTP, over TLS of its own, that keeps what it takes.
type mailServer struct {
	t        *testing.T
	listener net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	wait     sync.WaitGroup

	implicit bool
	plainTCP bool   // offers no TLS
	auth     string // the methods it offers
	refuse   func(command string) string

	mu       sync.Mutex
	messages []letter
	secured  int // sessions that signed in over TLS
}

type letter struct {
	from string
	to   []string
	data string
}

// newMailServer returns a server that is not serving yet.
func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{t: t, tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots: x509.NewCertPool(), auth: "PLAIN LOGIN"}
	s.roots.AddCert(cert)
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *mailServer) serve() {
	s.wait.Go(func() { // ends when the listener closes
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.wait.Go(func() { // ends with the connection
				defer func() { _ = conn.Close() }()
				if s.implicit {
					conn = tls.Server(conn, s.tls)
				}
				s.session(conn, s.implicit)
			})
		}
	})
	s.t.Cleanup(func() {
		_ = s.listener.Close()
		s.wait.Wait()
	})
}

// session speaks with one client.
func (s *mailServer) session(conn net.Conn, secure bool) {
	r := bufio.NewReader(conn)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 mail.example.com ESMTP")
	signedIn := false
	var l letter
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if s.refuse != nil {
			if answer := s.refuse(line); answer != "" {
				say("%s", answer)
				continue
			}
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			say("250-mail.example.com")
			if !secure && !s.plainTCP {
				say("250-STARTTLS")
			}
			if secure {
				say("250-AUTH %s", s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			conn, secure = tls.Server(conn, s.tls), true
			r = bufio.NewReader(conn)
		case "AUTH":
			signedIn = s.signIn(rest, r, say)
			if signedIn && secure {
				s.mu.Lock()
				s.secured++
				s.mu.Unlock()
			}
		case "MAIL":
			if !signedIn && s.auth != "" && !s.plainTCP {
				say("530 sign in first")
				continue
			}
			l = letter{from: rest}
			say("250 ok")
		case "RCPT":
			l.to = append(l.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			l.data = data.String()
			s.mu.Lock()
			s.messages = append(s.messages, l)
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what")
		}
	}
}

// signIn takes the user gatehouse with the password of the test.
func (s *mailServer) signIn(rest string, r *bufio.Reader, say func(string, ...any)) bool {
	user, password := "", ""
	ask := func(question string) string {
		say("334 %s", base64.StdEncoding.EncodeToString([]byte(question)))
		line, _ := r.ReadString('\n')
		text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(text)
	}
	if method, initial, _ := strings.Cut(rest, " "); method == "LOGIN" {
		user, password = ask("Username:"), ask("Password:")
	} else {
		text, _ := base64.StdEncoding.DecodeString(initial)
		if parts := strings.Split(string(text), "\x00"); len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	}
	if user != "gatehouse" || password != "correct horse" {
		say("535 %s is not the password", password) // as careless servers do
		return false
	}
	say("235 welcome")
	return true
}

// config returns how a Deliverer reaches the server.
func (s *mailServer) config(security Security, password string) *Mail {
	m := &Mail{Address: s.listener.Addr().String(), From: "Gatehouse <gatehouse@example.com>", Security: security, Roots: s.roots, Dial: outbound.NewDialer(true).DialContext}
	if password != "" {
		m.Username = "gatehouse"
		m.Password = func(context.Context) (secret.Text, error) { return secret.NewText(password), nil }
	}
	return m
}

// mailWorld returns a world, and a function that tries the delivery of an alert to a channel once.
func mailWorld(t *testing.T, m *Mail) (*world, func(channel string) (gatehouse.Alert, gatehouse.AlertDelivery)) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	t.Cleanup(func() { _ = w.db.Close() })
	w.cfg.Mail = m
	d := New(w.cfg)
	return w, func(channel string) (gatehouse.Alert, gatehouse.AlertDelivery) {
		t.Helper()
		a := w.raise(channel)
		now := gatehouse.MillisOf(time.Now())
		claimed, err := w.db.ClaimDeliveries(t.Context(), store.DeliveryClaim{Now: now, Until: now + 60_000, Limit: 10})
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %v, %v", claimed, err)
		}
		d.try(t.Context(), &claimed[0])
		return a, w.deliveries(a.ID)[0]
	}
}

// TestMail: a message arrives over STARTTLS and implicit TLS, signed in, readable, with the id of its delivery.
func TestMail(t *testing.T) {
	for name, setUp := range map[string]func(*mailServer) *Mail{
		"starttls":    func(s *mailServer) *Mail { return s.config(StartTLS, "correct horse") },
		"implicit":    func(s *mailServer) *Mail { s.implicit = true; return s.config(ImplicitTLS, "correct horse") },
		"login alone": func(s *mailServer) *Mail { s.auth = "LOGIN"; return s.config(StartTLS, "correct horse") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newMailServer(t)
			m := setUp(s)
			s.serve()
			_, try := mailWorld(t, m)
			a, d := try("alch_mail")
			if d.State != gatehouse.DeliveryDelivered {
				t.Fatalf("delivery %+v", d)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.messages) != 1 || s.secured != 1 || !strings.HasPrefix(s.messages[0].from, "FROM:<gatehouse@example.com>") || strings.Join(s.messages[0].to, " ") != "TO:<finance@example.com> TO:<ops@example.com>" {
				t.Fatalf("taken %+v, signed in over TLS %d times", s.messages, s.secured)
			}
			got, err := mail.ReadMessage(strings.NewReader(s.messages[0].data))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			if err != nil || subject != "[gatehouse] "+a.Title {
				t.Errorf("subject %q, %v", subject, err)
			}
			body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
			if err != nil || !strings.Contains(string(body), "It usually is $4.00 – ünusual.") || !strings.Contains(string(body), "https://gatehouse.example.com/gatehouse/v1/alerts/"+a.ID) {
				t.Errorf("body %q, %v", body, err)
			}
			if id := got.Header.Get("Message-Id"); id != "<"+d.ID+"@example.com>" {
				t.Errorf("message id %q", id)
			}
			if _, err := got.Header.Date(); err != nil {
				t.Errorf("date: %v", err)
			}
		})
	}
}

// TestSpendAlertMail goes to the recipients of OpenAI's spend alert, with its prefix.
func TestSpendAlertMail(t *testing.T) {
	s := newMailServer(t)
	s.serve()
	_, try := mailWorld(t, s.config(StartTLS, "correct horse"))
	if _, d := try("alert_1"); d.State != gatehouse.DeliveryDelivered {
		t.Fatalf("delivery %+v", d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.messages[0]; strings.Join(m.to, " ") != "TO:<spend@example.com>" || !strings.Contains(m.data, "Subject: =?utf-8?q?Spend:") && !strings.Contains(m.data, "Subject: Spend:") {
		t.Errorf("taken %+v", m)
	}
}

// TestMailFailures: what may pass is tried again, what will not is given up, and no error holds a password.
func TestMailFailures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setUp func(*mailServer) *Mail
		state gatehouse.DeliveryState
		error string
	}{
		{"no TLS offered", func(s *mailServer) *Mail { s.plainTCP = true; return s.config(StartTLS, "correct horse") }, gatehouse.DeliveryPending, "does not offer STARTTLS"},
		{"another's certificate", func(s *mailServer) *Mail {
			m := s.config(StartTLS, "correct horse")
			m.Roots = x509.NewCertPool()
			return m
		}, gatehouse.DeliveryPending, "TLS fails"},
		{"wrong password", func(s *mailServer) *Mail { return s.config(StartTLS, "battery staple") }, gatehouse.DeliveryPending, "refuses to sign us in (535)"},
		{"greylisted", func(s *mailServer) *Mail {
			s.refuse = onCommand("RCPT", "450 try later")
			return s.config(StartTLS, "correct horse")
		}, gatehouse.DeliveryPending, "does not take a recipient (450)"},
		{"nobody there", func(s *mailServer) *Mail {
			s.refuse = onCommand("RCPT", "550 who?")
			return s.config(StartTLS, "correct horse")
		}, gatehouse.DeliveryDead, "does not take a recipient (550)"},
		{"one of two there", func(s *mailServer) *Mail {
			s.refuse = onCommand("RCPT TO:<finance", "550 who?")
			return s.config(StartTLS, "correct horse")
		}, gatehouse.DeliveryDelivered, ""},
		{"full", func(s *mailServer) *Mail {
			s.refuse = onCommand("DATA", "452 full")
			return s.config(StartTLS, "correct horse")
		}, gatehouse.DeliveryPending, "does not take the message (452)"},
		{"none configured", func(*mailServer) *Mail { return nil }, gatehouse.DeliveryPending, "no smtp in its configuration"},
		{"metadata", func(s *mailServer) *Mail {
			m := s.config(StartTLS, "")
			m.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("never called") }
			return m
		}, gatehouse.DeliveryPending, "cannot be reached: never called"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newMailServer(t)
			m := tt.setUp(s)
			s.serve()
			w, try := mailWorld(t, m)
			_, d := try("alch_mail")
			if d.State != tt.state || !strings.Contains(d.Error, tt.error) || tt.error == "" && d.Error != "" {
				t.Errorf("delivery %+v, want it %s with %q", d, tt.state, tt.error)
			}
			if all := d.Error + w.log.String(); strings.Contains(all, "horse") || strings.Contains(all, "staple") {
				t.Errorf("a password is in %s", all)
			}
		})
	}
}

// onCommand returns what answers commands that begin so, once TLS stands.
func onCommand(prefix, answer string) func(string) string {
	return func(line string) string {
		if strings.HasPrefix(line, prefix) {
			return answer
		}
		return ""
	}
}
