package https

import (
	"net"
	"net/netip"
	"strconv"

	"lxd/internal/server"
)

// endpoint is the canonical form of an address with its port.
func endpoint(address string, defaultPort int) (string, error) {
	host, port, err := server.SplitAddress(address, defaultPort)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// reachable lists the addresses under which a listener is reached from elsewhere: its own, or those of all interfaces when it listens
// on every address. A host without a network is reached on its loopback address.
func reachable(l net.Addr) []string {
	tcp, ok := l.(*net.TCPAddr)
	if !ok {
		return nil
	}
	port := strconv.Itoa(tcp.Port)
	if !tcp.IP.IsUnspecified() {
		return []string{net.JoinHostPort(tcp.IP.String(), port)}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out, loopback []string
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLinkLocalUnicast() || (tcp.IP.To4() != nil && !p.Addr().Is4()) {
			continue
		}
		where := net.JoinHostPort(p.Addr().String(), port)
		if p.Addr().IsLoopback() {
			loopback = append(loopback, where)
			continue
		}
		out = append(out, where)
	}
	if len(out) == 0 {
		return loopback
	}
	return out
}
