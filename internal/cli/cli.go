// Package cli is lxc, the command line client. A package below holds the commands of one noun;
// package command what they share. Here they are put together.
//
// Starting quickly matters more here than anywhere: only the branch of the command tree that was named is built, the
// configuration is parsed only if there is one, and GET /1.0 is sent only where an extension decides something.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/cli/alias"
	"lxd/internal/cli/auth"
	"lxd/internal/cli/cluster"
	"lxd/internal/cli/command"
	"lxd/internal/cli/complete"
	"lxd/internal/cli/config"
	"lxd/internal/cli/file"
	"lxd/internal/cli/help"
	"lxd/internal/cli/image"
	"lxd/internal/cli/instance"
	"lxd/internal/cli/network"
	"lxd/internal/cli/profile"
	"lxd/internal/cli/project"
	"lxd/internal/cli/remote"
	"lxd/internal/cli/server"
	"lxd/internal/cli/storage"
	"lxd/internal/cli/term"
	"lxd/internal/cli/warning"
)

// App is where one run of lxc reads and writes.
type App struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
}

// New is an App on the process's own streams.
func New() *App {
	return &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

func (a *App) command(ctx context.Context) *command.App {
	return &command.App{In: a.In, Out: a.Out, Err: a.Err, Ctx: ctx}
}

// Run executes one command line, without the program's name, and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	err := run(a.command(ctx), args)
	var code command.ExitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(a.Err, "Error: %s\n", term.Plain(err.Error()))
	if refused, ok := errors.AsType[*command.Exited](err); ok {
		return refused.Code
	}
	return 1
}

func run(a *command.App, args []string) error {
	args, err := alias.Expand(a, args)
	if err != nil {
		return err
	}
	root := root(a, args)
	root.SetArgs(args)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	if err := root.ExecuteContext(a.Ctx); err != nil {
		return err
	}
	return a.OutErr()
}

// Root is the whole command tree.
func (a *App) Root() *cobra.Command { return root(a.command(context.Background()), nil) }

// root builds the command tree, as far as args need it.
func root(a *command.App, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "lxc",
		Short: "Command line client for LXD",
		Long: `Command line client for LXD

Everything that an LXD server can do is reached through the commands below.
Call any of them with --help to learn about it.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:           api.Version,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	declareFlags(a, root)
	help.Set(root)
	word := firstWord(args)
	all := nouns()
	if i := slices.IndexFunc(all, func(n noun) bool { return n.answers(word) }); i >= 0 {
		root.SetHelpCommand(&cobra.Command{Hidden: true})
		root.AddCommand(all[i].build(a))
		return root
	}
	for _, n := range all {
		root.AddCommand(n.build(a))
	}
	root.AddCommand(completionCommand(root))
	root.InitDefaultHelpCmd()
	if strings.HasPrefix(word, cobra.ShellCompRequestCmd) {
		complete.Install(a, root)
		root.ValidArgsFunction = func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return aliasNames(a, args, prefix), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return root
}

// aliasNames completes the first word with aliases, which stand beside the commands.
func aliasNames(a *command.App, args []string, prefix string) []string {
	cfg, err := a.Config()
	if err != nil || len(args) > 0 {
		return nil
	}
	return slices.DeleteFunc(alias.Names(cfg.Aliases), func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

func declareFlags(a *command.App, root *cobra.Command) {
	f := root.PersistentFlags()
	f.BoolVar(&a.Flags.Debug, "debug", false, "Show all debug messages")
	f.BoolVar(&a.Flags.ForceLocal, "force-local", false, "Force using the local unix socket")
	f.BoolP("help", "h", false, "Print help")
	f.StringVar(&a.Flags.Project, "project", "", "Override the source project``")
	f.BoolVarP(&a.Flags.Quiet, "quiet", "q", false, "Don't show progress information")
	f.Bool("sub-commands", false, "Use with help or --help to view sub-commands")
	f.BoolVarP(&a.Flags.Verbose, "verbose", "v", false, "Show all information messages")
	f.Bool("version", false, "Print version number")
}

// noun is one entry of the first level of commands.
type noun struct {
	names []string
	build func(*command.App) *cobra.Command
}

func (n noun) answers(word string) bool { return slices.Contains(n.names, word) }

// nouns is the first level of commands: names with aliases, and what builds the branch.
func nouns() []noun {
	return []noun{
		{[]string{"alias"}, alias.Command},
		{[]string{"auth"}, auth.Command},
		{[]string{"cluster"}, cluster.Command},
		{[]string{"config"}, config.Command},
		{[]string{"console"}, instance.Console},
		{[]string{"copy", "cp"}, instance.Copy},
		{[]string{"delete", "rm"}, instance.Delete},
		{[]string{"exec"}, instance.Exec},
		{[]string{"export"}, instance.Export},
		{[]string{"file"}, file.Command},
		{[]string{"image"}, image.Command},
		{[]string{"import"}, instance.Import},
		{[]string{"info"}, instance.Info},
		{[]string{"init"}, instance.Init},
		{[]string{"launch"}, instance.Launch},
		{[]string{"list", "ls"}, instance.List},
		{[]string{"manpage"}, manpageCommand},
		{[]string{"monitor"}, server.Monitor},
		{[]string{"move", "mv"}, instance.Move},
		{[]string{"network"}, network.Command},
		{[]string{"operation"}, server.Operation},
		{[]string{"pause", "freeze"}, instance.Pause},
		{[]string{"profile"}, profile.Command},
		{[]string{"project"}, project.Command},
		{[]string{"publish"}, image.Publish},
		{[]string{"query"}, server.Query},
		{[]string{"rebuild"}, instance.Rebuild},
		{[]string{"remote"}, remote.Command},
		{[]string{"rename"}, instance.Rename},
		{[]string{"restart"}, instance.Restart},
		{[]string{"restore"}, instance.Restore},
		{[]string{"snapshot"}, instance.Snapshot},
		{[]string{"start"}, instance.Start},
		{[]string{"stop"}, instance.Stop},
		{[]string{"storage"}, storage.Command},
		{[]string{"version"}, server.Version},
		{[]string{"warning"}, warning.Command},
	}
}

// firstWord is the first argument that is neither a global flag nor the value of one.
func firstWord(args []string) string {
	for i := 0; i < len(args); i++ {
		if args[i] == "--project" {
			i++
			continue
		}
		if !strings.HasPrefix(args[i], "-") {
			return args[i]
		}
	}
	return ""
}
