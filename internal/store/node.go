package store

// Node is what the database knows of a node.
type Node struct {
	ID                 string
	Incarnation        string
	AppliedSeq         int64
	Beat               int64 // how often it has renewed; it says nothing about time, so no two clocks are ever compared
	MaxStalenessMillis int64
	PepperVersion      int64 // the highest version of the pepper it knows; 0: it did not say
}

// Nodes returns every node that has not been dropped.
func (tx *Tx) Nodes() ([]Node, error) {
	const query = `SELECT id, incarnation, applied_seq, beat, max_staleness_millis, pepper_version FROM nodes ORDER BY id`
	return all(tx, "nodes", func(r row, n *Node) error {
		return r.Scan(&n.ID, &n.Incarnation, &n.AppliedSeq, &n.Beat, &n.MaxStalenessMillis, &n.PepperVersion)
	}, query)
}
