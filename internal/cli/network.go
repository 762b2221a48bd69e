package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/render"
)

const networkHelp = `This is the network as YAML; lines that start with # are ignored.

It holds configuration keys, for example:
  config:
    ipv4.address: 10.62.42.1/24
    ipv4.nat: "true"
    ipv6.address: none

Only the configuration and the description can be changed here.`

func networkCommand(a *App) *cobra.Command {
	k := &kind[api.Network, api.NetworkPut]{
		app: a, noun: "network", words: "[<remote>:]<network>", names: 1, help: networkHelp, targeted: true, list: "networks",
		path:     func(n []string) string { return client.Path("networks", n[0]) },
		writable: func(n *api.Network) api.NetworkPut { return n.Writable() },
		settings: func(p *api.NetworkPut) *map[string]string { return &p.Config },
	}
	edit := k.edit()
	return branch("network", "Manage and attach instances to networks",
		networkAttach(a), networkAttachProfile(a), networkCreate(a), k.delete("Delete networks", "Network %s deleted"),
		networkDetach(a), networkDetachProfile(a), edit, k.get(), networkInfo(a), networkList(a), networkLeases(a),
		k.rename("Rename networks", "Network %s renamed to %s"), k.set(), k.show(), k.unset())
}

func networkCreate(a *App) *cobra.Command {
	var target, kind string
	cmd := a.leaf(spec{use: "create [<remote>:]<network> [key=value...]", short: "Create new networks", least: 1, most: -1,
		example: "lxc network create br0 ipv4.address=10.62.42.1/24 ipv6.address=none\n    Create a bridge that only does IPv4",
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			config, err := keyValues(args[1:])
			if err != nil {
				return err
			}
			body := api.NetworksPost{Name: name, Type: kind}
			body.Config = config
			if err := server.OnTarget(target).Apply(a.ctx, post, "/1.0/networks", body, ""); err != nil {
				return err
			}
			a.sayCreated("Network", name, target)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().StringVarP(&kind, "type", "t", "", "Network type``")
	return cmd
}

func networkList(a *App) *cobra.Command {
	var all bool
	var target string
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:]", aliases: []string{"ls"}, short: "List available networks", most: 1,
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			path, letters := recursive("/1.0/networks"), "ntm46dus"
			if all {
				path, letters = query(path, "all-projects", "true"), "e"+letters
			}
			var networks []api.Network
			if _, err := server.OnTarget(target).Get(a.ctx, path, &networks); err != nil {
				return err
			}
			raw := networks
			// What is on the host and not managed by LXD only matters to those who read the raw list.
			shown := slices.DeleteFunc(slices.Clone(networks), func(n api.Network) bool { return n.Type == "loopback" || n.Type == "unknown" })
			cols, err := pick(letters, networkColumns())
			if err != nil {
				return err
			}
			header, rows := layOut(cols, shown)
			return a.list(*shape, header, rows, raw)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "List networks from all projects")
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	shape = format(cmd)
	return cmd
}

func networkColumns() []column[api.Network] {
	return []column[api.Network]{
		{'e', "PROJECT", func(n *api.Network) string { return n.Project }},
		{'n', "NAME", func(n *api.Network) string { return n.Name }},
		{'t', "TYPE", func(n *api.Network) string { return n.Type }},
		{'m', "MANAGED", func(n *api.Network) string { return yesNo(n.Managed) }},
		{'4', "IPV4", func(n *api.Network) string { return n.Config["ipv4.address"] }},
		{'6', "IPV6", func(n *api.Network) string { return n.Config["ipv6.address"] }},
		{'d', "DESCRIPTION", func(n *api.Network) string { return n.Description }},
		{'u', "USED BY", func(n *api.Network) string { return strconv.Itoa(len(n.UsedBy)) }},
		{'s', "STATE", func(n *api.Network) string { return strings.ToUpper(n.Status) }},
	}
}

func networkLeases(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list-leases [<remote>:]<network>", short: "List DHCP leases", least: 1, most: 1, complete: a.completeNames("networks"),
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			var leases []api.NetworkLease
			if _, err := server.Get(a.ctx, client.Path("networks", name, "leases"), &leases); err != nil {
				return err
			}
			letters := "hmit"
			if slices.ContainsFunc(leases, func(l api.NetworkLease) bool { return l.Location != "" && l.Location != "none" }) {
				letters += "L"
			}
			cols, err := pick(letters, []column[api.NetworkLease]{
				{'h', "HOSTNAME", func(l *api.NetworkLease) string { return l.Hostname }},
				{'m', "MAC ADDRESS", func(l *api.NetworkLease) string { return l.Hwaddr }},
				{'i', "IP ADDRESS", func(l *api.NetworkLease) string { return l.Address }},
				{'t', "TYPE", func(l *api.NetworkLease) string { return strings.ToUpper(l.Type) }},
				{'L', "LOCATION", func(l *api.NetworkLease) string { return l.Location }},
			})
			if err != nil {
				return err
			}
			header, rows := layOut(cols, leases)
			return a.list(*shape, header, rows, leases)
		}})
	shape = format(cmd)
	return cmd
}

