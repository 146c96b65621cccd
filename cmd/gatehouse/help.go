package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// printUsage prints how a command is used, as cobra does, with two differences. A group runs only to say that a command is
// missing, which is no way to use it. And no template is involved: text/template calls methods by name, so that with it in the
// binary the linker could leave out no method of anything.
func printUsage(cmd *cobra.Command) error {
	var out strings.Builder
	out.WriteString("Usage:")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&out, "\n  %s [command]", cmd.CommandPath())
	} else {
		fmt.Fprintf(&out, "\n  %s", cmd.UseLine())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(&out, "\n\nAliases:\n  %s", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&out, "\n\nExamples:\n%s", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		if len(cmd.Groups()) == 0 {
			printCommands(&out, cmd, "Available Commands:", "")
		}
		for _, g := range cmd.Groups() {
			printCommands(&out, cmd, g.Title, g.ID)
		}
	}
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(&out, "\n\nFlags:\n%s", strings.TrimRightFunc(cmd.LocalFlags().FlagUsages(), unicode.IsSpace))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(&out, "\n\nGlobal Flags:\n%s", strings.TrimRightFunc(cmd.InheritedFlags().FlagUsages(), unicode.IsSpace))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&out, "\n\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	_, err := fmt.Fprintln(cmd.OutOrStderr(), out.String())
	return err
}

// printCommands prints the commands of a group below its title.
func printCommands(out *strings.Builder, cmd *cobra.Command, title, group string) {
	fmt.Fprintf(out, "\n\n%s", title)
	for _, c := range cmd.Commands() {
		if c.GroupID == group && (c.IsAvailableCommand() || c.Name() == "help") {
			fmt.Fprintf(out, "\n  %-*s %s", c.NamePadding(), c.Name(), c.Short)
		}
	}
}
