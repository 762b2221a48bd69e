// Package help lays out the usage and the help of commands.
package help

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Set gives root and all below it our layout of usage and help.
func Set(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		usage(cmd.ErrOrStderr(), cmd)
		return nil
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		text := cmd.Long
		if text == "" {
			text = cmd.Short
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Description:\n%s\n\n", indent(text))
		usage(cmd.OutOrStdout(), cmd)
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee %q", err, cmd.CommandPath()+" --help")
	})
}

// indent moves every line that is not empty two columns to the right.
func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}

// usage prints the sections that cmd has, with an empty line between each two.
func usage(w io.Writer, cmd *cobra.Command) {
	var sections []string
	section := func(title, text string) { sections = append(sections, title+":\n"+strings.TrimRight(text, "\n")+"\n") }
	var lines string
	if cmd.Runnable() {
		lines += "  " + cmd.UseLine() + "\n"
	}
	if cmd.HasAvailableSubCommands() {
		lines += "  " + cmd.CommandPath() + " [command]\n"
	}
	section("Usage", lines)
	if len(cmd.Aliases) > 0 {
		section("Aliases", "  "+cmd.NameAndAliases())
	}
	if cmd.Example != "" {
		section("Examples", indent(cmd.Example))
	}
	if cmd.HasAvailableSubCommands() {
		section("Available Commands", subCommands(cmd))
	}
	if cmd.HasAvailableLocalFlags() {
		section("Flags", cmd.LocalFlags().FlagUsages())
	}
	if cmd.HasAvailableInheritedFlags() {
		section("Global Flags", cmd.InheritedFlags().FlagUsages())
	}
	if cmd.HasAvailableSubCommands() {
		sections = append(sections, fmt.Sprintf("Use \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath()))
	}
	fmt.Fprint(w, strings.Join(sections, "\n"))
}

// subCommands lists what is below cmd, with --sub-commands on every level.
func subCommands(cmd *cobra.Command) string {
	deep, _ := cmd.Flags().GetBool("sub-commands")
	type line struct{ name, short string }
	var lines []line
	width := 11
	var add func(parent *cobra.Command, prefix string)
	add = func(parent *cobra.Command, prefix string) {
		for _, sub := range parent.Commands() {
			if !sub.IsAvailableCommand() {
				continue
			}
			name := prefix + sub.Name()
			lines, width = append(lines, line{name, sub.Short}), max(width, len(name))
			if deep {
				add(sub, name+" ")
			}
		}
	}
	add(cmd, "")
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "  %-*s %s\n", width, l.name, l.short)
	}
	return b.String()
}
