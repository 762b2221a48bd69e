package auth

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

const groupHelp = `This is the group as YAML; lines that start with # are ignored.

A permission is an entitlement on one entity, for example:
  description: Those who run the web servers
  permissions:
  - entity_type: project
    url: /1.0/projects/web
    entitlement: operator
  - entity_type: instance
    url: /1.0/instances/c1?project=default
    entitlement: can_exec

The name is shown and cannot be changed here; who is in the group is changed with lxc auth identity and
lxc auth identity-provider-group.`

// groups are groups of identities to the commands that all objects share.
type groups = command.Kind[api.AuthGroup, api.AuthGroupPut]

func groupCommand(a *command.App) *cobra.Command {
	k := &groups{
		App: a, Noun: "group", Branch: "auth group", Words: "[<remote>:]<group>", Names: 1, Help: groupHelp,
		Path:     func(n []string) string { return client.Path("auth", "groups", n[0]) },
		Writable: func(g *api.AuthGroup) api.AuthGroupPut { return g.Writable() },
	}
	return command.Branch("group", "Manage groups of identities", groupCreate(k), k.Delete("Delete groups", "Group %s deleted"), k.Edit(), groupList(k),
		alias(command.Branch("permission", "Manage permissions of groups", grant(k), withdraw(k)), "perm"),
		using(k.Rename("Rename groups", "Group %s renamed to %s"), "rename [<remote>:]<group> <new_name>"), k.Show())
}

func groupCreate(k *groups) *cobra.Command {
	var description string
	cmd := k.Create(command.Creation[api.AuthGroupPut]{Short: "Create groups", Piped: true, Title: "Group",
		Example: "lxc auth group create web --description 'Those who run the web servers'\n\nlxc auth group create web < group.yaml\n    Create a group with the permissions in a file",
		Body: func(name string, _ []string, put api.AuthGroupPut) (any, error) {
			if description != "" {
				put.Description = description
			}
			return api.AuthGroupsPost{AuthGroupPost: api.AuthGroupPost{Name: name}, AuthGroupPut: put}, nil
		}})
	cmd.Flags().StringVarP(&description, "description", "d", "", "Group description``")
	return cmd
}

func groupList(k *groups) *cobra.Command {
	return k.List(command.Listing[api.AuthGroup]{Short: "List groups", Letters: "nd",
		Columns: []command.Column[api.AuthGroup]{
			command.Col('n', "NAME", func(g *api.AuthGroup) string { return g.Name }),
			command.Col('d', "DESCRIPTION", func(g *api.AuthGroup) string { return g.Description }),
		}})
}

const grantHelp = `

The entity is named by its type and its name; the server has no name. Identities are named by type and name (tls/laptop), images and
certificates by their fingerprint. Where a name alone does not tell which one is meant, key=value pairs follow:
  project   of an image, image_alias, instance, network, network_acl, network_zone, placement_group, profile, storage_bucket or
            storage_volume; without it the current project
  pool      of a storage_bucket or storage_volume
  type      of a storage_volume; without it custom
  location  of a storage_bucket or storage_volume that is on one member of a cluster

lxc auth permission list shows what there is to grant.`

// change makes a command that changes which permissions a group has.
func change(k *groups, l command.Leaf, edit func(have []api.Permission, p api.Permission) ([]api.Permission, error)) *cobra.Command {
	l.Least, l.Most = 3, -1
	l.Run = func(args []string) error {
		server, _, err := k.App.Parse(args[0])
		if err != nil {
			return err
		}
		p, err := permission(k.App.Ctx, server, args[1:])
		if err != nil {
			return err
		}
		return k.Update(args, "", func(put *api.AuthGroupPut) (err error) {
			put.Permissions, err = edit(put.Permissions, p)
			return err
		})
	}
	return k.App.Leaf(l)
}

func grant(k *groups) *cobra.Command {
	return change(k, command.Leaf{Use: "add [<remote>:]<group> <entity_type> [<entity_name>] <entitlement> [<key>=<value>...]", Short: "Add permissions to groups",
		Long: "Add permissions to groups" + grantHelp,
		Example: "lxc auth group permission add admins server admin\n    Let the group do everything\n\nlxc auth group permission add web project web operator\n" +
			"    Let the group use everything in project web\n\nlxc auth group permission add web instance c1 can_exec project=default\n    Let the group run commands in one instance"},
		func(have []api.Permission, p api.Permission) ([]api.Permission, error) {
			if slices.ContainsFunc(have, func(h api.Permission) bool { return same(h, p) }) {
				return nil, fmt.Errorf("The group has %s on %s already", p.Entitlement, p.EntityReference)
			}
			return append(have, p), nil
		})
}

func withdraw(k *groups) *cobra.Command {
	return change(k, command.Leaf{Use: "remove [<remote>:]<group> <entity_type> [<entity_name>] <entitlement> [<key>=<value>...]", Aliases: []string{"rm"},
		Short: "Remove permissions from groups", Long: "Remove permissions from groups" + grantHelp},
		func(have []api.Permission, p api.Permission) ([]api.Permission, error) {
			i := slices.IndexFunc(have, func(h api.Permission) bool { return same(h, p) })
			if i < 0 {
				return nil, fmt.Errorf("The group does not have %s on %s", p.Entitlement, p.EntityReference)
			}
			return slices.Delete(have, i, i+1), nil
		})
}
