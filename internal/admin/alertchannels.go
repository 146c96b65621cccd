package admin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// AlertChannelSpec is a channel as it is declared.
type AlertChannelSpec struct {
	Name          string                `json:"name" yaml:"name"`
	Kind          gatehouse.ChannelKind `json:"kind" yaml:"kind"` // webhook, slack or email
	Disabled      bool                  `json:"disabled,omitempty" yaml:"disabled"`
	URL           string                `json:"url,omitempty" yaml:"url"` // of a webhook, or a secret reference to it; of slack always a reference
	AllowPrivate  bool                  `json:"allow_private,omitempty" yaml:"allow_private"`
	Recipients    []string              `json:"recipients,omitempty" yaml:"recipients"`
	SubjectPrefix string                `json:"subject_prefix,omitempty" yaml:"subject_prefix"`
}

const (
	// overlap is how long a webhook's old secret goes on signing beside the new one.
	overlap = 24 * time.Hour
	// webhookSecret begins the secret of a webhook, as Standard Webhooks has it.
	webhookSecret = "whsec_"
)

// AlertChannels lists the organization's channels.
func (s *Service) AlertChannels(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.AlertChannel, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.AlertChannels(who.Organization)
		return err
	})
	return list, err
}

// PutAlertChannel creates the channel of that name or replaces it. For a new webhook it returns the secret that its messages are
// signed with, which is shown once; else an empty one.
func (s *Service) PutAlertChannel(ctx context.Context, who *gatehouse.Principal, spec AlertChannelSpec) (*gatehouse.AlertChannel, secret.Text, error) {
	var channel *gatehouse.AlertChannel
	var minted secret.Text
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		channel, minted, out, err = s.putAlertChannel(tx, who, spec)
		return out, err
	})
	return channel, minted, err
}

// RotateAlertChannel gives a webhook a new secret, which is shown once. Its messages are signed with the old one too for 24 hours.
func (s *Service) RotateAlertChannel(ctx context.Context, who *gatehouse.Principal, name string) (channel *gatehouse.AlertChannel, minted secret.Text, err error) {
	_, err = s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		if channel, err = s.alertChannel(tx, who, name); err != nil {
			return nil, err
		}
		if channel.Kind != gatehouse.ChannelWebhook {
			return nil, gatehouse.InvalidParam("name", "Channel %q is no webhook, so it has no secret to rotate.", name)
		}
		if err := s.dropSealed(tx, channel.OldSecret); err != nil {
			return nil, err
		}
		channel.OldSecret, channel.OldUntil = channel.Secret, tx.Now+gatehouse.Millis(overlap.Milliseconds())
		if channel.Secret, minted, err = s.mintWebhookSecret(tx, who, channel.Name); err != nil {
			return nil, err
		}
		return &outcome{kind: "alert_channel", name: channel.Name, action: "update", event: &gatehouse.Event{Type: "alert_channel.secret_rotated",
			Subject: gatehouse.SubjectAlertChannel, SubjectID: channel.ID, Change: detail(map[string]any{"old_until": channel.OldUntil})}}, tx.SaveAlertChannel(channel)
	})
	return channel, minted, err
}

// RemoveAlertChannel removes a channel by its name or id, with its secrets. What was on its way to it is given up.
func (s *Service) RemoveAlertChannel(ctx context.Context, who *gatehouse.Principal, name string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		c, err := s.alertChannel(tx, who, name)
		if err != nil {
			return nil, err
		}
		return s.removeAlertChannel(tx, c)
	})
}

func (s *Service) removeAlertChannel(tx *store.Tx, c *gatehouse.AlertChannel) (*outcome, error) {
	rules, err := tx.AlertRules(c.Organization)
	if err != nil {
		return nil, err
	}
	for i := range rules {
		if slices.Contains(rules[i].Channels, c.ID) {
			return nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "alert_channel_in_use", Message: "Alert rule `" + rules[i].Name + "` names channel `" + c.Name + "`. Take it out of the rule first."}
		}
	}
	for _, ref := range []string{c.Secret, c.OldSecret} {
		if err := s.dropSealed(tx, ref); err != nil {
			return nil, err
		}
	}
	c.RemovedAt, c.Secret, c.OldSecret, c.OldUntil = tx.Now, "", "", 0
	return &outcome{action: "delete", kind: "alert_channel", name: c.Name,
		event: &gatehouse.Event{Type: "alert_channel.deleted", Subject: gatehouse.SubjectAlertChannel, SubjectID: c.ID}}, tx.SaveAlertChannel(c)
}

