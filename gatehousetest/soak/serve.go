package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/server"
)

// serve runs Gatehouse as `gatehouse dev` does, on a clock that runs faster and ends before the real one's now, until its input
// ends. Each line of input is answered with a look.
func serve(ctx context.Context, p *plan) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	speed := float64(p.clock) / float64(p.duration)
	passed := func() time.Duration { return time.Duration(float64(time.Since(began)) * speed) }
	// The load rests twice and the end takes a while: no moment of the run may lie in the future.
	first := began.Add(-2*p.clock - time.Hour).Round(0)
	quiet := false
	s, err := server.Dev(ctx, server.DevOptions{Listen: "127.0.0.1:0", Data: filepath.Join(p.data, "data"), Logging: server.Log{Level: "warn", Access: &quiet},
		MaxStaleness: time.Hour, // on a clock that runs 72 times as fast the default would be less than two seconds
		Options:      server.Options{Log: os.Stderr, Version: "soak", Now: func() time.Time { return first.Add(passed()) }, Boot: func() time.Duration { return time.Hour + passed() }}})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	done := make(chan error, 1)
	go func() { // ends with ctx
		done <- s.RunDev(ctx, func(r server.Ready) { _ = out.Encode(r) }) // whoever reads is gone when it fails, and the input has ended
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		l, err := lookAround(passed())
		if err == nil {
			err = out.Encode(l)
		}
		if err != nil {
			stop()
			return errors.Join(err, <-done)
		}
	}
	stop()
	return <-done
}

// lookAround collects garbage and counts what is left.
func lookAround(passed time.Duration) (look, error) {
	for range 3 { // what a finalizer and a pool's victim cache held goes with the next
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return look{}, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 3 {
		return look{}, io.ErrUnexpectedEOF
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return look{}, err
	}
	shared, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return look{}, err
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return look{}, err
	}
	page := int64(os.Getpagesize())
	return look{Resident: pages * page, Files: shared * page, Go: int64(m.Sys - m.HeapReleased), Heap: int64(m.HeapAlloc), Goroutines: runtime.NumGoroutine(), Descriptors: len(open), Clock: int64(passed.Seconds())}, nil
}
