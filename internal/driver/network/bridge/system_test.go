package bridge_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/driver/network/bridge"
	"lxd/internal/host/netlink"
	"lxd/internal/host/netns"
	"lxd/internal/network"
)

// sh runs a script; these tests look at the host from outside, with the tools that an administrator has.
func sh(t *testing.T, format string, a ...any) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", fmt.Sprintf(format, a...)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, a...), err, out)
	}
	return strings.TrimSpace(string(out))
}

// try tells whether a script succeeds.
func try(format string, a ...any) bool {
	return exec.Command("sh", "-ec", fmt.Sprintf(format, a...)).Run() == nil
}

// machine is a network namespace with a NIC on a network, as a container would have it.
type machine struct {
	name string
	port network.Port
	link network.Link
}

// namespace makes a network namespace that ends with the test.
func namespace(t *testing.T, name string) {
	t.Helper()
	sh(t, "ip netns add %s; ip -n %s link set lo up", name, name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
}

// join connects a new machine to n; its interface is eth0, up.
func join(t *testing.T, d *bridge.Driver, n network.Net, p network.Port) machine {
	t.Helper()
	if p.Project == "" {
		p.Project = "default"
	}
	p.Device = "eth0"
	m := machine{name: p.Instance, port: p}
	namespace(t, m.name)
	netns, err := os.Open("/run/netns/" + m.name)
	must(t, err)
	defer netns.Close()
	p.Inside = network.Inside{Netns: netns, Name: "eth0", Up: true}
	m.link, err = d.Connect(t.Context(), n, p)
	must(t, err)
	t.Cleanup(func() { must(t, d.Disconnect(context.Background(), n, p, m.link.HostName)) })
	return m
}

// dhcp asks for an address and returns it.
func (m machine) dhcp(t *testing.T) netip.Addr {
	t.Helper()
	script := filepath.Join(t.TempDir(), "udhcpc")
	text := "#!/bin/sh\n" + `[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
for r in $router; do ip route add default via $r; done
echo "ip=$ip router=$router dns=$dns domain=$domain mtu=$mtu search=$search" > ` + script + ".out\n"
	must(t, os.WriteFile(script, []byte(text), 0o755))
	sh(t, "ip netns exec %s busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -O search -O mtu -x hostname:fromclient -F fromclient -s %s 2>&1", m.name, script)
	out := sh(t, "cat %s.out", script)
	t.Log(m.name, out)
	for f := range strings.FieldsSeq(out) {
		if a, ok := strings.CutPrefix(f, "ip="); ok {
			addr, err := netip.ParseAddr(a)
			must(t, err)
			return addr
		}
	}
	t.Fatal("no address in", out)
	return netip.Addr{}
}

// slaac waits until the machine has chosen an address within p.
func (m machine) slaac(t *testing.T, p netip.Prefix) netip.Addr {
	t.Helper()
	for range 100 {
		for f := range strings.FieldsSeq(sh(t, "ip -n %s -6 -o addr show dev eth0 scope global -tentative", m.name)) {
			if q, err := netip.ParsePrefix(f); err == nil && p.Contains(q.Addr()) {
				return q.Addr()
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("no router advertisement: %s", sh(t, "ip -n %s -6 addr", m.name))
	return netip.Addr{}
}

func (m machine) lookup(name, server string) bool {
	out, _ := exec.Command("ip", "netns", "exec", m.name, "busybox", "nslookup", name, server).CombinedOutput()
	_, answer, _ := strings.Cut(string(out), "Name:")
	return strings.Contains(answer, "Address")
}

// start brings up a fresh network.
func start(t *testing.T, d *bridge.Driver, dir string, n network.Net) network.Net {
	t.Helper()
	n.Dir, n.Project = netDir(t, dir, n.Name), "default"
	n = netOf(t, d, n)
	began := time.Now()
	must(t, d.Up(t.Context(), n))
	t.Logf("%s up in %v", n.Name, time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		must(t, d.Down(context.Background(), n))
		if left := sh(t, "ls %s; ip -o link show | grep ': %s:' || true; ps ax | grep '[d]nsmasq.*%s' || true; nft list ruleset | grep %s || true", n.Dir, n.Name, n.Dir, n.Name); left != "dnsmasq.leases" && left != "" {
			t.Errorf("left after Down: %s", left)
		}
	})
	return n
}

// outside is a namespace on the far side of the host, as the rest of the world; it has no route to any network of ours.
func outside(t *testing.T) {
	t.Helper()
	namespace(t, "world")
	sh(t, `ip link add up0 type veth peer name eth0 netns world
		ip addr add 192.0.2.1/24 dev up0; ip -6 addr add 2001:db8::1/64 dev up0 nodad; ip link set up0 up
		ip -n world addr add 192.0.2.2/24 dev eth0; ip -n world -6 addr add 2001:db8::2/64 dev eth0 nodad; ip -n world link set eth0 up`)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "up0").Run() })
}

