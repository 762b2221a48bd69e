package nft_test

import (
	"net/netip"
	"strings"
	"testing"

	"lxd/internal/driver/firewall/nft"
	"lxd/internal/host/netns"
	"lxd/internal/network/forward"
)

func translations() map[string]forward.Rule {
	return map[string]forward.Rule{
		"one": {Listen: netip.MustParseAddr("192.0.2.1"), Ports: []forward.Port{{
			Protocol: "tcp", Listen: []forward.Range{{First: 80, Last: 80}}, Target: netip.MustParseAddr("10.1.2.3"), To: []forward.Range{{First: 8080, Last: 8080}},
		}}},
		"each": {Listen: netip.MustParseAddr("2001:db8::1"), Ports: []forward.Port{{
			Protocol: "udp", Listen: []forward.Range{{First: 5000, Last: 5002}}, Target: netip.MustParseAddr("fd42::3"), To: []forward.Range{{First: 6000, Last: 6001}, {First: 53, Last: 53}},
		}}},
	}
}

func TestGoldenTranslations(t *testing.T) {
	for name, r := range translations() {
		golden(t, "translate-"+name, nft.RenderTranslation("lxd", "0a", r))
	}
}

func TestTranslationsComeAndGo(t *testing.T) {
	netns.Skip(t)
	fw := nft.New("/var/lib/lxd")
	for name, r := range translations() {
		for range 2 {
			if err := fw.Translate(t.Context(), "0a", r); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := tables(t, "table", "inet", "lxd"), nft.RenderTranslation("lxd", "0a", r); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: the kernel has\n%s\nwant\n%s", name, got, want)
		}
		for range 2 {
			if err := fw.Untranslate(t.Context(), "0a"); err != nil {
				t.Fatal(err)
			}
		}
		if left := tables(t, "ruleset"); strings.Contains(left, "0a") {
			t.Error("rules are left:", left)
		}
	}
}
