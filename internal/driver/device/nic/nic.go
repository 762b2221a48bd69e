// Package nic connects instances to networks: to bridges, managed ones and those that the host has of its own; to the host alone; and by
// interfaces of the host, on or instead of them.
package nic

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// Networks is what a NIC needs of the networks.
type Networks interface {
	// Net finds a managed network that the project sees, or fails with NotFound.
	Net(ctx context.Context, project, network string) (network.Net, error)
	// CheckPort fails with Invalid when the network cannot give p what it wants.
	CheckPort(ctx context.Context, project, network string, p network.Port) error
	Connect(ctx context.Context, project, network string, p network.Port) (network.Link, error)
	// Disconnect is idempotent and works on a network that is gone.
	Disconnect(ctx context.Context, project, network string, p network.Port, hostName string) error
	// ConnectHost and DisconnectHost are the same for a bridge that is no network of ours.
	ConnectHost(ctx context.Context, bridge string, p network.Port) (network.Link, error)
	DisconnectHost(ctx context.Context, bridge string, p network.Port, hostName string) error
}

// Naming is how the host's side of a NIC is named if its configuration does not say. A name is the same for the same NIC at any time, so that
// its interface is found again whatever a crash kept from being written down.
type Naming struct {
	// Salt differs between the daemons of one host.
	Salt string
	// ByMAC tells whether names are made of the MAC address, which clients can foresee; nil is no.
	ByMAC func() bool
}

// Bridged is the kind of NICs that are ports of a bridge.
func Bridged(nets Networks, links Links, names Naming) device.Kind {
	k := keys()
	return device.Kind{Type: "nic", Subtype: "bridged", Keys: k, New: func(ctx context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		n := &nic{nets: nets, links: links, env: env}
		if err := n.parse(ctx, k, cfg, names); err != nil {
			return nil, fmt.Errorf("NIC %s: %w", env.Name, err)
		}
		return n, nil
	}}
}

// nic is one NIC of one instance.
type nic struct {
	nets  Networks
	links Links
	env   device.Env
	port  network.Port
	traffic
	// network is the managed network, or else bridge the one of the host.
	network, bridge string
	// name is what the interface is called inside.
	name string
	// named tells that the host's side has a name of our making.
	named bool
	// made is the MAC address that the NIC was given just now.
	made string
}

func (n *nic) parse(ctx context.Context, k *schema.Schema, cfg device.Config, names Naming) error {
	own := map[string]string{}
	for key, v := range cfg {
		if key != "type" {
			own[key] = v
		}
	}
	if err := k.Validate(own); err != nil {
		return err
	}
	if err := n.choose(ctx, cfg); err != nil {
		return err
	}
	n.port = network.NIC{
		Project: n.env.Project, Instance: n.env.Instance, Device: n.env.Name, Config: cfg, InstanceConfig: n.env.InstanceConfig,
	}.Port()
	if n.port.Hwaddr == "" {
		n.made = randomHwaddr()
		n.port.Hwaddr = n.made
	}
	if n.port.HostName == "" {
		n.port.HostName, n.named = names.hostName(n.port), true
	}
	n.name, n.traffic = insideName(n.env, cfg), trafficOf(cfg, n.port)
	if n.env.Leaving {
		return nil // its network may have changed under it
	}
	if err := checkTraffic(cfg); err != nil {
		return err
	}
	return n.check(ctx, cfg)
}

// insideName is what the interface is called inside.
func insideName(env device.Env, cfg device.Config) string {
	name := cmp.Or(cfg["name"], env.InstanceConfig["volatile."+env.Name+".name"])
	if name == "" && interfaceName(env.Name) == nil {
		return env.Name
	}
	return name
}

// via is the interface that routes to the NIC go by.
func (n *nic) via() string { return cmp.Or(n.network, n.bridge) }

