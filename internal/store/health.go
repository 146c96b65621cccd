package store

import (
	"encoding/json"
	"fmt"

	"gatehouse"
)

// health replaces what a process said of its routes, and drops what processes said that are gone. On SQLite there are no rows among
// the nodes, and every process but this one is gone.
func (r *recorder) health(b *Batch) error {
	const put = `INSERT INTO node_health (process, node, at, routes) VALUES ($1, $2, $3, $4)
		ON CONFLICT (process) DO UPDATE SET node = excluded.node, at = excluded.at, routes = excluded.routes`
	const tidy = `DELETE FROM node_health WHERE process <> $1 AND process NOT IN (SELECT incarnation FROM nodes)`
	h := b.Health
	if h == nil {
		return nil
	}
	routes, err := json.Marshal(h.Routes)
	if err != nil {
		return fmt.Errorf("record health of node %s: %w", h.Node, err)
	}
	if err := r.exec("drop the health of processes that are gone", tidy, h.Process); err != nil {
		return err
	}
	return r.exec("record health of node "+h.Node, put, h.Process, label(h.Node), int64(h.At), clean(string(routes)))
}

// NodeHealth returns what every running process last said of the routes it uses, by node. A process that stopped without a word is
// among them until the others take it for dead.
func (tx *Tx) NodeHealth() ([]gatehouse.NodeHealth, error) {
	const query = `SELECT process, node, at, routes FROM node_health
		WHERE process IN (SELECT incarnation FROM nodes) OR NOT EXISTS (SELECT id FROM nodes) ORDER BY process`
	return all(tx, "health of nodes", func(r row, h *gatehouse.NodeHealth) error {
		var routes []byte
		if err := r.Scan(&h.Process, &h.Node, (*int64)(&h.At), &routes); err != nil {
			return err
		}
		return fromJSON("routes", routes, &h.Routes)
	}, query)
}