func TestMachineGetsAddressesNamesAndTheWorld(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	outside(t)
	n := start(t, d, dir, network.Net{Name: "lxdbr0"})
	if n.Config["ipv4.nat"] != "true" || n.Config["ipv6.nat"] != "true" {
		t.Fatal(n.Config)
	}
	v4, v6 := netip.MustParsePrefix(n.Config["ipv4.address"]), netip.MustParsePrefix(n.Config["ipv6.address"])
	c1 := join(t, d, n, network.Port{Instance: "c1", Hwaddr: "00:16:3e:00:00:01"})
	c2 := join(t, d, n, network.Port{Instance: "c2", Hwaddr: "00:16:3e:00:00:02", Project: "other"})
	a1, a2 := c1.dhcp(t), c2.dhcp(t)
	if !v4.Contains(a1) || !v4.Contains(a2) {
		t.Fatal(a1, a2, "outside of", v4)
	}
	s1 := c1.slaac(t, v6)
	gateway := v4.Addr().String()
	for name, want := range map[string]bool{
		"c1.lxd": true, "c2-other.lxd": true, "_gateway.lxd": true, "fromclient.lxd": false, "c2.lxd": false, "none.lxd": false,
	} {
		if c2.lookup(name, gateway) != want {
			t.Errorf("%s resolves: %v, want %v", name, !want, want)
		}
	}
	c2.slaac(t, v6)
	if !c2.lookup("c1.lxd", v6.Addr().String()) {
		t.Error("no names over IPv6")
	}
	sh(t, "ip netns exec c2 ping -c1 -W2 %s; ip netns exec c2 ping -c1 -W2 %s", a1, s1)
	sh(t, "ip netns exec c1 ping -c1 -W2 192.0.2.2; ip netns exec c1 ping -c3 -W2 2001:db8::2") // the world has no route back: NAT
	leases, err := d.Leases(t.Context(), n)
	must(t, err)
	want := network.Lease{Hostname: "c1", Hwaddr: "00:16:3e:00:00:01", Address: a1.String(), Type: "dynamic"}
	if !slices.ContainsFunc(leases, func(l network.Lease) bool { l.Expires = time.Time{}; return l == want }) {
		t.Errorf("%+v is not in %+v", want, leases)
	}
}

func TestStaticAddressesAndStatefulDHCP(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{
		"ipv4.address": "10.20.30.1/24", "ipv4.dhcp.ranges": "10.20.30.100-10.20.30.110,10.20.30.120-10.20.30.130",
		"ipv6.address": "fd42:9::1/64", "ipv6.dhcp.stateful": "true", "dns.domain": "example.net", "dns.search": "example.net,example.org",
		"bridge.mtu": "1400", "raw.dnsmasq": "address=/special.example.net/10.9.9.9\n", "ipv4.routes": "10.50.0.0/16",
	}})
	static := join(t, d, n, network.Port{
		Instance: "s1", Hwaddr: "00:16:3e:00:00:03", IPv4: netip.MustParseAddr("10.20.30.7"), IPv6: netip.MustParseAddr("fd42:9::7"),
	})
	if a := static.dhcp(t); a.String() != "10.20.30.7" {
		t.Error(a)
	}
	dynamic := join(t, d, n, network.Port{Instance: "s2", Hwaddr: "00:16:3e:00:00:04"})
	if a := dynamic.dhcp(t); a.As4()[3] < 100 || a.As4()[3] > 130 {
		t.Error(a, "is in neither range")
	}
	for _, name := range []string{"s1.example.net", "special.example.net"} {
		if !dynamic.lookup(name, "10.20.30.1") {
			t.Error(name, "does not resolve")
		}
	}
	if got := sh(t, "ip -n s1 -o link show eth0"); !strings.Contains(got, "mtu 1400") {
		t.Error(got)
	}
	if got := sh(t, "ip route show dev lxdbr0"); !strings.Contains(got, "10.50.0.0/16") {
		t.Error(got)
	}
	time.Sleep(300 * time.Millisecond)
	if got := sh(t, "ip -n s2 -6 -o addr show dev eth0 scope global"); got != "" {
		t.Error("stateful, but the client chose an address:", got)
	}
}

