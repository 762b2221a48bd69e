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

// builtinAliases are commands that come with lxc and are spelt with others.
func builtinAliases() map[string]string {
	return map[string]string{"shell": "exec @ARGS@ -- su -l"}
}

// Expand replaces the first words of args by what the user's aliases, or the built-in ones, say.
func Expand(a *command.App, args []string) ([]string, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "__complete") {
		return args, nil
	}
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	words, target := longestAlias(cfg.Aliases, args)
	if words == 0 {
		if words, target = longestAlias(builtinAliases(), args); words == 0 {
			return args, nil
		}
	}
	return substitute(strings.Fields(target), args[words:]), nil
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
		if word == "@ARGS@" {
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
