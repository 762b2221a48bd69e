package nic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// PointToPoint is the kind of NICs that are connected to the host alone.
func PointToPoint(links Links, names Naming) device.Kind {
	host := schema.Key{Name: "host_name", Type: typed("interface name", interfaceName), Short: "Name of the interface on the host"}
	k := table(append(append(insideKeys("p2p"), host), trafficKeys()...))
	return device.Kind{Type: "nic", Subtype: "p2p", Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		if err := validate(k, cfg); err != nil {
			return nil, fmt.Errorf("NIC %s: %w", env.Name, err)
		}
		p := &pointToPoint{links: links, env: env, cfg: cfg, port: portOf(env, cfg), names: names}
		p.traffic = trafficOf(cfg, p.port)
		return p, checkTraffic(cfg)
	}}
}

// validate checks the keys of a NIC, of which the type is none.
func validate(k *schema.Schema, cfg device.Config) error {
	own := map[string]string{}
	for key, v := range cfg {
		if key != "type" {
			own[key] = v
		}
	}
	return k.Validate(own)
}

func portOf(env device.Env, cfg device.Config) network.Port {
	return network.NIC{Project: env.Project, Instance: env.Instance, Device: env.Name, Config: cfg, InstanceConfig: env.InstanceConfig}.Port()
}

// pointToPoint is a veth pair, one side inside.
type pointToPoint struct {
	links Links
	env   device.Env
	cfg   device.Config
	port  network.Port
	names Naming
	traffic
}

// host is the name of the host's side.
func (p *pointToPoint) host() string {
	if p.port.HostName != "" {
		return p.port.HostName
	}
	return p.names.hostName(p.port)
}

// attached is the name of the host's side as it was when the NIC was attached.
func (p *pointToPoint) attached() string {
	return cmp.Or(p.env.InstanceConfig["volatile."+p.env.Name+".host_name"], p.host())
}

// Attach implements device.Device: it has no effects, Connect has.
func (p *pointToPoint) Attach(context.Context) (device.Grant, error) {
	return device.Grant{
		NICs:     []device.NIC{{HostName: p.host(), Name: insideName(p.env, p.cfg), Hwaddr: p.port.Hwaddr, MTU: p.port.MTU}},
		Volatile: map[string]string{"host_name": p.host()},
	}, nil
}

// Connect implements device.Connector.
func (p *pointToPoint) Connect(ctx context.Context, netns *os.File) error {
	v := netlink.Veth{
		Host: p.host(), Peer: insideName(p.env, p.cfg), PeerNetns: netns, PeerUp: !p.env.Running, PeerHwaddr: p.port.Hwaddr,
		MTU: p.port.MTU, TxQueue: p.port.TxQueue, Owner: p.port.Owner(),
	}
	err := p.links.Pair(v)
	if errors.Is(err, unix.EEXIST) && p.port.HostName == "" { // left by a crash: nobody else makes that name
		if err = p.links.Unpair(v.Host, v.Owner); err == nil {
			err = p.links.Pair(v)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return errs.Newf(errs.Conflict, "the host has an interface %s already, or the instance one named %s: choose another host_name or name", v.Host, v.Peer)
	}
	if err != nil {
		return err
	}
	if err := p.begin(p.links, v.Host, v.Host); err != nil {
		return errors.Join(err, p.Detach(context.WithoutCancel(ctx)))
	}
	return nil
}

// Change implements device.Changer.
func (p *pointToPoint) Change(_ context.Context, before device.Config) (device.Grant, error) {
	return device.Grant{}, p.change(p.links, trafficOf(before, portOf(p.env, before)), p.attached(), p.attached())
}

// Detach implements device.Device.
func (p *pointToPoint) Detach(context.Context) error {
	name := p.attached()
	other, err := foreign(p.links, name, p.port)
	if err == nil && !other {
		err = errors.Join(p.end(p.links, name, name), p.links.Unpair(name, p.port.Owner()))
	}
	if name != p.host() { // its configuration, or how names are made, changed since
		err = errors.Join(err, p.links.Unpair(p.host(), p.port.Owner()))
	}
	return err
}
