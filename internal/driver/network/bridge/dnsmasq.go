package bridge

import (
	"fmt"
	"net/netip"
	"net/url"
	"os/user"
	"path/filepath"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// files of a network's folder.
func confFile(n network.Net) string  { return filepath.Join(n.Dir, "dnsmasq.conf") }
func rawFile(n network.Net) string   { return filepath.Join(n.Dir, "dnsmasq.raw") }
func pidFile(n network.Net) string   { return filepath.Join(n.Dir, "dnsmasq.pid") }
func leaseFile(n network.Net) string { return filepath.Join(n.Dir, "dnsmasq.leases") }
func logFile(n network.Net) string   { return filepath.Join(n.Dir, "dnsmasq.log") }
func hostsDir(n network.Net) string  { return filepath.Join(n.Dir, "dnsmasq.hosts") }

// config renders dnsmasq's configuration. Every value in it is of a type that refuses line breaks; raw lines are in a file of
// their own.
func config(keys *schema.Schema, n network.Net) string {
	c := conf{keys: keys, n: n}
	c.line("# Made by lxd for network %s; changes are lost.", n.Name)
	for _, l := range []string{
		"keep-in-foreground", "bind-dynamic", "except-interface=lo", "interface=" + n.Name, "strict-order", "no-hosts", "no-ping",
		"dhcp-authoritative", "dhcp-no-override", "dhcp-fqdn", "quiet-dhcp", "quiet-dhcp6", "quiet-ra",
		"pid-file=" + pidFile(n), "dhcp-leasefile=" + leaseFile(n), "dhcp-hostsdir=" + hostsDir(n), "conf-file=" + rawFile(n),
	} {
		c.line("%s", l)
	}
	if name, group := identity(); name != "" {
		c.line("user=%s", name)
		c.line("group=%s", group)
	}
	c.names()
	c.dhcp4()
	c.dhcp6()
	return c.b.String()
}

type conf struct {
	keys *schema.Schema
	n    network.Net
	b    strings.Builder
}

func (c *conf) line(format string, a ...any) { fmt.Fprintf(&c.b, format+"\n", a...) }

func (c *conf) get(key string) string { return c.keys.Get(c.n.Config, key) }

func (c *conf) is(key string) bool { return c.keys.Bool(c.n.Config, key) }

func (c *conf) names() {
	domain := c.get("dns.domain")
	c.line("domain=%s", domain)
	c.line("local=/%s/", domain)
	if c.get("dns.mode") != "none" {
		c.line("interface-name=_gateway.%s,%s", domain, c.n.Name)
	}
	if c.get("dns.mode") != "dynamic" {
		c.line("dhcp-ignore-names")
	}
	if search := c.get("dns.search"); search != "" {
		search = strings.ReplaceAll(search, " ", "")
		c.line("dhcp-option-force=option:domain-search,%s", search)
		c.line("dhcp-option=option6:domain-search,%s", search)
	}
}

func (c *conf) dhcp4() {
	p := subnetOf(c.n.Config, "ipv4")
	if !p.IsValid() || !c.is("ipv4.dhcp") {
		return
	}
	ranges := c.ranges("ipv4", p.Masked().Addr().Next().Next(), last(p).Prev())
	for _, r := range ranges {
		c.line("dhcp-range=%s,%s,%s", r[0], r[1], c.get("ipv4.dhcp.expiry"))
	}
	switch gateway := c.get("ipv4.dhcp.gateway"); {
	case gateway != "":
		c.line("dhcp-option-force=option:router,%s", gateway)
	case !c.is("ipv4.routing"):
		c.line("dhcp-option-force=option:router") // empty: there is no way out
	}
	if mtu := c.get("bridge.mtu"); mtu != "1500" {
		c.line("dhcp-option-force=option:mtu,%s", mtu)
	}
}

func (c *conf) dhcp6() {
	p := subnetOf(c.n.Config, "ipv6")
	if !p.IsValid() {
		return
	}
	c.line("enable-ra")
	lifetime := ""
	if !c.is("ipv6.routing") {
		lifetime = ",0,0" // not a router
	}
	if mtu := c.get("bridge.mtu"); mtu != "1500" || lifetime != "" {
		if lifetime == "" {
			lifetime = ",0"
		}
		c.line("ra-param=%s,mtu:%s%s", c.n.Name, mtu, lifetime)
	}
	expiry := c.get("ipv6.dhcp.expiry")
	switch {
	case !c.is("ipv6.dhcp"):
		c.line("dhcp-range=::,constructor:%s,ra-only,%d,%s", c.n.Name, p.Bits(), expiry)
	case !c.is("ipv6.dhcp.stateful"):
		c.line("dhcp-range=::,constructor:%s,ra-stateless,ra-names,%d,%s", c.n.Name, p.Bits(), expiry)
	default:
		for _, r := range c.ranges("ipv6", p.Masked().Addr().Next().Next(), last(p)) {
			c.line("dhcp-range=%s,%s,%d,%s", r[0], r[1], p.Bits(), expiry)
		}
	}
}

// ranges are the configured ones, or the whole subnet.
func (c *conf) ranges(family string, first, final netip.Addr) (out [][2]netip.Addr) {
	for r := range split(c.get(family + ".dhcp.ranges")) {
		if a, b, err := parseRange(r); err == nil {
			out = append(out, [2]netip.Addr{a, b})
		}
	}
	if out == nil {
		out = [][2]netip.Addr{{first, final}}
	}
	return out
}

// hostFile is where p's line is; the name holds nothing that dnsmasq would skip. No two ports share one: a project's dots, unlike a
// device's, could be taken for those between the parts.
func hostFile(n network.Net, p network.Port) string {
	return filepath.Join(hostsDir(n), "p."+strings.ReplaceAll(url.PathEscape(p.Project), ".", "%2E")+"."+url.PathEscape(p.Instance)+"."+url.PathEscape(p.Device))
}

// hostLine tells dnsmasq the name and the static addresses of p; it is empty when there is nothing to tell.
func hostLine(keys *schema.Schema, n network.Net, p network.Port) (string, error) {
	if p.Hwaddr == "" {
		return "", nil
	}
	mac, err := parseMAC(p.Hwaddr)
	if err != nil {
		return "", err
	}
	parts := []string{fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5])}
	if p.IPv4.IsValid() {
		parts = append(parts, p.IPv4.String())
	}
	if p.IPv6.IsValid() {
		parts = append(parts, "["+p.IPv6.String()+"]")
	}
	if keys.Get(n.Config, "dns.mode") != "none" {
		name := p.Instance
		if p.Project != "" && p.Project != "default" { // names of other projects may be the same
			name += "-" + strings.Map(hostnameRune, p.Project)
		}
		if domain(p.Instance) != nil || strings.Contains(p.Instance, ".") {
			return "", errs.Newf(errs.Invalid, "%q cannot be a DNS name: use letters, digits and hyphens, or set dns.mode=none", p.Instance)
		}
		if len(name) <= maxLabel { // a longer one can only be left out
			parts = append(parts, name)
		}
	}
	if len(parts) == 1 {
		return "", nil
	}
	return strings.Join(parts, ",") + "\n", nil
}

// hostnameRune turns what a project's name may hold and a DNS label may not into a hyphen.
func hostnameRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// identity is whom dnsmasq becomes once it has its sockets: someone with as few rights as there is.
func identity() (name, group string) {
	for _, n := range []string{"lxd", "dnsmasq", "nobody"} {
		u, err := user.Lookup(n)
		if err != nil {
			continue
		}
		if g, err := user.LookupGroupId(u.Gid); err == nil {
			return n, g.Name
		}
	}
	return "", ""
}
