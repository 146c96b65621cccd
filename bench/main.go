// Command bench measures Gatehouse on this machine beside nginx as a plain reverse proxy, and by itself: a million keys, and how
// it starts and idles. `make bench-side`, `make bench-keys` and `make bench-start` run it; bench/README.md says how to read what
// it prints.
//
// It owns the upstream and the load, which run as processes of their own so that only the proxy's CPU is counted. Everything is on
// loopback and ends with the program.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usageText = `usage: bench COMMAND [flags]

  side    Gatehouse beside nginx: CPU per request and per streamed chunk, memory per open stream
  stand   Gatehouse under one row's load until it is interrupted, for perf, strace and other onlookers
  keys    a million keys in SQLite: how long they take to load, and how much memory
  start   start, idle memory and size of the binary with dev's own data
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usageText)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch os.Args[1] {
	case "side":
		err = side(ctx, os.Args[2:])
	case "stand":
		err = stand(ctx, os.Args[2:])
	case "keys":
		err = keys(ctx, os.Args[2:])
	case "start":
		err = start(ctx, os.Args[2:])
	case "upstream": // the processes that side starts
		err = upstream(os.Args[2:])
	case "load":
		err = load(ctx, os.Args[2:])
	default:
		fmt.Fprint(os.Stderr, usageText)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// sideOptions is how `bench side` is run.
type sideOptions struct {
	gatehouse string
	dir       string
	rounds    int
	window    time.Duration
	streams   int
	open      []int
	only      string
	access    bool
	rival     string
	profile   string
}

func parseSide(args []string) (o sideOptions, err error) {
	f := flag.NewFlagSet("side", flag.ExitOnError)
	f.StringVar(&o.gatehouse, "gatehouse", "bin/gatehouse", "the binary to measure")
	f.StringVar(&o.rival, "rival", "", "another Gatehouse binary, measured in the same rounds")
	f.StringVar(&o.dir, "dir", "", "folder for data and logs; empty: a temporary one")
	f.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&o.window, "window", 3*time.Second, "measured window of each cell")
	f.IntVar(&o.streams, "streams", 50, "streams of the row with streamed chunks")
	open := f.String("open", "1000,5000", "numbers of open streams for the memory rows")
	f.StringVar(&o.only, "only", "", "comma-separated names of the rows to run; empty: all")
	f.BoolVar(&o.access, "access-log", true, "Gatehouse's access log, on as in production; it goes to a file")
	f.StringVar(&o.profile, "profile", "", "folder for CPU profiles of Gatehouse, one a row, taken in the last round")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for text := range strings.SplitSeq(*open, ",") {
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil || n < 1 {
			return o, fmt.Errorf("-open: %q is not a number of streams", text)
		}
		o.open = append(o.open, n)
	}
	if o.rounds < 1 || o.window < 100*time.Millisecond {
		return o, fmt.Errorf("-rounds must be at least 1 and -window at least 100ms")
	}
	return o, nil
}
