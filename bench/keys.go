package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/store"
)

const benchOrganization = "org-bench"

// loaded is what one process measured while it loaded a catalog.
type loaded struct {
	Load     time.Duration
	CPU      time.Duration
	Resident int64 // after a collection
	Peak     int64
}

// keys makes a database of many keys and loads it into a catalog, in a fresh process each time.
func keys(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("keys", flag.ExitOnError)
	n := f.Int("keys", 1_000_000, "how many")
	runs := f.Int("runs", 5, "how often they are loaded")
	path := f.String("database", "", "file to make, or to use again; empty: a temporary one")
	load := f.String("load", "", "load this file, once, and print what that took as JSON")
	profile := f.String("profile", "", "file for a CPU profile of -load")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *load != "" {
		return loadOnce(ctx, *load, *profile)
	}
	if *path == "" {
		dir, err := os.MkdirTemp("", "gatehouse-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // what remains is in a temporary folder
		*path = filepath.Join(dir, "gatehouse.db")
	}
	began := time.Now()
	if err := fillKeys(ctx, *path, *n); err != nil {
		return err
	}
	info, err := os.Stat(*path)
	if err != nil {
		return err
	}
	fmt.Printf("%d keys in SQLite, %d MB, made in %v\n", *n, info.Size()>>20, time.Since(began).Round(time.Second))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var seconds, resident, peak []float64
	for range *runs {
		// The file is read once before, so that it is in the page cache.
		if _, err := os.ReadFile(*path); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, self, "keys", "-load", *path)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		var l loaded
		if err := json.Unmarshal(out, &l); err != nil {
			return err
		}
		fmt.Printf("  loaded in %.2f s (%.2f s of CPU), %d MB resident, %d MB at its peak\n", l.Load.Seconds(), l.CPU.Seconds(), l.Resident>>20, l.Peak>>20)
		seconds, resident, peak = append(seconds, l.Load.Seconds()), append(resident, float64(l.Resident>>20)), append(peak, float64(l.Peak>>20))
	}
	fmt.Printf("median of %d: %.2f s, %.0f MB resident, %.0f MB at its peak (goal: 5 s, 400 MB)\n", *runs, median(seconds), median(resident), median(peak))
	return nil
}

func loadOnce(ctx context.Context, path, profile string) error {
	db, err := store.Open(ctx, "sqlite:"+path, store.Config{})
	if err != nil {
		return err
	}
	if profile != "" {
		to, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(to); err != nil {
			return err
		}
	}
	before, err := cpuOf([]int{os.Getpid()})
	if err != nil {
		return err
	}
	began := time.Now()
	c, err := catalog.Open(ctx, catalog.Config{DB: db, Node: "bench", SingleNode: true})
	if err != nil {
		return err
	}
	l := loaded{Load: time.Since(began)}
	after, err := cpuOf([]int{os.Getpid()})
	if err != nil {
		return err
	}
	l.CPU = after - before
	pprof.StopCPUProfile()
	debug.FreeOSMemory()
	pid := []int{os.Getpid()}
	if l.Resident, err = residentOf(pid); err != nil {
		return err
	}
	if l.Peak, err = statusOf(os.Getpid(), "VmHWM:"); err != nil {
		return err
	}
	// It is in use until here, and it is all there.
	err = db.View(ctx, func(tx *store.Tx) error {
		sample, _, err := tx.Keys(store.KeyFilter{Organization: benchOrganization}, store.Page{Limit: store.MaxPage, Desc: true})
		for i := range sample {
			if c.Key(strings.TrimPrefix(sample[i].ID, gatehouse.PrefixKey)) == nil {
				return fmt.Errorf("%s is not in the catalog", sample[i].ID)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		return err
	}
	return db.Close()
}

// fillKeys makes an organization with n keys: of a thousand service accounts in a hundred projects, one in ten of a person, one in
// twenty restricted to a few models.
func fillKeys(ctx context.Context, path string, n int) error {
	db, err := store.Open(ctx, "sqlite:"+path, store.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // what was committed is there
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	have := int64(0)
	const organization = benchOrganization
	err = db.View(ctx, func(tx *store.Tx) error {
		list, err := tx.Organizations()
		have = int64(len(list))
		return err
	})
	if err != nil || have > 0 {
		return err // it was made by an earlier run
	}
	const projects, accounts, batch = 100, 1000, 10_000
	update := func(fn func(tx *store.Tx) error) error {
		_, err := db.Update(ctx, gatehouse.Event{Type: "bench.filled", Organization: organization}, fn)
		return err
	}
	err = update(func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: organization, Name: "Bench"}); err != nil {
			return err
		}
		if err := tx.CreateUser(&gatehouse.User{ID: "user-bench", Organization: organization, Name: "Bench", Role: gatehouse.RoleOwner}); err != nil {
			return err
		}
		for i := range projects {
			if err := tx.CreateProject(&gatehouse.Project{ID: fmt.Sprintf("proj_%024d", i), Organization: organization, Name: fmt.Sprint("project ", i)}); err != nil {
				return err
			}
		}
		for i := range accounts {
			if err := tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: fmt.Sprintf("svc_acct_%024d", i), Organization: organization, Project: fmt.Sprintf("proj_%024d", i%projects), Name: fmt.Sprint("account ", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	for from := 0; from < n && err == nil; from += batch {
		err = update(func(tx *store.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				if err := tx.CreateKey(benchKey(organization, i, i%accounts, i%accounts%projects)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return err
}

func benchKey(organization string, i, account, project int) *gatehouse.Key {
	k := &gatehouse.Key{ID: gatehouse.PrefixKey + gatehouse.RandomBase62(11), Class: gatehouse.ClassService, Organization: organization,
		Project: fmt.Sprintf("proj_%024d", project), Name: fmt.Sprint("key ", i), Redacted: "sk-svcacct-gtk..." + strings.Repeat("x", 4), PepperVersion: 1}
	_, _ = rand.Read(k.Digest[:]) // never fails
	if i%10 == 0 {
		k.Class, k.OwnerUser = gatehouse.ClassProject, "user-bench"
	} else {
		k.OwnerServiceAccount = fmt.Sprintf("svc_acct_%024d", account)
	}
	if i%20 == 0 {
		k.Models = []string{"gpt-4o", "gpt-4o-mini"}
		k.Labels = map[string]string{"env": "prod"}
	}
	return k
}
