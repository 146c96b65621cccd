package system_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// spentOf returns what a budget says is spent, and what usage comes to, in nano-USD.
func (s *single) spentOf(t *testing.T, c *http.Client, n *node, budget string) (spent, usage gatehouse.NanoUSD) {
	t.Helper()
	var b struct {
		Current struct {
			Spent gatehouse.USD `json:"spent_usd"`
		} `json:"current"`
	}
	must(t, c, http.MethodGet, n.URL+"/gatehouse/v1/budgets/"+budget, s.AdminKey, nil, &b)
	var u struct {
		Data []struct {
			Cost int64 `json:"cost_nano_usd"`
		} `json:"data"`
	}
	must(t, c, http.MethodGet, n.URL+"/gatehouse/v1/usage", s.AdminKey, nil, &u)
	for _, l := range u.Data {
		usage += gatehouse.NanoUSD(l.Cost)
	}
	return gatehouse.NanoUSD(b.Current.Spent), usage
}

// TestARestoreGivesNoMoneyBack: what was spent after a backup is spent when that is restored, of budgets and of prepaid credits, to the
// nano-dollar; whoever restores twice pays once.
func TestARestoreGivesNoMoneyBack(t *testing.T) {
	s := newSingle(t)
	data, c := filepath.Join(s.dir, "data"), client(t)
	n := serve(t, s.config)
	key := s.ready(t, c, n)
	must(t, c, http.MethodPost, n.URL+"/gatehouse/v1/apply", s.AdminKey, []byte(`
credits: {prepaid: true, grants: [{name: pilot, amount: 100, active: true}]}
budgets: [{name: cap, amount: 50, window: {period: total}}]
`), nil)
	load := drive(t, c, key, n)
	load.more(t, 30)
	file := filepath.Join(s.dir, "one.backup.gz")
	backup(t, s.config, file)
	load.more(t, 60)
	load.stop()
	seen := load.count()
	eventually(t, "what was answered is recorded", func() bool {
		var rows int64
		view(t, data, func(tx *store.Tx) (err error) { rows, err = tx.CountUsage(); return err })
		return rows >= int64(seen)
	})
	n.kill()

	for round := range 2 {
		dropDatabase(t, data)
		var r restoredReport
		if code, log := onHost(t, &r, "restore", "--config", s.config, "--from", file); code != 0 || !r.Restored || r.Usage == 0 {
			t.Fatalf("restore exited with %d: %+v\n%s", code, r, log)
		}
		n = serve(t, s.config)
		if got := status(t, c, n, key, "gpt-4o-mini"); got != http.StatusOK {
			t.Errorf("after the restore a request gets %d", got)
		}
		var spent, usage gatehouse.NanoUSD
		eventually(t, "the budget has counted what usage says", func() bool {
			spent, usage = s.spentOf(t, c, n, "cap")
			return spent == usage && usage > 0
		})
		must(t, c, http.MethodPost, n.URL+"/gatehouse/v1/credits", s.AdminKey, map[string]any{"prepaid": true, "refill": map[string]any{"mode": "manual", "add_usd": 1}}, nil)
		var trial struct {
			Sound    bool
			Accounts map[string]string
			Faults   []string
		}
		// Since the organization prepays, which the load that made it ready was before.
		var paid gatehouse.NanoUSD
		view(t, data, func(tx *store.Tx) error {
			credits, err := tx.Credits(s.OrganizationID)
			if err != nil {
				return err
			}
			paid = 0
			return tx.EachUsage(func(u *gatehouse.Usage) error {
				if u.At >= credits.Since {
					paid += u.Cost
				}
				return nil
			})
		})
		must(t, c, http.MethodGet, n.URL+"/gatehouse/v1/credits/trial_balance", s.AdminKey, nil, &trial)
		if !trial.Sound || trial.Accounts["spent"] != gatehouse.USD(paid).String() {
			t.Errorf("round %d: credits say %s is spent (%v), usage %s", round, trial.Accounts["spent"], trial.Faults, gatehouse.USD(paid))
		}
		t.Logf("round %d: usage %s, the budget has counted %s, credits %s; %d rows came from replay files", round, gatehouse.USD(usage), gatehouse.USD(spent), trial.Accounts["spent"], r.Usage)
		n.kill()
	}
}