func (s *Service) putAlertChannel(tx *store.Tx, who *gatehouse.Principal, spec AlertChannelSpec) (*gatehouse.AlertChannel, secret.Text, *outcome, error) {
	none := secret.Text{}
	if err := s.checkAlertChannel(&spec); err != nil {
		return nil, none, nil, err
	}
	list, err := tx.AlertChannels(who.Organization)
	if err != nil {
		return nil, none, nil, err
	}
	want := &gatehouse.AlertChannel{Organization: who.Organization, Name: spec.Name, Kind: spec.Kind, Disabled: spec.Disabled, URL: spec.URL, AllowPrivate: spec.AllowPrivate,
		Recipients: spec.Recipients, SubjectPrefix: spec.SubjectPrefix}
	out := &outcome{kind: "alert_channel", name: spec.Name}
	i := slices.IndexFunc(list, func(c gatehouse.AlertChannel) bool { return c.Name == spec.Name })
	if i < 0 {
		if len(list) >= maxAlerts {
			return nil, none, nil, gatehouse.Errorf(gatehouse.Conflict, "An organization may have at most %d alert channels.", maxAlerts)
		}
		want.ID, want.CreatedAt = gatehouse.NewID(gatehouse.PrefixAlertChannel), tx.Now
		minted := none
		if want.Kind == gatehouse.ChannelWebhook {
			if want.Secret, minted, err = s.mintWebhookSecret(tx, who, want.Name); err != nil {
				return nil, none, nil, err
			}
		}
		out.action, out.event = "create", &gatehouse.Event{Type: "alert_channel.created", Subject: gatehouse.SubjectAlertChannel, SubjectID: want.ID, Change: detail(spec)}
		return want, minted, out, tx.CreateAlertChannel(want)
	}
	old := &list[i]
	if old.Kind != want.Kind {
		return nil, none, nil, gatehouse.InvalidParam("kind", "Channel %q is of the kind %s, which does not change. Remove it, or take another name.", spec.Name, old.Kind)
	}
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"disabled", old.Disabled != want.Disabled}, {"url", old.URL != want.URL}, {"allow_private", old.AllowPrivate != want.AllowPrivate},
		{"recipients", !slices.Equal(old.Recipients, want.Recipients)}, {"subject_prefix", old.SubjectPrefix != want.SubjectPrefix},
	} {
		if f.differs {
			out.changes = append(out.changes, f.name)
		}
	}
	if len(out.changes) == 0 {
		return old, none, out, nil
	}
	want.ID, want.CreatedAt, want.Rev = old.ID, old.CreatedAt, old.Rev
	want.Secret, want.OldSecret, want.OldUntil = old.Secret, old.OldSecret, old.OldUntil
	out.action, out.event = "update", &gatehouse.Event{Type: "alert_channel.updated", Subject: gatehouse.SubjectAlertChannel, SubjectID: want.ID, Change: detail(spec)}
	return want, none, out, tx.SaveAlertChannel(want)
}

func (s *Service) checkAlertChannel(spec *AlertChannelSpec) error {
	if err := gatehouse.CheckName("name", spec.Name); err != nil {
		return err
	}
	if spec.Name == gatehouse.LogChannel {
		return gatehouse.InvalidParam("name", "The channel %q is there always. Take another name.", spec.Name)
	}
	switch spec.Kind {
	case gatehouse.ChannelWebhook, gatehouse.ChannelSlack:
		if len(spec.Recipients) > 0 || spec.SubjectPrefix != "" {
			return gatehouse.InvalidParam("recipients", "Channel %q: recipients and subject_prefix are for email.", spec.Name)
		}
		return s.checkChannelURL(spec)
	case gatehouse.ChannelEmail:
		return s.checkRecipients(spec)
	}
	return gatehouse.InvalidParam("kind", "Channel %q: kind must be webhook, slack or email.", spec.Name)
}

