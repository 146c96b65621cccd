package main

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker (see the Makefile); a build without it falls back to what the Go tool recorded.
var (
	version string
	commit  string
)

// build is what this binary is.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = cmp.Or(b.Commit, s.Value)
			}
		}
		b.Version = cmp.Or(b.Version, info.Main.Version)
	}
	b.Version, b.Commit = cmp.Or(b.Version, "(devel)"), cmp.Or(b.Commit, "unknown")
	return b
}

func (c *cli) version() *cobra.Command {
	return c.command("version", "Print version, commit and Go version", cobra.NoArgs, func(context.Context, []string) error {
		b := thisBuild()
		if c.json {
			return c.document(b)
		}
		c.out.printf("gatehouse %s\ncommit %s\n%s %s\n", b.Version, b.Commit, b.Go, b.Platform)
		return nil
	})
}
