package nic

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// traffic is what the host does about the packets of a NIC that has a side of its own there.
type traffic struct {
	shape  netlink.Shape
	routes []netip.Prefix
}

// trafficKeys are the keys of such NICs; they can change while the NIC is attached.
func trafficKeys() []schema.Key {
	bits := schema.Type{Name: "string", OK: func(v string) error { _, err := parseBits(v); return err }}
	routes := func(family func(netip.Addr) bool) schema.Type {
		return schema.Type{Name: "string", OK: func(v string) error { return checkRoutes(v, family) }}
	}
	return []schema.Key{
		{Name: "ipv4.routes", Type: routes(netip.Addr.Is4), Live: schema.LiveYes, Short: "IPv4 networks that the host sends to the NIC, separated by commas"},
		{Name: "ipv6.routes", Type: routes(netip.Addr.Is6), Live: schema.LiveYes, Short: "IPv6 networks that the host sends to the NIC, separated by commas"},
		{Name: "limits.egress", Type: bits, Live: schema.LiveYes, Short: "Most that the instance sends, in bits per second, such as 10Mbit"},
		{Name: "limits.ingress", Type: bits, Live: schema.LiveYes, Short: "Most that the instance receives, in bits per second, such as 10Mbit"},
		{Name: "limits.max", Type: bits, Live: schema.LiveYes, Short: "Most that the instance sends, and as much that it receives, in bits per second"},
		{Name: "limits.priority", Type: schema.String, Later: true, Short: "Not supported by this server yet"},
		{Name: "queue.tx.length", Type: schema.Between(1, 1<<24), Short: "Length of the transmit queue"},
	}
}

func checkRoutes(v string, family func(netip.Addr) bool) error {
	for r := range strings.SplitSeq(v, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(r)); err != nil || !family(p.Addr()) {
			return errors.New("must be networks of that family, such as 10.0.0.0/24, separated by commas")
		}
	}
	return nil
}

// bitUnits are the units of rates; without one it is bits per second.
var bitUnits = []struct {
	name   string
	factor int64
}{
	{"Kibit", 1 << 10}, {"Mibit", 1 << 20}, {"Gibit", 1 << 30}, {"Tibit", 1 << 40},
	{"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {"Tbit", 1e12}, {"bit", 1}, {"", 1},
}

// parseBits reads a rate; "" is none.
func parseBits(v string) (int64, error) {
	if v == "" {
		return 0, nil
	}
	for _, u := range bitUnits {
		number, has := strings.CutSuffix(v, u.name)
		if !has {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > 1e15/u.factor {
			break
		}
		return n * u.factor, nil
	}
	return 0, errors.New("must be a number of bits per second, such as 10Mbit")
}

// trafficOf reads validated keys. What the instance receives is what the host sends.
func trafficOf(cfg device.Config, p network.Port) traffic {
	in, out := cfg["limits.ingress"], cfg["limits.egress"]
	if all := cfg["limits.max"]; all != "" {
		in, out = all, all
	}
	var t traffic
	t.shape.Sent, _ = parseBits(in)
	t.shape.Received, _ = parseBits(out)
	t.routes = p.Routes
	return t
}

func checkTraffic(cfg device.Config) error {
	if cfg["limits.max"] != "" && (cfg["limits.ingress"] != "" || cfg["limits.egress"] != "") {
		return errs.Newf(errs.Invalid, "limits.max cannot be set together with limits.ingress or limits.egress")
	}
	return nil
}

// begin makes it so for the interface host; via is what routes go by. Whoever calls takes back what is made when it fails.
func (t traffic) begin(l Links, host, via string) error {
	if t.shape != (netlink.Shape{}) {
		if err := l.Shape(host, t.shape); err != nil {
			return err
		}
	}
	if len(t.routes) > 0 {
		return l.Route(via, t.routes, nil)
	}
	return nil
}

// end takes it back; the interfaces may be gone.
func (t traffic) end(l Links, host, via string) (err error) {
	if t.shape.Received > 0 {
		err = l.Unshape(host)
	}
	if len(t.routes) > 0 {
		err = errors.Join(err, l.Route(via, nil, t.routes))
	}
	return err
}

// change makes it so where before was; on failure it is as before.
func (t traffic) change(l Links, before traffic, host, via string) error {
	gone := slices.DeleteFunc(slices.Clone(before.routes), func(p netip.Prefix) bool { return slices.Contains(t.routes, p) })
	err := l.Shape(host, t.shape)
	if err == nil {
		err = l.Route(via, t.routes, gone)
	}
	if err != nil {
		fresh := slices.DeleteFunc(slices.Clone(t.routes), func(p netip.Prefix) bool { return slices.Contains(before.routes, p) })
		return errors.Join(err, l.Shape(host, before.shape), l.Route(via, before.routes, fresh))
	}
	return nil
}