func (s *Service) checkChannelURL(spec *AlertChannelSpec) error {
	plain := strings.HasPrefix(spec.URL, "https://") || strings.HasPrefix(spec.URL, "http://")
	switch {
	case spec.URL == "":
		return gatehouse.InvalidParam("url", "Channel %q needs a url.", spec.Name)
	case plain && spec.Kind == gatehouse.ChannelSlack:
		return gatehouse.InvalidParam("url", "Channel %q: whoever has Slack's URL may write there, so it is a secret. Keep it with `gatehouse seal` and give the reference that prints.", spec.Name)
	case !plain && spec.AllowPrivate && s.cfg.AllowPrivate != nil:
		return gatehouse.InvalidParam("allow_private", "Channel %q: allow_private needs the URL itself and no reference, so that its host can be looked up under private_upstreams.", spec.Name)
	case !plain:
		return s.cfg.CheckReference(spec.URL)
	}
	u, err := url.Parse(spec.URL)
	switch {
	case err != nil || u.Host == "" || u.Fragment != "":
		return gatehouse.InvalidParam("url", "Channel %q: url must be a URL such as https://hooks.example.com/gatehouse.", spec.Name)
	case u.User != nil:
		return gatehouse.InvalidParam("url", "Channel %q: url must not contain a password. Messages are signed; a URL that is itself a secret is given by reference.", spec.Name)
	case u.Scheme == "http" && !spec.AllowPrivate:
		return gatehouse.InvalidParam("url", "Channel %q: alerts are sent over https. For a server on your own network set allow_private.", spec.Name)
	case spec.AllowPrivate && s.cfg.AllowPrivate != nil && !s.cfg.AllowPrivate(u.Hostname()):
		return gatehouse.InvalidParam("allow_private", "Channel %q: the configuration does not list %q under private_upstreams. The operator of this host must add it.", spec.Name, u.Hostname())
	}
	return nil
}

func (s *Service) checkRecipients(spec *AlertChannelSpec) error {
	if spec.URL != "" || spec.AllowPrivate {
		return gatehouse.InvalidParam("url", "Channel %q: url and allow_private are not for email; the mail server is in the configuration, under smtp.", spec.Name)
	}
	if !s.cfg.Mail {
		return gatehouse.InvalidParam("kind", "Channel %q: mail cannot be sent, because the configuration has no smtp. The operator of this host must add it.", spec.Name)
	}
	if len(spec.Recipients) == 0 || len(spec.Recipients) > maxRecipients {
		return gatehouse.InvalidParam("recipients", "Channel %q needs between 1 and %d recipients.", spec.Name, maxRecipients)
	}
	for _, r := range spec.Recipients {
		if a, err := mail.ParseAddress(r); err != nil || strings.ContainsAny(a.Address, "\r\n") {
			return gatehouse.InvalidParam("recipients", "Channel %q: %q is no address.", spec.Name, r)
		}
	}
	if spec.SubjectPrefix == "" {
		return nil
	}
	return gatehouse.CheckName("subject_prefix", spec.SubjectPrefix)
}

// mintWebhookSecret makes a secret and stores it sealed, as a part of a change. It returns the reference and, to be shown once, the
// secret.
func (s *Service) mintWebhookSecret(tx *store.Tx, who *gatehouse.Principal, channel string) (ref string, minted secret.Text, err error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // crypto/rand.Read never returns an error (Go 1.24 and later)
	minted = secret.NewText(webhookSecret + base64.StdEncoding.EncodeToString(raw))
	id, name := gatehouse.NewID(gatehouse.PrefixSealed), "alert channel "+channel
	text, err := s.cfg.Keyring.Seal([]byte(minted.Reveal()), sealContext(who.Organization, id))
	if err != nil {
		return "", secret.Text{}, err
	}
	tx.Emit(gatehouse.Event{Type: "sealed_secret.created", Organization: who.Organization, Subject: gatehouse.SubjectSealed, SubjectID: id, Change: detail(map[string]any{"name": name})})
	return "sealed://" + id, minted, tx.CreateSealed(&store.Sealed{ID: id, Organization: who.Organization, Name: name, Ciphertext: text, CreatedAt: tx.Now})
}

// dropSealed deletes a sealed secret that nothing refers to any more, as a part of a change. There may be none.
func (s *Service) dropSealed(tx *store.Tx, ref string) error {
	id, ok := strings.CutPrefix(ref, "sealed://")
	if !ok {
		return nil
	}
	row, err := tx.Sealed(id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	tx.Emit(gatehouse.Event{Type: "sealed_secret.deleted", Organization: row.Organization, Subject: gatehouse.SubjectSealed, SubjectID: id})
	return tx.DeleteSealed(row)
}

// alertChannel returns a channel by its name or id.
func (s *Service) alertChannel(tx *store.Tx, who *gatehouse.Principal, name string) (*gatehouse.AlertChannel, error) {
	list, err := tx.AlertChannels(who.Organization)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == name || list[i].ID == name {
			return &list[i], nil
		}
	}
	return nil, notFound("alert channel", name)
}
