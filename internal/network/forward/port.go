package forward

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
)

func ordinal(i int) string { return strconv.Itoa(i + 1) }

// target reads the address of a machine of the network.
func target(text string, listen netip.Addr, subnets []netip.Prefix) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "":
		return a, fmt.Errorf("%q is not an IP address", text)
	case a.Is4() != listen.Is4():
		return a, fmt.Errorf("%s is of another family than the listen address", a)
	case a == listen:
		return a, fmt.Errorf("%s is the listen address itself", a)
	case !slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(a) && p.Masked().Addr() != a }):
		return a, fmt.Errorf("%s is not within the network's subnet", a)
	}
	return a, nil
}

// portOf reads one entry of the list of ports.
func portOf(p api.NetworkForwardPort, listen netip.Addr, subnets []netip.Prefix) (out Port, err error) {
	if out.Protocol = p.Protocol; p.Protocol != "tcp" && p.Protocol != "udp" {
		return out, fmt.Errorf("protocol %q must be tcp or udp", p.Protocol)
	}
	if out.Listen, err = ParseRanges(p.ListenPort); err != nil {
		return out, fmt.Errorf("listen_port: %w", err)
	}
	if len(out.Listen) == 0 {
		return out, fmt.Errorf("listen_port is missing")
	}
	if err := disjoint(out.Listen); err != nil {
		return out, fmt.Errorf("listen_port: %w", err)
	}
	if out.To, err = ParseRanges(p.TargetPort); err != nil {
		return out, fmt.Errorf("target_port: %w", err)
	}
	if from, to := Count(out.Listen), Count(out.To); to > 1 && to != from {
		return out, fmt.Errorf("target_port has %d ports and listen_port %d: give as many, one, or none", to, from)
	}
	if out.Target, err = target(p.TargetAddress, listen, subnets); err != nil {
		return out, fmt.Errorf("target_address: %w", err)
	}
	return out, nil
}

// ParseRanges reads a list such as "80,90-99".
func ParseRanges(text string) (list []Range, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, e1 := strconv.ParseUint(first, 10, 16)
		b, e2 := strconv.ParseUint(last, 10, 16)
		if e1 != nil || e2 != nil || a == 0 || b < a {
			return nil, fmt.Errorf("%q is not a port from 1 to 65535, or a range FIRST-LAST of them", part)
		}
		list = append(list, Range{uint16(a), uint16(b)})
	}
	return list, nil
}

// Count is how many ports there are.
func Count(list []Range) (n int) {
	for _, r := range list {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

// Each yields the ports one by one.
func Each(list []Range) func(func(uint16) bool) {
	return func(yield func(uint16) bool) {
		for _, r := range list {
			for n := int(r.First); n <= int(r.Last); n++ {
				if !yield(uint16(n)) {
					return
				}
			}
		}
	}
}

func disjoint(list []Range) error {
	for i, a := range list {
		for _, b := range list[:i] {
			if a.First <= b.Last && b.First <= a.Last {
				return fmt.Errorf("port %d is listed twice", max(a.First, b.First))
			}
		}
	}
	return nil
}

// clash says which port another entry of the same protocol has.
func clash(others []Port, p Port) error {
	for _, o := range others {
		if o.Protocol != p.Protocol {
			continue
		}
		if err := disjoint(slices.Concat(o.Listen, p.Listen)); err != nil {
			return fmt.Errorf("listen_port: %w", err)
		}
	}
	return nil
}
