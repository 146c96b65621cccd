package admin

import (
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// noVersion is the version of what nothing has happened to yet.
const noVersion = "none"

// Version names a subject as it is now: the last event about it. The same is the same subject, unchanged.
func (s *Service) Version(ctx context.Context, who *gatehouse.Principal, subject string) (version string, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		version, err = versionOf(tx, who.Organization, subject)
		return err
	})
	return version, err
}

func versionOf(tx *store.Tx, organization, subject string) (string, error) {
	id, err := tx.LastEvent(organization, subject)
	if id == "" {
		id = noVersion
	}
	return id, err
}

// unlessChanged refuses a change where its caller has said which version it is about, and the subject is of another by now.
func unlessChanged(tx *store.Tx, who *gatehouse.Principal) error {
	if len(who.IfVersion) == 0 {
		return nil
	}
	now, err := versionOf(tx, who.Organization, tx.Event().SubjectID)
	if err != nil || slices.Contains(who.IfVersion, now) {
		return err
	}
	return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "changed_meanwhile", NoRetry: true,
		Message: "Somebody has changed this since you read it (If-Match). Read it again, and make your change to that."}
}
