package lxc

import (
	"context"
	"fmt"
	"os"

	hostlink "lxd/internal/host/netlink"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

var _ machine.Plugger = (*container)(nil)

// Plug moves interfaces into the running container. They are down there: who brings them up is the guest's business, as with any
// hardware that is plugged in.
func (c *container) Plug(_ context.Context, nics []machine.NIC) error {
	for _, n := range nics {
		if err := c.plug(n); err != nil {
			return fmt.Errorf("plug %s into machine %s: %w", n.Name, c.handle.ID, err)
		}
	}
	return nil
}

func (c *container) plug(n machine.NIC) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.handle.PID))
	if err != nil {
		return err
	}
	defer ns.Close()
	if c.over() { // the number may be another's by now
		return errs.Newf(errs.NotFound, "it does not run")
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	if _, err := inside.LinkByName(n.Name); err == nil {
		return errs.Newf(errs.Invalid, "there is an interface %q inside already: give the device another name", n.Name)
	}
	link, ok, err := hostlink.Find(n.PeerName)
	if err != nil || !ok {
		return fmt.Errorf("interface %s is missing on the host: %w", n.PeerName, err)
	}
	if n.Hwaddr != "" {
		if err := hostlink.SetHwaddr(link.Index, n.Hwaddr); err != nil {
			return err
		}
	}
	peer := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: link.Index, Name: n.PeerName}}
	if err := netlink.LinkSetNsFd(peer, int(ns.Fd())); err != nil {
		return err
	}
	moved, err := inside.LinkByName(n.PeerName) // its number may have changed
	if err != nil {
		return err
	}
	return inside.LinkSetName(moved, n.Name)
}
