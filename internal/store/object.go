package store

import "gatehouse"

// Object returns what was recorded of an object, deleted or not.
func (tx *Tx) Object(id string) (*gatehouse.Object, error) {
	const query = `SELECT project, upstream, kind, deployment, model, created_at, deleted_at FROM objects WHERE id = $1`
	return one(tx, "object", id, func(r row, o *gatehouse.Object) error {
		o.ID = id
		return r.Scan(&o.Project, &o.Upstream, &o.Kind, &o.Deployment, &o.Model, (*int64)(&o.CreatedAt), (*int64)(&o.DeletedAt))
	}, query, ident(id))
}
