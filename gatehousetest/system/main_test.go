// Package system_test holds black-box tests of the real binary: what only shows when a process is killed, stopped, cut off from
// its database, drained or run beside another. It builds the program once and talks to it over loopback; what happens inside a
// process belongs to the tests of its rooms.
package system_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the path of the program under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run builds the program as it is shipped, static and without the race detector, and runs the tests. GATEHOUSE_BINARY names one
// that is already built.
func run(m *testing.M) (int, error) {
	if binary = os.Getenv("GATEHOUSE_BINARY"); binary != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "gatehouse-system-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-o", binary, "gatehouse/cmd/gatehouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build gatehouse: %w\n%s", err, out)
	}
	return m.Run(), nil
}
