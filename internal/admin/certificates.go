package admin

import (
	"context"
	"encoding/json"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// CreateCertificate stores a certificate by which clients may be known. It is in force nowhere until it is activated.
func (s *Service) CreateCertificate(ctx context.Context, who *gatehouse.Principal, name, text string) (*gatehouse.Certificate, error) {
	c := &gatehouse.Certificate{ID: gatehouse.NewID(gatehouse.PrefixCertificate), Organization: who.Organization, Name: name}
	if _, err := gatehouse.ParseCertificate(text, s.cfg.Now(), c); err != nil {
		return nil, err
	}
	ev := gatehouse.Event{Type: "certificate.created", Subject: gatehouse.SubjectCertificate, SubjectID: c.ID, Change: detail(map[string]any{"name": name})}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if err := checkCertificateName(name); err != nil {
			return err
		}
		page, more, err := tx.Certificates(who.Organization, store.Page{Limit: gatehouse.MaxCertificates})
		if err != nil {
			return err
		}
		if more || len(page) == gatehouse.MaxCertificates {
			return gatehouse.Errorf(gatehouse.Conflict, "An organization has at most %d certificates. Delete one that is not used any more.", gatehouse.MaxCertificates)
		}
		other, err := tx.CertificateOf(who.Organization, c.Fingerprint)
		if err == nil {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "certificate_exists", Param: "certificate", Message: "This certificate is there already: " + other.ID + "."}
		}
		if gatehouse.KindOf(err) != gatehouse.NotFound {
			return err
		}
		c.CreatedAt = tx.Now
		return tx.CreateCertificate(c)
	})
	return c, err
}

func checkCertificateName(name string) error {
	if name == "" {
		return nil // OpenAI's are optional
	}
	return gatehouse.CheckName("name", name)
}

// RenameCertificate gives a certificate another name.
func (s *Service) RenameCertificate(ctx context.Context, who *gatehouse.Principal, id, name string) (c *gatehouse.Certificate, err error) {
	ev := gatehouse.Event{Type: "certificate.updated", Subject: gatehouse.SubjectCertificate, SubjectID: id}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if c, err = s.certificate(tx, who, id); err != nil {
			return err
		}
		if c.Name == name {
			return errUnchanged
		}
		tx.Event().Change = detail(map[string]any{"name": name, "before": map[string]any{"name": c.Name}})
		c.Name = name
		if err := checkCertificateName(name); err != nil {
			return err
		}
		return tx.SaveCertificate(c)
	})
	if err == errUnchanged {
		err = nil
	}
	return c, err
}

// DeleteCertificate removes a certificate that is in force nowhere.
func (s *Service) DeleteCertificate(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "certificate.deleted", Subject: gatehouse.SubjectCertificate, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		c, err := s.certificate(tx, who, id)
		if err != nil {
			return err
		}
		o, err := tx.Organization(who.Organization)
		if err != nil {
			return err
		}
		inForce := func(where string) error {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "certificate_active", Message: "The certificate " + c.ID + " is active in " + where + ". Deactivate it there first."}
		}
		if slices.Contains(o.Certificates, id) {
			return inForce("the organization")
		}
		err = tx.EachProject(func(p *gatehouse.Project) error {
			if p.Organization == who.Organization && p.ArchivedAt == 0 && slices.Contains(p.Policy.Certificates, id) {
				return inForce("project " + p.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		tx.Event().Change = detail(map[string]any{"name": c.Name, "certificate": c.Content})
		c.RemovedAt = tx.Now
		return tx.SaveCertificate(c)
	})
}

// Certificate returns a certificate.
func (s *Service) Certificate(ctx context.Context, who *gatehouse.Principal, id string) (c *gatehouse.Certificate, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		c, err = s.certificate(tx, who, id)
		return err
	})
	return c, err
}

// CertificateUse is a certificate and whether it is in force in the place that was asked about.
type CertificateUse struct {
	gatehouse.Certificate
	Active bool
}

// Certificates lists the organization's certificates, and whether each is in force in the organization, or, with project not empty, in
// that project.
func (s *Service) Certificates(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []CertificateUse, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		active, err := s.activeCertificates(tx, who, project)
		if err != nil {
			return err
		}
		rows, next, err := tx.Certificates(who.Organization, page)
		if err != nil {
			return err
		}
		more, list = next, make([]CertificateUse, len(rows))
		for i := range rows {
			list[i] = CertificateUse{rows[i], slices.Contains(active, rows[i].ID)}
		}
		return nil
	})
	return list, more, err
}

