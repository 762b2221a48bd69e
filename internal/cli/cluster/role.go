package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/cli/command"
)

func role(k *members) *cobra.Command {
	change := func(use, short, done string, edit func(roles, named []string) ([]string, error)) *cobra.Command {
		return k.App.Leaf(command.Leaf{Use: use + " [<remote>:]<member> <role[,role...]>", Short: short, Least: 2, Most: 2,
			Run: func(args []string) error {
				err := k.Update(args, "", func(p *api.ClusterMemberPut) (err error) {
					p.Roles, err = edit(p.Roles, strings.Split(args[1], ","))
					return err
				})
				if err == nil {
					k.App.Say(done, command.Plain(args[0]), args[1])
				}
				return err
			}})
	}
	return command.Branch("role", "Manage cluster roles",
		change("add", "Add roles to a cluster member", "Member %s has the roles %s now", func(roles, named []string) ([]string, error) {
			for _, r := range named {
				if slices.Contains(roles, r) {
					return nil, fmt.Errorf("Member already has role %q", r)
				}
			}
			return append(roles, named...), nil
		}),
		change("remove", "Remove roles from a cluster member", "Member %s has the roles %s no longer", func(roles, named []string) ([]string, error) {
			for _, r := range named {
				if !slices.Contains(roles, r) {
					return nil, fmt.Errorf("Member doesn't have role %q", r)
				}
			}
			return slices.DeleteFunc(roles, func(r string) bool { return slices.Contains(named, r) }), nil
		}))
}

func failureDomain(k *members) *cobra.Command {
	a := k.App
	set := func(args []string, domain string) error {
		return k.Update(args, "", func(p *api.ClusterMemberPut) error {
			p.FailureDomain = domain
			return nil
		})
	}
	return command.Branch("failure-domain", "Manage failure domains",
		k.App.Leaf(command.Leaf{Use: "get [<remote>:]<member>", Short: "Get the failure domain of a cluster member", Least: 1, Most: 1,
			Run: func(args []string) error {
				o, err := k.At(args, "")
				if err != nil {
					return err
				}
				var m api.ClusterMember
				if _, err := o.Read(a.Ctx, &m); err != nil {
					return err
				}
				a.Printf("%s\n", m.FailureDomain)
				return nil
			}}),
		k.App.Leaf(command.Leaf{Use: "set [<remote>:]<member> <domain>", Short: "Set the failure domain of a cluster member", Least: 2, Most: 2,
			Run: func(args []string) error { return set(args, args[1]) }}),
		k.App.Leaf(command.Leaf{Use: "unset [<remote>:]<member>", Short: "Unset the failure domain of a cluster member", Least: 1, Most: 1,
			Run: func(args []string) error { return set(args, "") }}))
}
