package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuOf returns the CPU time that the threads of processes have used, to the nanosecond.
func cpuOf(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // a thread that just ended
			}
			first, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			sum += time.Duration(n)
		}
	}
	return sum, nil
}

// residentOf returns the resident memory of processes in bytes.
func residentOf(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		n, err := statusOf(pid, "VmRSS:")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// statusOf returns a size in bytes that the kernel tells about a process.
func statusOf(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), field)
	if !ok {
		return 0, fmt.Errorf("process %d has no %s it has ended", pid, field)
	}
	var kb int64
	_, err = fmt.Sscan(rest, &kb)
	return kb << 10, err
}

// childrenOf returns the processes that a process started.
func childrenOf(pid int) ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		pids = append(pids, n)
	}
	return pids, nil
}
