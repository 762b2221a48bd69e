package network

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/property"
)

const aclHelp = `This is the network ACL as YAML; lines that start with # are ignored.

It holds rules for what comes to machines and for what goes from them, for example:
  egress:
  - action: allow
    state: enabled
    destination: 192.0.2.0/24
    protocol: tcp
    destination_port: 80,443
  ingress:
  - action: drop
    state: logged
    source: 198.51.100.0/24

Rules that drop count first, then those that reject, then those that allow. The name cannot be changed here.`

type aclKind = command.Kind[api.NetworkACL, api.NetworkACLPut]

func aclCommand(a *command.App) *cobra.Command {
	k := &aclKind{
		App: a, Noun: "network ACL", Words: "[<remote>:]<ACL>", Names: 1, Help: aclHelp, Branch: "network acl",
		Path:     func(n []string) string { return client.Path("network-acls", n[0]) },
		Writable: func(acl *api.NetworkACL) api.NetworkACLPut { return acl.Writable() },
		Settings: func(p *api.NetworkACLPut) *map[string]string { return &p.Config },
	}
	create := k.Create(command.Creation[api.NetworkACLPut]{Short: "Create new network ACLs", Pairs: true, Piped: true, Title: "Network ACL",
		Example: "lxc network acl create web\n    Create an ACL without rules\n\nlxc network acl create web < rules.yaml\n    Create an ACL with the rules in a file",
		Body: func(name string, _ []string, put api.NetworkACLPut) (any, error) {
			return api.NetworkACLsPost{NetworkACLPost: api.NetworkACLPost{Name: name}, NetworkACLPut: put}, nil
		}})
	rules := command.Branch("rule", "Manage network ACL rules", ruleAdd(k), ruleRemove(k))
	return command.Branch("acl", "Manage network ACLs", create, k.Delete("Delete network ACLs", "Network ACL %s deleted"), k.Edit(), k.Get(), aclList(k),
		k.Rename("Rename network ACLs", "Network ACL %s renamed to %s"), rules, k.Set(), k.Show(), aclLog(k), k.Unset())
}

func aclList(k *aclKind) *cobra.Command {
	return k.List(command.Listing[api.NetworkACL]{Short: "List available network ACLs", Letters: "ndu", AllProjects: "List network ACLs from all projects",
		Columns: []command.Column[api.NetworkACL]{
			command.Col('e', "PROJECT", func(acl *api.NetworkACL) string { return acl.Project }),
			command.Col('n', "NAME", func(acl *api.NetworkACL) string { return acl.Name }),
			command.Col('d', "DESCRIPTION", func(acl *api.NetworkACL) string { return acl.Description }),
			command.Col('u', "USED BY", func(acl *api.NetworkACL) string { return strconv.Itoa(len(acl.UsedBy)) }),
		}})
}

func aclLog(k *aclKind) *cobra.Command {
	return k.App.Leaf(command.Leaf{Use: "show-log " + k.Words, Short: "Show network ACL log", Least: 1, Most: 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			body, err := o.Server.Download(k.App.Ctx, o.Path+"/log")
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(k.App.Out, body)
			return err
		}})
}

// side is the list of rules of one direction.
func side(put *api.NetworkACLPut, direction string) (*[]api.NetworkACLRule, error) {
	switch direction {
	case "ingress":
		return &put.Ingress, nil
	case "egress":
		return &put.Egress, nil
	}
	return nil, fmt.Errorf("The direction argument must be one of: ingress, egress")
}

func ruleAdd(k *aclKind) *cobra.Command {
	return k.App.Leaf(command.Leaf{Use: "add " + k.Words + " <direction> <key>=<value>...", Short: "Add rules to an ACL", Least: 3, Most: -1,
		Example: "lxc network acl rule add web ingress action=allow protocol=tcp destination_port=80,443\n    Let connections to two ports in",
		Run: func(args []string) error {
			pairs, err := command.KeyValues(args[2:])
			if err != nil {
				return err
			}
			return k.Update(args[:1], "", func(put *api.NetworkACLPut) error {
				rules, err := side(put, args[1])
				if err != nil {
					return err
				}
				rule := api.NetworkACLRule{State: "enabled"}
				if err := property.Write(&rule, pairs); err != nil {
					return err
				}
				*rules = append(*rules, rule)
				return nil
			})
		}})
}

func ruleRemove(k *aclKind) *cobra.Command {
	var force bool
	cmd := k.App.Leaf(command.Leaf{Use: "remove " + k.Words + " <direction> <key>=<value>...", Short: "Remove rules from an ACL", Least: 2, Most: -1,
		Run: func(args []string) error {
			pairs, err := command.KeyValues(args[2:])
			if err != nil {
				return err
			}
			return k.Update(args[:1], "", func(put *api.NetworkACLPut) error {
				rules, err := side(put, args[1])
				if err != nil {
					return err
				}
				left, n := without(*rules, func(r api.NetworkACLRule) bool { return matches(r, pairs) })
				if n > 1 && !force {
					return errors.New("Multiple rules match. Use --force to remove them all")
				}
				if n == 0 {
					return errors.New("No matching rule(s) found")
				}
				*rules = left
				return nil
			})
		}})
	cmd.Flags().BoolVar(&force, "force", false, "Remove all rules that match")
	return cmd
}

// matches tells whether a rule has all those properties.
func matches(r api.NetworkACLRule, pairs map[string]string) bool {
	for key, want := range pairs {
		if got, err := property.Read(&r, key); err != nil || got != want {
			return false
		}
	}
	return true
}
