package admin

import (
	"context"
	"net/mail"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// maxRecipients bounds whom one alert tells.
const maxRecipients = 100

// SpendAlertRequest is a spend alert as it is declared.
type SpendAlertRequest struct {
	Threshold     gatehouse.NanoUSD // 0: with the first request that costs something
	Recipients    []string          // mail addresses
	SubjectPrefix string
}

func (r *SpendAlertRequest) check() error {
	if r.Threshold < 0 || r.Threshold > gatehouse.NanoUSD(gatehouse.MaxUSD) {
		return gatehouse.InvalidParam("threshold_amount", "Invalid 'threshold_amount': must be between 0 and %d cents.", gatehouse.NanoUSD(gatehouse.MaxUSD)/gatehouse.Cents)
	}
	if len(r.Recipients) == 0 || len(r.Recipients) > maxRecipients {
		return gatehouse.InvalidParam("notification_channel.recipients", "Invalid 'notification_channel.recipients': between 1 and %d addresses are needed.", maxRecipients)
	}
	for i, to := range r.Recipients {
		// The bare address and nothing else: what stands here becomes a header of a mail.
		a, err := mail.ParseAddress(to)
		if err != nil || a.Address != to || a.Name != "" || len(to) > 254 || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return gatehouse.InvalidParam("notification_channel.recipients", "Invalid 'notification_channel.recipients': %q is not a mail address such as finance@example.com.", clipped(to))
		}
		if slices.Contains(r.Recipients[:i], to) {
			return gatehouse.InvalidParam("notification_channel.recipients", "Invalid 'notification_channel.recipients': %q is named twice.", to)
		}
	}
	if r.SubjectPrefix == "" {
		return nil
	}
	return gatehouse.CheckName("notification_channel.subject_prefix", r.SubjectPrefix)
}

func clipped(s string) string {
	if len(s) > 64 {
		return s[:64]
	}
	return s
}

func (r *SpendAlertRequest) change() map[string]any {
	return map[string]any{"threshold_nano_usd": r.Threshold, "recipients": len(r.Recipients), "subject_prefix": r.SubjectPrefix}
}

// CreateSpendAlert adds a spend alert to a project, or where project is empty to the organization.
func (s *Service) CreateSpendAlert(ctx context.Context, who *gatehouse.Principal, project string, req SpendAlertRequest) (*gatehouse.SpendAlert, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	a := &gatehouse.SpendAlert{ID: gatehouse.NewID(gatehouse.PrefixSpendAlert), Organization: who.Organization, Project: project, Threshold: req.Threshold,
		Recipients: slices.Clone(req.Recipients), SubjectPrefix: req.SubjectPrefix}
	ev := gatehouse.Event{Type: "spend_alert.created", Project: project, Subject: gatehouse.SubjectSpendAlert, SubjectID: a.ID, Change: detail(req.change())}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if project != "" {
			if _, err := s.activeProject(tx, who, project); err != nil {
				return err
			}
		}
		a.CreatedAt = tx.Now
		return tx.CreateSpendAlert(a)
	})
	return a, err
}

// UpdateSpendAlert replaces everything a spend alert says. It stays where it is: project is the one it belongs to, or empty.
func (s *Service) UpdateSpendAlert(ctx context.Context, who *gatehouse.Principal, project, id string, req SpendAlertRequest) (a *gatehouse.SpendAlert, err error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	ev := gatehouse.Event{Type: "spend_alert.updated", Project: project, Subject: gatehouse.SubjectSpendAlert, SubjectID: id, Change: detail(req.change())}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if a, err = s.spendAlert(tx, who, project, id); err != nil {
			return err
		}
		a.Threshold, a.Recipients, a.SubjectPrefix = req.Threshold, slices.Clone(req.Recipients), req.SubjectPrefix
		return tx.SaveSpendAlert(a)
	})
	return a, err
}

// RemoveSpendAlert ends a spend alert.
func (s *Service) RemoveSpendAlert(ctx context.Context, who *gatehouse.Principal, project, id string) error {
	ev := gatehouse.Event{Type: "spend_alert.deleted", Project: project, Subject: gatehouse.SubjectSpendAlert, SubjectID: id}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		a, err := s.spendAlert(tx, who, project, id)
		if err != nil {
			return err
		}
		a.RemovedAt = tx.Now
		return tx.SaveSpendAlert(a)
	})
	return err
}

// SpendAlert returns a spend alert of a project, or where project is empty of the organization.
func (s *Service) SpendAlert(ctx context.Context, who *gatehouse.Principal, project, id string) (a *gatehouse.SpendAlert, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		a, err = s.spendAlert(tx, who, project, id)
		return err
	})
	return a, err
}

// SpendAlerts lists the spend alerts of a project, or where project is empty the organization's own.
func (s *Service) SpendAlerts(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []gatehouse.SpendAlert, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		if project != "" {
			if _, err := s.project(tx, who, project); err != nil {
				return err
			}
		}
		list, more, err = tx.SpendAlerts(who.Organization, project, page)
		return err
	})
	return list, more, err
}

func (s *Service) spendAlert(tx *store.Tx, who *gatehouse.Principal, project, id string) (*gatehouse.SpendAlert, error) {
	if project != "" {
		if _, err := s.project(tx, who, project); err != nil {
			return nil, err
		}
	}
	a, err := tx.SpendAlert(id)
	if err != nil {
		return nil, hide(err, "spend alert", id)
	}
	if a.Organization != who.Organization || a.Project != project || a.RemovedAt != 0 {
		return nil, notFound("spend alert", id)
	}
	return a, nil
}
