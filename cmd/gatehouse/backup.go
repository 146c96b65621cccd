package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/internal/server"
)

// backedUp is what backup prints with --json.
type backedUp struct {
	Path    string           `json:"path"`
	Bytes   int64            `json:"bytes"`
	Rows    int64            `json:"rows"`
	Tables  map[string]int64 `json:"tables"`
	Epoch   int64            `json:"epoch"`
	Seq     int64            `json:"seq"`
	At      gatehouse.Millis `json:"at"`
	Schema  int64            `json:"schema"`
	Peppers map[int]string   `json:"pepper_fingerprints"`
	KEK     map[int]string   `json:"kek_fingerprints"`
	Notes   []string         `json:"notes"`
}

func (c *cli) backup() *cobra.Command {
	var config, to string
	cmd := c.command("backup --config FILE --to PATH", "Write a backup of the database while nodes run", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		b, err := server.Backup(ctx, cfg, to, thisBuild().Version)
		if err != nil {
			return explainHost(err, cfg.Data)
		}
		out := backedUp{b.Path, b.Bytes, b.Total(), b.Rows, b.Epoch, b.Seq, b.At, b.Schema, b.Peppers, b.Keys, []string{}}
		if b.Secrets != nil {
			out.Notes = append(out.Notes, "the backup does not name the pepper and the kek that go with it: "+oneLine(b.Secrets.Error()))
		}
		if b.Noted != nil {
			out.Notes = append(out.Notes, "the database does not know of this backup, so nodes keep their replay files for longer: "+oneLine(b.Noted.Error()))
		}
		if c.json {
			return c.document(out)
		}
		c.out.fields([][2]string{
			{"backup", out.Path},
			{"size", fmt.Sprintf("%d bytes, %d rows", out.Bytes, out.Rows)},
			{"as of", fmt.Sprintf("%s, change %d of epoch %d", moment(out.At.Seconds()), out.Seq, out.Epoch)},
		})
		for _, note := range out.Notes {
			c.out.note("Note: %s", note)
		}
		c.out.note("The pepper and the kek are not in it: keep them apart from it, and keep them.")
		return nil
	})
	cmd.Long = "Writes one consistent copy of the whole database, SQLite or PostgreSQL, to a new file, or to a new file in a\n" +
		"folder. Nodes go on meanwhile. `gatehouse restore` puts it back, into either engine.\n\n" +
		"The pepper and the encryption keys (kek) are not in it: without them the keys in a backup verify nothing."
	required(cmd, &config, "config", "configuration file")
	return required(cmd, &to, "to", "file to write, or an existing folder")
}

// restored is what restore prints with --json, also when it stops.
type restored struct {
	Restored  bool              `json:"restored"`
	Epoch     int64             `json:"epoch,omitempty"`
	Seq       int64             `json:"seq,omitempty"`
	BackupAt  gatehouse.Millis  `json:"backup_at"`
	BackupSeq int64             `json:"backup_seq"`
	Rows      int64             `json:"rows"`
	Usage     int64             `json:"usage_recorded_again"`
	Narrowed  int               `json:"narrowed_again"`
	Unknown   int               `json:"unknown"`
	Keys      []string          `json:"unknown_keys"`
	Losses    []lossJSON        `json:"losses"`
	Warnings  []string          `json:"warnings"`
	AdminKeys map[string]string `json:"admin_keys,omitempty"` // by organization
}

type lossJSON struct {
	Node    string           `json:"node,omitempty"`
	From    gatehouse.Millis `json:"from"`
	To      gatehouse.Millis `json:"to,omitempty"`
	FromSeq int64            `json:"from_seq,omitempty"`
	ToSeq   int64            `json:"to_seq,omitempty"`
	Rows    int64            `json:"usage_rows,omitempty"`
	Cause   string           `json:"cause"`
}

