package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tree lists a command and all below it, as the rows of spec/cli.tsv do: the help command of lxd and the help flags below the root,
// which every command has, are left out.
func tree(root *cobra.Command) []command {
	root.InitDefaultHelpFlag()
	if !root.CompletionOptions.HiddenDefaultCmd {
		root.InitDefaultCompletionCmd()
	}
	return walk(root, "")
}

func walk(c *cobra.Command, parent string) []command {
	name := strings.TrimSpace(parent + " " + c.Name())
	_, args, _ := strings.Cut(c.Use, " ")
	own := command{Name: name, Aliases: strings.Join(c.Aliases, ","), Args: strings.TrimSpace(args), Hidden: c.Hidden}
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" && parent != "" {
			return
		}
		own.Flags = append(own.Flags, toFlag(f))
	})
	all := []command{own}
	for _, sub := range c.Commands() {
		if sub.Name() != "help" || parent == "" && name == "lxc" {
			all = append(all, walk(sub, name)...)
		}
	}
	return all
}

func toFlag(f *pflag.Flag) commandFlag {
	out := commandFlag{Name: "--" + f.Name, Type: f.Value.Type(), Default: f.DefValue, Hidden: f.Hidden}
	if f.Shorthand != "" {
		out.Short = "-" + f.Shorthand
	}
	return out
}
