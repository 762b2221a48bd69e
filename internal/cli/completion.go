package cli

import (
	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
)

// completionCommand prints the script that makes a shell complete lxc's command lines.
func completionCommand(root *cobra.Command) *cobra.Command {
	cmd := command.Branch("completion", "Generate the autocompletion script for the specified shell")
	add := func(shell string, plain, described func() error) {
		var bare bool
		sub := &cobra.Command{Use: shell, Short: "Generate the autocompletion script for " + shell, Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				if bare {
					return plain()
				}
				return described()
			}}
		sub.Long = sub.Short
		sub.Flags().BoolVar(&bare, "no-descriptions", false, "disable completion descriptions")
		cmd.AddCommand(sub)
	}
	out := root.OutOrStdout
	add("bash", func() error { return root.GenBashCompletionV2(out(), false) }, func() error { return root.GenBashCompletionV2(out(), true) })
	add("fish", func() error { return root.GenFishCompletion(out(), false) }, func() error { return root.GenFishCompletion(out(), true) })
	add("powershell", func() error { return root.GenPowerShellCompletion(out()) }, func() error { return root.GenPowerShellCompletionWithDesc(out()) })
	add("zsh", func() error { return root.GenZshCompletionNoDesc(out()) }, func() error { return root.GenZshCompletion(out()) })
	return cmd
}
