package device

import (
	"errors"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// NICFor is the device that connects to a network.
func NICFor(n *api.Network, name string) map[string]string {
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

// AttachNIC adds the NIC that args describe: network, owner, device name and interface name.
func AttachNIC[F, P any](d Set[F, P], args []string) error {
	server, network, err := d.Kind.App.Parse(args[0])
	if err != nil {
		return err
	}
	if network == "" {
		return errors.New("Missing network name")
	}
	key, name := network, ""
	if len(args) > 2 {
		key, name = args[2], args[2]
	}
	if len(args) > 3 {
		name = args[3]
	}
	var n api.Network
	if _, err := server.Get(d.Kind.App.Ctx, client.Path("networks", network), &n); err != nil {
		return err
	}
	return d.Attach(SameRemote(args), key, NICFor(&n, name))
}

// DetachNIC removes the NIC that args describe: network, owner and, where there are several, device name.
func DetachNIC[F, P any](d Set[F, P], args []string) error {
	network := command.Plain(args[0])
	name := ""
	if len(args) > 2 {
		name = args[2]
	}
	err := d.Detach(SameRemote(args), name, func(d map[string]string) bool {
		return d["type"] == "nic" && (d["network"] == network || d["parent"] == network)
	})
	if errors.Is(err, ErrNoMatch) {
		return errors.New("No device found for this network")
	}
	return err
}
