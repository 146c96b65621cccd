package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

// stand keeps Gatehouse under the load of one row and prints its process and, every few seconds, what a request costs, so that other
// tools can look at it. It ends when it is interrupted.
func stand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("stand", flag.ExitOnError)
	binary := f.String("gatehouse", "bin/gatehouse", "the binary to look at")
	name := f.String("row", "saturated", "the row whose load it is under")
	access := f.Bool("access-log", true, "its access log, into a file")
	window := f.Duration("window", 3*time.Second, "between two lines")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, r := range rows(50) {
		if r.name == *name {
			return standUnder(ctx, r, *binary, *access, *window)
		}
	}
	return fmt.Errorf("-row: no row is called %q", *name)
}

func standUnder(ctx context.Context, r row, binary string, access bool, window time.Duration) error {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what remains is in a temporary folder
	w, err := newWorld(dir)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	i, err := w.install(ctx, "gatehouse", binary, access)
	if err != nil {
		return err
	}
	p, err := i.start()
	if err != nil {
		return err
	}
	fmt.Printf("process %d, diagnostics at %s/debug/pprof/, data in %s\n", p.pids[0], p.ops, dir)
	for ctx.Err() == nil {
		cost, err := w.cell(ctx, p, r, window, "")
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s: %.1f us\n", r.name, cost)
	}
	return nil
}
