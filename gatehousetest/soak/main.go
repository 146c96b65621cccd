// Command soak runs a whole Gatehouse for a while under everything that happens to one in a day, and looks at what is left: whether
// every answer was as it should be, usage is what the clients saw, and memory, goroutines and descriptors are what they were after
// the first minutes. The clock that Gatehouse goes by runs faster, so that 20 minutes are a day.
//
//	go run ./gatehousetest/soak -duration 20m
//	go run ./gatehousetest/soak -duration 60s -warm 20s -clock 72m    # to try it out
//
// Gatehouse runs in a process of its own (this program again), so that what is measured is its own. It exits with 1 when the
// verdict is bad. It reaches loopback only.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"gatehouse/internal/server"
)

// plan is what a run is asked to do.
type plan struct {
	duration time.Duration // of the load
	warm     time.Duration // after which the first look is taken
	settle   time.Duration // how long the load rests before a look: idle connections to upstreams end within 90 s
	clock    time.Duration // what passes on Gatehouse's clock within duration
	rate     float64       // requests a second
	workers  int
	atLeast  int64 // requests, or the verdict is bad
	data     string
	profiles string // folder for heap profiles of each look; "": none
}

func main() {
	var p plan
	flag.DurationVar(&p.duration, "duration", 20*time.Minute, "how long the load runs")
	flag.DurationVar(&p.warm, "warm", 5*time.Minute, "when memory, goroutines and descriptors are looked at first")
	flag.DurationVar(&p.settle, "settle", 95*time.Second, "how long the load rests before they are looked at")
	flag.DurationVar(&p.clock, "clock", 24*time.Hour, "what passes on Gatehouse's clock meanwhile")
	flag.Float64Var(&p.rate, "rate", 320, "requests a second")
	flag.IntVar(&p.workers, "workers", 96, "requests at once, at most")
	flag.Int64Var(&p.atLeast, "requests", -1, "the least number of requests for a good verdict (default 250 a second)")
	flag.StringVar(&p.data, "data", "", "data folder (default: a temporary one)")
	flag.StringVar(&p.profiles, "profiles", "", "folder for a heap profile of each look (go tool pprof -base first.heap last.heap)")
	child := flag.Bool("serve", false, "be the Gatehouse that is looked at; for this program itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *child {
		err = serve(ctx, &p)
	} else {
		err = run(ctx, &p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

var errVerdict = errors.New("the verdict is bad")

func run(ctx context.Context, p *plan) (err error) {
	if p.atLeast < 0 {
		p.atLeast = int64(250 * p.duration.Seconds())
	}
	if p.data == "" {
		dir, err := os.MkdirTemp("", "gatehouse-soak-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		p.data = dir
	}
	g, err := startGatehouse(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	return newDriver(p, g).run(ctx)
}

// gatehouse is the process that is looked at.
type gatehouse struct {
	server.Ready
	cmd   *exec.Cmd
	lines *bufio.Scanner
	in    *json.Encoder
	close func() error
	log   string // the path of its log
}

// look is what is left in the process when nothing is under way.
type look struct {
	Resident int64 `json:"resident"` // bytes, after a forced collection
	Heap     int64 `json:"heap"`
	// Go is what the runtime of Go has from the system, Files what is in memory of mapped files (the program itself, the index of
	// SQLite's log): the rest of Resident is SQLite's caches.
	Go          int64 `json:"go"`
	Files       int64 `json:"files"`
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"`
	Clock       int64 `json:"clock"` // seconds that have passed on its clock
}

func startGatehouse(ctx context.Context, p *plan) (*gatehouse, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &gatehouse{log: filepath.Join(p.data, "log")}
	log, err := os.Create(g.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	g.cmd = exec.CommandContext(ctx, self, "-serve", "-data", p.data, "-duration", p.duration.String(), "-clock", p.clock.String())
	g.cmd.Stderr = log
	in, err := g.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	g.in, g.close, g.lines = json.NewEncoder(in), in.Close, bufio.NewScanner(out)
	if err := g.read(&g.Ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start Gatehouse: %w", err), g.stop())
	}
	return g, nil
}

func (g *gatehouse) read(v any) error {
	if !g.lines.Scan() {
		return errors.Join(errors.New("the process has ended"), g.lines.Err())
	}
	return json.Unmarshal(g.lines.Bytes(), v)
}

// look asks the process what is left in it.
func (g *gatehouse) look() (l look, err error) {
	if err := g.in.Encode("look"); err != nil {
		return l, err
	}
	return l, g.read(&l)
}

// stop ends the process in good order.
func (g *gatehouse) stop() error { return errors.Join(g.close(), g.cmd.Wait()) }