func (c *cli) restore() *cobra.Command {
	var config string
	var req server.RestoreRequest
	cmd := c.command("restore --config FILE --from PATH [flags]", "Put a backup in the place of the database", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		r, err := server.Restore(ctx, cfg, req)
		if r.Backup == nil {
			return explainHost(err, cfg.Data)
		}
		if c.json {
			if jsonErr := c.document(restoredJSON(r)); err == nil {
				err = jsonErr
			}
		} else {
			c.showRestored(r)
		}
		if server.ErrLoss(err) {
			return hint(err, "Give the data folders of those nodes with --replay, or accept the loss with --accept-loss.")
		}
		return explainHost(err, cfg.Data)
	})
	cmd.Long = "Puts a backup into the configuration's database, which must be empty, and makes good what happened after it\n" +
		"from the files below each node's `data`: what was revoked is revoked again, usage is recorded again, once.\n" +
		"This host's own data folder is read anyway; name those of other nodes with --replay.\n\n" +
		"What those files do not hold is named, and nothing is written, unless --accept-loss says to go on. Stop the\n" +
		"node on this host first. Nodes elsewhere stop accepting while it runs and then load everything anew.\n\n" +
		"Keys that were made after the backup are gone: they are listed, and their holders need new ones."
	required(cmd, &config, "config", "configuration file")
	required(cmd, &req.From, "from", "backup file")
	cmd.Flags().StringArrayVar(&req.Replay, "replay", nil, "data folder of a node, or a copy of it; repeatable")
	cmd.Flags().BoolVar(&req.AcceptLoss, "accept-loss", false, "go on although something that happened after the backup is lost")
	cmd.Flags().StringVar(&req.Replace, "replace", "", "name of the database: what it holds may go")
	return cmd
}

func restoredJSON(r *server.RestoreReport) restored {
	out := restored{Restored: r.Done, Epoch: r.Epoch, Seq: r.Seq, BackupAt: r.Backup.At, BackupSeq: r.Backup.Seq, Rows: r.Backup.Total(), Usage: r.Usage,
		Narrowed: r.Narrowed, Unknown: r.Unknown, Keys: append([]string{}, r.Keys...), Losses: []lossJSON{}, Warnings: append([]string{}, r.Warnings...)}
	for _, l := range r.Losses {
		out.Losses = append(out.Losses, lossJSON(l))
	}
	for _, k := range r.AdminKeys {
		if out.AdminKeys == nil {
			out.AdminKeys = map[string]string{}
		}
		out.AdminKeys[k.Organization] = k.Value.Reveal()
	}
	return out
}

func (c *cli) showRestored(r *server.RestoreReport) {
	t := c.out
	for _, w := range r.Warnings {
		t.note("Warning: %s", w)
	}
	for _, l := range r.Losses {
		t.note("Lost: %s", lossText(&l))
	}
	if !r.Done {
		return
	}
	t.fields([][2]string{
		{"restored", fmt.Sprintf("%d rows, as of %s, change %d", r.Backup.Total(), moment(r.Backup.At.Seconds()), r.Backup.Seq)},
		{"made again", fmt.Sprintf("%d that lost authority after the backup", r.Narrowed)},
		{"recorded again", fmt.Sprintf("%d rows of usage", r.Usage)},
		{"unknown now", fmt.Sprintf("%d that were made after the backup, %d keys among them", r.Unknown, len(r.Keys))},
		{"epoch", strconv.FormatInt(r.Epoch, 10)},
		{"last change", strconv.FormatInt(r.Seq, 10)},
	})
	for _, id := range r.Keys {
		t.printf("  %s is gone\n", printable(id))
	}
	for _, k := range r.AdminKeys {
		c.secret("admin key of "+k.Organization, k.Value.Reveal())
	}
}

// lossText says what is lost in one line.
func lossText(l *server.Loss) string {
	text := moment(l.From.Seconds()) + " to "
	if l.To == 0 {
		text += "the end"
	} else {
		text += moment(l.To.Seconds())
	}
	if l.Node != "" {
		text = "node " + printable(l.Node) + ", " + text
	}
	if l.FromSeq != 0 {
		text += fmt.Sprintf(", changes from %d", l.FromSeq)
		if l.ToSeq != 0 {
			text += fmt.Sprintf(" to %d", l.ToSeq)
		}
	}
	if l.Rows != 0 {
		text += fmt.Sprintf(", up to %d rows of usage", l.Rows)
	}
	return text + ": " + printable(l.Cause)
}