// activeCertificates returns the ids of the certificates that are in force in a place.
func (s *Service) activeCertificates(tx *store.Tx, who *gatehouse.Principal, project string) ([]string, error) {
	if project == "" {
		o, err := tx.Organization(who.Organization)
		if err != nil {
			return nil, err
		}
		return o.Certificates, nil
	}
	p, err := s.project(tx, who, project)
	if err != nil {
		return nil, err
	}
	return p.Policy.Certificates, nil
}

// ToggleCertificates puts certificates into force, or takes them out of it, in the organization, or, with project not empty, in that
// project. When it returns with Effect.Everywhere every node goes by it. Certificates whose state does not change are left alone.
func (s *Service) ToggleCertificates(ctx context.Context, who *gatehouse.Principal, project string, ids []string, activate bool) (list []CertificateUse, effect Effect, err error) {
	if len(ids) == 0 || len(ids) > gatehouse.MaxToggled {
		return nil, Effect{}, gatehouse.InvalidParam("certificate_ids", "Invalid 'certificate_ids': must have 1 to %d ids.", gatehouse.MaxToggled)
	}
	ev := gatehouse.Event{Type: "certificates.deactivated", Project: project, Subject: gatehouse.SubjectOrganization, SubjectID: who.Organization}
	if activate {
		ev.Type = "certificates.activated"
	}
	if project != "" {
		ev.Subject, ev.SubjectID = gatehouse.SubjectProject, project
	}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		list = nil
		for _, id := range ids {
			c, err := s.certificate(tx, who, id)
			if err != nil {
				return err
			}
			if activate && c.ExpiresAt <= tx.Now {
				return gatehouse.InvalidParam("certificate_ids", "Invalid 'certificate_ids': %s has expired, so that nobody could show a certificate that it issued.", id)
			}
			list = append(list, CertificateUse{*c, activate})
		}
		changed, err := s.setActive(tx, who, project, list, activate)
		if err == nil && changed == nil {
			return errUnchanged
		}
		tx.Event().Change = changed
		return err
	})
	if err == errUnchanged {
		return list, Effect{Everywhere: true}, nil
	}
	return list, effect, err
}

// setActive stores which certificates are in force in a place, and returns what an event says of those that were not in that state before;
// nil: there were none.
func (s *Service) setActive(tx *store.Tx, who *gatehouse.Principal, project string, list []CertificateUse, activate bool) (json.RawMessage, error) {
	var rule *[]string
	var save func() error
	if project == "" {
		o, err := tx.Organization(who.Organization)
		if err != nil {
			return nil, err
		}
		rule, save = &o.Certificates, func() error { return tx.SaveOrganization(o) }
	} else {
		p, err := s.activeProject(tx, who, project)
		if err != nil {
			return nil, err
		}
		rule, save = &p.Policy.Certificates, func() error { return tx.SaveProject(p) }
	}
	type named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var changed []named
	now := slices.Clone(*rule)
	for i := range list {
		id := list[i].ID
		at := slices.Index(now, id)
		switch {
		case activate == (at >= 0):
			continue
		case activate:
			now = append(now, id)
		default:
			now = slices.Delete(now, at, at+1)
		}
		changed = append(changed, named{id, list[i].Name})
	}
	if len(changed) == 0 {
		return nil, nil
	}
	*rule = now
	return detail(map[string]any{"certificates": changed}), save()
}

// certificate finds a certificate that was not removed.
func (s *Service) certificate(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Certificate, error) {
	c, err := tx.Certificate(id)
	if err != nil || c.Organization != who.Organization || c.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "certificate", clipped(id))
	}
	return c, nil
}

// certificateAgain stores a certificate that the backup does not have: a rule that names it would let nobody in.
func certificateAgain(tx *store.Tx, c *gatehouse.Certificate) error {
	row := *c
	row.Rev = 0
	return tx.CreateCertificate(&row)
}

// certificateSubject is narrowed only by being removed.
func certificateSubject(tx *store.Tx, c *gatehouse.Certificate) *subject {
	if c == nil {
		return nil
	}
	sub := removable("", &c.RemovedAt, nil, nil, func() error { return tx.SaveCertificate(c) })
	sub.standing = func() standing {
		row := *c
		row.Rev = 0
		return standing{Gone: c.RemovedAt != 0, Certificate: &row}
	}
	return sub
}

// organizationSubject is narrowed to the certificates of which callers had to show one.
func organizationSubject(tx *store.Tx, o *gatehouse.Organization) *subject {
	if o == nil {
		return nil
	}
	return &subject{
		standing: func() standing { return standing{Certificates: slices.Clone(o.Certificates)} },
		narrow: func(_ *store.Tx, to *standing) error {
			o.Certificates = narrowed(o.Certificates, to.Certificates, equal)
			return nil
		},
		save: func() error { return tx.SaveOrganization(o) },
	}
}
