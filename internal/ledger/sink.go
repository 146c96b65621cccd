package ledger

import (
	"context"

	"gatehouse"
)

// recorder is what the ledger needs of the database.
type recorder interface {
	Record(ctx context.Context, b storeBatch) error
}

type storeObjectRef struct {
	ID      string
	Project string
	At      gatehouse.Millis
}

type storeBatch struct {
	Usage    []gatehouse.Usage
	Requests []gatehouse.Request
	LastUsed map[string]gatehouse.Millis
	Objects  []gatehouse.Object
	Deleted  []storeObjectRef
}
