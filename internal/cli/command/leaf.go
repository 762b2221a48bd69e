package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"lxd/internal/cli/render"
)

// Leaf describes a command that takes arguments. What these are is read from Use, also for the completion of names: see package complete.
type Leaf struct {
	Use, Short, Long, Example string
	Aliases                   []string
	// Least and Most bound the number of arguments; a Most of -1 is no bound.
	Least, Most int
	Run         func(args []string) error
}

// Leaf makes the command of s. Wrong usage prints the help of the command, and the reason unless nothing at all was given.
func (a *App) Leaf(s Leaf) *cobra.Command {
	cmd := &cobra.Command{Use: s.Use, Aliases: s.Aliases, Short: s.Short, Long: s.Long, Example: s.Example}
	if cmd.Long == "" {
		cmd.Long = s.Short
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < s.Least || (s.Most >= 0 && len(args) > s.Most) {
			_ = cmd.Help() // printing help cannot fail in a way worth telling beside the error
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("Invalid number of arguments")
		}
		return s.Run(args)
	}
	return cmd
}

// Branch makes a command that only has sub-commands.
func Branch(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: short, Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Usage() }
	cmd.AddCommand(subs...)
	return cmd
}

// Format declares the flag --format.
func Format(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("format", "f", "table", "Format ("+render.Formats+")``")
}
