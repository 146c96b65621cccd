package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/replay"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// RestoreRequest is what gatehouse restore asks for.
type RestoreRequest struct {
	From       string   // the backup file
	Replay     []string // data folders of nodes, beside the one of the configuration
	AcceptLoss bool     // go on although something is known to be lost
	Replace    string   // the name of the database: it holds something, and that may go
}

// Loss is an interval of which a restore does not know everything.
type Loss struct {
	Node    string           // its name or folder, "" for the feed that all nodes share
	From    gatehouse.Millis // 0: nobody knows
	To      gatehouse.Millis // 0: the end
	FromSeq int64            // of events; 0: it is about what a node recorded
	ToSeq   int64            // 0: the end
	Rows    int64            // of usage, as far as that is known
	Cause   string
}

// RestoreReport is what a restore did, or would have.
type RestoreReport struct {
	Backup   *store.Backup
	Warnings []string
	Losses   []Loss
	Folders  []replay.Folder
	// The rest is set when the backup was restored.
	Done      bool
	Epoch     int64
	Seq       int64    // of the event that ended it
	Narrowed  int      // subjects that lost what the backup still granted
	Unknown   int      // subjects that were made after the backup and are no more
	Keys      []string // the ids of the keys among them
	Usage     int64    // rows of usage that the backup did not have
	AdminKeys []NewAdminKey
}

// NewAdminKey is the key of an organization that was left without one.
type NewAdminKey struct {
	Organization string
	ID           string
	Value        secret.Text
}

// errLoss is returned for a restore that would lose something and may not.
var errLoss = errors.New("something that happened after the backup is lost: it is named above, and nothing was restored")

// ErrLoss reports whether err is the refusal of a restore that would lose something.
func ErrLoss(err error) bool { return errors.Is(err, errLoss) }

// Restore puts a backup in the place of the configuration's database and makes good what happened after it, from the nodes' replay
// files: authority that was taken away is taken away again, usage and the owners of objects are recorded again. What those files
// do not hold is in the report as a loss, and then nothing is written unless the request accepts that. The report is there with the
// error too, as far as it got.
func Restore(ctx context.Context, cfg *Config, req RestoreRequest) (*RestoreReport, error) {
	r := restore{cfg: cfg, req: req, report: &RestoreReport{}, changes: map[subjectID]replay.Change{}}
	return r.report, r.run(ctx)
}

type subjectID struct {
	kind gatehouse.SubjectKind
	id   string
}

type restore struct {
	cfg     *Config
	req     RestoreRequest
	report  *RestoreReport
	folders []string // the data folders, once each
	changes map[subjectID]replay.Change
	joined  []joined
	seen    int64 // the last event in any folder
}

