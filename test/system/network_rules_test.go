//go:build system

package system

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/test/harness"
)

// warnings are those of br1 that are not resolved, or all.
func warnings(t *testing.T, d *harness.Daemon, all bool) (list []api.Warning) {
	t.Helper()
	_, body := d.HTTP("GET", "/1.0/warnings?recursion=1", "")
	var env struct{ Metadata []api.Warning }
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	for _, w := range env.Metadata {
		if strings.HasSuffix(w.EntityURL, "/br1") && (all || w.Status != "resolved") {
			list = append(list, w)
		}
	}
	return list
}

func TestOtherFirewallsAreToldOf(t *testing.T) {
	d := ready(t)
	inNetns(t, d, "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	d.LXC("network", "create", "br1", "ipv4.address=10.113.0.1/24", "ipv6.address=none")
	const command = "iptables -I FORWARD -i br1 -j ACCEPT && iptables -I FORWARD -o br1 -j ACCEPT"
	list := warnings(t, d, false)
	if len(list) != 1 || list[0].Type != "Network unavailable" || list[0].EntityURL != "/1.0/networks/br1" || !strings.Contains(list[0].LastMessage, command) {
		t.Fatalf("%+v", list)
	}
	if out := d.LXC("network", "info", "br1"); !strings.Contains(out, "Warnings:") || !strings.Contains(out, command) {
		t.Error(out)
	}
	// What it says, in the words of nft, so that the test needs no iptables.
	inNetns(t, d, "nft", "add rule ip filter FORWARD iifname br1 accept; add rule ip filter FORWARD oifname br1 accept")
	d.LXC("network", "set", "br1", "user.a=b") // looks again, as each minute does
	if list := warnings(t, d, false); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	inNetns(t, d, "nft", "flush chain ip filter FORWARD")
	d.Terminate()
	d.Start()
	if list := warnings(t, d, false); len(list) != 1 || list[0].Count != 2 {
		t.Errorf("after a restart: %+v", list)
	}
	d.LXC("network", "delete", "br1")
	if list := warnings(t, d, true); len(list) != 0 {
		t.Errorf("of a network that is gone: %+v", list)
	}
	inNetns(t, d, "nft", "delete table ip filter")
}

func TestKilledDnsmasqIsRevivedAndToldOf(t *testing.T) {
	d := ready(t)
	d.LXC("network", "create", "br1", "ipv4.address=10.114.0.1/24", "ipv6.address=none")
	pid := func() string {
		b, _ := os.ReadFile(d.Dir + "/networks/br1/dnsmasq.pid")
		return strings.TrimSpace(string(b))
	}
	before := pid()
	inNetns(t, d, "kill", "-9", before)
	eventually(t, "another dnsmasq", func() bool { p := pid(); return p != "" && p != before })
	eventually(t, "a warning", func() bool {
		list := warnings(t, d, true)
		return len(list) == 1 && strings.Contains(list[0].LastMessage, "dnsmasq of network br1") && list[0].Status == "resolved"
	})
	d.LXC("launch", "busybox", "c1", "-n", "br1")
	if ip := address(t, d, "c1"); !strings.HasPrefix(ip, "10.114.0.") {
		t.Error(ip)
	}
	d.LXC("delete", "-f", "c1")
	d.LXC("network", "delete", "br1")
}

func TestForwardsAndACLsOfContainers(t *testing.T) {
	d := ready(t)
	inNetns(t, d, "sh", "-ec", "ip link add out0 type veth peer name out1; ip addr add 192.0.2.1/24 dev out0; ip link set out0 up; ip link set out1 up")
	defer inNetns(t, d, "ip", "link", "del", "out0")
	d.LXC("network", "acl", "create", "web")
	d.LXC("network", "create", "br1", "ipv4.address=10.115.0.1/24", "ipv6.address=none")
	d.LXC("init", "busybox", "c1")
	d.LXC("config", "device", "add", "c1", "eth0", "nic", "network=br1", "name=eth0", "ipv4.address=10.115.0.5")
	d.LXC("start", "c1")
	address(t, d, "c1")
	d.LXC("exec", "c1", "--", "sh", "-c", "(while :; do echo hello | nc -l -p 80; done) >/dev/null 2>&1 &")
	get := func(address string, port int) string {
		out, _ := exec.Command("ip", "netns", "exec", d.Netns, "timeout", "2", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d; cat <&3", address, port)).Output()
		return strings.TrimSpace(string(out))
	}
	d.LXC("network", "forward", "create", "br1", "192.0.2.1")
	d.LXC("network", "forward", "port", "add", "br1", "192.0.2.1", "tcp", "8080", "10.115.0.5", "80")
	eventually(t, "an answer by the forward", func() bool { return get("192.0.2.1", 8080) == "hello" })
	d.Kill()
	d.Start() // a daemon that was killed finds what is there
	eventually(t, "an answer after a restart", func() bool { return get("192.0.2.1", 8080) == "hello" })

	d.LXC("network", "set", "br1", "security.acls=web")
	if got := get("192.0.2.1", 8080); got != "" {
		t.Error("an empty ACL lets in:", got)
	}
	d.LXC("network", "acl", "rule", "add", "web", "ingress", "action=allow", "protocol=tcp", "destination_port=80", "state=logged")
	eventually(t, "an answer that the ACL allows", func() bool { return get("192.0.2.1", 8080) == "hello" })
	eventually(t, "an entry in the log", func() bool {
		out := d.LXC("network", "acl", "show-log", "web")
		return strings.Contains(out, `"proto":"tcp"`) && strings.Contains(out, `"dst":"10.115.0.5"`) && strings.Contains(out, `"dst_port":"80"`) && strings.Contains(out, `"action":"allow"`)
	})
	if _, err := d.TryLXC("exec", "c1", "--", "ping", "-c1", "-W1", "10.115.0.1"); err == nil {
		t.Error("what is not allowed gets out")
	}
	d.LXC("network", "unset", "br1", "security.acls")
	d.LXC("exec", "c1", "--", "ping", "-c1", "-W2", "10.115.0.1")
	d.LXC("delete", "-f", "c1")
	d.LXC("network", "delete", "br1")
	d.LXC("network", "acl", "delete", "web")
	if rest := inNetns(t, d, "nft", "list", "ruleset"); strings.Contains(rest, "br1") || strings.Contains(rest, "192.0.2.1") {
		t.Error("left:", rest)
	}
}

// TestKillWhileRulesChange kills the daemon at any time while forwards, ACLs and networks change: what it is told of afterwards is what
// the host does, and nothing is left when all is deleted.
func TestKillWhileRulesChange(t *testing.T) {
	d := ready(t)
	before := d.Traces(t)
	d.LXC("network", "acl", "create", "a")
	d.LXC("network", "create", "br1", "ipv4.address=10.116.0.1/24", "ipv6.address=none")
	for round := range 12 {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				n := fmt.Sprint(i%5 + 2)
				_, _ = d.TryLXC("network", "forward", "create", "br1", "192.0.2."+n, "target_address=10.116.0."+n)
				_, _ = d.TryLXC("network", "acl", "rule", "add", "a", "ingress", "action=drop", "source=192.0.2."+n)
				_, _ = d.TryLXC("network", "set", "br1", "security.acls="+[]string{"a", ""}[i%2])
				_, _ = d.TryLXC("network", "forward", "delete", "br1", "192.0.2."+n)
				_, _ = d.TryLXC("network", "create", "br2", "ipv4.address=10.117.0.1/24", "ipv6.address=none")
				_, _ = d.TryLXC("network", "delete", "br2")
			}
		}()
		time.Sleep(time.Duration(100+round*37) * time.Millisecond)
		d.Kill()
		close(stop)
		<-done
		d.Start()
		rules := inNetns(t, d, "nft", "list", "ruleset")
		for n := 2; n < 7; n++ {
			code, _ := d.HTTP("GET", fmt.Sprintf("/1.0/networks/br1/forwards/192.0.2.%d", n), "")
			if stored, there := code == 200, strings.Contains(rules, fmt.Sprintf("dnat ip to 10.116.0.%d", n)); stored != there {
				t.Errorf("round %d: forward %d is stored: %v, on the host: %v", round, n, stored, there)
			}
		}
		acls := strings.TrimSpace(d.LXC("network", "get", "br1", "security.acls"))
		if there := strings.Contains(rules, "chain to.br1"); there != (acls == "a") {
			t.Errorf("round %d: ACLs %q are stored, on the host: %v", round, acls, there)
		}
		_, code := d.HTTP("GET", "/1.0/networks/br2", "")
		if stored, there := !strings.Contains(code, `"error_code":404`), strings.Contains(inNetns(t, d, "ip", "-o", "link"), "br2"); stored != there {
			t.Errorf("round %d: br2 is stored: %v, on the host: %v", round, stored, there)
		}
	}
	_, _ = d.TryLXC("network", "delete", "br2")
	d.LXC("network", "delete", "br1")
	d.LXC("network", "acl", "delete", "a")
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

func TestDebiansClientOnRulesOfNetworks(t *testing.T) {
	d := ready(t)
	for _, c := range []struct{ args, stdin, want string }{
		{"network create br1 ipv4.address=10.119.0.1/24 ipv6.address=none", "", "Network br1 created"},
		{"network forward create br1 192.0.2.1 target_address=10.119.0.5", "", "192.0.2.1 created"},
		{"network forward port add br1 192.0.2.1 tcp 80 10.119.0.6 8080", "", ""},
		{"network forward list br1", "", "192.0.2.1"},
		{"network forward port remove br1 192.0.2.1 tcp 80", "", ""},
		{"network forward set br1 192.0.2.1 user.a=b", "", ""},
		{"network forward edit br1 192.0.2.1", "description: edited\nconfig: {}\nports: []\n", ""},
		{"network forward show br1 192.0.2.1", "", "description: edited"},
		{"network acl create web user.a=b", "", "Network ACL web created"},
		{"network acl rule add web ingress action=allow protocol=tcp destination_port=80 state=logged", "", ""},
		{"network acl show web", "", "destination_port: \"80\""},
		{"network acl list", "", "| web"},
		{"network set br1 security.acls=web", "", ""},
		{"network acl show web", "", "/1.0/networks/br1"},
		{"network acl show-log web", "", ""},
		{"network unset br1 security.acls", "", ""},
		{"network acl rule remove web ingress action=allow", "", ""},
		{"network acl rename web web2", "", "renamed to web2"},
		{"network acl delete web2", "", "deleted"},
		{"network info br1", "", "10.119.0.1/24"},
		{"network list-leases br1", "", "GATEWAY"},
		{"warning list", "", ""},
		{"network forward delete br1 192.0.2.1", "", "deleted"},
		{"network delete br1", "", "deleted"},
	} {
		out, err := foreign(t, d, c.stdin, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("lxc %s: %v: %s", c.args, err, out)
		}
	}
}
