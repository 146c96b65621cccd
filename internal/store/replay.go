package store

import "gatehouse"

// BackupRow is a backup that was made.
type BackupRow struct {
	ID    string
	At    gatehouse.Millis // of its snapshot
	Epoch int64
	Seq   int64
	Rows  int64
	Bytes int64
}

// CreateBackup stores that a backup was made.
func (tx *Tx) CreateBackup(b *BackupRow) error {
	const query = `INSERT INTO backups (id, at, epoch, seq, rows, bytes) VALUES ($1, $2, $3, $4, $5, $6)`
	_, err := tx.exec("create backup "+b.ID, query, b.ID, int64(b.At), b.Epoch, b.Seq, b.Rows, b.Bytes)
	return err
}

// NewestBackup returns the last backup that was made, or NotFound.
func (tx *Tx) NewestBackup() (*BackupRow, error) {
	const query = `SELECT id, at, epoch, seq, rows, bytes FROM backups ORDER BY at DESC, id DESC LIMIT 1`
	return one(tx, "backup", "newest", func(r row, b *BackupRow) error {
		return r.Scan(&b.ID, (*int64)(&b.At), &b.Epoch, &b.Seq, &b.Rows, &b.Bytes)
	}, query)
}

// RestoredAt returns the time of the backup that the database was restored from last, 0 for none.
func (tx *Tx) RestoredAt() (gatehouse.Millis, error) {
	n, err := tx.number("read when the backup was made", `SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'restored_at'`)
	return gatehouse.Millis(n), err
}

// ReplayFolder is the folder of replay files of one node.
type ReplayFolder struct {
	ID     string           `json:"id"`
	Node   string           `json:"node"`    // the node's name
	SeenAt gatehouse.Millis `json:"seen_at"` // when its node last said so
}

// ReplayFolders returns every folder a node has written.
func (tx *Tx) ReplayFolders() ([]ReplayFolder, error) {
	const query = `SELECT id, node, seen_at FROM replay_folders ORDER BY id`
	return all(tx, "replay folders", func(r row, f *ReplayFolder) error { return r.Scan(&f.ID, &f.Node, (*int64)(&f.SeenAt)) }, query)
}

// ReplayFolder returns one of them, or NotFound.
func (tx *Tx) ReplayFolder(id string) (*ReplayFolder, error) {
	const query = `SELECT id, node, seen_at FROM replay_folders WHERE id = $1`
	return one(tx, "replay folder", id, func(r row, f *ReplayFolder) error { return r.Scan(&f.ID, &f.Node, (*int64)(&f.SeenAt)) }, query, id)
}

func (r *recorder) folder(b *Batch) error {
	const query = `INSERT INTO replay_folders (id, node, seen_at) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET node = excluded.node, seen_at = excluded.seen_at WHERE replay_folders.seen_at < excluded.seen_at`
	if b.Folder == nil {
		return nil
	}
	return r.exec("renew replay folder "+b.Folder.ID, query, b.Folder.ID, label(b.Folder.Node), int64(b.Folder.SeenAt))
}
