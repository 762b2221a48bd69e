//go:build system

package lxc_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/machine"
)

func TestNICs(t *testing.T) {
	p := plan(t)
	host := fmt.Sprintf("vm%dh", os.Getpid())
	p.NICs = []machine.NIC{{HostName: host, Name: "eth0", MTU: 1400}}
	p.Connect = func(_ context.Context, netns *os.File) error {
		if err := netlink.Delete(host); err != nil { // what goes with its namespace may take a moment
			return err
		}
		return netlink.AddVeth(netlink.Veth{Host: host, Peer: "eth0", PeerNetns: netns, PeerUp: true, MTU: 1400})
	}
	t.Cleanup(func() { must(t, netlink.Delete(host)) })
	d := driver(t)
	m := start(t, d, p)
	for range 2 {
		u, err := m.Usage(t.Context())
		must(t, err)
		if len(u.Networks) != 2 || u.Networks[1].Name != "eth0" || u.Networks[1].HostName != host || u.Networks[1].MTU != 1400 || u.Networks[1].State != "up" {
			t.Fatalf("%+v", u.Networks)
		}
		// a reboot: the interface goes with its namespace; the next start gets a fresh one
		inside(t, m, 0, "sleep 0.3; kill -HUP 1")
		<-m.Done()
		if !m.Exit().Reboot {
			t.Fatal("no reboot")
		}
		m, err = d.Start(t.Context(), p)
		must(t, err)
	}
}

// TestNoConnect: a container does not run without its interfaces.
func TestNoConnect(t *testing.T) {
	p := plan(t)
	p.Raw = "lxc.hook.start-host =\n"
	p.Connect = func(context.Context, *os.File) error { return nil }
	d := driver(t)
	if _, err := d.Start(t.Context(), p); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "start-host") {
		t.Fatal(err)
	}
	p.Raw = ""
	start(t, d, p)
}
