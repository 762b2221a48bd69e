package listing

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"lxd/api"
)

// Matcher tells whether an instance is to be listed. Every one of its rules must hold.
type Matcher []rule

// rule is one filter and what it looks at.
type rule struct {
	needs Need
	holds func(*api.InstanceFull) bool
}

// Needs is what the rules look at.
func (m Matcher) Needs() Need {
	var n Need
	for _, r := range m {
		n |= r.needs
	}
	return n
}

// Matches tells whether every rule holds for i.
func (m Matcher) Matches(i *api.InstanceFull) bool {
	return !slices.ContainsFunc(m, func(r rule) bool { return !r.holds(i) })
}

// NewMatcher reads filters as the command line has them.
func NewMatcher(filters []string) (Matcher, error) {
	var m Matcher
	for _, filter := range filters {
		r, err := newRule(filter)
		if err != nil {
			return nil, err
		}
		m = append(m, r)
	}
	return m, nil
}

func newRule(filter string) (rule, error) {
	key, value, isPair := strings.Cut(filter, "=")
	if !isPair {
		return nameRule(filter)
	}
	oneOf := func(field func(*api.InstanceFull) string) func(*api.InstanceFull) bool {
		values := strings.Split(value, ",")
		return func(i *api.InstanceFull) bool {
			return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, field(i)) })
		}
	}
	switch key {
	case "type":
		return rule{0, oneOf(func(i *api.InstanceFull) string { return i.Type })}, nil
	case "status":
		return rule{0, oneOf(func(i *api.InstanceFull) string { return i.Status })}, nil
	case "location":
		return rule{0, oneOf(func(i *api.InstanceFull) string { return i.Location })}, nil
	case "architecture":
		return rule{NeedObject, oneOf(func(i *api.InstanceFull) string { return i.Architecture })}, nil
	case "ipv4", "ipv6":
		return addressRule(key, value)
	}
	return configRule(key, value)
}

// nameRule is a regular expression, or the beginning, of the name.
func nameRule(filter string) (rule, error) {
	expr, err := regexp.Compile("^(?:" + filter + ")")
	if err != nil {
		return rule{}, fmt.Errorf("filter %q is not a regular expression: %w", filter, err)
	}
	return rule{0, func(i *api.InstanceFull) bool { return expr.MatchString(i.Name) }}, nil
}

// addressRule holds for instances that have an address, or one in a network, of those that are listed.
func addressRule(key, value string) (rule, error) {
	family := map[string]string{"ipv4": "inet", "ipv6": "inet6"}[key]
	var prefixes []netip.Prefix
	for text := range strings.SplitSeq(value, ",") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return rule{}, fmt.Errorf("filter %s: %q is neither an address nor a network", key, text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		prefixes = append(prefixes, p)
	}
	return rule{NeedState | NeedNetwork, func(i *api.InstanceFull) bool {
		for line := range strings.SplitSeq(addresses(i, family), "\n") {
			text, _, _ := strings.Cut(line, " ")
			addr, err := netip.ParseAddr(text)
			if err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) {
				return true
			}
		}
		return false
	}}, nil
}

// configRule compares a configuration key, each of whose parts may be abbreviated. Key and value may be regular expressions.
func configRule(key, value string) (rule, error) {
	parts := strings.Split(key, ".")
	for i, part := range parts {
		if i < len(parts)-1 {
			part += `[^.]*`
		}
		parts[i] = part
	}
	keys, err := regexp.Compile("^(?:" + strings.Join(parts, `\.`) + ")$")
	if err != nil {
		return rule{}, fmt.Errorf("filter %q is not a regular expression: %w", key, err)
	}
	values, err := regexp.Compile("^(?:" + value + ")$")
	if err != nil {
		values = regexp.MustCompile("^" + regexp.QuoteMeta(value) + "$")
	}
	return rule{NeedObject, func(i *api.InstanceFull) bool {
		for k, v := range i.ExpandedConfig {
			if keys.MatchString(k) && (v == value || values.MatchString(v)) {
				return true
			}
		}
		return false
	}}, nil
}
