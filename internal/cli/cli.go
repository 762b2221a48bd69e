// Package cli is lxc, the command line client. One file holds the commands of one noun; app.go holds what they share.
//
// Starting quickly matters more here than anywhere: only the branch of the command tree that was named is built, the
// configuration is parsed only if there is one, and GET /1.0 is sent only where an extension decides something.
package cli

import (
	"context"
	"errors"
	"fmt"
	"lxd/api"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/cli/file"
	"lxd/internal/cli/help"
	"lxd/internal/cli/term"
)

// version is the release of LXD that lxc belongs to.
const version = api.Version

// Run executes one command line, without the program's name, and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	err := a.run(ctx, args)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(a.Err, "Error: %s\n", term.Plain(err.Error()))
	if refused, ok := errors.AsType[*exited](err); ok {
		return refused.code
	}
	return 1
}

// exitCode ends lxc with the code of a command in an instance, and says nothing.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exited is an error that decides the exit code.
type exited struct {
	error
	code int
}

func (e *exited) Unwrap() error { return e.error }

func (a *App) run(ctx context.Context, args []string) error {
	a.ctx = ctx
	args, err := a.expandAlias(args)
	if err != nil {
		return err
	}
	root := a.root(args)
	root.SetArgs(args)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	if err := root.ExecuteContext(ctx); err != nil {
		return err
	}
	return a.outErr()
}

// Root is the whole command tree.
func (a *App) Root() *cobra.Command { return a.root(nil) }

// root builds the command tree, as far as args need it.
func (a *App) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "lxc",
		Short: "Command line client for LXD",
		Long: `Command line client for LXD

Everything that an LXD server can do is reached through the commands below.
Call any of them with --help to learn about it.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:           version,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	a.globalFlags(root)
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
	return root
}

func (a *App) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.BoolVar(&a.flags.debug, "debug", false, "Show all debug messages")
	f.BoolVar(&a.flags.forceLocal, "force-local", false, "Force using the local unix socket")
	f.BoolP("help", "h", false, "Print help")
	f.StringVar(&a.flags.project, "project", "", "Override the source project``")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "Don't show progress information")
	f.Bool("sub-commands", false, "Use with help or --help to view sub-commands")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "Show all information messages")
	f.Bool("version", false, "Print version number")
	_ = root.RegisterFlagCompletionFunc("project", a.completeProjects) // the flag was just declared
}

// noun is one entry of the first level of commands.
type noun struct {
	names []string
	build func(*App) *cobra.Command
}

func (n noun) answers(word string) bool { return slices.Contains(n.names, word) }

// nouns is the first level of commands: names with aliases, and what builds the branch.
func nouns() []noun {
	return []noun{
		{[]string{"alias"}, aliasCommand},
		{[]string{"config"}, configCommand},
		{[]string{"console"}, consoleCommand},
		{[]string{"copy", "cp"}, copyCommand},
		{[]string{"delete", "rm"}, deleteCommand},
		{[]string{"exec"}, execCommand},
		{[]string{"file"}, fileCommand},
		{[]string{"image"}, imageCommand},
		{[]string{"info"}, infoCommand},
		{[]string{"init"}, initCommand},
		{[]string{"launch"}, launchCommand},
		{[]string{"list", "ls"}, listCommand},
		{[]string{"monitor"}, monitorCommand},
		{[]string{"move", "mv"}, moveCommand},
		{[]string{"network"}, networkCommand},
		{[]string{"operation"}, operationCommand},
		{[]string{"pause", "freeze"}, pauseCommand},
		{[]string{"profile"}, profileCommand},
		{[]string{"query"}, queryCommand},
		{[]string{"rebuild"}, rebuildCommand},
		{[]string{"remote"}, remoteCommand},
		{[]string{"rename"}, renameCommand},
		{[]string{"restart"}, restartCommand},
		{[]string{"restore"}, restoreCommand},
		{[]string{"snapshot"}, snapshotCommand},
		{[]string{"start"}, startCommand},
		{[]string{"stop"}, stopCommand},
		{[]string{"storage"}, storageCommand},
		{[]string{"version"}, versionCommand},
	}
}

// fileCommand is the branch of package file.
func fileCommand(a *App) *cobra.Command {
	return branch("file", "Manage files in instances", file.Commands(file.Env{
		In: a.In, Out: a.Out, Err: a.Err, Parse: a.parse, Context: func() context.Context { return a.ctx }, Quiet: func() bool { return a.flags.quiet },
		Command: func(l file.Leaf) *cobra.Command {
			return a.leaf(spec{use: l.Use, aliases: l.Aliases, short: l.Short, long: l.Long, example: l.Example, least: l.Least, most: l.Most, run: l.Run})
		},
	})...)
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

// New is an App on the process's own streams.
func New() *App {
	return &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}
