package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// groups are the groups of members to the commands that all objects share.
type groups = command.Kind[api.ClusterGroup, api.ClusterGroupPut]

const groupHelp = `This is the cluster group as YAML; lines that start with # are ignored.

For example:
  description: Servers with fast disks
  members:
  - server1`

func groupCommand(a *command.App, m *members) *cobra.Command {
	k := &groups{
		App: a, Noun: "cluster group", Words: "[<remote>:]<group>", Names: 1, Help: groupHelp, Check: m.Check,
		Path:     func(n []string) string { return client.Path("cluster", "groups", n[0]) },
		Writable: func(g *api.ClusterGroup) api.ClusterGroupPut { return g.Writable() },
	}
	return command.Branch("group", "Manage cluster groups", groupAdd(m), groupAssign(m), groupCreate(k), k.Delete("Delete a cluster group", "Cluster group %s deleted"),
		k.Edit(), groupList(k), groupRemove(m), k.Rename("Rename a cluster group", "Cluster group %s renamed to %s"), k.Show())
}

func groupCreate(k *groups) *cobra.Command {
	return k.Create(command.Creation[api.ClusterGroupPut]{Short: "Create a cluster group", Piped: true, Title: "Cluster group",
		Example: "lxc cluster group create g1\n\nlxc cluster group create g1 < config.yaml\n    Create a group with the members in a file",
		Body: func(name string, _ []string, put api.ClusterGroupPut) (any, error) {
			return api.ClusterGroupsPost{Name: name, ClusterGroupPut: put}, nil
		}})
}

func groupList(k *groups) *cobra.Command {
	return k.List(command.Listing[api.ClusterGroup]{Short: "List all the cluster groups", Letters: "ndm",
		Columns: []command.Column[api.ClusterGroup]{
			command.Col('n', "NAME", func(g *api.ClusterGroup) string { return g.Name }),
			command.Col('d', "DESCRIPTION", func(g *api.ClusterGroup) string { return g.Description }),
			command.Col('m', "MEMBERS", func(g *api.ClusterGroup) string { return strconv.Itoa(len(g.Members)) }),
		}})
}

// memberGroups makes a command that changes the groups that a member is in.
func memberGroups(m *members, l command.Leaf, done string, edit func(in []string, group string) ([]string, error)) *cobra.Command {
	l.Least, l.Most = 2, 2
	l.Run = func(args []string) error {
		err := m.Update(args, "", func(p *api.ClusterMemberPut) (err error) {
			p.Groups, err = edit(p.Groups, args[1])
			return err
		})
		if err == nil {
			m.App.Say(done, command.Plain(args[0]), args[1])
		}
		return err
	}
	return m.App.Leaf(l)
}

func groupAdd(m *members) *cobra.Command {
	return memberGroups(m, command.Leaf{Use: "add [<remote>:]<member> <group>", Short: "Add member to group"}, "Cluster member %s added to group %s",
		func(in []string, group string) ([]string, error) {
			if slices.Contains(in, group) {
				return nil, fmt.Errorf("Cluster member is already in group %s", group)
			}
			return append(in, group), nil
		})
}

func groupRemove(m *members) *cobra.Command {
	return memberGroups(m, command.Leaf{Use: "remove [<remote>:]<member> <group>", Short: "Remove member from group"}, "Cluster member %s removed from group %s",
		func(in []string, group string) ([]string, error) {
			i := slices.Index(in, group)
			if i < 0 {
				return nil, fmt.Errorf("Cluster member isn't in group %s", group)
			}
			return slices.Delete(in, i, i+1), nil
		})
}

func groupAssign(m *members) *cobra.Command {
	return memberGroups(m, command.Leaf{Use: "assign [<remote>:]<member> <group>", Aliases: []string{"apply"}, Short: "Assign sets of groups to cluster members",
		Example: "lxc cluster group assign server1 default,fast\n    Make server1 a member of the groups default and fast and of no others"}, "Cluster member %s added to cluster groups %s",
		func(_ []string, list string) ([]string, error) { return strings.Split(list, ","), nil })
}
