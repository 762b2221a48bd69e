package nft

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/google/nftables"

	"lxd/internal/network"
	"lxd/internal/network/forward"
)

// Translate sends what is for an address of the host to machines elsewhere: what comes in, and what the host itself sends. name is a word
// of letters and digits.
func (f *Firewall) Translate(_ context.Context, name string, r forward.Rule) error {
	if err := f.replace(nftables.TableFamilyINet, translateNames(name), translateChains(name, r)); err != nil {
		return fmt.Errorf("firewall rules of proxy for %s: %w", r.Listen, err)
	}
	return nil
}

// Untranslate removes the rules of Translate; missing ones are no error.
func (f *Firewall) Untranslate(_ context.Context, name string) error {
	if err := f.replace(nftables.TableFamilyINet, translateNames(name), nil); err != nil {
		return fmt.Errorf("remove the firewall rules of a proxy: %w", err)
	}
	return nil
}

func translateNames(name string) []string {
	return []string{"proxypre." + name, "proxyloc." + name, "proxyback." + name}
}

// translateChains are like those of a forward, but that only the machine itself, which may reach itself by the address, is hidden.
func translateChains(name string, r forward.Rule) []chain {
	names, to := translateNames(name), destinations(r)
	var hidden []rule
	for _, p := range r.Ports {
		self := netip.PrefixFrom(p.Target, p.Target.BitLen())
		hidden = append(hidden, all(destinationChanged(), nfproto(p.Target.Is6(), ""), saddr(self, true), daddr(self, true), masquerade()))
	}
	return []chain{
		{name: names[0], kind: nftables.ChainTypeNAT, hook: "prerouting", priority: dstnat, rules: to},
		{name: names[1], kind: nftables.ChainTypeNAT, hook: "output", priority: dstnat, rules: to},
		{name: names[2], kind: nftables.ChainTypeNAT, hook: "postrouting", priority: srcnatBefore, rules: hidden},
	}
}

var _ network.Firewall = (*Firewall)(nil)
