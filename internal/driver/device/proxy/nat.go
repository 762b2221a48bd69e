package proxy

import (
	"context"

	"lxd/internal/errs"
	"lxd/internal/host/relay"
	"lxd/internal/network/forward"
)

// NAT rewrites packets in the firewall of the host. The methods are idempotent.
type NAT interface {
	// Translate sends the packets of r to where it says, and nothing else of that name any more.
	Translate(ctx context.Context, name string, r forward.Rule) error
	Untranslate(ctx context.Context, name string) error
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
	case p.listen.ip.IsUnspecified() || p.listen.ip.IsLoopback():
		return errs.Newf(errs.Invalid, "\"nat\" needs one address of the host to listen on, which others can reach: %s is not", p.listen.ip)
	case p.listen.ip.Is4() != p.connect.ip.Is4():
		return errs.Newf(errs.Invalid, "\"nat\" needs addresses of one family on both sides")
	case p.connect.ip.IsUnspecified() || p.connect.ip.IsLoopback():
		return errs.Newf(errs.Invalid, "\"nat\" needs the address of one of the instance's NICs to connect to: set it with ipv4.address or ipv6.address of the NIC")
	}
	return nil
}

// translate makes the firewall send packets on.
func (p *proxy) translate(ctx context.Context) error {
	return p.nat.Translate(ctx, p.name(), forward.Rule{Listen: p.listen.ip, Ports: []forward.Port{{
		Protocol: p.listen.network, Listen: p.listen.ports, Target: p.connect.ip, To: p.connect.ports,
	}}})
}
