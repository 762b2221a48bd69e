package proxy

import (
	"net"
	"net/netip"
	"path"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/relay"
	"lxd/internal/network/forward"
)

// mostPorts is how many ports a device may have without NAT: each costs a socket.
const mostPorts = 2048

// address is one side of a proxy: a network with an IP address and ports, or a socket's path.
type address struct {
	network string
	ip      netip.Addr
	ports   []forward.Range
	path    string
}

// parse reads "tcp:10.0.0.1:80-90,443", "udp:[::1]:53", "unix:/run/x.sock" and "unix:@name".
func parse(s string) (a address, err error) {
	network, rest, ok := strings.Cut(s, ":")
	a.network = network
	switch {
	case !ok || network != relay.TCP && network != relay.UDP && network != relay.Unix:
		return a, errs.Newf(errs.Invalid, "%q must begin with tcp:, udp: or unix:", s)
	case network == relay.Unix:
		a.path = rest
		if !isSocket(rest) {
			return a, errs.Newf(errs.Invalid, "%q must name a socket by its whole path, as in unix:/run/x.sock, or one without a file, as in unix:@x", s)
		}
		return a, nil
	}
	host, ports, err := net.SplitHostPort(rest)
	if err != nil {
		return a, errs.Newf(errs.Invalid, "%q must be an IP address and ports, as in tcp:10.0.0.1:80 or tcp:[fd42::1]:80-90,443", s)
	}
	if a.ip, err = netip.ParseAddr(host); err != nil || a.ip.Zone() != "" {
		return a, errs.Newf(errs.Invalid, "%q is no IP address in %q: names are not looked up", host, s)
	}
	a.ports, err = forward.ParseRanges(ports)
	return a, err
}

// isSocket tells whether s is the whole path of a socket, or @ and a name.
func isSocket(s string) bool {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		return name != "" && !strings.ContainsRune(name, 0)
	}
	return path.IsAbs(s) && path.Clean(s) == s && s != "/" && !strings.ContainsRune(s, 0)
}

// endpoints are the addresses of all ports.
func (a address) endpoints() (all []relay.Endpoint) {
	if a.network == relay.Unix {
		return []relay.Endpoint{{Network: a.network, Address: a.path}}
	}
	for port := range forward.Each(a.ports) {
		all = append(all, relay.Endpoint{Network: a.network, Address: netip.AddrPortFrom(a.ip, port).String()})
	}
	return all
}

// rules pairs the ports of both sides: as many, or all to one.
func rules(listen, connect address) (out []relay.Rule, err error) {
	from, to := listen.endpoints(), connect.endpoints()
	switch {
	case len(from) != len(to) && len(to) != 1:
		return nil, errs.Newf(errs.Invalid, "\"listen\" has %d ports and \"connect\" %d: name as many, or one to connect to", len(from), len(to))
	case (listen.network == relay.UDP) != (connect.network == relay.UDP):
		return nil, errs.Newf(errs.Invalid, "UDP can only be carried to UDP: use one network on both sides")
	}
	for i, e := range from {
		out = append(out, relay.Rule{Listen: e, Connect: to[min(i, len(to)-1)]})
	}
	return out, nil
}
