// Package network is the branch "lxc network".
package network

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
	"lxd/internal/cli/render"
)

const networkHelp = `This is the network as YAML; lines that start with # are ignored.

It holds configuration keys, for example:
  config:
    ipv4.address: 10.62.42.1/24
    ipv4.nat: "true"
    ipv6.address: none

Only the configuration and the description can be changed here.`

// Command is the branch "lxc network".
func Command(a *command.App) *cobra.Command {
	k := &command.Kind[api.Network, api.NetworkPut]{
		App: a, Noun: "network", Words: "[<remote>:]<network>", Names: 1, Help: networkHelp, Targeted: true,
		Path:     func(n []string) string { return client.Path("networks", n[0]) },
		Writable: func(n *api.Network) api.NetworkPut { return n.Writable() },
		Settings: func(p *api.NetworkPut) *map[string]string { return &p.Config },
	}
	edit := k.Edit()
	return command.Branch("network", "Manage and attach instances to networks",
		aclCommand(a), allocationList(a), balancerCommand(a), forwardCommand(a), networkAttach(a), networkAttachProfile(a), networkCreate(k), k.Delete("Delete networks", "Network %s deleted"),
		networkDetach(a), networkDetachProfile(a), edit, k.Get(), networkInfo(a), networkList(k), networkLeases(a),
		k.Rename("Rename networks", "Network %s renamed to %s"), k.Set(), k.Show(), k.Unset())
}

func networkCreate(k *command.Kind[api.Network, api.NetworkPut]) *cobra.Command {
	var kind string
	cmd := k.Create(command.Creation[api.NetworkPut]{Short: "Create new networks", Pairs: true, Title: "Network",
		Example: "lxc network create br0 ipv4.address=10.62.42.1/24 ipv6.address=none\n    Create a bridge that only does IPv4",
		Body: func(name string, _ []string, config api.NetworkPut) (any, error) {
			return api.NetworksPost{Name: name, Type: kind, NetworkPut: config}, nil
		}})
	cmd.Flags().StringVarP(&kind, "type", "t", "", "Network type``")
	return cmd
}

func networkList(k *command.Kind[api.Network, api.NetworkPut]) *cobra.Command {
	return k.List(command.Listing[api.Network]{Short: "List available networks", Letters: "ntm46dus", AllProjects: "List networks from all projects", Targeted: true,
		// What is on the host and not managed by LXD only matters to those who read the raw list.
		Hidden: func(n api.Network) bool { return n.Type == "loopback" || n.Type == "unknown" },
		Columns: []command.Column[api.Network]{
			command.Col('e', "PROJECT", func(n *api.Network) string { return n.Project }),
			command.Col('n', "NAME", func(n *api.Network) string { return n.Name }),
			command.Col('t', "TYPE", func(n *api.Network) string { return n.Type }),
			command.Col('m', "MANAGED", func(n *api.Network) string { return command.YesNo(n.Managed) }),
			command.Col('4', "IPV4", func(n *api.Network) string { return n.Config["ipv4.address"] }),
			command.Col('6', "IPV6", func(n *api.Network) string { return n.Config["ipv6.address"] }),
			command.Col('d', "DESCRIPTION", func(n *api.Network) string { return n.Description }),
			command.Col('u', "USED BY", func(n *api.Network) string { return strconv.Itoa(len(n.UsedBy)) }),
			command.Col('s', "STATE", func(n *api.Network) string { return strings.ToUpper(n.Status) }),
		}})
}

func networkLeases(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list-leases [<remote>:]<network>", Short: "List DHCP leases", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			var leases []api.NetworkLease
			if _, err := server.Get(a.Ctx, client.Path("networks", name, "leases"), &leases); err != nil {
				return err
			}
			letters := "hmit"
			if slices.ContainsFunc(leases, func(l api.NetworkLease) bool { return l.Location != "" && l.Location != "none" }) {
				letters += "L"
			}
			cols, err := command.Pick(letters, []command.Column[api.NetworkLease]{
				command.Col('h', "HOSTNAME", func(l *api.NetworkLease) string { return l.Hostname }),
				command.Col('m', "MAC ADDRESS", func(l *api.NetworkLease) string { return l.Hwaddr }),
				command.Col('i', "IP ADDRESS", func(l *api.NetworkLease) string { return l.Address }),
				command.Col('t', "TYPE", func(l *api.NetworkLease) string { return strings.ToUpper(l.Type) }),
				command.Col('L', "LOCATION", func(l *api.NetworkLease) string { return l.Location }),
			})
			if err != nil {
				return err
			}
			header, rows := command.LayOut(cols, leases)
			return a.List(*shape, header, rows, leases)
		}})
	shape = command.Format(cmd)
	return cmd
}

