package auth

import (
	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

const providerHelp = `This is the identity provider group as YAML; lines that start with # are ignored.

For example:
  groups:
  - web

Whoever the identity provider says to be in it has the rights of these groups. The name is shown and cannot be changed here.`

// providers are groups of the identity provider to the commands that all objects share.
type providers = command.Kind[api.IdentityProviderGroup, api.IdentityProviderGroupPut]

func providerCommand(a *command.App) *cobra.Command {
	const words = "[<remote>:]<identity_provider_group>"
	k := &providers{
		App: a, Noun: "identity provider group", Branch: "auth identity-provider-group", Words: words, Names: 1, Help: providerHelp,
		Path:     func(n []string) string { return client.Path("auth", "identity-provider-groups", n[0]) },
		Writable: func(g *api.IdentityProviderGroup) api.IdentityProviderGroupPut { return g.Writable() },
	}
	create := k.Create(command.Creation[api.IdentityProviderGroupPut]{Short: "Create identity provider groups", Piped: true, Title: "Identity provider group",
		Example: "lxc auth identity-provider-group create staff\n\nlxc auth identity-provider-group create staff < group.yaml\n    Create it with the groups in a file",
		Body: func(name string, _ []string, put api.IdentityProviderGroupPut) (any, error) {
			return api.IdentityProviderGroupsPost{Name: name, Groups: put.Groups}, nil
		}})
	return alias(command.Branch("identity-provider-group", "Manage groups of the identity provider",
		using(create, "create [<remote>:]<group>"), k.Delete("Delete identity provider groups", "Identity provider group %s deleted"), k.Edit(),
		command.Branch("group", "Manage what identity provider groups stand for",
			providerGroups(k, command.Leaf{Use: "add " + words + " <group>", Short: "Add a group to an identity provider group"}, join),
			providerGroups(k, command.Leaf{Use: "remove " + words + " <group>", Short: "Remove a group from an identity provider group"}, leave)),
		providerList(k),
		using(k.Rename("Rename identity provider groups", "Identity provider group %s renamed to %s"), "rename "+words+" <new_name>"), k.Show()), "idp-group")
}

func providerList(k *providers) *cobra.Command {
	return k.List(command.Listing[api.IdentityProviderGroup]{Short: "List identity provider groups", Letters: "ng",
		Columns: []command.Column[api.IdentityProviderGroup]{
			command.Col('n', "NAME", func(g *api.IdentityProviderGroup) string { return g.Name }),
			command.Col('g', "GROUPS", func(g *api.IdentityProviderGroup) string { return lines(g.Groups) }),
		}})
}

// providerGroups makes a command that changes the groups that one of the identity provider stands for.
func providerGroups(k *providers, l command.Leaf, edit func(in []string, group string) ([]string, error)) *cobra.Command {
	l.Least, l.Most = 2, 2
	l.Run = func(args []string) error {
		return k.Update(args, "", func(p *api.IdentityProviderGroupPut) (err error) {
			p.Groups, err = edit(p.Groups, args[1])
			return err
		})
	}
	return k.App.Leaf(l)
}
