package netlink_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/netlink"
	"lxd/internal/host/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

func find(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, ok, err := netlink.Find(name)
	if err != nil || !ok {
		t.Fatalf("%s: found %v, %v", name, ok, err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bridge(t *testing.T) netlink.Link {
	t.Helper()
	netns.Skip(t)
	must(t, netlink.AddBridge("br0", "00:16:3e:aa:bb:cc", 1400))
	t.Cleanup(func() { must(t, netlink.Delete("br0")) })
	must(t, netlink.SetUp(find(t, "br0").Index))
	return find(t, "br0")
}

func TestVethInBridge(t *testing.T) {
	br := bridge(t)
	if br.Type != "bridge" || br.Hwaddr != "00:16:3e:aa:bb:cc" || br.MTU != 1400 || !br.Up {
		t.Fatalf("%+v", br)
	}
	must(t, netlink.AddVeth(netlink.Veth{Host: "v0", Peer: "p0", PeerHwaddr: "00:16:3e:00:00:01", MTU: 1400, Master: br.Index}))
	v, p := find(t, "v0"), find(t, "p0")
	if v.Master != br.Index || !v.Up || v.MTU != 1400 || p.MTU != 1400 || p.Hwaddr != "00:16:3e:00:00:01" || p.Master != 0 {
		t.Fatalf("%+v\n%+v", v, p)
	}
	must(t, netlink.SetHairpin(v.Index, true))
	must(t, netlink.SetIsolated(v.Index, true))
	must(t, netlink.SetMTU(p.Index, 1300))
	must(t, netlink.SetHwaddr(p.Index, "00:16:3e:00:00:02"))
	must(t, netlink.SetName(p.Index, "p1"))
	if p = find(t, "p1"); p.MTU != 1300 || p.Hwaddr != "00:16:3e:00:00:02" {
		t.Fatalf("%+v", p)
	}
	must(t, netlink.SetMaster(v.Index, 0))
	if find(t, "v0").Master != 0 {
		t.Fatal("still in the bridge")
	}
	must(t, netlink.Delete("v0"))
	must(t, netlink.Delete("v0"))
	if _, ok, err := netlink.Find("p1"); ok || err != nil {
		t.Fatal("the peer outlived its pair", err)
	}
}

func TestDeleteVethLeavesOtherKinds(t *testing.T) {
	br := bridge(t)
	must(t, netlink.DeleteVeth("br0", ""))
	must(t, netlink.DeleteVeth("none0", ""))
	must(t, netlink.AddVeth(netlink.Veth{Host: "v0", Peer: "p0", Master: br.Index, Owner: "one"}))
	must(t, netlink.AddVeth(netlink.Veth{Host: "v1", Peer: "p1"}))
	must(t, netlink.AddVeth(netlink.Veth{Host: "veth0123abcd", Peer: "p2"}))
	must(t, netlink.AddVeth(netlink.Veth{Host: "veth89abcdef", Peer: "p3", Owner: "one"}))
	for name, stays := range map[string]bool{"v0": true, "v1": true, "veth0123abcd": false, "veth89abcdef": true} {
		must(t, netlink.DeleteVeth(name, "another"))
		if _, ok, err := netlink.Find(name); ok != stays || err != nil {
			t.Errorf("%s, for another owner: %v, %v", name, ok, err)
		}
	}
	must(t, errors.Join(netlink.DeleteVeth("v0", "one"), netlink.Delete("v1"), netlink.Delete("veth89abcdef")))
	if _, ok, err := netlink.Find("br0"); !ok || err != nil {
		t.Error("the bridge is gone", err)
	}
	for _, name := range []string{"v0", "p0"} {
		if _, ok, err := netlink.Find(name); ok || err != nil {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

// The peer is made where it belongs, under a name that may be taken here.
func TestVethIntoNamespace(t *testing.T) {
	br := bridge(t)
	other, err := os.Open("/proc/" + strconv.Itoa(elsewhere(t)) + "/ns/net")
	must(t, err)
	defer other.Close()
	must(t, netlink.AddVeth(netlink.Veth{
		Host: "v0", Peer: "br0", PeerNetns: other, PeerUp: true, PeerHwaddr: "00:16:3e:00:00:01", MTU: 1400, Master: br.Index,
	}))
	if v := find(t, "v0"); v.Master != br.Index || !v.Up {
		t.Fatalf("%+v", v)
	}
	if netlink.AddVeth(netlink.Veth{Host: "v1", Peer: "br0", PeerNetns: other}) == nil {
		t.Fatal("a name that is taken there was accepted")
	}
	if netlink.AddVeth(netlink.Veth{Host: "v1", Peer: "p1", PeerNetns: other, Master: 1 << 30}) == nil {
		t.Fatal("a bridge that there is not was accepted")
	}
	if _, ok, _ := netlink.Find("v1"); ok {
		t.Fatal("left half a pair")
	}
	inside(t, other, func() {
		p := find(t, "br0")
		if !p.Up || p.MTU != 1400 || p.Hwaddr != "00:16:3e:00:00:01" || p.Type != "veth" {
			t.Fatalf("%+v", p)
		}
	})
	must(t, netlink.Delete("v0"))
}

// elsewhere is a process in a network namespace of its own.
func elsewhere(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// inside runs f in another network namespace.
func inside(t *testing.T, ns *os.File, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer own.Close()
	must(t, unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
	defer func() { must(t, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)) }()
	f()
}

func TestFailedVethLeavesNothing(t *testing.T) {
	br := bridge(t)
	if netlink.AddVeth(netlink.Veth{Host: "v0", Peer: "br0", Master: br.Index}) == nil {
		t.Fatal("a taken name was accepted")
	}
	if _, ok, _ := netlink.Find("v0"); ok {
		t.Fatal("left half a pair")
	}
}

func TestAddressesAndRoutes(t *testing.T) {
	br := bridge(t)
	v4, v6 := netip.MustParsePrefix("10.1.2.1/24"), netip.MustParsePrefix("fd42:1::1/64")
	for range 2 {
		must(t, netlink.AddAddr(br.Index, v4))
		must(t, netlink.AddAddr(br.Index, v6))
	}
	got, err := netlink.Addrs(br.Index)
	must(t, err)
	for _, p := range []netip.Prefix{v4, v6} {
		if !slices.Contains(got, netlink.Addr{Prefix: p, Scope: "global"}) {
			t.Errorf("%s is not in %v", p, got)
		}
	}
	dst := netip.MustParsePrefix("10.9.0.0/16")
	must(t, netlink.AddRoute(br.Index, dst))
	must(t, netlink.AddRoute(br.Index, dst))
	routes, err := netlink.Routes()
	must(t, err)
	for _, r := range []netlink.Route{{dst, br.Index, true}, {v4.Masked(), br.Index, false}, {v6.Masked(), br.Index, false}} {
		if !slices.Contains(routes, r) {
			t.Errorf("%v is not in %v", r, routes)
		}
	}
	for range 2 {
		must(t, netlink.DeleteRoute(br.Index, dst))
		must(t, netlink.DeleteAddr(br.Index, v4))
	}
	if got, _ = netlink.Addrs(br.Index); slices.Contains(got, netlink.Addr{Prefix: v4, Scope: "global"}) {
		t.Error("address is still there")
	}
}

func TestListHasLoopback(t *testing.T) {
	netns.Skip(t)
	all, err := netlink.List()
	must(t, err)
	if !slices.ContainsFunc(all, func(l netlink.Link) bool { return l.Name == "lo" && l.Loopback }) {
		t.Fatal(all)
	}
}

func TestSysctl(t *testing.T) {
	netns.Skip(t)
	s := netlink.Sysctl{"ipv4", "ip_forward"}
	must(t, s.Set("1"))
	if v, err := s.Get(); v != "1" || err != nil {
		t.Fatal(v, err)
	}
	for _, bad := range []netlink.Sysctl{{"ipv4", "..", "core", "somaxconn"}, {"ipv4", "a/b"}, {"ipv4", ""}} {
		if bad.Set("1") == nil {
			t.Errorf("%v accepted", bad)
		}
	}
}

func BenchmarkVeth(b *testing.B) {
	for range b.N {
		if err := netlink.AddVeth(netlink.Veth{Host: "v0", Peer: "p0"}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = netlink.Delete("v0")
		b.StartTimer()
	}
}

func TestTapGoesWithItsFile(t *testing.T) {
	netns.Skip(t)
	f, err := netlink.OpenTap("tap0")
	must(t, err)
	find(t, "tap0")
	if _, err := netlink.OpenTap("tap0"); err == nil {
		t.Error("a taken name was accepted")
	}
	must(t, f.Close())
	if _, ok, err := netlink.Find("tap0"); ok || err != nil {
		t.Error("the interface outlived its file", err)
	}
}

func TestBridgeOf(t *testing.T) {
	bridge(t)
	b, err := netlink.BridgeOf(find(t, "br0").Index)
	if err != nil || b.ID != "8000.00163eaabbcc" || b.STP || b.ForwardDelay != 1500 {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := netlink.BridgeOf(find(t, "lo").Index); err == nil {
		t.Error("lo is no bridge")
	}
}