func TestNoRoutingKeepsPacketsIn(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	outside(t)
	sh(t, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{
		"ipv4.address": "10.20.30.1/24", "ipv4.routing": "false", "ipv6.address": "none",
	}})
	sh(t, "ip -n world route add 10.20.30.0/24 via 192.0.2.1")
	c := join(t, d, n, network.Port{Instance: "c1", Hwaddr: "00:16:3e:00:00:01"})
	c.dhcp(t)
	sh(t, "ip -n c1 route replace default via 10.20.30.1; ip netns exec c1 ping -c1 -W1 10.20.30.1")
	if try("ip netns exec c1 ping -c1 -W1 192.0.2.2") {
		t.Error("routed")
	}
	n.Config["ipv4.routing"] = "true"
	must(t, d.Up(t.Context(), n))
	sh(t, "ip netns exec c1 ping -c1 -W1 192.0.2.2")
}

func pidOf(t *testing.T, n network.Net) int {
	t.Helper()
	pid, err := strconv.Atoi(sh(t, "cat %s/dnsmasq.pid", n.Dir))
	must(t, err)
	return pid
}

func TestDnsmasqOutlivesTheDaemonAndIsRevived(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	first := driver(t, dir)
	n := start(t, first, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv6.address": "none"}})
	pid := pidOf(t, n)
	first.Close() // the daemon ends

	second := driver(t, dir)
	must(t, second.Up(t.Context(), n))
	if pidOf(t, n) != pid {
		t.Fatal("a running dnsmasq was replaced")
	}
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	for range 200 {
		if b, err := os.ReadFile(filepath.Join(n.Dir, "dnsmasq.pid")); err == nil && len(b) > 0 && string(b) != strconv.Itoa(pid)+"\n" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	revived := pidOf(t, n)
	if revived == pid {
		t.Fatal("not revived")
	}
	n.Config["dns.domain"] = "changed"
	must(t, second.Up(t.Context(), n))
	if pidOf(t, n) == revived {
		t.Error("the new configuration was not taken")
	}
	must(t, second.Down(t.Context(), n))
	time.Sleep(200 * time.Millisecond)
	if got := sh(t, "ps ax | grep '[d]nsmasq.*%s' || true", n.Dir); got != "" {
		t.Error("revived after Down:", got)
	}
}

func TestForeignProcessIsLeftAlone(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := network.Net{Name: "lxdbr0", Config: map[string]string{"ipv6.address": "none"}, Dir: netDir(t, dir, "lxdbr0")}
	other := exec.Command("sleep", "100")
	must(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	must(t, os.WriteFile(filepath.Join(n.Dir, "dnsmasq.pid"), []byte(strconv.Itoa(other.Process.Pid)), 0o644))
	n = start(t, d, dir, n)
	must(t, d.Down(t.Context(), n))
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("it was ended:", err)
	}
}

func TestNameOfAnotherInterface(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	sh(t, "ip link add lxdbr0 type veth peer name other0")
	defer sh(t, "ip link del lxdbr0")
	n := netOf(t, d, network.Net{Name: "lxdbr0", Dir: netDir(t, dir, "lxdbr0")})
	if err := d.Up(t.Context(), n); err == nil || !strings.Contains(err.Error(), "veth interface of that name") {
		t.Error(err)
	}
	must(t, d.Down(t.Context(), n))
	if !try("ip link show lxdbr0") {
		t.Error("removed what is not ours")
	}
}

func TestDaemonsSideBySide(t *testing.T) {
	netns.Skip(t)
	var machines []machine
	for i, name := range []string{"br-a", "br-b", "br-c"} {
		dir := stateDir(t)
		d := driver(t, dir)
		n := start(t, d, dir, network.Net{Name: name})
		machines = append(machines, join(t, d, n, network.Port{Instance: "m" + name, Hwaddr: fmt.Sprintf("00:16:3e:00:01:0%d", i)}))
	}
	for _, m := range machines {
		m.dhcp(t)
	}
	if got := sh(t, "nft list tables | sort -u | wc -l"); got != "3" {
		t.Error("tables:", sh(t, "nft list tables"))
	}
}

func TestBrokenRawDnsmasqSaysWhy(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := network.Net{Name: "lxdbr0", Dir: netDir(t, dir, "lxdbr0"), Config: map[string]string{"raw.dnsmasq": "no-such-option"}}
	n = netOf(t, d, n)
	err := d.Up(t.Context(), n)
	if err == nil || !strings.Contains(err.Error(), "no-such-option") && !strings.Contains(err.Error(), "bad option") {
		t.Error(err)
	}
	must(t, d.Down(t.Context(), n))
	if left := sh(t, "ip -o link show type bridge; nft list ruleset; ls %s", n.Dir); left != "" {
		t.Error("left:", left)
	}
}

func TestSpoofing(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "fd42:9::1/64"}})
	victim := join(t, d, n, network.Port{Instance: "victim", Hwaddr: "00:16:3e:00:00:01", IPv4: netip.MustParseAddr("10.20.30.5")})
	evil := join(t, d, n, network.Port{
		Instance: "evil", Hwaddr: "00:16:3e:00:00:02", IPv4: netip.MustParseAddr("10.20.30.6"), FilterIPv4: true, FilterIPv6: true,
	})
	if a := evil.dhcp(t); a.String() != "10.20.30.6" {
		t.Fatal("a filtered port cannot get its address:", a)
	}
	victim.dhcp(t)
	v6 := netip.MustParsePrefix("fd42:9::/64")
	victim.slaac(t, v6)
	evil.slaac(t, v6)
	sh(t, "ip netns exec evil ping -c1 -W2 10.20.30.1; ip netns exec evil ping -c1 -W2 fd42:9::1; ip netns exec evil ping -c1 -W2 10.20.30.5")

	sh(t, "ip -n evil addr add 10.20.30.5/24 dev eth0; ip -n evil addr add fd42:9::bad/64 dev eth0 nodad")
	for _, from := range []string{"-I 10.20.30.5 10.20.30.1", "-I fd42:9::bad fd42:9::1"} {
		if try("ip netns exec evil ping -c1 -W1 %s", from) {
			t.Error("reached the host as", from)
		}
	}
	sh(t, "ip netns exec evil busybox arping -U -c 2 -I eth0 -s 10.20.30.5 10.20.30.5 || true")
	if got := sh(t, "ip neigh show 10.20.30.5 dev lxdbr0"); strings.Contains(got, "00:16:3e:00:00:02") {
		t.Error("the host believes the spoofed ARP:", got)
	}
	sh(t, "ip -n evil link set eth0 down; ip -n evil link set eth0 address 00:16:3e:00:00:99 up; ip -n evil addr add 10.20.30.6/24 dev eth0 || true")
	if try("ip netns exec evil ping -c1 -W1 10.20.30.1") {
		t.Error("reached the host with another MAC address")
	}
	sh(t, "ip -n evil link set eth0 down; ip -n evil link set eth0 address 00:16:3e:00:00:02 up")
	if !try("ip netns exec evil ping -c1 -W2 -I 10.20.30.6 10.20.30.1") {
		t.Error("cannot come back to its own address")
	}
}