func (r *restore) run(ctx context.Context) (err error) {
	file, err := os.Open(r.req.From)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it is only read
	if r.report.Backup, err = store.ReadBackup(file); err != nil {
		return err
	}
	peppers, keyring, err := r.cfg.secrets(ctx)
	if err != nil {
		return fmt.Errorf("the secrets that go with the backup: %w", err)
	}
	r.compareSecrets(peppers, keyring)
	if err := r.readFolders(); err != nil {
		return err
	}
	r.findLosses()
	if len(r.report.Losses) > 0 && !r.req.AcceptLoss {
		return errLoss
	}
	if err := os.MkdirAll(r.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	location, err := r.cfg.database(ctx)
	if err != nil {
		return err
	}
	if name := databaseName(location); r.req.Replace != "" && r.req.Replace != name {
		return gatehouse.Errorf(gatehouse.Invalid, "The database of the configuration is called %q, not %q: nothing was replaced.", name, r.req.Replace)
	}
	db, err := store.Open(ctx, location, store.Config{Now: time.Now, Logger: slog.New(slog.DiscardHandler), Exclusive: true})
	if err != nil {
		return err
	}
	service := admin.New(admin.Config{DB: db, Peppers: peppers, Keyring: keyring, Install: r.report.Backup.Install, Now: time.Now, CheckReference: func(string) error { return nil }})
	err = r.write(ctx, db, service, file)
	return errors.Join(err, db.Close())
}

// compareSecrets warns of secrets at hand that are not the ones the backup needs.
func (r *restore) compareSecrets(peppers *secret.Peppers, keyring *secret.Keyring) {
	b := r.report.Backup
	for _, c := range []struct {
		name, without string
		need, have    map[int]string
	}{
		{"pepper", "keys that were minted under it cannot be verified and will be refused", b.Peppers, peppers.Fingerprints()},
		{"kek", "what was sealed under it cannot be opened", b.Keys, keyring.Fingerprints()},
	} {
		for _, version := range slices.Sorted(maps.Keys(c.need)) {
			print := c.need[version]
			switch have, ok := c.have[version]; {
			case !ok:
				r.warn("the backup needs version %d of the %s (fingerprint %s), which %s does not have: %s", version, c.name, print, c.name, c.without)
			case have != print:
				r.warn("version %d of the %s is not the one of the backup (fingerprint %s, not %s): %s", version, c.name, have, print, c.without)
			}
		}
		if len(c.need) == 0 {
			r.warn("the backup does not say which %s it needs; make sure that it is the one of its installation", c.name)
		}
	}
}

func (r *restore) warn(format string, args ...any) {
	r.report.Warnings = append(r.report.Warnings, fmt.Sprintf(format, args...))
}

// since is the moment from which on files are read.
func (r *restore) since() gatehouse.Millis {
	return r.report.Backup.At - gatehouse.Millis(replayMargin.Milliseconds())
}

// readFolders looks through the replay files: the ones that were named, and this host's own where there are some.
func (r *restore) readFolders() error {
	given := slices.Clone(r.req.Replay)
	if _, err := os.Stat(filepath.Join(r.cfg.Data, "replay")); err == nil {
		given = append(given, r.cfg.Data)
	}
	for _, dir := range given {
		f, err := replay.Read(dir, r.since(), r.report.Backup.Seq, func(c replay.Change) error {
			if c.Subject == gatehouse.SubjectNone {
				var j joined
				if json.Unmarshal(c.Detail, &j) == nil && c.Type == eventJoined {
					r.joined = append(r.joined, j)
				}
				return nil
			}
			key := subjectID{c.Subject, c.SubjectID}
			if was, ok := r.changes[key]; !ok || was.Seq <= c.Seq {
				r.changes[key] = c
			}
			return nil
		})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.report.Folders, func(other replay.Folder) bool { return other.ID == f.ID }) {
			continue
		}
		if f.Install != "" && f.Install != r.report.Backup.Install {
			return gatehouse.Errorf(gatehouse.Invalid, "The replay files in %s are of another installation (%s) than the backup (%s).", dir, f.Install, r.report.Backup.Install)
		}
		r.report.Folders = append(r.report.Folders, *f)
		r.folders = append(r.folders, dir)
		r.seen = max(r.seen, f.Seq)
	}
	return nil
}

