package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/internal/cli/render"
)

// builtinAliases are commands that come with lxc and are spelt with others.
func builtinAliases() map[string]string {
	return map[string]string{"shell": "exec @ARGS@ -- su -l"}
}

// expandAlias replaces the first words of args by what the user's aliases, or the built-in ones, say.
func (a *App) expandAlias(args []string) ([]string, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "__complete") {
		return args, nil
	}
	cfg, err := a.config()
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

func aliasCommand(a *App) *cobra.Command {
	return branch("alias", "Manage command aliases", aliasAdd(a), aliasEdit(a), aliasList(a), aliasRemove(a), aliasRename(a), aliasShow(a))
}

// aliasChange makes a command that changes the aliases and saves them.
func aliasChange(a *App, s spec, n int, change func(aliases map[string]string, args []string) error) *cobra.Command {
	s.least, s.most = n, n
	s.run = func(args []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		if err := change(cfg.Aliases, args); err != nil {
			return err
		}
		return cfg.Save()
	}
	return a.leaf(s)
}

func noAlias(name string) error { return fmt.Errorf("Alias %s doesn't exist", name) }

func hasAlias(name string) error { return fmt.Errorf("Alias %s already exists", name) }

func aliasAdd(a *App) *cobra.Command {
	return aliasChange(a, spec{use: "add <alias> <target>", short: "Add new aliases",
		example: "lxc alias add list \"list -c ns46S\"\n    Have lxc list show other columns\n\nlxc alias add login \"exec @ARGS@ -- su -l\""}, 2,
		func(aliases map[string]string, args []string) error {
			if _, ok := aliases[args[0]]; ok {
				return hasAlias(args[0])
			}
			aliases[args[0]] = args[1]
			return nil
		})
}

func aliasRemove(a *App) *cobra.Command {
	return aliasChange(a, spec{use: "remove <alias>", aliases: []string{"rm"}, short: "Remove aliases"}, 1,
		func(aliases map[string]string, args []string) error {
			if _, ok := aliases[args[0]]; !ok {
				return noAlias(args[0])
			}
			delete(aliases, args[0])
			return nil
		})
}

func aliasRename(a *App) *cobra.Command {
	return aliasChange(a, spec{use: "rename <old alias> <new alias>", aliases: []string{"mv"}, short: "Rename aliases"}, 2,
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

func aliasList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list", aliases: []string{"ls"}, short: "List aliases",
		run: func([]string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			rows := [][]string{}
			for name, target := range cfg.Aliases {
				rows = append(rows, []string{name, target})
			}
			return a.list(*shape, []string{"ALIAS", "TARGET"}, rows, cfg.Aliases)
		}})
	shape = format(cmd)
	return cmd
}

func aliasShow(a *App) *cobra.Command {
	return a.leaf(spec{use: "show", short: "Show aliases",
		run: func([]string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return render.YAML(a.Out, cfg.Aliases)
		}})
}

func aliasEdit(a *App) *cobra.Command {
	return a.leaf(spec{use: "edit", short: "Edit aliases as YAML",
		run: func([]string) error {
			cfg, err := a.config()
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
			if piped, err := a.readIn(); err != nil || len(piped) > 0 {
				if err != nil {
					return err
				}
				return save(piped)
			}
			return a.editYAML("These are the aliases as YAML: what is typed, and what is run for it.", cfg.Aliases, save)
		}})
}
