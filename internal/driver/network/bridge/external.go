package bridge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
)

// externalFile tells which interfaces of the host we put into the bridge: others that are in it are others' doing.
func externalFile(n network.Net) string { return filepath.Join(n.Dir, "external") }

// externalName checks the name of an interface of the host. One that is made for the purpose (NAME/PARENT/VLAN) is not supported.
func externalName(v string) error {
	switch {
	case strings.Contains(v, "/"):
		return errors.New("must be the name of an interface that exists; this server makes none of VLANs: make it with \"ip link add link PARENT name NAME type vlan id VLAN\"")
	case v == "" || len(v) > 15 || strings.ContainsAny(v, " \t\n:%"):
		return errors.New("must be the name of an interface")
	}
	return nil
}

// external makes the bridge have the wanted interfaces of the host, and lets go of those that it had and that are wanted no more.
func (d *Driver) external(n network.Net, br netlink.Link) error {
	var want, had []string
	for name := range split(n.Config["bridge.external_interfaces"]) {
		want = append(want, name)
	}
	b, err := os.ReadFile(externalFile(n))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	had = strings.Fields(string(b))
	if len(want) == 0 && len(had) == 0 {
		return nil
	}
	for _, name := range want {
		if err := joinable(name, br); err != nil {
			return err
		}
	}
	// Written first: what a crash leaves in the bridge is known to be ours.
	if _, err := replaceFile(externalFile(n), strings.Join(append(slices.Clone(want), had...), "\n")+"\n"); err != nil {
		return err
	}
	for _, name := range want {
		if err := enslave(name, br.Index); err != nil {
			return err
		}
	}
	if err := letGo(br.Index, had, want); err != nil {
		return err
	}
	if len(want) == 0 {
		return os.Remove(externalFile(n))
	}
	_, err = replaceFile(externalFile(n), strings.Join(want, "\n")+"\n")
	return err
}

// letGo takes interfaces out of the bridge that are not wanted.
func letGo(bridge int, had, want []string) error {
	for _, name := range had {
		if slices.Contains(want, name) {
			continue
		}
		l, ok, err := netlink.Find(name)
		if err != nil {
			return err
		}
		if ok && l.Master == bridge {
			if err := netlink.SetMaster(l.Index, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// joinable fails when an interface cannot become part of the bridge.
func joinable(name string, br netlink.Link) error {
	l, ok, err := netlink.Find(name)
	switch {
	case err != nil:
		return err
	case !ok:
		return errs.Newf(errs.Invalid, "bridge.external_interfaces: the host has no interface %q", name)
	case l.Master == br.Index:
		return nil
	case l.Master != 0:
		return errs.Newf(errs.Invalid, "bridge.external_interfaces: interface %q belongs to another bridge or bond: take it out of that first", name)
	case l.Loopback || l.Index == br.Index:
		return errs.Newf(errs.Invalid, "bridge.external_interfaces: interface %q cannot be part of a bridge", name)
	}
	addrs, err := netlink.Addrs(l.Index)
	for _, a := range addrs {
		if a.Scope == "global" {
			return errs.Newf(errs.Invalid, "bridge.external_interfaces: interface %q has the address %s: the host would no longer be reached there, remove it first", name, a.Prefix)
		}
	}
	return err
}

func enslave(name string, bridge int) error {
	l, ok, err := netlink.Find(name)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("interface %s went away", name))
	}
	if l.Master != bridge {
		if err := netlink.SetMaster(l.Index, bridge); err != nil {
			return err
		}
	}
	return netlink.SetUp(l.Index)
}
