package admin

import (
	"gatehouse"
	"gatehouse/internal/store"
)

// limitSubject is put back with the lower of each rate: a limit takes away where everything else gives, so one that was removed after
// the backup stays as the backup has it.
func limitSubject(tx *store.Tx, l *gatehouse.Limit) *subject {
	if l == nil {
		return nil
	}
	return &subject{
		project: limitProject(l),
		standing: func() standing {
			row := *l
			row.Rev = 0
			return standing{Limit: &row}
		},
		narrow: func(_ *store.Tx, to *standing) error {
			if to.Limit == nil || to.Limit.RemovedAt != 0 || l.RemovedAt != 0 {
				return nil
			}
			have, want := fields(&l.Rates), fields(&to.Limit.Rates)
			for i := range have {
				if v := *want[i].value; v != 0 && (*have[i].value == 0 || v < *have[i].value) {
					*have[i].value = v
				}
			}
			return nil
		},
		save: func() error { return tx.SaveLimit(l) },
	}
}

// limitAgain makes a limit that was set after the backup, as it was last.
func limitAgain(tx *store.Tx, l *gatehouse.Limit) error {
	if _, err := tx.LimitOf(l.Organization, l.Scope, l.Subject, l.Model); gatehouse.KindOf(err) != gatehouse.NotFound {
		if err == nil {
			err = errUnchanged // another has its place: it was set at the time of the backup
		}
		return err
	}
	row := *l
	return tx.CreateLimit(&row)
}
