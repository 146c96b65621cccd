package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// start measures how long `gatehouse dev` takes from its start to its ready line, on data that is there, and what it weighs.
func start(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("start", flag.ExitOnError)
	binary := f.String("gatehouse", "bin/gatehouse", "the binary to measure")
	runs := f.Int("runs", 5, "how often it is started")
	settle := f.Duration("settle", 10*time.Second, "how long it idles before its memory is looked at")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what remains is in a temporary folder
	data := filepath.Join(dir, "data")
	first, _, err := startOnce(ctx, *binary, data, 0)
	if err != nil {
		return err
	}
	var seconds []float64
	var resident int64
	for i := range *runs {
		wait := time.Duration(0)
		if i == *runs-1 {
			wait = *settle
		}
		took, memory, err := startOnce(ctx, *binary, data, wait)
		if err != nil {
			return err
		}
		seconds, resident = append(seconds, took.Seconds()), memory
	}
	info, err := os.Stat(*binary)
	if err != nil {
		return err
	}
	fmt.Printf("start on an empty folder                   %.2f s\n", first.Seconds())
	fmt.Printf("start on data that is there, median of %-3d %.2f s (goal: 0.3 s)\n", *runs, median(seconds))
	fmt.Printf("resident memory after idling for %-9v %.1f MB (goal: 40 MB)\n", *settle, float64(resident)/(1<<20))
	fmt.Printf("binary                                     %.1f MB (goal: 40 MB)\n", float64(info.Size())/(1<<20))
	return nil
}

func startOnce(ctx context.Context, binary, data string, settle time.Duration) (took time.Duration, resident int64, err error) {
	cmd := exec.CommandContext(ctx, binary, "dev", "--listen", "127.0.0.1:0", "--data", data, "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	took = time.Since(began)
	if err == nil {
		time.Sleep(settle)
		resident, err = residentOf([]int{cmd.Process.Pid})
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	return took, resident, errors.Join(err, cmd.Wait())
}
