package network

import (
	"strconv"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

const forwardHelp = `This is the network forward as YAML; lines that start with # are ignored.

It holds a default target, for what no port is set for, and any number of ports, for example:
  config:
    target_address: 10.62.42.5
  ports:
  - description: web
    protocol: tcp
    listen_port: 80,443
    target_address: 10.62.42.6
    target_port: 8080,8443

The listen_address cannot be changed here.`

func forwardCommand(a *command.App) *cobra.Command {
	k := &command.Kind[api.NetworkForward, api.NetworkForwardPut]{
		App: a, Noun: "network forward", Words: listenWords, Names: 2, Help: forwardHelp, Targeted: true,
		Path:     func(n []string) string { return client.Path("networks", n[0], "forwards", n[1]) },
		Writable: func(f *api.NetworkForward) api.NetworkForwardPut { return f.Writable() },
		Settings: func(p *api.NetworkForwardPut) *map[string]string { return &p.Config },
	}
	l := listener[api.NetworkForward, api.NetworkForwardPut]{k, "Network forward"}
	ports := command.Branch("port", "Manage network forward ports", forwardPortAdd(l),
		drop(l, "forward", func(p *api.NetworkForwardPut) *[]api.NetworkForwardPort { return &p.Ports },
			func(p api.NetworkForwardPort) []string { return []string{p.Protocol, p.ListenPort} }))
	return command.Branch("forward", "Manage network forwards",
		l.create("lxc network forward create br0 192.0.2.1 target_address=10.62.42.5\n    Send all that is for 192.0.2.1 to a machine of br0",
			func(listen string, config map[string]string) any {
				return api.NetworkForwardsPost{ListenAddress: listen, NetworkForwardPut: api.NetworkForwardPut{Config: config}}
			}),
		l.delete(), k.Edit(), l.untargeted().Get(), forwardList(l.untargeted()), ports, k.Set(), k.Show(), l.untargeted().Unset())
}

func forwardList(k *command.Kind[api.NetworkForward, api.NetworkForwardPut]) *cobra.Command {
	return k.List(command.Listing[api.NetworkForward]{Short: "List available network forwards", Letters: "ldtp",
		Adapt: func(letters string, items []api.NetworkForward) string {
			if command.Clustered(items, func(f *api.NetworkForward) string { return f.Location }) {
				return letters + "L"
			}
			return letters
		},
		Columns: []command.Column[api.NetworkForward]{
			command.Col('l', "LISTEN ADDRESS", func(f *api.NetworkForward) string { return f.ListenAddress }),
			command.Col('d', "DESCRIPTION", func(f *api.NetworkForward) string { return f.Description }),
			command.Col('t', "DEFAULT TARGET ADDRESS", func(f *api.NetworkForward) string { return f.Config["target_address"] }),
			command.Col('p', "PORTS", func(f *api.NetworkForward) string { return strconv.Itoa(len(f.Ports)) }),
			command.Col('L', "LOCATION", func(f *api.NetworkForward) string { return f.Location }),
		}})
}

func forwardPortAdd(l listener[api.NetworkForward, api.NetworkForwardPut]) *cobra.Command {
	return l.change(command.Leaf{Use: "add " + listenWords + " <protocol> <listen_port(s)> <target_address> [<target_port(s)>]", Short: "Add ports to a forward", Least: 5, Most: 6},
		func(args []string, put *api.NetworkForwardPut) error {
			port := api.NetworkForwardPort{Protocol: args[0], ListenPort: args[1], TargetAddress: args[2]}
			if len(args) > 3 {
				port.TargetPort = args[3]
			}
			put.Ports = append(put.Ports, port)
			return nil
		})
}
