package acl

import (
	"cmp"
	"slices"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/forward"
)

// Policy is what several ACLs together let pass.
type Policy struct {
	// Ingress is for what goes to the network's machines, Egress for what comes from them.
	Ingress, Egress Side
}

// Side is the rules of one direction, in the order in which they count: what drops first, then what rejects, then what allows.
type Side struct {
	Rules []Rule
	// Default is the action on what no rule matches; Log says to log it.
	Default string
	Log     bool
}

// order is that of the actions.
var order = map[string]int{Drop: 0, Reject: 1, Allow: 2}

// Compile makes one policy of several ACLs. It fails with Invalid on rules with names in them: a bridge cannot tell whose an address is.
func Compile(records []Record) (p Policy, err error) {
	p.Ingress.Default, p.Egress.Default = Reject, Reject
	for _, r := range records {
		for _, s := range []struct {
			side  *Side
			rules []api.NetworkACLRule
		}{{&p.Ingress, r.Ingress}, {&p.Egress, r.Egress}} {
			for i, rule := range s.rules {
				if rule.State == Disabled {
					continue
				}
				compiled, err := compile(rule)
				if err != nil {
					return p, errs.Newf(errs.Invalid, "ACL %q: %w", r.Name, err)
				}
				for _, c := range compiled {
					c.ACL, c.Index = r.Name, i
					s.side.Rules = append(s.side.Rules, c)
				}
			}
		}
	}
	for _, s := range []*Side{&p.Ingress, &p.Egress} {
		slices.SortStableFunc(s.Rules, func(a, b Rule) int { return cmp.Compare(order[a.Action], order[b.Action]) })
	}
	return p, nil
}

// compile makes of one rule as many as there are address families in it.
func compile(r api.NetworkACLRule) (out []Rule, err error) {
	source, named, err := subjects(r.Source)
	if err != nil {
		return nil, err
	}
	destination, more, err := subjects(r.Destination)
	if err != nil {
		return nil, err
	}
	if named = append(named, more...); len(named) > 0 {
		return nil, errs.Newf(errs.Invalid, "a rule names %q: networks of type bridge know addresses only, give those", named[0])
	}
	c := Rule{Action: r.Action, Log: r.State == Logged, Protocol: r.Protocol}
	for to, text := range map[*ports]string{&c.SourcePorts: r.SourcePort, &c.DestinationPorts: r.DestinationPort} {
		if *to, err = forward.ParseRanges(text); err != nil {
			return nil, err
		}
	}
	for to, text := range map[*int]string{&c.ICMPType: r.ICMPType, &c.ICMPCode: r.ICMPCode} {
		if *to, err = icmpNumber(text); err != nil {
			return nil, err
		}
	}
	if len(source) == 0 && len(destination) == 0 {
		return []Rule{c}, nil
	}
	for _, f := range families(r) {
		one := c
		one.Source, one.Destination = ofFamily(source, f), ofFamily(destination, f)
		out = append(out, one)
	}
	return out, nil
}
