package nft_test

import (
	"os/exec"
	"strings"
	"testing"

	"lxd/internal/driver/firewall/nft"
	"lxd/internal/host/netns"
)

func sh(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// obstacles are those of lxdbr0, with both families.
func obstacles(t *testing.T) []string {
	t.Helper()
	found, err := nft.New("/var/lib/lxd").Obstacles(t.Context(), guards()["both"])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestObstaclesAndWhatTheySayEndsThem(t *testing.T) {
	netns.Skip(t)
	for name, c := range map[string]struct {
		// tool must be installed; setup makes the obstacles, and clean removes what is left.
		tool, setup, clean string
		// command is a part of what is to be run.
		commands []string
	}{
		"a table of nft": {
			"nft", `nft add table inet other; nft add chain inet other forward '{ type filter hook forward priority 10; policy drop; }'`, "nft delete table inet other",
			[]string{"nft insert rule inet other forward iifname lxdbr0 accept"},
		},
		"another bridge may pass": {
			"nft", `nft add table ip other; nft add chain ip other forward '{ type filter hook forward priority 10; policy drop; }'
				nft add rule ip other forward iifname docker0 accept; nft add rule ip other forward ct state established accept
				nft add rule ip other forward oifname lxdbr0 tcp dport 80 accept`, "nft delete table ip other",
			[]string{"nft insert rule ip other forward oifname lxdbr0 accept"},
		},
		"iptables": {
			"iptables-nft", "iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP", "nft delete table ip filter; nft delete table ip6 filter",
			[]string{"iptables -I FORWARD -i lxdbr0 -j ACCEPT", "ip6tables -I FORWARD -o lxdbr0 -j ACCEPT"},
		},
		"Docker": {
			"iptables-nft", "iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -i docker0 -j ACCEPT; iptables-nft -P FORWARD DROP",
			"nft delete table ip filter", []string{"iptables -I DOCKER-USER -i lxdbr0 -j ACCEPT && iptables -I DOCKER-USER -o lxdbr0 -j ACCEPT"},
		},
		"the older iptables": {
			"iptables-legacy", "iptables-legacy -A INPUT -i lxdbr0 -j ACCEPT; iptables-legacy -A INPUT -o lxdbr0 -j ACCEPT || true; iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP",
			"iptables-legacy -F; iptables-legacy -P FORWARD ACCEPT; ip6tables-legacy -F; ip6tables-legacy -P FORWARD ACCEPT",
			[]string{"iptables-legacy -I FORWARD -i lxdbr0 -j ACCEPT", "ip6tables-legacy -I FORWARD -o lxdbr0 -j ACCEPT"},
		},
		"Docker with the older iptables": {
			"iptables-legacy", "iptables-legacy -N DOCKER-USER; iptables-legacy -A FORWARD -j DOCKER-USER; iptables-legacy -A FORWARD -i docker0 -j ACCEPT; iptables-legacy -P FORWARD DROP",
			"iptables-legacy -F; iptables-legacy -X; iptables-legacy -P FORWARD ACCEPT", []string{"iptables-legacy -I DOCKER-USER -o lxdbr0 -j ACCEPT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skip("needs " + c.tool)
			}
			sh(t, c.setup)
			defer sh(t, c.clean)
			found := obstacles(t)
			text := strings.Join(found, "\n")
			for _, want := range c.commands {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			for _, o := range found {
				_, command, _ := strings.Cut(o, "let them pass with: ")
				sh(t, command)
			}
			if left := obstacles(t); len(left) > 0 {
				t.Errorf("left after doing what was said: %q", left)
			}
		})
	}
	if left := obstacles(t); len(left) > 0 {
		t.Error(left)
	}
}

func TestWhatDocumentationOfOthersAdvisesIsEnough(t *testing.T) {
	netns.Skip(t)
	if _, err := exec.LookPath("iptables-nft"); err != nil {
		t.Skip("needs iptables-nft")
	}
	sh(t, `iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -P FORWARD DROP
		iptables-nft -I DOCKER-USER -i lxdbr0 -j ACCEPT; iptables-nft -I DOCKER-USER -o lxdbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`)
	defer sh(t, "nft delete table ip filter")
	if found := obstacles(t); len(found) > 0 {
		t.Error(found)
	}
}

func TestNoObstacles(t *testing.T) {
	netns.Skip(t)
	sh(t, `nft add table inet other; nft add chain inet other forward '{ type filter hook forward priority 10; policy accept; }'
		nft add chain inet other input '{ type filter hook input priority 10; policy drop; }'`)
	defer sh(t, "nft delete table inet other")
	if found := obstacles(t); len(found) > 0 {
		t.Error(found)
	}
}
