package admin

import (
	"context"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// OrganizationUpdate changes the organization; absent fields stay.
type OrganizationUpdate struct {
	Name     Optional[string]
	TimeZone Optional[string] // an IANA name; empty: UTC
	// HeaderLabels are the names of labels that callers may send with a request, see gatehouse.LabelHeader.
	HeaderLabels Optional[[]string]
	Retention    Optional[gatehouse.Retention]
	// DataRetention is what is kept of requests in projects that do not say it themselves.
	DataRetention Optional[gatehouse.DataRetention]
}

// UpdateOrganization changes the caller's organization. A change of its time zone moves the midnights at which days, weeks, months and
// quarters of its budgets begin, at once.
func (s *Service) UpdateOrganization(ctx context.Context, who *gatehouse.Principal, req OrganizationUpdate) (o *gatehouse.Organization, effect Effect, err error) {
	ev := gatehouse.Event{Type: "organization.updated", Subject: gatehouse.SubjectOrganization, SubjectID: who.Organization}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if o, err = tx.Organization(who.Organization); err != nil {
			return err
		}
		changes, err := s.setOrganization(tx, o, req)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return errUnchanged
		}
		tx.Event().Change = detail(changes)
		return nil
	})
	if err == errUnchanged {
		return o, Effect{Everywhere: true}, nil
	}
	return o, effect, err
}

// setOrganization applies an update to an organization that was read, stores it, and returns what it changed.
func (s *Service) setOrganization(tx *store.Tx, o *gatehouse.Organization, req OrganizationUpdate) (map[string]any, error) {
	changes := map[string]any{}
	if req.Name.Set && req.Name.Value != o.Name {
		if err := gatehouse.CheckName("name", req.Name.Value); err != nil {
			return nil, err
		}
		o.Name = req.Name.Value
		changes["name"] = o.Name
	}
	if req.TimeZone.Set {
		zone, err := checkZone(req.TimeZone.Value)
		if err != nil {
			return nil, err
		}
		if zone != o.TimeZone {
			changes["time_zone"] = zone
			o.TimeZone = zone
		}
	}
	if req.HeaderLabels.Set && !slices.Equal(req.HeaderLabels.Value, o.HeaderLabels) {
		if err := gatehouse.CheckHeaderLabels(req.HeaderLabels.Value); err != nil {
			return nil, err
		}
		o.HeaderLabels = slices.Clone(req.HeaderLabels.Value)
		changes["header_labels"] = o.HeaderLabels
	}
	if req.Retention.Set && req.Retention.Value != o.Retention {
		if err := req.Retention.Value.Check(); err != nil {
			return nil, err
		}
		o.Retention = req.Retention.Value
		changes["retention"] = o.Retention
	}
	if req.DataRetention.Set && req.DataRetention.Value != o.DataRetention {
		if err := req.DataRetention.Value.CheckOrganization(); err != nil {
			return nil, err
		}
		o.DataRetention = req.DataRetention.Value
		changes["data_retention"] = o.DataRetention
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return changes, tx.SaveOrganization(o)
}

// checkZone returns a time zone as it is stored: empty for UTC.
func checkZone(name string) (string, error) {
	if name == "" || name == "UTC" {
		return "", nil
	}
	if len(name) > 64 || name == "Local" { // Local is another zone on every host
		return "", gatehouse.InvalidParam("time_zone", "Invalid 'time_zone': it must be an IANA name such as Europe/Berlin, America/New_York or UTC.")
	}
	if _, err := time.LoadLocation(name); err != nil {
		return "", gatehouse.InvalidParam("time_zone", "Invalid 'time_zone': %q is not an IANA name such as Europe/Berlin, America/New_York or UTC.", name)
	}
	return name, nil
}
