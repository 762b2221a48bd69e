// Package fake is a network driver that keeps everything in memory, for tests of what stands on networks.
package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// Driver implements network.Driver, network.Leaser, network.Releaser, network.Guarder, network.Inspector and network.Reporter.
type Driver struct {
	mu    sync.Mutex
	nets  map[string]network.Net
	ports map[string]string // host name to network
	// inside has the names that were taken inside, by host name, where they are in one namespace.
	inside map[string]string
	last   int
	// released are the hardware addresses whose leases were taken back.
	released []string
	// fail holds what the next call of that name fails with.
	fail map[string]error
	// guarded are the forwards and policies by network; problems what Inspect finds; report the listener to those found unasked.
	guarded  map[string]network.Net
	problems map[string][]string
	report   func(network.Trouble)
}

// New makes a driver without networks.
func New() *Driver {
	return &Driver{nets: map[string]network.Net{}, ports: map[string]string{}, inside: map[string]string{}, fail: map[string]error{},
		guarded: map[string]network.Net{}, problems: map[string][]string{}, report: func(network.Trouble) {}}
}

// FailNext makes the next call of a method ("Up", "Down", "Connect", "Disconnect", "Release") fail with err.
func (d *Driver) FailNext(method string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[method] = err
}

// Nets are the networks that are up.
func (d *Driver) Nets() map[string]network.Net {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.nets)
}

// Name implements network.Driver.
func (d *Driver) Name() string { return "bridge" }

// Keys implements network.Driver.
func (d *Driver) Keys() *schema.Schema {
	return schema.New("network",
		schema.Key{Name: "ipv4.address", Type: schema.String, Short: "Address"},
		schema.Key{Name: "ipv4.dhcp.ranges", Type: schema.String, Short: "Addresses to give away"},
		schema.Key{Name: "ipv4.nat", Type: schema.Bool, Short: "Whether to hide behind the host's address"},
		schema.Key{Name: "ipv4.routes", Type: schema.Strings, Short: "Subnets that are led here"},
		schema.Key{Name: "ipv6.address", Type: schema.String, Short: "Address"},
		schema.Key{Name: "security.acls", Type: schema.Strings, Short: "ACLs"},
		schema.Key{Name: "security.acls.default.ingress.action", Type: schema.OneOf("allow", "drop", "reject"), Short: "What becomes of the rest"},
		schema.Key{Name: "bridge.mtu", Type: schema.Integer, Default: "1500", Short: "MTU"},
		schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free to use"},
		schema.Key{Name: "volatile.bridge.hwaddr", Type: schema.MAC, Volatile: true, Short: "MAC address"},
	)
}

// Fill implements network.Driver.
func (d *Driver) Fill(_ context.Context, _ string, cfg map[string]string, fresh bool) (map[string]string, error) {
	if err := d.Keys().Validate(cfg); err != nil {
		return nil, err
	}
	out := map[string]string{}
	maps.Copy(out, cfg)
	if a := out["ipv4.address"]; a == "auto" || a == "" && fresh {
		out["ipv4.address"] = "10.0.0.1/24"
	}
	if out["volatile.bridge.hwaddr"] == "" {
		out["volatile.bridge.hwaddr"] = "00:16:3e:ff:ff:ff"
	}
	return out, nil
}

// Up implements network.Driver.
func (d *Driver) Up(_ context.Context, n network.Net) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Up"); err != nil {
		return err
	}
	d.nets[n.Name], d.guarded[n.Name] = n, n
	return nil
}

// Down implements network.Driver.
func (d *Driver) Down(_ context.Context, n network.Net) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Down"); err != nil {
		return err
	}
	delete(d.nets, n.Name)
	delete(d.guarded, n.Name)
	return nil
}

// Guard implements network.Guarder.
func (d *Driver) Guard(_ context.Context, n network.Net) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Guard"); err != nil {
		return err
	}
	d.guarded[n.Name] = n
	return nil
}

// Guarded is the network whose forwards and policy are obeyed.
func (d *Driver) Guarded(name string) network.Net {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.guarded[name]
}

// Inspect implements network.Inspector. What the key user.trouble says is a problem too, so that scripts can make one.
func (d *Driver) Inspect(_ context.Context, n network.Net) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if own := n.Config["user.trouble"]; own != "" {
		return append([]string{own}, d.problems[n.Name]...), nil
	}
	return d.problems[n.Name], nil
}

// Break makes Inspect find problems.
func (d *Driver) Break(name string, problems ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems[name] = problems
}

// Report implements network.Reporter.
func (d *Driver) Report(to func(network.Trouble)) { d.report = to }

// Tell tells of a problem as if the driver had found it by itself.
func (d *Driver) Tell(t network.Trouble) { d.report(t) }

// Connect implements network.Driver.
func (d *Driver) Connect(_ context.Context, n network.Net, p network.Port) (network.Link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Connect"); err != nil {
		return network.Link{}, err
	}
	if _, up := d.nets[n.Name]; !up {
		return network.Link{}, errs.Newf(errs.Unavailable, "network %s is down", n.Name)
	}
	d.last++
	l := network.Link{HostName: p.HostName, MTU: p.MTU}
	if l.HostName == "" {
		l.HostName = fmt.Sprintf("veth%d", d.last)
	}
	if l.MTU == 0 {
		l.MTU = 1500
	}
	if _, taken := d.ports[l.HostName]; taken {
		return network.Link{}, errs.Newf(errs.Conflict, "interface %s exists", l.HostName)
	}
	if name := p.Inside.Name; name != "" && p.Inside.Netns == nil {
		for _, other := range d.inside {
			if other == name {
				return network.Link{}, errs.Newf(errs.Invalid, "there is an interface %q inside already", name)
			}
		}
		d.inside[l.HostName] = name
	}
	d.ports[l.HostName] = n.Name
	return l, nil
}

// Disconnect implements network.Driver.
func (d *Driver) Disconnect(_ context.Context, _ network.Net, _ network.Port, hostName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Disconnect"); err != nil {
		return err
	}
	delete(d.ports, hostName)
	delete(d.inside, hostName)
	return nil
}

// Status implements network.Driver.
func (d *Driver) Status(_ context.Context, n network.Net) (network.State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, up := d.nets[n.Name]; !up {
		return network.State{}, nil
	}
	s := network.State{Up: true, Hwaddr: n.Config["volatile.bridge.hwaddr"], MTU: 1500}
	for host, name := range d.ports {
		if name == n.Name {
			s.Members = append(s.Members, host)
		}
	}
	slices.Sort(s.Members)
	return s, nil
}

// Leases implements network.Leaser.
func (d *Driver) Leases(_ context.Context, n network.Net) ([]network.Lease, error) {
	list := []network.Lease{{Hostname: n.Name + ".gw", Address: "10.0.0.1", Type: "gateway"}}
	for _, p := range n.Ports {
		if p.IPv4.IsValid() {
			list = append(list, network.Lease{
				Project: p.Project, Hostname: p.Instance, Hwaddr: p.Hwaddr, Address: p.IPv4.String(), Type: "static",
			})
		}
	}
	return list, nil
}

// Release implements network.Releaser.
func (d *Driver) Release(_ context.Context, _ network.Net, hwaddrs []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Release"); err != nil {
		return err
	}
	d.released = append(d.released, hwaddrs...)
	return nil
}

// Released lists the hardware addresses whose leases were taken back, in order.
func (d *Driver) Released() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.released)
}

func (d *Driver) failing(method string) error {
	err := d.fail[method]
	delete(d.fail, method)
	return err
}