func TestIsolatedPorts(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none"}})
	a := join(t, d, n, network.Port{Instance: "a", Hwaddr: "00:16:3e:00:00:01", Isolate: true})
	b := join(t, d, n, network.Port{Instance: "b", Hwaddr: "00:16:3e:00:00:02", Isolate: true})
	addr := a.dhcp(t)
	b.dhcp(t)
	sh(t, "ip netns exec b ping -c1 -W1 10.20.30.1")
	if try("ip netns exec b ping -c1 -W1 %s", addr) {
		t.Error("isolated ports reach each other")
	}
}

func TestUnusedSubnetAvoidsRoutes(t *testing.T) {
	netns.Skip(t)
	must(t, netlink.AddBridge("hostbr", "", 0))
	defer func() { must(t, netlink.Delete("hostbr")) }()
	sh(t, "ip link set hostbr up; ip addr add 10.0.0.1/9 dev hostbr; ip addr add 10.128.0.1/10 dev hostbr")
	d := driver(t, stateDir(t))
	for range 50 {
		n := netOf(t, d, network.Net{Name: "lxdbr0"})
		if a := netip.MustParsePrefix(n.Config["ipv4.address"]).Addr().As4(); a[1] < 192 {
			t.Fatal(a, "is routed elsewhere")
		}
	}
	sh(t, "ip addr add 10.192.0.1/10 dev hostbr")
	if _, err := d.Fill(t.Context(), "lxdbr0", nil, true); err == nil || !strings.Contains(err.Error(), "ipv4.address") {
		t.Error(err)
	}
}

