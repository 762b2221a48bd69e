// Package forward is addresses of the outside whose traffic goes to machines of a network: what is stored, what is allowed, and what
// the firewall is to do.
package forward

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// network is the collection of networks; a forward cannot be without its own.
const network = "network"

// Record is a forward as stored.
type Record struct {
	Project     string                   `json:"project"`
	Network     string                   `json:"network"`
	Listen      string                   `json:"listen"`
	Description string                   `json:"description,omitempty"`
	Config      map[string]string        `json:"config,omitempty"`
	Ports       []api.NetworkForwardPort `json:"ports,omitempty"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "network_forward",
	Key:  func(r Record) string { return Key(r.Project, r.Network, r.Listen) },
	Refs: func(r Record) []store.Ref {
		return []store.Ref{{Collection: network, Key: r.Project + "/" + r.Network}}
	},
}

// Key is a record's key.
func Key(project, network, listen string) string { return project + "/" + network + "/" + listen }

// URL is the forward's address.
func URL(network, listen string) string {
	return project.URL("", "networks", network, "forwards", listen)
}

// targetKey is the key of the address that gets what no port is set for.
const targetKey = "target_address"

var keys = schema.New("network forward",
	schema.Key{Name: targetKey, Type: schema.IP, Short: "Address that gets what no port is set for"},
	schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free to use"},
)

// Keys are the configuration keys of a forward.
func Keys() *schema.Schema { return keys }

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any { return []any{r.Network, r.Listen, r.Description, r.Config, r.Ports} }

// Show is the record as clients see it.
func (r Record) Show(location string) api.NetworkForward {
	f := api.NetworkForward{ListenAddress: r.Listen, Location: location, Description: r.Description, Config: r.Config, Ports: r.Ports}
	if f.Config == nil {
		f.Config = map[string]string{}
	}
	if f.Ports == nil {
		f.Ports = []api.NetworkForwardPort{}
	}
	return f
}

// With is the record with what clients may write of it.
func (r Record) With(put api.NetworkForwardPut) Record {
	r.Description, r.Config, r.Ports = put.Description, maps.Clone(put.Config), slices.Clone(put.Ports)
	maps.DeleteFunc(r.Config, func(_, v string) bool { return v == "" })
	return r
}

// Change is the event of something done to the forward.
func (r Record) Change(action string) event.Change {
	return event.Change{Action: action, Source: URL(r.Network, r.Listen), Project: r.Project, Name: r.Listen}
}

// Rule is what the firewall does for one forward.
type Rule struct {
	Listen netip.Addr
	// Target gets what none of Ports matches; the zero Addr leaves that alone.
	Target netip.Addr
	Ports  []Port
}

// Port sends some ports of one protocol to one address.
type Port struct {
	// Protocol is "tcp" or "udp".
	Protocol string
	Listen   []Range
	Target   netip.Addr
	// To are the ports at the target: none for the same ports, one for all, or as many as there are in Listen.
	To []Range
}

// Range is ports, both ends among them.
type Range struct{ First, Last uint16 }

// ParseListen reads an address to listen on; it fails with Invalid on one that cannot be one.
func ParseListen(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case text == "":
		return a, errs.Newf(errs.Invalid, "listen_address is missing: networks of this type cannot choose one, give an address that is routed to this host")
	case err != nil || a.Zone() != "" || a.Is4In6():
		return a, errs.Newf(errs.Invalid, "listen_address %q is not an IP address", text)
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return a, errs.Newf(errs.Invalid, "listen_address %s cannot be forwarded: give an address that is routed to this host", a)
	}
	return a, nil
}

// Rule is what the record asks of the firewall, for a network of those subnets. It fails with Invalid, and names all that is wrong.
func (r Record) Rule(subnets ...netip.Prefix) (Rule, error) {
	listen, err := ParseListen(r.Listen)
	if err != nil {
		return Rule{}, err
	}
	if err := keys.Validate(r.Config); err != nil {
		return Rule{}, err
	}
	out := Rule{Listen: listen}
	var wrong []string
	if t := r.Config[targetKey]; t != "" {
		if out.Target, err = target(t, listen, subnets); err != nil {
			wrong = append(wrong, targetKey+": "+err.Error())
		}
	}
	for i, p := range r.Ports {
		port, err := portOf(p, listen, subnets)
		if err == nil {
			err = clash(out.Ports, port)
		}
		if err != nil {
			wrong = append(wrong, "port "+p.Protocol+" "+p.ListenPort+" (number "+ordinal(i)+"): "+err.Error())
			continue
		}
		out.Ports = append(out.Ports, port)
	}
	if len(wrong) > 0 {
		return out, errs.Newf(errs.Invalid, "forward %s of network %q: %s", r.Listen, r.Network, strings.Join(wrong, "; "))
	}
	return out, nil
}
