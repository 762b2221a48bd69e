//go:build system

package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lxd/test/harness"
)

// inNetns runs a command of the host in the daemon's network namespace.
func inNetns(t *testing.T, d *harness.Daemon, argv ...string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", d.Netns}, argv...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

func leases(t *testing.T, d *harness.Daemon, network string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.Dir, "networks", network, "dnsmasq.leases"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStaticAddressFiltersAndHostName(t *testing.T) {
	d := ready(t)
	d.LXC("network", "create", "br1", "ipv4.address=10.111.0.1/24", "ipv6.address=none", "bridge.mtu=1400")
	d.LXC("init", "busybox", "c1")
	d.LXC("config", "device", "add", "c1", "eth0", "nic", "network=br1", "name=eth0", "ipv4.address=10.111.0.77",
		"hwaddr=00:16:3e:11:22:33", "host_name=lxdtest77", "security.ipv4_filtering=true")
	d.LXC("start", "c1")
	if ip := address(t, d, "c1"); ip != "10.111.0.77" {
		t.Error(ip)
	}
	if out := d.LXC("exec", "c1", "--", "ip", "link", "show", "eth0"); !strings.Contains(out, "00:16:3e:11:22:33") || !strings.Contains(out, "mtu 1400") {
		t.Error(out)
	}
	inNetns(t, d, "ip", "link", "show", "lxdtest77")
	d.LXC("exec", "c1", "--", "ping", "-c1", "-W3", "10.111.0.1")
	d.LXC("exec", "c1", "--", "ip", "addr", "add", "10.111.0.78/24", "dev", "eth0")
	if out, err := d.TryLXC("exec", "c1", "--", "ping", "-c1", "-W1", "-I", "10.111.0.78", "10.111.0.1"); err == nil {
		t.Error("used the address of another:", out)
	}
	d.LXC("init", "busybox", "c2")
	out, err := d.TryLXC("config", "device", "add", "c2", "eth0", "nic", "network=br1", "ipv4.address=10.111.0.77")
	if err == nil || !strings.Contains(out, "c1") {
		t.Error("an address was given twice:", out)
	}
	d.LXC("delete", "-f", "c1")
	if out = inNetns(t, d, "nft", "list", "ruleset"); strings.Contains(out, "lxdtest77") {
		t.Error("the filter is left:", out)
	}
}

func TestShortLivedInstancesGiveAddressesBack(t *testing.T) {
	d := ready(t)
	d.LXC("network", "create", "br1", "ipv4.address=10.112.0.1/24", "ipv4.dhcp.ranges=10.112.0.10-10.112.0.12", "ipv6.address=none")
	for round := range 3 { // three addresses for nine instances, one after the other
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { d.LXC("launch", "busybox", fmt.Sprintf("r%d-%d", round, i), "-n", "br1") })
		}
		wg.Wait()
		for i := range 3 {
			address(t, d, fmt.Sprintf("r%d-%d", round, i))
		}
		for i := range 3 {
			d.LXC("delete", "-f", fmt.Sprintf("r%d-%d", round, i))
		}
		eventually(t, "no leases", func() bool { return !strings.Contains(leases(t, d, "br1"), "10.112.0.") })
	}
}

func TestNetworksOutliveAKilledDaemonAndEndWithShutdown(t *testing.T) {
	d := ready(t)
	d.LXC("network", "create", "br1")
	pidFile := filepath.Join(d.Dir, "networks", "br1", "dnsmasq.pid")
	before, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	d.Kill()
	d.Start()
	if after, err := os.ReadFile(pidFile); err != nil || string(after) != string(before) {
		t.Errorf("dnsmasq was replaced: %s %v", after, err)
	}
	d.LXC("network", "set", "br1", "dns.domain=example.net")
	if got := strings.TrimSpace(d.LXC("network", "get", "br1", "dns.domain")); got != "example.net" {
		t.Error(got)
	}
	if out, err := d.TryLXC("network", "set", "br1", "bogus=1", "ipv4.dhcp=maybe"); err == nil || !strings.Contains(out, "bogus") || !strings.Contains(out, "ipv4.dhcp") {
		t.Error("not every bad key is named:", out)
	}
	d.Shutdown()
	if links := inNetns(t, d, "ip", "-o", "link"); strings.Contains(links, "br1") {
		t.Error("left:", links)
	}
	if tables := inNetns(t, d, "nft", "list", "tables"); tables != "" {
		t.Error("left:", tables)
	}
	d.Start()
	if links := inNetns(t, d, "ip", "-o", "link"); !strings.Contains(links, "br1") {
		t.Error("not up again:", links)
	}
	d.LXC("network", "delete", "br1")
}