func TestStaticAddressMovesToAnotherMachine(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none"}})
	addr := netip.MustParseAddr("10.20.30.5")
	old := join(t, d, n, network.Port{Instance: "old", Hwaddr: "00:16:3e:00:00:01", IPv4: addr})
	old.dhcp(t)
	must(t, d.Disconnect(t.Context(), n, old.port, old.link.HostName)) // and deleted, which nobody has told the network of yet
	next := join(t, d, n, network.Port{Instance: "next", Hwaddr: "00:16:3e:00:00:02", IPv4: addr})
	if got := next.dhcp(t); got != addr {
		t.Error(got)
	}
	other := network.Port{Project: "default", Instance: "other", Device: "eth0", Hwaddr: "00:16:3e:00:00:03"}
	n.Ports = []network.Port{other}
	must(t, d.Register(t.Context(), n))
	if got := sh(t, "ls %s/dnsmasq.hosts", n.Dir); got != "p.default.next.eth0\np.default.other.eth0" {
		t.Error("a port that is plugged in was forgotten:", got)
	}
}

func TestRelease(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{
		"ipv4.address": "10.20.30.1/24", "ipv4.dhcp.ranges": "10.20.30.10-10.20.30.11", "ipv6.address": "none",
	}})
	var list []machine
	for i, name := range []string{"a", "b"} { // both addresses that there are
		m := join(t, d, n, network.Port{Instance: name, Hwaddr: fmt.Sprintf("00:16:3e:00:00:0%d", i)})
		m.dhcp(t)
		list = append(list, m)
	}
	must(t, d.Disconnect(t.Context(), n, list[0].port, list[0].link.HostName))
	began := time.Now()
	must(t, d.Release(t.Context(), n, []string{"00:16:3e:00:00:00", "00:16:3e:ff:ff:ff"}))
	t.Logf("released in %v", time.Since(began).Round(time.Microsecond))
	c := join(t, d, n, network.Port{Instance: "c", Hwaddr: "00:16:3e:00:00:0c"})
	c.dhcp(t)
	leases, err := d.Leases(t.Context(), n)
	must(t, err)
	var names []string
	for _, l := range leases {
		names = append(names, l.Hostname)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"b", "c", "lxdbr0.gw"}) {
		t.Error(names)
	}
	if got := sh(t, "ip -o link show type tun"); got != "" {
		t.Error("left:", got)
	}
}

func BenchmarkConnect(b *testing.B) {
	dir, err := os.MkdirTemp("/var/tmp", "bridge")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	_ = os.Chmod(dir, 0o711)
	d := bridge.New(bridge.Options{Firewall: nopFirewall{}})
	defer d.Close()
	cfg, err := d.Fill(b.Context(), "lxdbr0", nil, true)
	if err != nil {
		b.Fatal(err)
	}
	n := network.Net{Name: "lxdbr0", Dir: dir, Config: cfg}
	if err := d.Up(b.Context(), n); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Down(context.Background(), n) }()
	for i := 0; b.Loop(); i++ {
		p := network.Port{Project: "default", Instance: fmt.Sprintf("c%d", i), Device: "eth0", Hwaddr: fmt.Sprintf("00:16:3e:00:%02x:%02x", i/256%256, i%256)}
		l, err := d.Connect(b.Context(), n, p)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.Disconnect(b.Context(), n, p, l.HostName); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// nopFirewall lets everything pass.
type nopFirewall struct{}

func (nopFirewall) Guard(context.Context, network.Guard) error                 { return nil }
func (nopFirewall) Unguard(context.Context, string) error                      { return nil }
func (nopFirewall) Filter(context.Context, network.Filter) error               { return nil }
func (nopFirewall) Logged(context.Context, func(string, []byte)) error         { return nil }
func (nopFirewall) Obstacles(context.Context, network.Guard) ([]string, error) { return nil, nil }
func (nopFirewall) Unfilter(context.Context, string) error                     { return nil }