// choose finds what to connect to.
func (n *nic) choose(ctx context.Context, cfg device.Config) error {
	n.network, n.bridge = cfg["network"], cfg["parent"]
	switch {
	case n.network != "":
		for _, key := range []string{"nictype", "parent", "mtu"} {
			if cfg[key] != "" {
				return errs.Newf(errs.Invalid, "%q cannot be set together with \"network\": the network decides it", key)
			}
		}
		return nil
	case n.bridge == "":
		return errs.Newf(errs.Invalid, "it needs \"network\", or \"nictype\" and \"parent\"")
	case cfg["nictype"] == "":
		return errs.Newf(errs.Invalid, "\"parent\" needs \"nictype\"")
	}
	_, err := n.nets.Net(ctx, n.env.Project, n.bridge)
	if err == nil { // the bridge of a managed network: use it as such
		n.network, n.bridge = n.bridge, ""
	}
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// check holds the NIC's addresses against its network.
func (n *nic) check(ctx context.Context, cfg device.Config) error {
	stateless := false
	if n.network != "" {
		if err := n.nets.CheckPort(ctx, n.env.Project, n.network, n.port); err != nil {
			return err
		}
		net, err := n.nets.Net(ctx, n.env.Project, n.network)
		if err != nil {
			return errs.As(errs.Invalid, err)
		}
		stateless = !schema.IsTrue(net.Config["ipv6.dhcp.stateful"])
	}
	if n.port.FilterIPv4 && cfg["ipv4.address"] == "" {
		return errs.Newf(errs.Invalid, "security.ipv4_filtering needs ipv4.address, the one that the NIC may use, or none")
	}
	if n.port.FilterIPv6 && cfg["ipv6.address"] == "" && !stateless {
		return errs.Newf(errs.Invalid, "security.ipv6_filtering needs ipv6.address, the one that the NIC may use, or none")
	}
	return nil
}

// Attach implements device.Device: it has no effects, Connect has.
func (n *nic) Attach(context.Context) (device.Grant, error) {
	g := device.Grant{
		NICs:     []device.NIC{{HostName: n.port.HostName, Name: n.name, Hwaddr: n.port.Hwaddr, MTU: n.port.MTU}},
		Volatile: map[string]string{"host_name": n.port.HostName},
	}
	if n.made != "" {
		g.Volatile["hwaddr"] = n.made
	}
	return g, nil
}

// Connect implements device.Connector. An interface that is plugged in stays down: who brings it up is the guest's business, as with
// any hardware.
func (n *nic) Connect(ctx context.Context, netns *os.File) error {
	p := n.port
	p.Inside = network.Inside{Netns: netns, Name: n.name, Up: !n.env.Running}
	err := n.connect(ctx, p)
	if errs.Is(err, errs.Conflict) && n.named { // left by a crash: nobody else makes that name
		if err = n.disconnect(ctx, p.HostName); err == nil {
			err = n.connect(ctx, p)
		}
	}
	if err != nil {
		return err
	}
	if err := n.begin(n.links, p.HostName, n.via()); err != nil {
		return errors.Join(err, n.Detach(context.WithoutCancel(ctx)))
	}
	return nil
}

// Change implements device.Changer.
func (n *nic) Change(_ context.Context, before device.Config) (device.Grant, error) {
	was := trafficOf(before, network.NIC{Config: before}.Port())
	return device.Grant{}, n.change(n.links, was, n.attachedName(), n.via())
}

// attachedName is the name of the host's side as it was when the NIC was attached.
func (n *nic) attachedName() string {
	return cmp.Or(n.env.InstanceConfig["volatile."+n.env.Name+".host_name"], n.port.HostName)
}

// Detach implements device.Device.
func (n *nic) Detach(ctx context.Context) error {
	other, err := foreign(n.links, n.attachedName(), n.port)
	if err == nil && !other {
		err = n.end(n.links, n.attachedName(), n.via())
	}
	err = errors.Join(err, n.disconnect(ctx, n.port.HostName))
	if kept := n.env.InstanceConfig["volatile."+n.env.Name+".host_name"]; kept != "" && kept != n.port.HostName {
		err = errors.Join(err, n.disconnect(ctx, kept)) // its configuration changed since
	}
	return err
}

func (n *nic) connect(ctx context.Context, p network.Port) (err error) {
	if n.network != "" {
		_, err = n.nets.Connect(ctx, n.env.Project, n.network, p)
	} else {
		_, err = n.nets.ConnectHost(ctx, n.bridge, p)
	}
	return err
}

func (n *nic) disconnect(ctx context.Context, hostName string) error {
	if n.network != "" {
		return n.nets.Disconnect(ctx, n.env.Project, n.network, n.port, hostName)
	}
	return n.nets.DisconnectHost(ctx, n.bridge, n.port, hostName)
}

// hostName is the name of the host's side, most likely that of no other.
func (n Naming) hostName(p network.Port) string {
	if mac := strings.ReplaceAll(p.Hwaddr, ":", ""); len(mac) == 12 && n.ByMAC != nil && n.ByMAC() {
		return "lxd" + strings.ToLower(mac[2:])
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{n.Salt, p.Project, p.Instance, p.Device, p.Hwaddr}, "\x00")))
	return fmt.Sprintf("veth%x", sum[:4])
}

// randomHwaddr is a MAC address with the prefix 00:16:3e, which is set aside for virtual machines.
func randomHwaddr() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}
