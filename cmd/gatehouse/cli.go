package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes are a contract with scripts.
const (
	exitOK     = 0
	exitFailed = 1 // the operation failed
	exitUsage  = 2 // the command line makes no sense; nothing was tried
)

// cli is one run of the command line.
type cli struct {
	stdin  io.Reader
	stdout io.Writer // exact bytes, for machines
	stderr io.Writer
	env    []string // NAME=value
	out    *terminal

	json   bool   // --json
	remote remote // how to reach the server
	began  bool   // the command line was understood and the command has begun
}

// run executes one command line and returns the process's exit code. When ctx ends the command ends in good order.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, env: env, out: newTerminal(stdout, stderr, env)}
	root := c.root()
	root.SetArgs(args)
	// Not cobra's default of the process's own arguments when there are none.
	if args == nil {
		root.SetArgs([]string{})
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, misused := errors.AsType[*usageError](err)
	misused = misused || !c.began // cobra's own errors, such as a flag that is missing
	if _, ok := asHint(err); !ok && misused {
		err = hint(err, "`%s --help` explains it.", cmd.CommandPath())
	}
	c.out.fail(explainError(ctx, err, &c.remote))
	if misused {
		return exitUsage
	}
	return exitFailed
}

// getenv returns a variable of the environment the command was given.
func (c *cli) getenv(name string) string {
	for i := len(c.env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(c.env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// root builds the tree of commands.
func (c *cli) root() *cobra.Command {
	root := c.group("gatehouse", "The credential plane for LLM APIs that you run yourself",
		"Gatehouse issues, checks, meters and revokes the keys with which people and services call models,\n"+
			"and stands as the authenticating gateway in front of OpenAI, Azure OpenAI and compatible servers.\n\n"+
			"Start with `gatehouse dev`: it runs everything, with a mock model, and prints a key and a curl line.")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(&cobra.Group{ID: "host", Title: "On the host:"}, &cobra.Group{ID: "api", Title: "Against a running Gatehouse:"})
	flags := root.PersistentFlags()
	flags.BoolVar(&c.json, "json", false, "print JSON for machines: one document on stdout")
	c.remote.register(flags)
	for _, cmd := range []*cobra.Command{c.dev(), c.init(), c.serve(), c.backup(), c.restore(), c.pepper(), c.version()} {
		cmd.GroupID = "host"
		c.onHost(cmd)
		for _, below := range cmd.Commands() {
			c.onHost(below)
		}
		root.AddCommand(cmd)
	}
	doctor := c.doctor() // on the host, and against a server as well
	doctor.GroupID = "host"
	root.AddCommand(doctor)
	for _, cmd := range c.remoteCommands() {
		cmd.GroupID = "api"
		root.AddCommand(cmd)
	}
	root.SetHelpCommandGroupID("host")
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageFunc(printUsage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(&usageError{err}, "`%s --help` lists the flags.", cmd.CommandPath())
	})
	return root
}

// command returns a command that runs fn once the command line is understood.
func (c *cli) command(use, short string, args cobra.PositionalArgs, fn func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, DisableFlagsInUseLine: !strings.Contains(use, "[flags]"),
		Args: func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return hint(&usageError{err}, "Usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			c.began = true
			return fn(cmd.Context(), given)
		},
	}
}

// group returns a command that only has others below it. Without one of those it is a usage error, not a success that did nothing.
func (c *cli) group(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(c.stderr)
			if err := cmd.Help(); err != nil {
				return err
			}
			return hint(usagef("a command is missing"), "The list is above.")
		}
		err := usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		if close := cmd.SuggestionsFor(args[0]); len(close) > 0 {
			return hint(err, "Did you mean `%s %s`?", cmd.CommandPath(), close[0])
		}
		return hint(err, "`%s --help` lists the commands.", cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(below...)
	return cmd
}

// onHost makes a command refuse, and not show, the flags that say how to reach a server: it does not call one.
func (c *cli) onHost(cmd *cobra.Command) {
	remoteFlags := func(visit func(*pflag.Flag)) {
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "json" {
				visit(f)
			}
		})
	}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		remoteFlags(func(f *pflag.Flag) {
			if f.Changed {
				err = hint(usagef("`%s` runs on this host and takes no --%s", cmd.CommandPath(), f.Name), "`%s --help` lists the flags it takes.", cmd.CommandPath())
			}
		})
		return err
	}
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		remoteFlags(func(f *pflag.Flag) { f.Hidden = true })
		help(cmd, args)
	})
}
