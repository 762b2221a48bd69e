package nic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
)

// Macvlan is the kind of NICs that have a MAC address of their own on an interface of the host.
func Macvlan(links Links) device.Kind {
	k := table(append(insideKeys("macvlan"), parentKey("Interface of the host that the NIC is on")), "gvrp", "maas.subnet.ipv4", "maas.subnet.ipv6", "network", "vlan")
	return device.Kind{Type: "nic", Subtype: "macvlan", Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		err := validate(k, cfg)
		if err == nil && cfg["parent"] == "" {
			err = errs.Newf(errs.Invalid, "it needs \"parent\", the interface of the host that it is on")
		}
		if err != nil && !env.Leaving {
			return nil, fmt.Errorf("NIC %s: %w", env.Name, err)
		}
		return &macvlan{links: links, env: env, cfg: cfg, port: portOf(env, cfg)}, nil
	}}
}

const (
	// goneTime is how long an interface of an earlier run may take to go, retryTime the time between attempts until it has.
	goneTime  = 5 * time.Second
	retryTime = 10 * time.Millisecond
)

// macvlan has no side on the host: the interface goes with the machine's network namespace.
type macvlan struct {
	links Links
	env   device.Env
	cfg   device.Config
	port  network.Port
}

func (m *macvlan) inside(netns *os.File) netlink.Guest {
	return netlink.Guest{Netns: netns, Name: insideName(m.env, m.cfg), Hwaddr: m.port.Hwaddr, MTU: m.port.MTU, Up: !m.env.Running}
}

// Attach implements device.Device: it has no effects, Connect has.
func (m *macvlan) Attach(context.Context) (device.Grant, error) {
	_, ok, err := m.links.Find(m.cfg["parent"])
	if err == nil && !ok {
		err = errs.Newf(errs.Invalid, "the host has no interface %s, which is to be the NIC's parent", m.cfg["parent"])
	}
	return device.Grant{NICs: []device.NIC{{Name: insideName(m.env, m.cfg), Hwaddr: m.port.Hwaddr, MTU: m.port.MTU}}}, err
}

// Connect implements device.Connector.
func (m *macvlan) Connect(ctx context.Context, netns *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	for {
		err := m.links.Macvlan(m.cfg["parent"], m.inside(netns))
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		if e := m.links.Unmacvlan(m.inside(netns)); e != nil { // it is there, and cannot be brought up
			return errors.Join(err, e)
		}
		// The kernel removes the interface of a machine that has just ended by and by, and keeps its MAC address until then.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryTime):
		}
	}
}

// Disconnect implements device.Disconnector.
func (m *macvlan) Disconnect(_ context.Context, netns *os.File) error {
	return m.links.Unmacvlan(m.inside(netns))
}

// Detach implements device.Device.
func (m *macvlan) Detach(context.Context) error { return nil }
