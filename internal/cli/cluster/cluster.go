// Package cluster is the branch "lxc cluster".
package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// members are the servers of a cluster to the commands that all objects share.
type members = command.Kind[api.ClusterMember, api.ClusterMemberPut]

const editHelp = `This is the cluster member as YAML; lines that start with # are ignored.

For example:
  roles:
  - event-hub
  failure_domain: rack1
  config:
    scheduler.instance: all
  groups:
  - default`

// Command is the branch "lxc cluster".
func Command(a *command.App) *cobra.Command {
	k := &members{
		App: a, Noun: "cluster member", Branch: "cluster", Words: "[<remote>:]<member>", Names: 1, Help: editHelp, Check: clustered(a),
		Path:     func(n []string) string { return client.Path("cluster", "members", n[0]) },
		Writable: func(m *api.ClusterMember) api.ClusterMemberPut { return m.Writable() },
		Settings: func(p *api.ClusterMemberPut) *map[string]string { return &p.Config },
	}
	return command.Branch("cluster", "Manage cluster members",
		add(a), k.Edit(), enable(a), evacuate(k), failureDomain(k), k.Get(), groupCommand(a, k), info(k), list(k), listTokens(a), remove(k), rename(k),
		restore(k), revokeToken(a), role(k), k.Set(), k.Show(), k.Unset(), updateCertificate(a))
}

// clustered makes the check that a server is in a cluster.
func clustered(a *command.App) func(*client.Client) error {
	return func(server *client.Client) error {
		info, err := server.Server(a.Ctx)
		if err != nil {
			return err
		}
		if !info.Environment.ServerClustered {
			return errors.New("LXD server isn't part of a cluster")
		}
		return nil
	}
}

// in is the server that arg names, if it is in a cluster, and the name after it.
func in(a *command.App, arg string) (*client.Client, string, error) {
	server, name, err := a.Parse(arg)
	if err != nil {
		return nil, "", err
	}
	return server, name, clustered(a)(server)
}

func list(k *members) *cobra.Command {
	return k.List(command.Listing[api.ClusterMember]{Short: "List all the cluster members", Letters: "nurafdsm",
		Columns: []command.Column[api.ClusterMember]{
			command.Col('n', "NAME", func(m *api.ClusterMember) string { return m.ServerName }),
			command.Col('u', "URL", func(m *api.ClusterMember) string { return m.URL }),
			command.Col('r', "ROLES", func(m *api.ClusterMember) string { return strings.Join(m.Roles, "\n") }),
			command.Col('a', "ARCHITECTURE", func(m *api.ClusterMember) string { return m.Architecture }),
			command.Col('f', "FAILURE DOMAIN", func(m *api.ClusterMember) string { return m.FailureDomain }),
			command.Col('d', "DESCRIPTION", func(m *api.ClusterMember) string { return m.Description }),
			command.Col('s', "STATE", func(m *api.ClusterMember) string { return strings.ToUpper(m.Status) }),
			command.Col('m', "MESSAGE", func(m *api.ClusterMember) string { return m.Message }),
		}})
}

func rename(k *members) *cobra.Command {
	a := k.App
	return k.App.Leaf(command.Leaf{Use: "rename [<remote>:]<member> <new-name>", Aliases: []string{"mv"}, Short: "Rename a cluster member", Least: 2, Most: 2,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			if err := o.Server.Apply(a.Ctx, http.MethodPost, o.Path, api.ClusterMemberPost{ServerName: args[1]}, ""); err != nil {
				return err
			}
			a.Say("Member %s renamed to %s", client.Base(o.Path), args[1])
			return nil
		}})
}

func remove(k *members) *cobra.Command {
	a := k.App
	var force, sure bool
	cmd := k.App.Leaf(command.Leaf{Use: "remove [<remote>:]<member>", Aliases: []string{"rm"}, Short: "Remove a member from the cluster", Least: 1, Most: 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			path, name := o.Path, client.Base(o.Path)
			if force {
				question := "Forcing the removal of " + name + " is for members that are lost for good: what only they have is lost with them. Remove it (yes/no): "
				if err := confirm(a, sure, question); err != nil {
					return err
				}
				path = command.Query(path, "force", "1")
			}
			if err := o.Server.Apply(a.Ctx, http.MethodDelete, path, nil, ""); err != nil {
				return err
			}
			a.Say("Member %s removed", name)
			return nil
		}})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removing a member, even if degraded")
	cmd.Flags().BoolVar(&sure, "yes", false, "Don't require user confirmation for using --force")
	return cmd
}

// confirm asks the question unless the user is sure already.
func confirm(a *command.App, sure bool, question string) error {
	if sure {
		return nil
	}
	answer, err := a.Ask(question)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "yes" && answer != "y" {
		return errors.New("Aborted: nothing was changed")
	}
	return nil
}

func enable(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "enable [<remote>:] <name>", Short: "Enable clustering on a single non-clustered LXD server", Least: 1, Most: 2,
		Long: `Enable clustering on a single non-clustered LXD server

The server becomes the first member of a new cluster, under the given name. It has to be reachable over the network:
see "lxc config get core.https_address".`,
		Run: func(args []string) error {
			server, _, err := a.Parse(strings.Join(args[:len(args)-1], ""))
			if err != nil {
				return err
			}
			info, err := server.Server(a.Ctx)
			switch {
			case err != nil:
				return err
			case info.Environment.ServerClustered:
				return errors.New("This LXD server is already clustered")
			case !command.HasExtension(info, "clustering"):
				return errors.New("The server cannot be part of a cluster: it lacks the API extension \"clustering\"")
			}
			var body api.ClusterPut
			body.ServerName, body.Enabled = args[len(args)-1], true
			if err := server.Apply(a.Ctx, http.MethodPut, "/1.0/cluster", body, ""); err != nil {
				return err
			}
			a.Say("Clustering enabled")
			return nil
		}})
}

func updateCertificate(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "update-certificate [<remote>:] <cert.crt> <cert.key>", Aliases: []string{"update-cert"}, Short: "Update cluster certificate", Least: 2, Most: 3,
		Long: "Update cluster certificate\n\nAll members take over the certificate and the key in the files, which are in PEM.",
		Run: func(args []string) error {
			files := args[len(args)-2:]
			server, _, err := in(a, strings.Join(args[:len(args)-2], ""))
			if err != nil {
				return err
			}
			var texts [2]string
			for i, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				texts[i] = string(text)
			}
			body := api.ClusterCertificatePut{ClusterCertificate: texts[0], ClusterCertificateKey: texts[1]}
			if err := server.Apply(a.Ctx, http.MethodPut, "/1.0/cluster/certificate", body, ""); err != nil {
				return err
			}
			if err := pinAgain(a, strings.Join(args[:len(args)-2], ""), texts[0]); err != nil {
				return fmt.Errorf("the cluster has its new certificate, but this client could not note it: %w", err)
			}
			a.Say("Cluster certificate updated")
			return nil
		}})
}
