package store

import (
	"slices"

	"gatehouse"
)

const groupSelect = `SELECT id, organization, name, created_at, removed_at, rev FROM user_groups`

func scanGroup(r row, g *gatehouse.Group) error {
	return r.Scan(&g.ID, &g.Organization, &g.Name, (*int64)(&g.CreatedAt), (*int64)(&g.RemovedAt), &g.Rev)
}

// CreateGroup stores a new group and sets its Rev, and CreatedAt where it is 0. A second live group of the same name in the
// organization is a Conflict.
func (tx *Tx) CreateGroup(g *gatehouse.Group) error {
	const query = `INSERT INTO user_groups (id, organization, name, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, 1)`
	tx.stamp(&g.CreatedAt)
	return tx.create("group", g.ID, &g.Rev, query, g.ID, g.Organization, g.Name, int64(g.CreatedAt), int64(g.RemovedAt))
}

// SaveGroup stores a changed group: its name and RemovedAt, which once set stays.
func (tx *Tx) SaveGroup(g *gatehouse.Group) error {
	const query = `UPDATE user_groups SET rev = rev + 1, name = $3, removed_at = $4 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $4)`
	const exists = `SELECT rev FROM user_groups WHERE id = $1`
	return tx.save("group", g.ID, &g.Rev, query, exists, g.Name, int64(g.RemovedAt))
}

// Group returns a group, removed or not.
func (tx *Tx) Group(id string) (*gatehouse.Group, error) {
	return one(tx, "group", id, scanGroup, groupSelect+` WHERE id = $1`, id)
}

// GroupNamed returns an organization's group of a name that was not removed.
func (tx *Tx) GroupNamed(organization, name string) (*gatehouse.Group, error) {
	return one(tx, "group", name, scanGroup, groupSelect+` WHERE organization = $1 AND name = $2 AND removed_at = 0`, organization, name)
}

// Groups returns a page of an organization's groups without removed ones; with project not empty those that have a role in it.
func (tx *Tx) Groups(organization, project string, p Page) ([]gatehouse.Group, bool, error) {
	l := list[gatehouse.Group]{what: "groups", query: groupSelect, from: "user_groups", age: "created_at", id: "id", scan: scanGroup}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	if project != "" {
		l.filter.and("EXISTS (SELECT 1 FROM role_assignments a WHERE a.principal = user_groups.id AND a.project = ? AND a.removed_at = 0)", project)
	}
	return page(tx, l, p)
}

// EachGroup calls fn with every group, removed ones too, in no order.
func (tx *Tx) EachGroup(fn func(*gatehouse.Group) error) error {
	return each(tx, "groups", scanGroup, fn, groupSelect)
}

const groupUserSelect = `SELECT group_id, user_id, organization, added_at, removed_at, rev FROM group_users`

func scanGroupUser(r row, m *gatehouse.GroupUser) error {
	return r.Scan(&m.Group, &m.User, &m.Organization, (*int64)(&m.AddedAt), (*int64)(&m.RemovedAt), &m.Rev)
}

// CreateGroupUser stores a user's new place in a group and sets its Rev, and AddedAt where it is 0. Both must exist in the
// organization. There is one per group and user for good: a removed one comes back by SaveGroupUser.
func (tx *Tx) CreateGroupUser(m *gatehouse.GroupUser) error {
	const query = `INSERT INTO group_users (group_id, user_id, organization, added_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, 1)`
	tx.stamp(&m.AddedAt)
	return tx.create("group user", m.Group+"/"+m.User, &m.Rev, query, m.Group, m.User, m.Organization, int64(m.AddedAt), int64(m.RemovedAt))
}

// SaveGroupUser stores a changed place in a group: AddedAt and RemovedAt.
func (tx *Tx) SaveGroupUser(m *gatehouse.GroupUser) error {
	const query = `UPDATE group_users SET rev = rev + 1, added_at = $3, removed_at = $4 WHERE group_id = $1 AND rev = $2 AND user_id = $5`
	n, err := tx.exec("save group user", query, m.Group, m.Rev, int64(m.AddedAt), int64(m.RemovedAt), m.User)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.GroupUser(m.Group, m.User); err != nil {
			return err
		}
		return gatehouse.Errorf(gatehouse.Conflict, "The group user %s has changed since it was read. Read it again and repeat the change.", m.User)
	}
	tx.setRev(&m.Rev, m.Rev+1)
	return nil
}

// GroupUser returns a user's place in a group, removed or not.
func (tx *Tx) GroupUser(group, user string) (*gatehouse.GroupUser, error) {
	return one(tx, "group user", user, scanGroupUser, groupUserSelect+` WHERE group_id = $1 AND user_id = $2`, group, user)
}

// GroupUsers returns a page of who is in a group, without those who were removed from it or from the organization; the cursor is the
// user's id.
func (tx *Tx) GroupUsers(group string, p Page) ([]gatehouse.GroupUser, bool, error) {
	l := list[gatehouse.GroupUser]{what: "group users", query: groupUserSelect, from: "group_users", age: "added_at", id: "user_id", scan: scanGroupUser}
	l.scope.and("group_id = ?", group)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0 AND NOT EXISTS (SELECT 1 FROM users WHERE users.id = group_users.user_id AND users.removed_at <> 0)")
	return page(tx, l, p)
}

// GroupsOf returns the ids of the groups that a user is in, in order.
func (tx *Tx) GroupsOf(user string) ([]string, error) {
	const query = `SELECT m.group_id FROM group_users m JOIN user_groups g ON g.id = m.group_id WHERE m.user_id = $1 AND m.removed_at = 0 AND g.removed_at = 0`
	ids, err := all(tx, "groups of a user", func(r row, id *string) error { return r.Scan(id) }, query, user)
	slices.Sort(ids)
	return ids, err
}

// EachGroupUser calls fn with every user's place in every group, removed ones too, in no order.
func (tx *Tx) EachGroupUser(fn func(*gatehouse.GroupUser) error) error {
	return each(tx, "group users", scanGroupUser, fn, groupUserSelect)
}
