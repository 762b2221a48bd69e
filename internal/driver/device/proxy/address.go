package proxy

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/relay"
)

// mostPorts is how many ports a device may have without NAT: each costs a socket.
const mostPorts = 2048

// address is one side of a proxy: a network with an IP address and ports, or a socket's path.
type address struct {
	network string
	ip      netip.Addr
	ports   []uint16
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
	a.ports, err = parsePorts(ports)
	return a, err
}

// isSocket tells whether s is the whole path of a socket, or @ and a name.
func isSocket(s string) bool {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		return name != "" && !strings.ContainsRune(name, 0)
	}
	return path.IsAbs(s) && path.Clean(s) == s && s != "/" && !strings.ContainsRune(s, 0)
}

func parsePorts(s string) (all []uint16, err error) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || a == 0 || b < a {
			return nil, errs.Newf(errs.Invalid, "ports %q must be numbers and ranges from 1 to 65535, as in 80,8000-8010", s)
		}
		for p := a; p <= b; p++ {
			all = append(all, uint16(p))
		}
	}
	return all, nil
}

// String is the address of one port.
func (a address) endpoint(i int) relay.Endpoint {
	if a.network == relay.Unix {
		return relay.Endpoint{Network: a.network, Address: a.path}
	}
	return relay.Endpoint{Network: a.network, Address: netip.AddrPortFrom(a.ip, a.ports[i]).String()}
}

// rules pairs the ports of both sides: as many, or all to one.
func rules(listen, connect address) (out []relay.Rule, err error) {
	n, m := max(len(listen.ports), 1), max(len(connect.ports), 1)
	switch {
	case n != m && m != 1:
		return nil, errs.Newf(errs.Invalid, "\"listen\" has %d ports and \"connect\" %d: name as many, or one to connect to", n, m)
	case listen.network != relay.UDP && connect.network == relay.UDP, listen.network == relay.UDP && connect.network != relay.UDP:
		return nil, errs.Newf(errs.Invalid, "UDP can only be carried to UDP: use one network on both sides")
	}
	for i := range n {
		out = append(out, relay.Rule{Listen: listen.endpoint(i), Connect: connect.endpoint(min(i, m-1))})
	}
	return out, nil
}
