package bridge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/network/bridge"
	"lxd/internal/host/netns"
	"lxd/internal/network"
	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
)

// within runs fn in the network namespace of that name, "" for the host's.
func within(t *testing.T, ns string, fn func() error) error {
	t.Helper()
	if ns == "" {
		return fn()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		f, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// serve answers TCP connections to a port of a namespace until the test ends.
func serve(t *testing.T, ns string, port int) {
	t.Helper()
	var l net.Listener
	must(t, within(t, ns, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello from "+ns)
			_ = c.Close()
		}
	}()
}

// ask connects from a namespace, by that source address unless it is "", and returns the answer.
func ask(t *testing.T, ns, source, address string, port int) string {
	t.Helper()
	var answer []byte
	_ = within(t, ns, func() error {
		d := net.Dialer{Timeout: 400 * time.Millisecond}
		if source != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
		}
		c, err := d.Dial("tcp4", net.JoinHostPort(address, fmt.Sprint(port)))
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		answer, err = io.ReadAll(c)
		return err
	})
	return string(answer)
}

// still is a machine with a static address that needs no DHCP.
func still(t *testing.T, d *bridge.Driver, n network.Net, name, address, hwaddr string) machine {
	t.Helper()
	m := join(t, d, n, network.Port{Instance: name, Hwaddr: hwaddr, IPv4: netip.MustParseAddr(address)})
	gateway := netip.MustParsePrefix(n.Config["ipv4.address"])
	sh(t, "ip -n %s addr add %s/%d dev eth0; ip -n %s route add default via %s", name, address, gateway.Bits(), name, gateway.Addr())
	return m
}

func ranges(first, last uint16) []forward.Range { return []forward.Range{{First: first, Last: last}} }

func TestForwardsCarryTraffic(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	outside(t)
	sh(t, "ip addr add 192.0.2.10/24 dev up0")
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none"}})
	still(t, d, n, "web", "10.20.30.5", "00:16:3e:00:00:05")
	still(t, d, n, "other", "10.20.30.6", "00:16:3e:00:00:06")
	serve(t, "web", 80)
	serve(t, "web", 81)
	serve(t, "other", 7)
	if got := ask(t, "world", "", "192.0.2.1", 8080); got != "" {
		t.Fatal("before:", got)
	}
	a := netip.MustParseAddr
	n.Forwards = []forward.Rule{
		{Listen: a("192.0.2.1"), Ports: []forward.Port{
			{Protocol: "tcp", Listen: ranges(8080, 8081), Target: a("10.20.30.5"), To: ranges(80, 81)},
			{Protocol: "tcp", Listen: ranges(9000, 9009), Target: a("10.20.30.5"), To: ranges(80, 80)},
			{Protocol: "tcp", Listen: ranges(7, 7), Target: a("10.20.30.6")},
		}},
		{Listen: a("192.0.2.10"), Target: a("10.20.30.5")},
	}
	must(t, d.Guard(t.Context(), n))
	for _, from := range []string{"world", "other", "web", ""} { // the target too reaches itself by the address of the outside
		for address, ports := range map[string]map[int]string{
			"192.0.2.1": {8080: "hello from web", 8081: "hello from web", 9003: "hello from web", 7: "hello from other", 80: ""}, "192.0.2.10": {80: "hello from web", 9003: ""},
		} {
			for port, want := range ports {
				if got := ask(t, from, "", address, port); got != want {
					t.Errorf("from %q to %s:%d: %q, want %q", from, address, port, got, want)
				}
			}
		}
	}
	// A connection that is there survives a change of other forwards.
	n.Forwards = n.Forwards[:1]
	must(t, d.Guard(t.Context(), n))
	if got := ask(t, "world", "", "192.0.2.10", 80); got != "" {
		t.Error("removed, but:", got)
	}
	if got := ask(t, "world", "", "192.0.2.1", 8080); got != "hello from web" {
		t.Error("lost:", got)
	}
	n.Forwards = nil
	must(t, d.Up(t.Context(), n))
	if got := ask(t, "world", "", "192.0.2.1", 8080); got != "" {
		t.Error("removed, but:", got)
	}
}

// compiled is the policy of one ACL.
func compiled(t *testing.T, name string, ingress, egress []acl.Rule) *acl.Policy {
	t.Helper()
	for _, list := range [][]acl.Rule{ingress, egress} {
		for i := range list {
			list[i].ACL, list[i].Index = name, i
			if list[i].Protocol != "icmp4" {
				list[i].ICMPType, list[i].ICMPCode = -1, -1
			}
		}
	}
	return &acl.Policy{Ingress: acl.Side{Rules: ingress, Default: acl.Reject}, Egress: acl.Side{Rules: egress, Default: acl.Reject}}
}

func TestPolicyHoldsTraffic(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	outside(t)
	ctx, cancel := context.WithCancel(t.Context())
	labels, ended := make(chan string, 100), make(chan error)
	go func() { ended <- d.Logged(ctx, func(label string, _ []byte) { labels <- label }) }()
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none", "ipv4.nat": "false"}})
	sh(t, "ip -n world route add 10.20.30.0/24 via 192.0.2.1; ip -n world addr add 192.0.2.3/24 dev eth0")
	still(t, d, n, "web", "10.20.30.5", "00:16:3e:00:00:05")
	still(t, d, n, "other", "10.20.30.6", "00:16:3e:00:00:06")
	for ns, ports := range map[string][]int{"web": {80, 81}, "world": {80, 81, 82}} {
		for _, p := range ports {
			serve(t, ns, p)
		}
	}
	reach := func(what string, want map[string]bool) {
		t.Helper()
		for way, ok := range want {
			f := strings.Fields(way)
			port := 0
			if _, err := fmt.Sscan(f[2], &port); err != nil {
				t.Fatal(err)
			}
			if got := ask(t, f[0], "", f[1], port) != ""; got != ok {
				t.Errorf("%s: %s passes: %v, want %v", what, way, got, ok)
			}
		}
	}
	reach("without a policy", map[string]bool{"web 192.0.2.2 80": true, "world 10.20.30.5 80": true, "other 10.20.30.5 80": true})

	n.Policy = compiled(t, "web", nil, nil)
	must(t, d.Guard(t.Context(), n))
	reach("an empty one", map[string]bool{"web 192.0.2.2 80": false, "world 10.20.30.5 80": false, "other 10.20.30.5 80": true})
	if try("ip netns exec web ping -c1 -W1 10.20.30.1") {
		t.Error("reaches the host")
	}
	if m := (machine{name: "web"}); !m.lookup("_gateway.lxd", "10.20.30.1") {
		t.Error("the network's own services must stay")
	}

	to := netip.MustParseAddr("192.0.2.2")
	n.Policy = compiled(t, "web",
		[]acl.Rule{
			{Action: acl.Drop, Source: []acl.Addresses{{First: netip.MustParseAddr("192.0.2.3"), Last: netip.MustParseAddr("192.0.2.9")}}},
			{Action: acl.Allow, Protocol: "tcp", DestinationPorts: ranges(80, 80)},
		},
		[]acl.Rule{
			{Action: acl.Drop, Protocol: "tcp", DestinationPorts: ranges(82, 82), Log: true},
			{Action: acl.Allow, Protocol: "tcp", Destination: []acl.Addresses{{First: to, Last: to}}, DestinationPorts: []forward.Range{{First: 80, Last: 80}, {First: 82, Last: 90}}},
			{Action: acl.Allow, Protocol: "icmp4", ICMPType: 8, ICMPCode: -1},
		})
	must(t, d.Guard(t.Context(), n))
	reach("with rules", map[string]bool{
		"web 192.0.2.2 80": true, "web 192.0.2.2 81": false, "web 192.0.2.2 82": false, "web 192.0.2.3 80": false,
		"world 10.20.30.5 80": true, "world 10.20.30.5 81": false,
	})
	sh(t, "ip netns exec web ping -c1 -W1 192.0.2.2; ip netns exec web ping -c1 -W1 10.20.30.1")
	if ask(t, "world", "192.0.2.3", "10.20.30.5", 80) != "" {
		t.Error("a source that is dropped gets in")
	}
	select {
	case l := <-labels:
		if l != "web-egress-0 drop" {
			t.Error(l)
		}
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(5 * time.Second):
		t.Error("nothing was logged")
	}
	cancel()
	<-ended
	n.Policy = nil
	must(t, d.Up(t.Context(), n))
	reach("without a policy again", map[string]bool{"web 192.0.2.2 81": true, "world 10.20.30.5 81": true})
}

func TestLiveChange(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	outside(t)
	sh(t, "for i in 0 1 2; do ip link add ext$i type veth peer name peer$i; done; ip addr add 198.51.100.1/24 dev ext2; ip link set ext2 up")
	t.Cleanup(func() { sh(t, "ip link del ext0; ip link del ext1; ip link del ext2") })
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none", "ipv4.nat": "true"}})
	still(t, d, n, "c1", "10.20.30.5", "00:16:3e:00:00:05")
	conf := func(want string) string { return fmt.Sprintf("grep -qx '%s' %s/dnsmasq.conf", want, n.Dir) }
	for _, c := range []struct {
		key, value string
		// restarts tells whether dnsmasq must be restarted; check must succeed after the change, and fail before it.
		restarts bool
		check    string
	}{
		{"ipv4.nat", "", false, "! nft list ruleset | grep -q masquerade"},
		{"ipv4.nat", "true", false, "nft list ruleset | grep -q masquerade"},
		{"ipv4.nat.address", "192.0.2.1", false, "nft list ruleset | grep -q 'snat ip to 192.0.2.1'"},
		{"ipv4.nat.order", "after", false, "nft list ruleset | grep -q 'priority srcnat + 1'"},
		{"ipv4.firewall", "false", false, "! nft list ruleset | grep -q 'nfproto ipv4 oifname \"lxdbr0\" accept'"},
		{"ipv4.routes", "10.77.0.0/16,10.78.0.0/16", false, "ip route | grep -q '10.78.0.0/16 dev lxdbr0'"},
		{"ipv4.routes", "10.77.0.0/16", false, "! ip route | grep -q '10.78.0.0/16 dev lxdbr0'"},
		{"bridge.hwaddr", "00:16:3e:aa:bb:cc", false, "ip link show lxdbr0 | grep -q 00:16:3e:aa:bb:cc"},
		{"bridge.external_interfaces", "ext0,ext1", false, "ip -o link show ext1 | grep -q 'master lxdbr0'"},
		{"bridge.external_interfaces", "ext0", false, "! ip -o link show ext1 | grep -q 'master lxdbr0'"},
		{"bridge.external_interfaces", "", false, "! ip -o link show ext0 | grep -q 'master lxdbr0'"},
		{"user.x", "y", false, ""},
		{"bridge.mtu", "1400", true, "ip link show lxdbr0 | grep -q 'mtu 1400'"},
		{"ipv4.dhcp.expiry", "2d", true, conf("dhcp-range=10.20.30.2,10.20.30.254,2d")},
		{"ipv4.dhcp.ranges", "10.20.30.100-10.20.30.110", true, conf("dhcp-range=10.20.30.100,10.20.30.110,2d")},
		{"ipv4.dhcp.gateway", "10.20.30.9", true, conf("dhcp-option-force=option:router,10.20.30.9")},
		{"dns.domain", "example.net", true, conf("domain=example.net")},
		{"dns.search", "a.example,b.example", true, conf("dhcp-option-force=option:domain-search,a.example,b.example")},
		{"dns.mode", "dynamic", true, "! grep -q dhcp-ignore-names " + n.Dir + "/dnsmasq.conf"},
		{"raw.dnsmasq", "address=/special.test/10.9.9.9", true, "ip netns exec c1 busybox nslookup special.test 10.20.30.1 | grep -q 10.9.9.9"},
		{"ipv4.dhcp", "false", true, "! grep -q dhcp-range " + n.Dir + "/dnsmasq.conf"},
		{"ipv6.address", "fd42:9::1/64", true, "ip -6 addr show lxdbr0 | grep -q fd42:9::1/64"},
		{"ipv6.nat", "true", false, "nft list ruleset | grep -q 'ip6 saddr fd42:9::/64'"},
		{"ipv6.routes", "fd77::/64", false, "ip -6 route | grep -q 'fd77::/64 dev lxdbr0'"},
		{"ipv6.dhcp.stateful", "true", true, "grep -q '^dhcp-range=fd42:9::2' " + n.Dir + "/dnsmasq.conf"},
		{"ipv4.routing", "false", false, "nft list ruleset | grep -q 'nfproto ipv6 oifname \"lxdbr0\" accept'"},
	} {
		if c.check != "" && c.key != "ipv4.routing" && try("%s", c.check) {
			t.Errorf("%s=%s: %s succeeds before", c.key, c.value, c.check)
		}
		before := pidOf(t, n)
		cfg := map[string]string{}
		for k, v := range n.Config {
			cfg[k] = v
		}
		cfg[c.key] = c.value
		cfg, err := d.Fill(t.Context(), n.Name, cfg, false)
		must(t, err)
		n.Config = cfg
		if err := d.Up(t.Context(), n); err != nil {
			t.Fatalf("%s=%s: %v", c.key, c.value, err)
		}
		if c.check != "" && !try("%s", c.check) {
			t.Errorf("%s=%s: %s fails", c.key, c.value, c.check)
		}
		if restarted := pidOf(t, n) != before; restarted != c.restarts {
			t.Errorf("%s=%s: dnsmasq restarted: %v, want %v", c.key, c.value, restarted, c.restarts)
		}
		sh(t, "ip netns exec c1 ping -c1 -W2 10.20.30.1") // the machine stays connected all the time
	}
	for value, why := range map[string]string{"nosuch0": "no interface", "ext2": "198.51.100.1", "lo": "cannot be part"} {
		bad := n
		bad.Config = map[string]string{}
		for k, v := range n.Config {
			bad.Config[k] = v
		}
		bad.Config["bridge.external_interfaces"] = "ext0," + value
		if err := d.Up(t.Context(), bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", value, err)
		}
		if try("ip -o link show ext0 | grep -q 'master lxdbr0'") {
			t.Error("a part of a refused change was made")
		}
	}
}

func TestOthersCannotReadLeases(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none"}})
	c := join(t, d, n, network.Port{Instance: "c1", Hwaddr: "00:16:3e:00:00:01"})
	c.dhcp(t)
	if _, err := os.ReadFile(n.Dir + "/dnsmasq.leases"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"dnsmasq.leases", "dnsmasq.conf", "dnsmasq.raw", "dnsmasq.hosts"} {
		// 12345 is nobody, in no group.
		if try("setpriv --reuid 12345 --regid 12345 --clear-groups ls -R %s/%s", n.Dir, file) {
			t.Error("anybody can read", file)
		}
	}
	// dnsmasq itself, which gave up root, still learns of new hosts.
	late := join(t, d, n, network.Port{Instance: "c2", Hwaddr: "00:16:3e:00:00:02", IPv4: netip.MustParseAddr("10.20.30.77")})
	if a := late.dhcp(t); a.String() != "10.20.30.77" {
		t.Error(a)
	}
}
