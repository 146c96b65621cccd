package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is one measure: a load, and what is divided by what.
type row struct {
	name  string
	what  string
	args  []string
	tls   bool
	keys  bool // all keys in turn
	conns int
}

// rows are the measures of CPU. Their order is that of the table.
func rows(streams int) []row {
	return []row{
		{name: "saturated", what: "CPU us per request, saturated, 2 KB", conns: 32},
		{name: "keys", what: fmt.Sprintf("CPU us per request, saturated, 2 KB, %d keys in turn", maxKeys), keys: true, conns: 32},
		{name: "1000", what: "CPU us per request at 1,000/s, 2 KB", args: []string{"-rate", "1000"}, conns: 64},
		{name: "3000", what: "CPU us per request at 3,000/s, 2 KB", args: []string{"-rate", "3000"}, conns: 64},
		{name: "chunk", what: fmt.Sprintf("CPU us per streamed chunk, %d streams, 5 ms pace", streams), args: []string{"-stream"}, conns: streams},
		{name: "100k", what: "CPU us per request, saturated, 100 KB", args: []string{"-size", "102400"}, conns: 32},
		{name: "tls", what: "CPU us per request, saturated, 2 KB, TLS upstream", tls: true, conns: 32},
	}
}

// series is what was measured in the rounds, by the name of the proxy.
type series map[string][]float64

func side(ctx context.Context, args []string) error {
	o, err := parseSide(args)
	if err != nil {
		return err
	}
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gatehouse-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // what remains is in a temporary folder
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	w, err := newWorld(dir)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	floor, err := w.nginx(runtime.NumCPU())
	if err != nil {
		return err
	}
	own := []string{"gatehouse"}
	installed := map[string]*installation{}
	binaries := map[string]string{"gatehouse": o.gatehouse}
	if o.rival != "" {
		own, binaries["rival"] = append(own, "rival"), o.rival
	}
	for _, name := range own {
		if installed[name], err = w.install(ctx, name, binaries[name], o.access); err != nil {
			return err
		}
	}
	wanted := func(name string) bool { return o.only == "" || slices.Contains(strings.Split(o.only, ","), name) }
	fmt.Printf("%d rounds of %v, medians; %d CPUs, load %s", o.rounds, o.window, runtime.NumCPU(), loadAverage())
	fmt.Printf("Gatehouse: serve, SQLite, journal (fsync every 100 ms), metering, explain records, %d keys; access log %s\n\n", maxKeys, map[bool]string{true: "on, into a file", false: "off"}[o.access])

	proxies := []*proxy{floor}
	for _, name := range own {
		p, err := installed[name].start()
		if err != nil {
			return err
		}
		proxies = append(proxies, p)
	}
	all := rows(o.streams)
	measured := make([]series, len(all))
	for i := range measured {
		measured[i] = series{}
	}
	direct := series{}
	for round := range o.rounds {
		for i, r := range all {
			if !wanted(r.name) {
				continue
			}
			if r.name == "saturated" {
				got, err := w.load(ctx, "-address", w.plain, "-credential", "Bearer none", "-connections", "32", "-window", o.window.String())
				if err != nil {
					return err
				}
				direct["rps"] = append(direct["rps"], float64(got.Done)/o.window.Seconds())
				direct["us"] = append(direct["us"], float64(got.Median)/1e3)
			}
			for _, p := range turned(proxies, round) {
				last := o.profile != "" && round == o.rounds-1
				v, err := w.cell(ctx, p, r, o.window, profileOf(o.profile, p, r, last))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, r.what, err)
				}
				measured[i][p.name] = append(measured[i][p.name], v)
			}
		}
	}
	for _, p := range proxies[1:] {
		w.stop(p.cmd)
	}
	header(own)
	for i, r := range all {
		if wanted(r.name) {
			measured[i].print(r.what, own, 1)
		}
	}
	if wanted("memory") {
		for _, n := range o.open {
			s := series{}
			for range min(o.rounds, 3) {
				if err := w.memory(s, floor.name, n, func() (*proxy, error) { return w.nginx(runtime.NumCPU()) }); err != nil {
					return err
				}
				for _, name := range own {
					if err := w.memory(s, name, n, installed[name].start); err != nil {
						return err
					}
				}
			}
			s.print(fmt.Sprintf("KB per open stream, %d open", n), own, 1)
		}
	}
	if wanted("left") {
		fmt.Println()
		for _, name := range append([]string{floor.name}, own...) {
			p := floor
			if i := installed[name]; i != nil {
				if p, err = i.start(); err != nil {
					return err
				}
			}
			left, err := w.left(p)
			if err != nil {
				return err
			}
			if p != floor {
				w.stop(p.cmd)
			}
			fmt.Printf("%-52s %s %d of 50\n", "upstream streams left 1 s after their callers left", name, left)
		}
	}
	if len(direct["rps"]) > 0 {
		fmt.Printf("%-52s %.0f requests/s, median %.0f us\n", "the load against the upstream, without a proxy", median(direct["rps"]), median(direct["us"]))
	}
	return nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown\n"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ") + " before the start\n"
}