func networkInfo(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "info [<remote>:]<network>", Short: "Get runtime information on networks", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			var s api.NetworkState
			if _, err := server.OnTarget(target).Get(a.Ctx, client.Path("networks", name, "state"), &s); err != nil {
				return err
			}
			printNetwork(a, name, s)
			printWarnings(a, server, name)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

func printNetwork(a *command.App, name string, s api.NetworkState) {
	a.Printf("Name: %s\nMAC address: %s\nMTU: %d\nState: %s\nType: %s\n", name, s.Hwaddr, s.Mtu, s.State, s.Type)
	if len(s.Addresses) > 0 {
		a.Printf("\nIP addresses:\n")
		for _, ip := range s.Addresses {
			a.Printf("  %s\t%s/%s (%s)\n", ip.Family, ip.Address, ip.Netmask, ip.Scope)
		}
	}
	n := s.Counters
	a.Printf("\nNetwork usage:\n  Bytes received: %s\n  Bytes sent: %s\n  Packets received: %d\n  Packets sent: %d\n",
		render.SizeDecimal(n.BytesReceived, 2), render.SizeDecimal(n.BytesSent, 2), n.PacketsReceived, n.PacketsSent)
	if b := s.Bond; b != nil {
		a.Printf("\nBond:\n  Mode: %s\n  Transmit policy: %s\n  Up delay: %d\n  Down delay: %d\n  MII Frequency: %d\n  MII State: %s\n  Lower devices: %s\n",
			b.Mode, b.TransmitPolicy, b.UpDelay, b.DownDelay, b.MIIFrequency, b.MIIState, strings.Join(b.LowerDevices, ", "))
	}
	if b := s.Bridge; b != nil {
		a.Printf("\nBridge:\n  ID: %s\n  STP: %v\n  Forward delay: %d\n  Default VLAN ID: %d\n  VLAN filtering: %v\n  Upper devices: %s\n",
			b.ID, b.STP, b.ForwardDelay, b.VLANDefault, b.VLANFiltering, strings.Join(b.UpperDevices, ", "))
	}
	if v := s.VLAN; v != nil {
		a.Printf("\nVLAN:\n  Lower device: %s\n  VLAN ID: %d\n", v.LowerDevice, v.VID)
	}
	if s.OVN != nil {
		a.Printf("\nOVN:\n  Chassis: %s\n", s.OVN.Chassis)
	}
}

// printWarnings prints what is known to be wrong with a network. Who may not read warnings, or has a server without them, sees none.
func printWarnings(a *command.App, server *client.Client, name string) {
	var all []api.Warning
	if _, err := server.Get(a.Ctx, command.Recursive("/1.0/warnings"), &all); err != nil {
		return
	}
	head := "\nWarnings:\n"
	for _, w := range all {
		if w.EntityURL == client.Path("networks", name) && w.Status != api.WarningStatusResolved {
			a.Printf("%s  %s: %s\n", head, w.Type, w.LastMessage)
			head = ""
		}
	}
}

func networkAttach(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "attach [<remote>:]<network> <instance> [<device name>] [<interface name>]", Short: "Attach new network interfaces to instances",
		Least: 2, Most: 4,
		Run: func(args []string) error { return device.AttachNIC(device.InstanceSet(a), args) }})
}

func networkAttachProfile(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "attach-profile [<remote>:]<network> <profile> [<device name>] [<interface name>]", Short: "Attach network interfaces to profiles",
		Least: 2, Most: 4,
		Run: func(args []string) error { return device.AttachNIC(device.ProfileSet(a), args) }})
}

func networkDetach(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "detach [<remote>:]<network> <instance> [<device name>]", Short: "Detach network interfaces from instances",
		Least: 2, Most: 3,
		Run: func(args []string) error { return device.DetachNIC(device.InstanceSet(a), args) }})
}

func networkDetachProfile(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "detach-profile [<remote>:]<network> <profile> [<device name>]", Short: "Detach network interfaces from profiles",
		Least: 2, Most: 3,
		Run: func(args []string) error { return device.DetachNIC(device.ProfileSet(a), args) }})
}
