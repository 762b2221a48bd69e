package nic

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/mount"
	"lxd/internal/host/netlink"
)

// Physical is the kind of NICs that are interfaces of the host, lent to the instance. While one is lent, dir holds a file that keeps the
// machine's network namespace: the interface is taken back from there, also if the machine ended while no daemon ran.
func Physical(links Links, dir string) device.Kind {
	k := table(append(insideKeys("physical"), parentKey("Interface of the host that is lent")), "gvrp", "maas.subnet.ipv4", "maas.subnet.ipv6", "network", "vlan")
	return device.Kind{Type: "nic", Subtype: "physical", Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		err := validate(k, cfg)
		if err == nil && cfg["parent"] == "" {
			err = errs.Newf(errs.Invalid, "it needs \"parent\", the interface of the host that is lent")
		}
		if err != nil && !env.Leaving {
			return nil, fmt.Errorf("NIC %s: %w", env.Name, err)
		}
		return &physical{links: links, env: env, cfg: cfg, dir: dir}, nil
	}}
}

// physical is one interface of the host.
type physical struct {
	links Links
	env   device.Env
	cfg   device.Config
	dir   string
}

// kept is the file that keeps the network namespace.
func (p *physical) kept() string {
	sum := sha256.Sum256([]byte(p.env.Project + "\x00" + p.env.Instance + "\x00" + p.env.Name))
	return filepath.Join(p.dir, fmt.Sprintf("netns-%x", sum[:8]))
}

// Attach implements device.Device: it has no effects, Connect has.
func (p *physical) Attach(context.Context) (device.Grant, error) {
	l, ok, err := p.links.Find(p.cfg["parent"])
	if err != nil {
		return device.Grant{}, err
	}
	if !ok {
		return device.Grant{}, errs.Newf(errs.Invalid, "the host has no interface %s: it may be lent to another instance", p.cfg["parent"])
	}
	mtu, _ := strconv.Atoi(p.cfg["mtu"])
	return device.Grant{
		NICs:     []device.NIC{{Name: insideName(p.env, p.cfg), Hwaddr: p.cfg["hwaddr"], MTU: mtu}},
		Volatile: map[string]string{"last_state.hwaddr": l.Hwaddr, "last_state.mtu": strconv.Itoa(l.MTU), "last_state.created": "false"},
	}, nil
}

// Connect implements device.Connector.
func (p *physical) Connect(ctx context.Context, netns *os.File) error {
	if err := p.keep(netns); err != nil {
		return err
	}
	mtu, _ := strconv.Atoi(p.cfg["mtu"])
	err := p.links.Lend(p.cfg["parent"], netlink.Guest{Netns: netns, Name: insideName(p.env, p.cfg), Hwaddr: p.cfg["hwaddr"], MTU: mtu, Up: !p.env.Running})
	if err != nil {
		return errors.Join(err, p.Detach(context.WithoutCancel(ctx)))
	}
	return nil
}

// keep shows the namespace at a file, so that it stays.
func (p *physical) keep(netns *os.File) error {
	if err := p.letGo(); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o711); err != nil {
		return err
	}
	if err := os.WriteFile(p.kept(), nil, 0o600); err != nil {
		return err
	}
	t, err := mount.OpenFile(netns, false)
	if err != nil {
		return errors.Join(err, p.letGo())
	}
	defer t.Close()
	if err := t.Attach(p.kept()); err != nil {
		return errors.Join(err, p.letGo())
	}
	return nil
}

// letGo ends keep.
func (p *physical) letGo() error {
	if err := mount.Unmount(p.kept()); err != nil {
		return err
	}
	if err := os.Remove(p.kept()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Detach implements device.Device: the interface comes back as it was.
func (p *physical) Detach(context.Context) error {
	there, err := mount.At(p.kept())
	if err != nil {
		return err
	}
	if there {
		netns, err := os.Open(p.kept())
		if err != nil {
			return err
		}
		last := func(key string) string { return p.env.InstanceConfig["volatile."+p.env.Name+".last_state."+key] }
		mtu, _ := strconv.Atoi(last("mtu"))
		err = p.links.Return(p.cfg["parent"], netlink.Guest{Netns: netns, Hwaddr: last("hwaddr"), MTU: mtu})
		if err := errors.Join(err, netns.Close()); err != nil {
			return err
		}
	}
	return p.letGo()
}
