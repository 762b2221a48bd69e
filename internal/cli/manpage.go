package cli

import (
	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
	"lxd/internal/manual"
)

// manpageCommand writes the reference of all commands, for those who package or publish it.
func manpageCommand(a *command.App) *cobra.Command {
	var format string
	cmd := a.Leaf(command.Leaf{Use: "manpage <target>", Short: "Generate manpages for all commands", Least: 1, Most: 1,
		Long: "Generate manpages for all commands\n\nThey are written into the directory <target>, one file a command.",
		Run:  func(args []string) error { return manual.Save(args[0], format, manual.Pages(root(a, nil))) }})
	cmd.Hidden = true
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	cmd.Flags().StringVarP(&format, "format", "f", "man", "Format (man|md|rest|yaml)``")
	return cmd
}
