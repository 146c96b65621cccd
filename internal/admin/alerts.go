package admin

import (
	"context"
	"fmt"

	"gatehouse"
	"gatehouse/internal/store"
)

// Alerts lists the organization's alerts, with open those alone that nobody has acknowledged.
func (s *Service) Alerts(ctx context.Context, who *gatehouse.Principal, open bool, page store.Page) (list []gatehouse.Alert, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, more, err = tx.Alerts(who.Organization, open, page)
		return err
	})
	return list, more, err
}

// Alert returns an alert.
func (s *Service) Alert(ctx context.Context, who *gatehouse.Principal, id string) (a *gatehouse.Alert, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		a, err = s.alert(tx, who, id)
		return err
	})
	return a, err
}

func (s *Service) alert(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Alert, error) {
	a, err := tx.Alert(id)
	if err != nil {
		return nil, hide(err, "alert", id)
	}
	if a.Organization != who.Organization {
		return nil, notFound("alert", id)
	}
	return a, nil
}

// AcknowledgeAlert notes that somebody has seen an alert. Acknowledging again changes nothing.
func (s *Service) AcknowledgeAlert(ctx context.Context, who *gatehouse.Principal, id string) (a *gatehouse.Alert, err error) {
	_, err = s.change(ctx, who, widens, gatehouse.Event{Type: "alert.acknowledged", Change: detail(map[string]any{"alert": id})}, func(tx *store.Tx) error {
		if a, err = s.alert(tx, who, id); err != nil {
			return err
		}
		if a.AcknowledgedAt != 0 {
			return errUnchanged
		}
		by := who.Actor.User
		for _, other := range []string{who.Actor.ServiceAccount, who.Actor.Key, string(who.Actor.Kind)} {
			if by == "" {
				by = other
			}
		}
		a.AcknowledgedAt, a.AcknowledgedBy = tx.Now, by
		return tx.AcknowledgeAlert(id, by)
	})
	if err == errUnchanged {
		err = nil
	}
	return a, err
}

// AlertDeliveries returns the deliveries of an alert.
func (s *Service) AlertDeliveries(ctx context.Context, who *gatehouse.Principal, alert string) (list []gatehouse.AlertDelivery, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if _, err := s.alert(tx, who, alert); err != nil {
			return err
		}
		list, err = tx.AlertDeliveries(alert)
		return err
	})
	return list, err
}

// DeliveriesIn lists the organization's deliveries in a state.
func (s *Service) DeliveriesIn(ctx context.Context, who *gatehouse.Principal, state gatehouse.DeliveryState, page store.Page) (list []gatehouse.AlertDelivery, more bool, err error) {
	switch state {
	case gatehouse.DeliveryPending, gatehouse.DeliveryDelivered, gatehouse.DeliveryDead:
	default:
		return nil, false, gatehouse.InvalidParam("state", "Invalid 'state': it must be pending, delivered or dead.")
	}
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, more, err = tx.DeliveriesIn(who.Organization, state, page)
		return err
	})
	return list, more, err
}

// ReplayDelivery sends what was given up, or was received, once more under the same id.
func (s *Service) ReplayDelivery(ctx context.Context, who *gatehouse.Principal, id string) (d *gatehouse.AlertDelivery, err error) {
	_, err = s.change(ctx, who, widens, gatehouse.Event{Type: "alert.replayed", Change: detail(map[string]any{"delivery": id})}, func(tx *store.Tx) error {
		if d, err = tx.AlertDelivery(id); err != nil {
			return hide(err, "delivery", id)
		}
		if d.Organization != who.Organization {
			return notFound("delivery", id)
		}
		if d.State == gatehouse.DeliveryPending {
			return errUnchanged
		}
		if err := tx.ReplayDelivery(id); err != nil {
			return err
		}
		d, err = tx.AlertDelivery(id)
		return err
	})
	if err == errUnchanged {
		err = nil
	}
	s.wakeAlerts(err)
	return d, err
}

// TestAlertChannel sends an alert of the kind test to one channel, so that somebody sees whether it works. What came of it stands in
// the alert's deliveries.
func (s *Service) TestAlertChannel(ctx context.Context, who *gatehouse.Principal, name string) (a *gatehouse.Alert, err error) {
	_, err = s.change(ctx, who, widens, gatehouse.Event{Type: "alert_channel.tested"}, func(tx *store.Tx) error {
		id := gatehouse.LogChannel
		if name != id {
			c, err := s.alertChannel(tx, who, name)
			if err != nil {
				return err
			}
			if c.Disabled {
				return gatehouse.Errorf(gatehouse.Conflict, "Channel %q is disabled.", name)
			}
			id, name = c.ID, c.Name
		}
		tx.Event().Change = detail(map[string]any{"channel": id})
		a = &gatehouse.Alert{ID: gatehouse.NewID(gatehouse.PrefixAlert), Organization: who.Organization, Kind: gatehouse.AlertTest, RuleName: "test", At: tx.Now,
			Subject: gatehouse.AboutChannel, SubjectID: id, Title: fmt.Sprintf("test of channel %q", name), Reason: "Somebody asked for it. There is nothing to do."}
		return tx.CreateTestAlert(a, id)
	})
	s.wakeAlerts(err)
	return a, err
}

// wakeAlerts has what was put into the queue delivered at once.
func (s *Service) wakeAlerts(err error) {
	if err == nil && s.cfg.WakeAlerts != nil {
		s.cfg.WakeAlerts()
	}
}
