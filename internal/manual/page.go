// Package manual writes the reference of a command tree: as manual pages, Markdown, reStructuredText or YAML. All are made from
// what the commands say of themselves.
package manual

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page is what there is to say of one command.
type Page struct {
	// Name is the whole command, "lxc storage list".
	Name string `yaml:"name"`
	// Short is one line, Text all of the description.
	Short string `yaml:"synopsis"`
	Text  string `yaml:"description,omitempty"`
	// Usage is how it is called.
	Usage   string   `yaml:"usage,omitempty"`
	Aliases []string `yaml:"aliases,omitempty"`
	Example string   `yaml:"example,omitempty"`
	// Flags are its own, Global those of the commands above it.
	Flags  []Flag `yaml:"options,omitempty"`
	Global []Flag `yaml:"inherited_options,omitempty"`
	// Parent is the command above it, Below are those below it.
	Parent string   `yaml:"parent,omitempty"`
	Below  []string `yaml:"see_also,omitempty"`
}

// Flag is one flag of a command.
type Flag struct {
	// Name has no dashes; Short is one letter or nothing.
	Name  string `yaml:"name"`
	Short string `yaml:"shorthand,omitempty"`
	// Takes says that a value follows.
	Takes   bool   `yaml:"takes_value"`
	Default string `yaml:"default_value,omitempty"`
	Text    string `yaml:"usage"`
}

// Pages are the commands that a user may call, from cmd downwards.
func Pages(cmd *cobra.Command) []Page {
	out := []Page{page(cmd)}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
			out = append(out, Pages(sub)...)
		}
	}
	return out
}

func page(cmd *cobra.Command) Page {
	cmd.InitDefaultHelpFlag()
	p := Page{Name: cmd.CommandPath(), Short: cmd.Short, Text: strings.TrimSpace(cmd.Long), Aliases: cmd.Aliases, Example: strings.TrimSpace(cmd.Example),
		Flags: flags(cmd.NonInheritedFlags()), Global: flags(cmd.InheritedFlags())}
	if p.Text == "" {
		p.Text = p.Short
	}
	if cmd.Runnable() {
		p.Usage = cmd.UseLine()
	}
	if cmd.HasParent() {
		p.Parent = cmd.Parent().CommandPath()
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			p.Below = append(p.Below, sub.CommandPath())
		}
	}
	return p
}

func flags(set *pflag.FlagSet) []Flag {
	var out []Flag
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" && f.Usage != "Print help" { // the help flag is told of once, with those of all commands
			return
		}
		_, text := pflag.UnquoteUsage(f)
		item := Flag{Name: f.Name, Short: f.Shorthand, Takes: f.Value.Type() != "bool", Text: text, Default: f.DefValue}
		if !item.Takes || item.Default == "[]" || item.Default == "0" || item.Default == "-1" {
			item.Default = ""
		}
		out = append(out, item)
	})
	return out
}

// Format is one way to write a page.
type Format struct {
	// Name is what it is called, Suffix ends the names of its files, Gap stands for blanks in them.
	Name, Suffix, Gap string
	// Write writes a page.
	Write func(io.Writer, Page) error
}

// Formats are all formats.
func Formats() []Format {
	return []Format{
		{"man", ".1", "-", Man},
		{"md", ".md", "_", func(w io.Writer, p Page) error { return Markdown(w, p, 2) }},
		{"rest", ".rst", "_", REST},
		{"yaml", ".yaml", "_", YAML},
	}
}

// File is the name of a page's file.
func (f Format) File(p Page) string { return strings.ReplaceAll(p.Name, " ", f.Gap) + f.Suffix }

// Save writes pages into dir, which is made if it is missing.
func Save(dir, format string, pages []Page) error {
	for _, f := range Formats() {
		if f.Name != format {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, p := range pages {
			if err := save(filepath.Join(dir, f.File(p)), f, p); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown format %q: there are man, md, rest and yaml", format)
}

func save(path string, f Format, p Page) error {
	var b strings.Builder
	if err := f.Write(&b, p); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
