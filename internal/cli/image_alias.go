package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
)

func imageAlias(a *App) *cobra.Command {
	return branch("alias", "Manage image aliases", imageAliasCreate(a), imageAliasDelete(a), imageAliasList(a), imageAliasRename(a))
}

func imageAliasCreate(a *App) *cobra.Command {
	return a.leaf(spec{use: "create [<remote>:]<alias> <fingerprint>", short: "Create aliases for existing images", least: 2, most: 2,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			fingerprint, _, err := a.resolve(server, args[1])
			if err != nil {
				return err
			}
			return addAlias(a, server, name, fingerprint)
		}})
}

func addAlias(a *App, server *client.Client, name, fingerprint string) error {
	var body api.ImageAliasesPost
	body.Name, body.Target = name, fingerprint
	return server.Apply(a.ctx, post, "/1.0/images/aliases", body, "")
}

func imageAliasDelete(a *App) *cobra.Command {
	return a.leaf(spec{use: "delete [<remote>:]<alias>", aliases: []string{"rm"}, short: "Delete image aliases", least: 1, most: 1, complete: a.imageNames,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.ctx, remove, client.Path("images", "aliases", name), nil, "")
		}})
}

func imageAliasRename(a *App) *cobra.Command {
	return a.leaf(spec{use: "rename [<remote>:]<alias> <new-name>", aliases: []string{"mv"}, short: "Rename aliases", least: 2, most: 2, complete: a.imageNames,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.ctx, post, client.Path("images", "aliases", name), api.ImageAliasesEntryPost{Name: args[1]}, "")
		}})
}

func imageAliasList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:] [<filters>...]", aliases: []string{"ls"}, short: "List image aliases", most: -1,
		long: "List image aliases\n\nA filter is a part of the alias or of the fingerprint.",
		run: func(args []string) error {
			server, filters, err := a.listArgs(args)
			if err != nil {
				return err
			}
			var entries []api.ImageAliasesEntry
			if _, err := server.Get(a.ctx, recursive("/1.0/images/aliases"), &entries); err != nil {
				return err
			}
			shown := []api.ImageAliasesEntry{}
			rows := [][]string{}
			for _, e := range entries {
				if !entryMatches(&e, filters) {
					continue
				}
				shown = append(shown, e)
				rows = append(rows, []string{e.Name, fmt.Sprintf("%.12s", e.Target), strings.ToUpper(e.Type), e.Description})
			}
			return a.list(*shape, []string{"ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"}, rows, shown)
		}})
	shape = format(cmd)
	return cmd
}

func entryMatches(e *api.ImageAliasesEntry, filters []string) bool {
	for _, f := range filters {
		if !strings.Contains(e.Name, f) && !strings.HasPrefix(e.Target, f) {
			return false
		}
	}
	return true
}
