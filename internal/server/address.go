package server

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Ports that are used if an address names none: those of the API, of the metrics and of the debugging server.
const (
	DefaultPort        = 8443
	DefaultMetricsPort = 9100
	DefaultDebugPort   = 8444
)

// hostName is what a host may be called, as a name in the DNS.
var hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

// SplitAddress takes an address to listen on apart: "10.0.0.1", "10.0.0.1:8443", "[::]:8443", "::", ":8443" or a host name. Without a port
// it is defaultPort; an empty host is every address.
func SplitAddress(s string, defaultPort int) (host string, port int, err error) {
	if ip, e := netip.ParseAddr(s); e == nil { // an IPv6 address without brackets is full of colons
		return ip.String(), defaultPort, nil
	}
	host, port = s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host = s[:i]
		if port, err = strconv.Atoi(s[i+1:]); err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("the port of %q must be a number from 1 to 65535", s)
		}
	}
	host, err = checkHost(host)
	return host, port, err
}

func checkHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !ip.Is6() || !strings.HasSuffix(inner, "]") {
			return "", fmt.Errorf("%q must have an IPv6 address between its brackets", host)
		}
		return ip.String(), nil
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return "", nil
	case err == nil && ip.Is4():
		return host, nil
	case strings.Trim(host, "0123456789.") == "":
		return "", fmt.Errorf("%q is an incomplete IPv4 address", host)
	case !hostName.MatchString(host) || len(host) > 253:
		return "", fmt.Errorf("%q must be an address of this host, such as 10.0.0.1, [fd42::1]:8443 or :8443", host)
	}
	return host, nil
}

// areIPs tells whether s is a list of IP addresses.
func areIPs(s string) error {
	for a := range strings.SplitSeq(s, ",") {
		if _, err := netip.ParseAddr(strings.TrimSpace(a)); err != nil {
			return fmt.Errorf("%q is no IP address: list addresses with commas between them", a)
		}
	}
	return nil
}

func isAddress(s string) error {
	_, _, err := SplitAddress(s, DefaultPort)
	return err
}