// findLosses finds what the files do not hold.
func (r *restore) findLosses() {
	b := r.report.Backup
	need := map[string]string{} // folder -> node
	for _, f := range b.Folders {
		// A node of PostgreSQL that was gone before the backup has recorded nothing since, or has joined again.
		if b.Engine == "sqlite" || f.SeenAt >= b.At-gatehouse.Millis(time.Hour.Milliseconds()) {
			need[f.ID] = f.Node
		}
	}
	for _, j := range r.joined {
		need[j.Folder] = j.Node
	}
	for _, f := range r.report.Folders {
		delete(need, f.ID)
		for _, g := range f.Gaps {
			r.lose(Loss{Node: cmp.Or(f.Node, f.Path), From: g.From, To: g.To, Rows: g.Rows, Cause: g.Cause})
		}
	}
	for id, node := range need {
		r.lose(Loss{Node: node, From: b.At, Cause: "its replay files (folder " + id + ") were not given"})
	}
	if len(need) > 0 && len(r.report.Folders) == 0 {
		r.lose(Loss{From: b.At, FromSeq: b.Seq + 1, Cause: "no node's replay files were given: what was revoked after the backup is not known"})
	}
	r.missingEvents()
	for key, c := range r.changes {
		if len(c.State) == 0 {
			r.lose(Loss{From: c.At, To: c.At, FromSeq: c.Seq, ToSeq: c.Seq, Cause: fmt.Sprintf("%s of %s %s cannot be made again by this Gatehouse", c.Type, key.kind, key.id)})
		}
	}
	slices.SortFunc(r.report.Losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.FromSeq, b.FromSeq), cmp.Compare(a.Node, b.Node))
	})
}

func (r *restore) lose(l Loss) { r.report.Losses = append(r.report.Losses, l) }

// missingEvents finds the events between the backup and the last one known that no folder holds.
func (r *restore) missingEvents() {
	var have []replay.Range
	for _, f := range r.report.Folders {
		have = append(have, f.Events...)
	}
	slices.SortFunc(have, func(a, b replay.Range) int { return cmp.Compare(a.From, b.From) })
	next := r.report.Backup.Seq + 1
	for _, h := range have {
		if h.From > next {
			r.lose(Loss{From: r.report.Backup.At, FromSeq: next, ToSeq: h.From - 1, Cause: "no replay file holds these changes"})
		}
		next = max(next, h.To+1)
	}
}

const (
	// seqMargin is how far above every number that is known the next one is: room for changes that committed and that no node had
	// applied when it ended. lossMargin is the same where files are missing.
	seqMargin  = 1_000
	lossMargin = 1_000_000
)

func (r *restore) write(ctx context.Context, db *store.DB, service *admin.Service, file *os.File) error {
	if _, err := file.Seek(0, 0); err != nil {
		return err
	}
	how := store.Restoration{Replace: r.req.Replace != "", Seen: r.seen, Margin: seqMargin}
	if len(r.report.Losses) > 0 {
		how.Margin = lossMargin
	}
	restored, err := db.Restore(ctx, file, how)
	if errors.Is(err, store.ErrHoldsData) {
		location, locationErr := r.cfg.database(ctx)
		if locationErr != nil {
			return locationErr
		}
		return gatehouse.Errorf(gatehouse.Conflict, "The database holds data, and nothing was changed. To put the backup in its place, say its name: --replace %s", databaseName(location))
	}
	if err != nil {
		return err
	}
	// From here on the database says that it is not to be used, until EndRestore.
	r.report.Epoch = restored.Epoch
	if err := r.narrow(ctx, service); err != nil {
		return unfinished(err)
	}
	if err := r.record(ctx, db); err != nil {
		return unfinished(err)
	}
	if err := r.mint(ctx, service); err != nil {
		return unfinished(err)
	}
	detail, err := json.Marshal(map[string]any{"backup_at": r.report.Backup.At, "backup_seq": r.report.Backup.Seq, "epoch": r.report.Epoch,
		"narrowed": r.report.Narrowed, "unknown": r.report.Unknown, "usage": r.report.Usage, "losses": len(r.report.Losses)})
	if err != nil {
		return err
	}
	ev := gatehouse.Event{Type: "installation.restored", Actor: gatehouse.Actor{Kind: gatehouse.ActorHost}, Change: detail}
	if r.report.Seq, err = db.EndRestore(ctx, ev); err != nil {
		return unfinished(err)
	}
	r.report.Done = true
	return nil
}

// databaseName is what an operator calls a database: the file's name, or PostgreSQL's.
func databaseName(location string) string {
	if path, ok := strings.CutPrefix(location, "sqlite:"); ok {
		return filepath.Base(path)
	}
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Path, "/")
}

