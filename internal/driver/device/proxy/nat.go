package proxy

import (
	"context"
	"net/netip"

	"lxd/internal/errs"
	"lxd/internal/host/relay"
)

// NAT rewrites packets in the firewall of the host. The methods are idempotent.
type NAT interface {
	// Translate sends packets for each From to the To of the same index; name is that of the device.
	Translate(ctx context.Context, name string, t Translation) error
	Untranslate(ctx context.Context, name string) error
}

// Translation is what packets are sent elsewhere.
type Translation struct {
	// Network is tcp or udp.
	Network  string
	From, To []netip.AddrPort
}

// checkNAT refuses what rewriting packets cannot do.
func (p *proxy) checkNAT() error {
	switch {
	case !p.translates():
		return nil
	case p.nat == nil:
		return errs.Newf(errs.Unsupported, "\"nat\" needs a firewall that this host does not have: leave it out")
	case p.inside:
		return errs.Newf(errs.Invalid, "\"nat\" works on the host only: leave out \"bind\"")
	case p.listen.network == relay.Unix || p.listen.network != p.connect.network:
		return errs.Newf(errs.Invalid, "\"nat\" needs TCP on both sides, or UDP on both")
	case p.listen.ip.IsUnspecified():
		return errs.Newf(errs.Invalid, "\"nat\" needs one address of the host to listen on: %s is all of them", p.listen.ip)
	case p.listen.ip.Is4() != p.connect.ip.Is4():
		return errs.Newf(errs.Invalid, "\"nat\" needs addresses of one family on both sides")
	case p.connect.ip.IsUnspecified() || p.connect.ip.IsLoopback():
		return errs.Newf(errs.Invalid, "\"nat\" needs the address of one of the instance's NICs to connect to: set it with ipv4.address or ipv6.address of the NIC")
	}
	return nil
}

// translate makes the firewall send packets on.
func (p *proxy) translate(ctx context.Context) error {
	t := Translation{Network: p.listen.network}
	for i := range p.rules {
		t.From = append(t.From, netip.AddrPortFrom(p.listen.ip, p.listen.ports[i]))
		t.To = append(t.To, netip.AddrPortFrom(p.connect.ip, p.connect.ports[min(i, len(p.connect.ports)-1)]))
	}
	return p.nat.Translate(ctx, p.name(), t)
}
