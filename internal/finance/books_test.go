package finance_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/finance"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

const (
	org                    = "org-fabrikam"
	begin gatehouse.Millis = 1_793_491_200_000 // 2026-11-01T00:00:00Z
	hour  gatehouse.Millis = 3_600_000
	day                    = 24 * hour
)

// price is a table of its own: USD 2 for a million input tokens, half of it cached, 8 of output; nothing else has a price.
func price(s *finance.Sku, u gatehouse.Units) (gatehouse.NanoUSD, bool) {
	if s.Model == "unknown" || u.Images != 0 || u.Milliseconds != 0 {
		return 0, false
	}
	return gatehouse.NanoUSD((u.Input-u.Cached)*2000 + u.Cached*1000 + u.Output*8000), true
}

// books are three projects, their keys and months of usage, the same for every seed.
func books(t testing.TB, url string, requests int) *finance.Books {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = db.Update(t.Context(), gatehouse.Event{Type: "organization.created", Organization: org}, func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: org, Name: "Fabrikam, Inc."}); err != nil {
			return err
		}
		for _, u := range []gatehouse.Upstream{
			{ID: "upst_1", Name: "openai", Dialect: gatehouse.OpenAI, BaseURL: "https://api.openai.com/v1"},
			{ID: "upst_2", Name: "contoso", Dialect: gatehouse.Azure, BaseURL: "https://contoso.openai.azure.com", Region: "westeurope"},
		} {
			u.Organization = org
			if err := tx.CreateUpstream(&u); err != nil {
				return err
			}
		}
		for i, labels := range []map[string]string{{"cost_center": "4711", "team": "a"}, {"cost_center": "4712"}, nil} {
			p := gatehouse.Project{ID: fmt.Sprintf("proj_%d", i), Organization: org, Name: []string{"=cmd|' /C calc'!A0", "search, \"prod\"", "tools"}[i], Labels: labels, CreatedAt: begin}
			if err := tx.CreateProject(&p); err != nil {
				return err
			}
			a := gatehouse.ServiceAccount{ID: fmt.Sprintf("svc_acct_%d", i), Organization: org, Project: p.ID, Name: "bot", Role: gatehouse.RoleMember, CreatedAt: begin}
			if err := tx.CreateServiceAccount(&a); err != nil {
				return err
			}
			for j := range 2 {
				k := gatehouse.Key{ID: fmt.Sprintf("key_%d%d", i, j), Class: gatehouse.ClassService, Organization: org, Project: p.ID, OwnerServiceAccount: a.ID, Name: "prod", CreatedAt: begin, Digest: [32]byte{byte(i), byte(j), 1}}
				if i == 1 && j == 1 {
					k.Labels = map[string]string{"cost_center": "4713"} // its own wins over its project's
				}
				if err := tx.CreateKey(&k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var b store.Batch
	for i := range requests {
		project := random.IntN(3)
		u := gatehouse.Usage{ID: fmt.Sprintf("req_%d", i), At: begin + gatehouse.Millis(random.Int64N(int64(45*day))), Organization: org, Project: fmt.Sprintf("proj_%d", project),
			Key: fmt.Sprintf("key_%d%d", project, random.IntN(2)), ServiceAccount: fmt.Sprintf("svc_acct_%d", project), Product: "completions",
			Model: []string{"gpt-4o", "mini"}[random.IntN(2)], Upstream: []string{"openai", "contoso"}[random.IntN(2)], Confidence: gatehouse.Reported,
			Units: gatehouse.Units{Input: 1 + random.Int64N(5000), Output: random.Int64N(900)}}
		u.UpstreamModel = map[string]string{"gpt-4o": "gpt-4o-2024-08-06", "mini": "gpt-4o-mini"}[u.Model]
		u.Units.Cached = random.Int64N(u.Units.Input)
		switch random.IntN(20) {
		case 0:
			u.UpstreamModel = "unknown"
		case 1:
			u.Product, u.Model, u.UpstreamModel, u.Units = "images", "dall-e-3", "dall-e-3", gatehouse.Units{Images: 1}
			u.Cost, u.CostKnown = 40_000_000, true
		case 2:
			u.Batch, u.ServiceTier = true, "flex"
		case 3:
			u.Confidence = gatehouse.Estimated
		}
		if !u.CostKnown {
			u.Cost, u.CostKnown = price(&finance.Sku{Model: u.UpstreamModel}, u.Units)
		}
		if b.Usage = append(b.Usage, u); len(b.Usage) == 2000 || i == requests-1 {
			if err := db.Record(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			b = store.Batch{}
		}
	}
	return &finance.Books{DB: db, Organization: org, Price: price}
}

func sqlite(t testing.TB) string { return "sqlite:" + t.TempDir() + "/books.db" }

// onEngines runs a test over books in SQLite, and in PostgreSQL where it is installed.
func onEngines(t *testing.T, requests int, test func(t *testing.T, b *finance.Books)) {
	t.Run("sqlite", func(t *testing.T) { test(t, books(t, sqlite(t), requests)) })
	t.Run("postgres", func(t *testing.T) { test(t, books(t, storetest.Postgres(t), requests)) })
}

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	return must[*time.Location](t)(time.LoadLocation(name))
}
