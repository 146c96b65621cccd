package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"gatehouse"
)

// mail hands an alert to the mail server. A recipient that the server refuses for good keeps nobody else from getting it.
func (d *Deliverer) mail(ctx context.Context, v *gatehouse.AlertDelivery, a *gatehouse.Alert, c *gatehouse.AlertChannel) error {
	m := d.cfg.Mail
	if m == nil {
		return failed("this node has no smtp in its configuration")
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return failed("smtp.from is no address")
	}
	client, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // after Quit there is nothing left
	if err := client.Mail(from.Address); err != nil {
		return refusal("the sender", err)
	}
	taken := 0
	var last *failure
	for _, to := range c.Recipients {
		address, err := mail.ParseAddress(to)
		if err == nil {
			err = client.Rcpt(address.Address)
		}
		if err == nil {
			taken++
			continue
		}
		if last = refusal("a recipient", err); !last.final {
			return last
		}
		d.cfg.Logger.Warn("mail server refuses a recipient of alerts", "channel", c.ID, "delivery", v.ID, "error", last.text)
	}
	if taken == 0 {
		if last == nil {
			last = hopeless("the channel has no recipients")
		}
		return last
	}
	w, err := client.Data()
	if err != nil {
		return refusal("the message", err)
	}
	_, err = w.Write(d.compose(v, a, c, from))
	if ended := w.Close(); err == nil {
		err = ended
	}
	if err != nil {
		return refusal("the message", err)
	}
	_ = client.Quit() // it has the message
	return nil
}

// connect returns a connection to the server that is protected and signed in as configured.
func (m *Mail) connect(ctx context.Context) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, failed("smtp.address is not HOST:PORT")
	}
	conn, err := m.Dial(ctx, "tcp", m.Address)
	if err != nil {
		return nil, failed("the mail server cannot be reached: %v", err)
	}
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(at) // a connection that takes none is refused below
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: m.Roots}
	if m.Security == ImplicitTLS {
		conn = tls.Client(conn, cfg)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		_ = conn.Close() // it was of no use
		return nil, failed("the mail server does not answer: %v", err)
	}
	if err := m.secure(ctx, client, cfg, host); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

func (m *Mail) secure(ctx context.Context, client *smtp.Client, cfg *tls.Config, host string) error {
	if m.Security == StartTLS {
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return failed("the mail server does not offer STARTTLS, without which nothing is sent to it")
		}
		if err := client.StartTLS(cfg); err != nil {
			return failed("the mail server's TLS fails: %v", err)
		}
	}
	if m.Username == "" {
		return nil
	}
	password, err := m.Password(ctx)
	if err != nil {
		return failed("the mail server's password cannot be read: %v", err)
	}
	var auth smtp.Auth = smtp.PlainAuth("", m.Username, password.Reveal(), host)
	if _, methods := client.Extension("AUTH"); !strings.Contains(" "+methods+" ", " PLAIN ") && strings.Contains(" "+methods+" ", " LOGIN ") {
		auth = loginAuth{m.Username, password.Reveal}
	}
	if err := client.Auth(auth); err != nil {
		if e, ok := errors.AsType[*textproto.Error](err); ok {
			return failed("the mail server refuses to sign us in (%d)", e.Code) // what it says may repeat what we sent
		}
		return failed("signing in at the mail server fails")
	}
	return nil
}

// loginAuth is AUTH LOGIN, which some servers offer and nothing else. It is used after TLS only.
type loginAuth struct {
	username string
	password func() string
}

// Start implements smtp.Auth.
func (l loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, errors.New("unencrypted connection")
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth.
func (l loginAuth) Next(asked []byte, more bool) ([]byte, error) {
	switch text := strings.ToLower(string(asked)); {
	case !more:
		return nil, nil
	case strings.HasPrefix(text, "username"):
		return []byte(l.username), nil
	case strings.HasPrefix(text, "password"):
		return []byte(l.password()), nil
	}
	return nil, errors.New("the mail server asks for something else")
}

// refusal says what a server's answer means: 500 and above is for good.
func refusal(what string, err error) *failure {
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		f := failed("the mail server does not take %s (%d)", what, e.Code)
		f.final = e.Code >= 500 && e.Code < 600
		return f
	}
	return failed("the mail server broke off: %v", err)
}

// compose writes the message. Its id is the delivery's, so that a message that arrives twice can be told.
func (d *Deliverer) compose(v *gatehouse.AlertDelivery, a *gatehouse.Alert, c *gatehouse.AlertChannel, from *mail.Address) []byte {
	subject := a.Title
	if c.SubjectPrefix != "" {
		subject = c.SubjectPrefix + " " + subject
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	var b bytes.Buffer
	line := func(name, value string) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.NewReplacer("\r", " ", "\n", " ").Replace(value))
	}
	line("From", from.String())
	line("To", strings.Join(addresses(c.Recipients), ", "))
	line("Subject", mime.QEncoding.Encode("utf-8", strings.NewReplacer("\r", " ", "\n", " ").Replace(subject)))
	line("Date", d.cfg.Now().UTC().Format(time.RFC1123Z))
	line("Message-ID", "<"+v.ID+"@"+domain+">")
	line("Auto-Submitted", "auto-generated")
	line("MIME-Version", "1.0")
	line("Content-Type", "text/plain; charset=utf-8")
	line("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	text := a.Title + "\r\n\r\n" + a.Reason + "\r\n\r\n" + signature(a) + "\r\n"
	if link := d.link(a); link != "" {
		text += link + "\r\n"
	}
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(text)) // a buffer takes everything
	_ = q.Close()
	return b.Bytes()
}

func addresses(list []string) []string {
	out := make([]string, 0, len(list))
	for _, text := range list {
		if a, err := mail.ParseAddress(text); err == nil {
			out = append(out, a.String())
		}
	}
	return out
}
