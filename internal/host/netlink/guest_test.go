package netlink_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lxd/internal/host/netlink"
	"lxd/internal/host/netns"
)

// abroad is another network namespace, and how to run a program in it.
func abroad(t *testing.T) (*os.File, func(...string) string) {
	t.Helper()
	netns.Skip(t)
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	path := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net"
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f, func(args ...string) string {
		t.Helper()
		out, err := exec.Command("nsenter", append([]string{"--net=" + path}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
}

func pairOf(t *testing.T, a, b string) {
	t.Helper()
	must(t, netlink.AddVeth(netlink.Veth{Host: a, Peer: b, PeerUp: true}))
	t.Cleanup(func() { must(t, errors.Join(netlink.Delete(a), netlink.Delete(b))) })
}

func TestMacvlan(t *testing.T) {
	ns, run := abroad(t)
	pairOf(t, "par0", "par1")
	g := netlink.Guest{Netns: ns, Name: "mac0", Hwaddr: "00:16:3e:00:00:07", MTU: 1400, Up: true}
	must(t, netlink.AddMacvlan("par0", g))
	if out := run("ip", "-d", "link", "show", "mac0"); !strings.Contains(out, "macvlan mode bridge") || !strings.Contains(out, "mtu 1400") || !strings.Contains(out, g.Hwaddr) || !strings.Contains(out, "UP") {
		t.Error(out)
	}
	if err := netlink.AddMacvlan("par0", g); err == nil {
		t.Error("made twice")
	}
	run("ip", "link", "set", "mac0", "down", "name", "other")
	for range 2 {
		must(t, netlink.DeleteGuest("macvlan", g))
	}
	if out := run("ip", "-o", "link"); strings.Contains(out, "other") {
		t.Error("left over:", out)
	}
	if err := netlink.AddMacvlan("none0", g); err == nil {
		t.Error("made on nothing")
	}
}

func TestLendAndReturn(t *testing.T) {
	ns, run := abroad(t)
	pairOf(t, "len0", "len1")
	before := find(t, "len0")
	for range 2 {
		must(t, netlink.Lend("len0", netlink.Guest{Netns: ns, Name: "eth0", Hwaddr: "00:16:3e:00:00:08", MTU: 1300, Up: true}))
		if _, there, err := netlink.Find("len0"); there || err != nil {
			t.Fatal("it is still here", err)
		}
		if out := run("ip", "link", "show", "eth0"); !strings.Contains(out, "mtu 1300") || !strings.Contains(out, "00:16:3e:00:00:08") || !strings.Contains(out, "UP") {
			t.Error(out)
		}
		run("ip", "link", "set", "eth0", "down", "name", "br9", "address", "00:16:3e:00:00:09")
		must(t, netlink.AddBridge("br9", "", 0)) // its name there is taken here
		for range 2 {
			must(t, netlink.Return("len0", netlink.Guest{Netns: ns, Hwaddr: before.Hwaddr, MTU: before.MTU}))
		}
		must(t, netlink.Delete("br9"))
		if now := find(t, "len0"); now.Hwaddr != before.Hwaddr || now.MTU != before.MTU || !now.Up {
			t.Errorf("%+v, was %+v", now, before)
		}
	}
}

func TestShape(t *testing.T) {
	netns.Skip(t)
	pairOf(t, "shp0", "shp1")
	tc := func(dev string) string {
		out, err := exec.Command("tc", "qdisc", "show", "dev", dev).CombinedOutput()
		if err != nil {
			t.Skip("needs tc, of iproute2: ", string(out), err)
		}
		return string(out)
	}
	mirrors := func() (names []string) {
		all, err := netlink.List()
		must(t, err)
		for _, l := range all {
			if l.Type == "ifb" && l.Up {
				names = append(names, l.Name)
			}
		}
		return names
	}
	for range 2 {
		must(t, netlink.SetShape("shp0", netlink.Shape{Sent: 10e6, Received: 20e6}))
		if out := tc("shp0"); !strings.Contains(out, "tbf") || !strings.Contains(out, "rate 10Mbit") || !strings.Contains(out, "ingress") {
			t.Error(out)
		}
		if m := mirrors(); len(m) != 1 || !strings.Contains(tc(m[0]), "rate 20Mbit") {
			t.Error(m)
		}
	}
	must(t, netlink.SetShape("shp0", netlink.Shape{Sent: 1e6}))
	if out := tc("shp0"); !strings.Contains(out, "rate 1Mbit") || strings.Contains(out, "ingress") || len(mirrors()) > 0 {
		t.Error(out, mirrors())
	}
	must(t, netlink.SetShape("shp0", netlink.Shape{}))
	if out := tc("shp0"); strings.Contains(out, "tbf") {
		t.Error(out)
	}
	must(t, netlink.SetShape("shp0", netlink.Shape{Received: 1e6}))
	must(t, netlink.Delete("shp0"))
	for range 2 {
		must(t, netlink.DropShape("shp0"))
	}
	if m := mirrors(); len(m) > 0 {
		t.Error("left over:", m)
	}
	if err := netlink.SetShape("shp0", netlink.Shape{}); err == nil {
		t.Error("shaped what is not there")
	}
}