func unfinished(err error) error {
	return fmt.Errorf("the backup is in the database and what happened after it is not yet, so no node will use it; run the same command again, with --replace and the database's name: %w", err)
}

// narrow takes away again what was taken away after the backup, in the order in which it was.
func (r *restore) narrow(ctx context.Context, service *admin.Service) error {
	changes := make([]replay.Change, 0, len(r.changes))
	for _, c := range r.changes {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b replay.Change) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, c := range changes {
		who := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: c.Organization}
		out, err := service.Reapply(ctx, who, c.Seq, c.Type, c.Subject, c.SubjectID, c.State)
		if err != nil {
			return fmt.Errorf("make %s of %s %s again: %w", c.Type, c.Subject, c.SubjectID, err)
		}
		switch out {
		case admin.Narrowed:
			r.report.Narrowed++
		case admin.Unknown:
			r.report.Unknown++
			if c.Subject == gatehouse.SubjectKey {
				r.report.Keys = append(r.report.Keys, c.SubjectID)
			}
		}
	}
	return nil
}

// record records again what the nodes recorded after the backup. Deletions of objects come last: another node's files may hold what
// they delete.
func (r *restore) record(ctx context.Context, db *store.DB) error {
	count := func() (n int64, err error) {
		err = db.View(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.CountUsage()
			return err
		})
		return n, err
	}
	before, err := count()
	if err != nil {
		return err
	}
	charge, err := payFromCredits(ctx, db)
	if err != nil {
		return err
	}
	for _, deletions := range []bool{false, true} {
		for _, dir := range r.folders {
			err := replay.Recorded(dir, r.since(), func(b *store.Batch) error {
				if deletions {
					return db.Record(ctx, store.Batch{Deleted: b.Deleted})
				}
				b.Deleted = nil
				charge(b)
				return db.Record(ctx, *b)
			})
			if err != nil {
				return fmt.Errorf("record again what %s holds: %w", dir, err)
			}
		}
	}
	after, err := count()
	r.report.Usage = after - before
	return err
}

// restoredNode is in whose slices of credits usage counts that a restore records again. It is no node's: whoever spent it has forgotten.
const restoredNode = "restored"

// payFromCredits returns what has the usage of a batch paid from the credits of organizations that prepay. Other budgets find what was
// spent in the sums; credits count only what slices say, because they do not pay for what was before them.
func payFromCredits(ctx context.Context, db *store.DB) (charge func(*store.Batch), err error) {
	prepaid := map[string]gatehouse.Credits{}
	err = db.View(ctx, func(tx *store.Tx) error {
		return tx.EachCredits(func(c *gatehouse.Credits) error {
			if c.Budget != "" {
				prepaid[c.Organization] = *c
			}
			return nil
		})
	})
	start, end := gatehouse.Window{Period: gatehouse.Total}.Bounds(0, time.UTC)
	return func(b *store.Batch) {
		for i := range b.Usage {
			u := &b.Usage[i]
			if c, ok := prepaid[u.Organization]; ok && u.At >= c.Since {
				b.Charges = append(b.Charges, store.Charge{Usage: u.ID, Node: restoredNode, Cost: u.Cost,
					Windows: []gatehouse.BudgetWindow{{Budget: c.Budget, Start: start, End: end}}})
			}
		}
	}, err
}

// mint makes an admin key for every organization that has none left which the backup knows.
func (r *restore) mint(ctx context.Context, service *admin.Service) error {
	host := gatehouse.Host("")
	organizations, err := service.Organizations(ctx, host)
	if err != nil {
		return err
	}
	for i := range organizations {
		key, err := service.RescueAdmin(ctx, gatehouse.Host(organizations[i].ID))
		if err != nil {
			return err
		}
		if key != nil {
			r.report.AdminKeys = append(r.report.AdminKeys, NewAdminKey{organizations[i].ID, key.Key.ID, key.Value})
		}
	}
	return nil
}