func networkInfo(a *App) *cobra.Command {
	var target string
	cmd := a.leaf(spec{use: "info [<remote>:]<network>", short: "Get runtime information on networks", least: 1, most: 1, complete: a.completeNames("networks"),
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			var s api.NetworkState
			if _, err := server.OnTarget(target).Get(a.ctx, client.Path("networks", name, "state"), &s); err != nil {
				return err
			}
			a.printNetwork(name, s)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

func (a *App) printNetwork(name string, s api.NetworkState) {
	a.printf("Name: %s\nMAC address: %s\nMTU: %d\nState: %s\nType: %s\n", name, s.Hwaddr, s.Mtu, s.State, s.Type)
	if len(s.Addresses) > 0 {
		a.printf("\nIP addresses:\n")
		for _, ip := range s.Addresses {
			a.printf("  %s\t%s/%s (%s)\n", ip.Family, ip.Address, ip.Netmask, ip.Scope)
		}
	}
	n := s.Counters
	a.printf("\nNetwork usage:\n  Bytes received: %s\n  Bytes sent: %s\n  Packets received: %d\n  Packets sent: %d\n",
		render.SizeDecimal(n.BytesReceived, 2), render.SizeDecimal(n.BytesSent, 2), n.PacketsReceived, n.PacketsSent)
	if b := s.Bond; b != nil {
		a.printf("\nBond:\n  Mode: %s\n  Transmit policy: %s\n  Up delay: %d\n  Down delay: %d\n  MII Frequency: %d\n  MII State: %s\n  Lower devices: %s\n",
			b.Mode, b.TransmitPolicy, b.UpDelay, b.DownDelay, b.MIIFrequency, b.MIIState, strings.Join(b.LowerDevices, ", "))
	}
	if b := s.Bridge; b != nil {
		a.printf("\nBridge:\n  ID: %s\n  STP: %v\n  Forward delay: %d\n  Default VLAN ID: %d\n  VLAN filtering: %v\n  Upper devices: %s\n",
			b.ID, b.STP, b.ForwardDelay, b.VLANDefault, b.VLANFiltering, strings.Join(b.UpperDevices, ", "))
	}
	if v := s.VLAN; v != nil {
		a.printf("\nVLAN:\n  Lower device: %s\n  VLAN ID: %d\n", v.LowerDevice, v.VID)
	}
	if s.OVN != nil {
		a.printf("\nOVN:\n  Chassis: %s\n", s.OVN.Chassis)
	}
}

// nicFor is the device that connects to a network.
func nicFor(n *api.Network, name string) map[string]string {
	nic := map[string]string{"type": "nic"}
	if n.Managed {
		nic["network"] = n.Name
	} else {
		nic["parent"], nic["nictype"] = n.Name, "macvlan"
		if n.Type == "bridge" {
			nic["nictype"] = "bridged"
		}
	}
	if name != "" {
		nic["name"] = name
	}
	return nic
}

// attach adds the NIC that args describe: network, owner, device name and interface name.
func attach[F, P any](k *kind[F, P], args []string, devices func(*P) *map[string]map[string]string) error {
	server, network, err := k.app.parse(args[0])
	if err != nil {
		return err
	}
	if network == "" {
		return errors.New("Missing network name")
	}
	device, name := network, ""
	if len(args) > 2 {
		device, name = args[2], args[2]
	}
	if len(args) > 3 {
		name = args[3]
	}
	var n api.Network
	if _, err := server.Get(k.app.ctx, client.Path("networks", network), &n); err != nil {
		return err
	}
	return k.update([]string{args[0][:len(args[0])-len(network)] + args[1]}, "", func(p *P) error {
		all := devices(p)
		if *all == nil {
			*all = map[string]map[string]string{}
		}
		if (*all)[device] != nil {
			return fmt.Errorf("Device already exists: %s", device)
		}
		(*all)[device] = nicFor(&n, name)
		return nil
	})
}

// detach removes the NIC that args describe: network, owner and, where there are several, device name.
func detach[F, P any](k *kind[F, P], args []string, devices func(*P) *map[string]map[string]string) error {
	network := plain(args[0])
	return k.update([]string{args[0][:len(args[0])-len(network)] + args[1]}, "", func(p *P) error {
		all := *devices(p)
		var found []string
		for name, d := range all {
			if d["type"] == "nic" && (d["network"] == network || d["parent"] == network) && (len(args) < 3 || name == args[2]) {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 0 && len(args) > 2:
			return errNoDevice
		case len(found) == 0:
			return errors.New("No device found for this network")
		case len(found) > 1:
			return errors.New("More than one device matches, specify the device name")
		}
		delete(all, found[0])
		return nil
	})
}

func networkAttach(a *App) *cobra.Command {
	return a.leaf(spec{use: "attach [<remote>:]<network> <instance> [<device name>] [<interface name>]", short: "Attach new network interfaces to instances",
		least: 2, most: 4, complete: a.completeNames("networks", "instances"),
		run: func(args []string) error { return attach(instanceKind(a), args, instanceDevices) }})
}

func networkAttachProfile(a *App) *cobra.Command {
	return a.leaf(spec{use: "attach-profile [<remote>:]<network> <profile> [<device name>] [<interface name>]", short: "Attach network interfaces to profiles",
		least: 2, most: 4, complete: a.completeNames("networks", "profiles"),
		run: func(args []string) error { return attach(profileKind(a), args, profileDevices) }})
}

func networkDetach(a *App) *cobra.Command {
	return a.leaf(spec{use: "detach [<remote>:]<network> <instance> [<device name>]", short: "Detach network interfaces from instances",
		least: 2, most: 3, complete: a.completeNames("networks", "instances"),
		run: func(args []string) error { return detach(instanceKind(a), args, instanceDevices) }})
}

func networkDetachProfile(a *App) *cobra.Command {
	return a.leaf(spec{use: "detach-profile [<remote>:]<network> <profile> [<device name>]", short: "Detach network interfaces from profiles",
		least: 2, most: 3, complete: a.completeNames("networks", "profiles"),
		run: func(args []string) error { return detach(profileKind(a), args, profileDevices) }})
}

func instanceDevices(p *api.InstancePut) *map[string]map[string]string { return &p.Devices }

func profileDevices(p *api.ProfilePut) *map[string]map[string]string { return &p.Devices }
