package network

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

const balancerHelp = `This is the network load balancer as YAML; lines that start with # are ignored.

It holds backends, and ports that are spread over some of them, for example:
  backends:
  - name: web1
    target_address: 10.62.42.5
    target_port: 8080
  ports:
  - protocol: tcp
    listen_port: "80"
    target_backend:
    - web1

The listen_address cannot be changed here.`

func balancerCommand(a *command.App) *cobra.Command {
	k := &command.Kind[api.NetworkLoadBalancer, api.NetworkLoadBalancerPut]{
		App: a, Noun: "network load balancer", Words: listenWords, Names: 2, Help: balancerHelp, Targeted: true, Branch: "network load-balancer",
		Path:     func(n []string) string { return client.Path("networks", n[0], "load-balancers", n[1]) },
		Writable: func(b *api.NetworkLoadBalancer) api.NetworkLoadBalancerPut { return b.Writable() },
		Settings: func(p *api.NetworkLoadBalancerPut) *map[string]string { return &p.Config },
	}
	l := listener[api.NetworkLoadBalancer, api.NetworkLoadBalancerPut]{k, "Network load balancer"}
	ports := command.Branch("port", "Manage network load balancer ports", balancerPortAdd(l),
		drop(l, "load balancer", func(p *api.NetworkLoadBalancerPut) *[]api.NetworkLoadBalancerPort { return &p.Ports },
			func(p api.NetworkLoadBalancerPort) []string { return []string{p.Protocol, p.ListenPort} }))
	return command.Branch("load-balancer", "Manage network load balancers", backendCommand(l),
		l.create("", func(listen string, config map[string]string) any {
			return api.NetworkLoadBalancersPost{ListenAddress: listen, NetworkLoadBalancerPut: api.NetworkLoadBalancerPut{Config: config}}
		}),
		l.delete(), k.Edit(), l.untargeted().Get(), balancerList(l.untargeted()), ports, k.Set(), k.Show(), l.untargeted().Unset())
}

func balancerList(k *command.Kind[api.NetworkLoadBalancer, api.NetworkLoadBalancerPut]) *cobra.Command {
	return k.List(command.Listing[api.NetworkLoadBalancer]{Short: "List available network load balancers", Letters: "ldp",
		Adapt: func(letters string, items []api.NetworkLoadBalancer) string {
			if command.Clustered(items, func(b *api.NetworkLoadBalancer) string { return b.Location }) {
				return letters + "L"
			}
			return letters
		},
		Columns: []command.Column[api.NetworkLoadBalancer]{
			command.Col('l', "LISTEN ADDRESS", func(b *api.NetworkLoadBalancer) string { return b.ListenAddress }),
			command.Col('d', "DESCRIPTION", func(b *api.NetworkLoadBalancer) string { return b.Description }),
			command.Col('p', "PORTS", func(b *api.NetworkLoadBalancer) string { return strconv.Itoa(len(b.Ports)) }),
			command.Col('L', "LOCATION", func(b *api.NetworkLoadBalancer) string { return b.Location }),
		}})
}

func balancerPortAdd(l listener[api.NetworkLoadBalancer, api.NetworkLoadBalancerPut]) *cobra.Command {
	return l.change(command.Leaf{Use: "add " + listenWords + " <protocol> <listen_port(s)> <backend_name>[,<backend_name>...]", Short: "Add ports to a load balancer", Least: 5, Most: 5},
		func(args []string, put *api.NetworkLoadBalancerPut) error {
			put.Ports = append(put.Ports, api.NetworkLoadBalancerPort{Protocol: args[0], ListenPort: args[1], TargetBackend: strings.Split(args[2], ",")})
			return nil
		})
}

func backendCommand(l listener[api.NetworkLoadBalancer, api.NetworkLoadBalancerPut]) *cobra.Command {
	add := l.change(command.Leaf{Use: "add " + listenWords + " <backend_name> <target_address> [<target_port(s)>]", Short: "Add backends to a load balancer", Least: 4, Most: 5},
		func(args []string, put *api.NetworkLoadBalancerPut) error {
			backend := api.NetworkLoadBalancerBackend{Name: args[0], TargetAddress: args[1]}
			if len(args) > 2 {
				backend.TargetPort = args[2]
			}
			put.Backends = append(put.Backends, backend)
			return nil
		})
	remove := l.change(command.Leaf{Use: "remove " + listenWords + " <backend_name>", Short: "Remove backends from a load balancer", Least: 3, Most: 3},
		func(args []string, put *api.NetworkLoadBalancerPut) error {
			left, n := without(put.Backends, func(b api.NetworkLoadBalancerBackend) bool { return b.Name == args[0] })
			if n == 0 {
				return errors.New("No matching backend(s) found")
			}
			put.Backends = left
			return nil
		})
	return command.Branch("backend", "Manage network load balancer backends", add, remove)
}
