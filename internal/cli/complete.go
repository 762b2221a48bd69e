package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/client"
)

// completionTime bounds how long a press of the tab key may wait for a server.
const completionTime = 2 * time.Second

// completeNames completes the n-th argument with the names in the n-th of lists (such as "instances"); the last of
// lists serves all further arguments.
func (a *App) completeNames(lists ...string) func(args []string, prefix string) []string {
	return func(args []string, prefix string) []string {
		list := lists[min(len(args), len(lists)-1)]
		return a.names(list, prefix)
	}
}

// names lists what the server has, with the remote that prefix starts with. Trouble completes nothing.
func (a *App) names(list, prefix string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	server, _, err := a.parse(prefix)
	if err != nil {
		return nil
	}
	names, err := server.Names(ctx, "/1.0/"+list)
	if err != nil {
		return nil
	}
	remote := ""
	if i := strings.IndexByte(prefix, ':'); i >= 0 {
		remote = prefix[:i+1]
	}
	var out []string
	for _, name := range names {
		if name = remote + name; strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out
}

func (a *App) completeProjects(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.names("projects", prefix), cobra.ShellCompDirectiveNoFileComp
}

// volumes completes "<pool> [<type>/]<volume>".
func (a *App) volumes(args []string, prefix string) []string {
	if len(args) == 0 {
		return a.names("storage-pools", prefix)
	}
	server, pool, err := a.parse(args[0])
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	names, err := server.Names(ctx, client.Path("storage-pools", pool, "volumes", "custom"))
	if err != nil {
		return nil
	}
	return names
}

// completionCommand prints the script that makes a shell complete lxc's command lines.
func completionCommand(root *cobra.Command) *cobra.Command {
	cmd := branch("completion", "Generate the autocompletion script for the specified shell")
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
