// Package alias holds the words that a user gives to command lines.
package alias

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// allArgs stands for what was typed after the alias.
const allArgs = "@ARGS@"

// builtinAliases are commands that come with lxc and are spelt with others.
func builtinAliases() map[string]string {
	return map[string]string{"shell": "exec " + allArgs + " -- su -l"}
}

// Expand replaces the first words of args by what the user's aliases, or the built-in ones, say.
func Expand(a *command.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return expandTyped(cfg.Aliases, args), nil
	}
	words, target := find(cfg.Aliases, args)
	if words == 0 {
		return args, nil
	}
	return substitute(split(target), args[words:]), nil
}

// find is the alias that args start with: how many words it has, and what it stands for.
func find(aliases map[string]string, args []string) (words int, target string) {
	if words, target = longestAlias(aliases, args); words == 0 {
		words, target = longestAlias(builtinAliases(), args)
	}
	return words, target
}

// expandTyped does so for a command line that is still being typed: args is the request for completion and what was typed so far. What
// the alias has behind the arguments is left out, so that the last of them remains the last.
func expandTyped(aliases map[string]string, args []string) []string {
	if len(args) < 3 {
		return args
	}
	typed, last := args[1:len(args)-1], args[len(args)-1]
	words, target := find(aliases, typed)
	if words == 0 {
		return args
	}
	parts := split(target)
	if i := slices.Index(parts, allArgs); i >= 0 {
		parts = parts[:i]
	}
	return append(append([]string{args[0]}, substitute(parts, typed[words:])...), last)
}

// Names are the words that start a command line by an alias.
func Names(aliases map[string]string) []string {
	var out []string
	for _, all := range []map[string]string{aliases, builtinAliases()} {
		for name := range all {
			first, _, _ := strings.Cut(name, " ")
			out = append(out, first)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// split cuts the target of an alias into words. Quotes keep blanks within a word; a target whose quotes do not end is cut at every blank.
func split(target string) []string {
	var out []string
	var word strings.Builder
	started := false
	var quote rune
	for _, r := range target {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, started = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if started {
				out = append(out, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quote != 0 {
		return strings.Fields(target)
	}
	if started {
		out = append(out, word.String())
	}
	return out
}

// longestAlias finds the alias that most words of args spell.
func longestAlias(aliases map[string]string, args []string) (words int, target string) {
	for name, value := range aliases {
		parts := strings.Fields(name)
		if len(parts) > words && len(parts) <= len(args) && slices.Equal(parts, args[:len(parts)]) {
			words, target = len(parts), value
		}
	}
	return words, target
}

// substitute puts rest where target says @ARGS@, or single arguments where it says @ARG1@ and so on, or else at the end.
func substitute(target, rest []string) []string {
	var out []string
	placed := false
	used := map[int]bool{}
	for _, word := range target {
		var n int
		if _, err := fmt.Sscanf(word, "@ARG%d@", &n); err == nil && n >= 1 && n <= len(rest) {
			out, used[n-1] = append(out, rest[n-1]), true
			continue
		}
		if word == allArgs {
			for i, arg := range rest {
				if !used[i] {
					out = append(out, arg)
				}
			}
			placed = true
			continue
		}
		out = append(out, word)
	}
	if !placed {
		for i, arg := range rest {
			if !used[i] {
				out = append(out, arg)
			}
		}
	}
	return out
}

// Command is the branch "lxc alias".
func Command(a *command.App) *cobra.Command {
	return command.Branch("alias", "Manage command aliases", aliasAdd(a), aliasEdit(a), aliasList(a), aliasRemove(a), aliasRename(a), aliasShow(a))
}

// aliasChange makes a command that changes the aliases and saves them.
func aliasChange(a *command.App, s command.Leaf, n int, change func(aliases map[string]string, args []string) error) *cobra.Command {
	s.Least, s.Most = n, n
	s.Run = func(args []string) error {
		cfg, err := a.Config()
		if err != nil {
			return err
		}
		if err := change(cfg.Aliases, args); err != nil {
			return err
		}
		return cfg.Save()
	}
	return a.Leaf(s)
}

func noAlias(name string) error { return fmt.Errorf("Alias %s doesn't exist", name) }

func hasAlias(name string) error { return fmt.Errorf("Alias %s already exists", name) }

func aliasAdd(a *command.App) *cobra.Command {
	return aliasChange(a, command.Leaf{Use: "add <alias> <target>", Short: "Add new aliases",
		Example: "lxc alias add list \"list -c ns46S\"\n    Have lxc list show other columns\n\nlxc alias add login \"exec @ARGS@ -- su -l\""}, 2,
		func(aliases map[string]string, args []string) error {
			if _, ok := aliases[args[0]]; ok {
				return hasAlias(args[0])
			}
			aliases[args[0]] = args[1]
			return nil
		})
}

func aliasRemove(a *command.App) *cobra.Command {
	return aliasChange(a, command.Leaf{Use: "remove <alias>", Aliases: []string{"rm"}, Short: "Remove aliases"}, 1,
		func(aliases map[string]string, args []string) error {
			if _, ok := aliases[args[0]]; !ok {
				return noAlias(args[0])
			}
			delete(aliases, args[0])
			return nil
		})
}

func aliasRename(a *command.App) *cobra.Command {
	return aliasChange(a, command.Leaf{Use: "rename <old alias> <new alias>", Aliases: []string{"mv"}, Short: "Rename aliases"}, 2,
		func(aliases map[string]string, args []string) error {
			target, ok := aliases[args[0]]
			if !ok {
				return noAlias(args[0])
			}
			if _, ok := aliases[args[1]]; ok {
				return hasAlias(args[1])
			}
			delete(aliases, args[0])
			aliases[args[1]] = target
			return nil
		})
}

func aliasList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list", Aliases: []string{"ls"}, Short: "List aliases",
		Run: func([]string) error {
			cfg, err := a.Config()
			if err != nil {
				return err
			}
			rows := [][]string{}
			for name, target := range cfg.Aliases {
				rows = append(rows, []string{name, target})
			}
			return a.List(*shape, []string{"ALIAS", "TARGET"}, rows, cfg.Aliases)
		}})
	shape = command.Format(cmd)
	return cmd
}

func aliasShow(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "show", Short: "Show aliases",
		Run: func([]string) error {
			cfg, err := a.Config()
			if err != nil {
				return err
			}
			return render.YAML(a.Out, cfg.Aliases)
		}})
}

func aliasEdit(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "edit", Short: "Edit aliases as YAML",
		Run: func([]string) error {
			cfg, err := a.Config()
			if err != nil {
				return err
			}
			save := func(text []byte) error {
				aliases := map[string]string{}
				if err := yaml.Unmarshal(text, &aliases); err != nil {
					return err
				}
				clear(cfg.Aliases)
				maps.Copy(cfg.Aliases, aliases)
				return cfg.Save()
			}
			if piped, err := a.ReadIn(); err != nil || len(piped) > 0 {
				if err != nil {
					return err
				}
				return save(piped)
			}
			return a.EditYAML("These are the aliases as YAML: what is typed, and what is run for it.", cfg.Aliases, save)
		}})
}
