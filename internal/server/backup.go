package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// BackupReport is what Backup made.
type BackupReport struct {
	Path  string
	Bytes int64
	store.Backup
	// Secrets is why the backup does not name the secrets that go with it; nil: it does.
	Secrets error
	// Noted is why the database does not know of the backup, so that nodes keep their replay files for longer; nil: it does.
	Noted error
}

// Backup writes a backup of the configuration's database to a new file, or into a folder, while nodes run. version is this binary's.
func Backup(ctx context.Context, cfg *Config, to, version string) (*BackupReport, error) {
	db, err := cfg.beside(ctx)
	if err != nil {
		return nil, err
	}
	out := &BackupReport{Path: to}
	out.Version = version
	if peppers, keyring, err := cfg.secrets(ctx); err == nil {
		out.Peppers, out.Keys = peppers.Fingerprints(), keyring.Fingerprints()
	} else {
		out.Secrets = err
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		out.Path = filepath.Join(to, "gatehouse-"+time.Now().UTC().Format("20060102T150405Z")+".backup.gz")
	}
	if err := out.write(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	out.Noted = out.note(ctx, db)
	return out, db.Close()
}

// write writes the file under another name and gives it its own once it is whole and on disk. It replaces no file.
func (b *BackupReport) write(ctx context.Context, db *store.DB) (err error) {
	if _, err := os.Lstat(b.Path); !errors.Is(err, fs.ErrNotExist) {
		return gatehouse.Errorf(gatehouse.Conflict, "%s is there already; a backup replaces no file", b.Path)
	}
	partial := b.Path + ".partial"
	file, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return gatehouse.Errorf(gatehouse.Conflict, "%s is there: another backup is being written, or one was interrupted; then remove it", partial)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(partial) // the error says what went wrong
		}
	}()
	w := bufio.NewWriterSize(file, 1<<20)
	err = db.Dump(ctx, w, &b.Backup)
	if err = errors.Join(err, w.Flush(), file.Sync()); err != nil {
		return errors.Join(err, file.Close())
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	b.Bytes = info.Size()
	if err := os.Rename(partial, b.Path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(b.Path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// note tells the database, and so every node, that the backup is there.
func (b *BackupReport) note(ctx context.Context, db *store.DB) error {
	detail, err := json.Marshal(map[string]any{"at": b.At, "seq": b.Seq, "epoch": b.Epoch, "rows": b.Total()})
	if err != nil {
		return err
	}
	ev := gatehouse.Event{Type: "installation.backed_up", Actor: gatehouse.Actor{Kind: gatehouse.ActorHost}, Change: detail}
	_, err = db.Update(ctx, ev, func(tx *store.Tx) error {
		return tx.CreateBackup(&store.BackupRow{ID: gatehouse.NewID("backup_"), At: b.At, Epoch: b.Epoch, Seq: b.Seq, Rows: b.Total(), Bytes: b.Bytes})
	})
	return err
}
