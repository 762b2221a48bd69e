package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// setHelp gives root and all below it our layout of usage and help.
func setHelp(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		usage(cmd.OutOrStderr(), cmd)
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

func usage(w io.Writer, cmd *cobra.Command) {
	section := func(title, text string) { fmt.Fprintf(w, "%s:\n%s\n", title, text) }
	fmt.Fprintln(w, "Usage:")
	if cmd.Runnable() {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s [command]\n", cmd.CommandPath())
	}
	fmt.Fprintln(w)
	if len(cmd.Aliases) > 0 {
		section("Aliases", "  "+cmd.NameAndAliases()+"\n")
	}
	if cmd.Example != "" {
		section("Examples", indent(cmd.Example)+"\n")
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
		fmt.Fprintf(w, "Use \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath())
	}
}

// subCommands lists what is below cmd, with --sub-commands on every level.
func subCommands(cmd *cobra.Command) string {
	deep, _ := cmd.Flags().GetBool("sub-commands")
	var b strings.Builder
	var add func(parent *cobra.Command, prefix string)
	add = func(parent *cobra.Command, prefix string) {
		for _, sub := range parent.Commands() {
			if !sub.IsAvailableCommand() {
				continue
			}
			name := prefix + sub.Name()
			fmt.Fprintf(&b, "  %-11s %s\n", name, sub.Short)
			if deep {
				add(sub, name+" ")
			}
		}
	}
	add(cmd, "")
	return b.String()
}