// turned returns the proxies in another order each round, so that none always follows the same one.
func turned(proxies []*proxy, round int) []*proxy {
	k := round % len(proxies)
	return append(slices.Clone(proxies[k:]), proxies[:k]...)
}

// cell measures one row of one proxy once: CPU microseconds for each request or chunk.
func (w *world) cell(ctx context.Context, p *proxy, r row, window time.Duration, profile string) (float64, error) {
	address, model := p.address, "gpt-4o"
	if r.tls {
		address, model = p.tls, p.tlsModel
	}
	extra := r.args
	if r.keys {
		extra = append(slices.Clone(extra), "-credentials", p.keys)
	}
	pids := make([]string, len(p.pids))
	for i, pid := range p.pids {
		pids[i] = strconv.Itoa(pid)
	}
	var taken chan error
	if profile != "" {
		taken = make(chan error, 1)
		go func() { taken <- takeProfile(p.ops, profile, window) }() // ends after the window
	}
	got, err := w.load(ctx, append([]string{"-address", address, "-model", model, "-credential", p.credential, "-connections", strconv.Itoa(r.conns),
		"-watch", strings.Join(pids, ","), "-window", window.String()}, extra...)...)
	if taken != nil {
		err = errors.Join(err, <-taken)
	}
	if err != nil {
		return 0, err
	}
	if got.Failed > 0 || got.Done == 0 {
		return 0, fmt.Errorf("%d requests done, %d failed: %s", got.Done, got.Failed, got.Example)
	}
	return float64(got.CPU.Nanoseconds()) / 1e3 / float64(got.Done), nil
}

func profileOf(dir string, p *proxy, r row, last bool) string {
	if !last || p.ops == "" {
		return ""
	}
	return filepath.Join(dir, p.name+"-"+r.name+".pprof")
}

// takeProfile saves a CPU profile of a node; it covers the warm-up, since a profile takes whole seconds.
func takeProfile(ops, path string, window time.Duration) error {
	resp, err := http.Get(fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", ops, max(1, int(window.Seconds()))))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// memory measures by how much a fresh process grows with n open streams, in KB for each.
func (w *world) memory(s series, name string, n int, start func() (*proxy, error)) error {
	p, err := start()
	if err != nil {
		return err
	}
	defer w.stop(p.cmd)
	// What a process grows by with its first requests is not a stream's.
	if _, err := w.load(context.Background(), "-address", p.address, "-credential", p.credential, "-connections", "8", "-window", "200ms", "-warm", "200ms"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	before, err := residentOf(p.pids)
	if err != nil {
		return err
	}
	h, err := w.hold(p, n)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	time.Sleep(2 * time.Second)
	after, err := residentOf(p.pids)
	if err = errors.Join(err, h.leave()); err != nil {
		return err
	}
	s[name] = append(s[name], float64(after-before)/1024/float64(n))
	return nil
}

// left opens 50 streams that go on, lets their callers leave, and returns how many the upstream still has a second later.
func (w *world) left(p *proxy) (int, error) {
	if _, err := w.load(context.Background(), "-address", p.address, "-credential", p.credential, "-connections", "50", "-stream", "-window", "200ms", "-warm", "800ms"); err != nil {
		return 0, err
	}
	time.Sleep(time.Second)
	return w.streams()
}

func header(own []string) {
	fmt.Printf("%-52s %8s %7s", "median", "nginx", "spread")
	for _, name := range own {
		fmt.Printf(" %12s %7s", name, "ratio")
	}
	fmt.Println()
}

// print prints the medians, and the median of the ratios within a round.
func (s series) print(what string, own []string, digits int) {
	floor := s["nginx"]
	spread := (slices.Max(floor) - slices.Min(floor)) / median(floor)
	fmt.Printf("%-52s %8.*f %6.0f%%", what, digits, median(floor), 100*spread)
	for _, name := range own {
		ratios := make([]float64, len(floor))
		for i := range ratios {
			ratios[i] = s[name][i] / floor[i]
		}
		fmt.Printf(" %12.*f %6.2fx", digits, median(s[name]), median(ratios))
	}
	if spread > 0.25 {
		fmt.Print("  no verdict: nginx spreads more than 25 %")
	}
	fmt.Println()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
