package acl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/forward"
)

// Actions and states of rules (wire names).
const (
	Allow  = "allow"
	Drop   = "drop"
	Reject = "reject"

	Enabled  = "enabled"
	Disabled = "disabled"
	Logged   = "logged"
)

// Addresses are a range of addresses of one family, both ends among them.
type Addresses struct{ First, Last netip.Addr }

// ports are ranges of ports.
type ports = []forward.Range

// Rule is one rule as the firewall needs it: of one address family, or of both where nothing in it says which.
type Rule struct {
	// ACL and Index say where it comes from.
	ACL   string
	Index int
	// Action is Allow, Drop or Reject.
	Action string
	Log    bool
	// Protocol is "", "tcp", "udp", "icmp4" or "icmp6".
	Protocol string
	// Source and Destination are empty for any.
	Source, Destination           []Addresses
	SourcePorts, DestinationPorts ports
	// ICMPType and ICMPCode are -1 for any.
	ICMPType, ICMPCode int
}

// Check fails with Invalid on a record that is not sound, and names all that is wrong.
func (r Record) Check() error {
	if err := keys.Validate(r.Config); err != nil {
		return err
	}
	var wrong []string
	for _, side := range []struct {
		name  string
		rules []api.NetworkACLRule
	}{{"ingress", r.Ingress}, {"egress", r.Egress}} {
		for i, rule := range side.rules {
			err := check(rule, side.name)
			if err == nil && slices.Contains(side.rules[:i], rule) {
				err = errors.New("is there twice")
			}
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s rule %d: %s", side.name, i, err))
			}
		}
	}
	if len(wrong) > 0 {
		return errs.Newf(errs.Invalid, "ACL %q: %s", r.Name, strings.Join(wrong, "; "))
	}
	return nil
}

// check says what is wrong with one rule.
func check(r api.NetworkACLRule, direction string) error {
	if !slices.Contains([]string{Allow, Drop, Reject}, r.Action) {
		return fmt.Errorf("action %q must be allow, drop or reject", r.Action)
	}
	if !slices.Contains([]string{Enabled, Disabled, Logged}, r.State) {
		return fmt.Errorf("state %q must be enabled, disabled or logged", r.State)
	}
	if strings.ContainsAny(r.Description, "\n\r\x00") {
		return errors.New("description must be one line")
	}
	for word, list := range map[string]string{"source": r.Source, "destination": r.Destination} {
		// Only the far side may be named: the near one is the NIC or network that the ACL is on.
		far := (word == "source") == (direction == "ingress")
		if _, named, err := subjects(list); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		} else if len(named) > 0 && !far {
			return fmt.Errorf("%s: %q cannot be named in an %s rule: only addresses can", word, named[0], direction)
		}
	}
	return checkProtocol(r)
}

func checkProtocol(r api.NetworkACLRule) error {
	withPorts, withICMP := r.Protocol == "tcp" || r.Protocol == "udp", r.Protocol == "icmp4" || r.Protocol == "icmp6"
	switch {
	case !withPorts && !withICMP && r.Protocol != "":
		return fmt.Errorf("protocol %q must be tcp, udp, icmp4 or icmp6", r.Protocol)
	case !withPorts && (r.SourcePort != "" || r.DestinationPort != ""):
		return errors.New("ports need protocol tcp or udp")
	case !withICMP && (r.ICMPType != "" || r.ICMPCode != ""):
		return errors.New("icmp_type and icmp_code need protocol icmp4 or icmp6")
	}
	if err := checkNumbers(r); err != nil {
		return err
	}
	if len(families(r)) == 0 {
		return errors.New("it could match nothing: its protocol and addresses are of different families")
	}
	return nil
}

func checkNumbers(r api.NetworkACLRule) error {
	for word, list := range map[string]string{"source_port": r.SourcePort, "destination_port": r.DestinationPort} {
		if _, err := forward.ParseRanges(list); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	for word, text := range map[string]string{"icmp_type": r.ICMPType, "icmp_code": r.ICMPCode} {
		if n, err := icmpNumber(text); err != nil || n > 255 {
			return fmt.Errorf("%s %q must be a number from 0 to 255", word, text)
		}
	}
	if r.ICMPCode != "" && r.ICMPType == "" {
		return errors.New("icmp_code needs icmp_type")
	}
	return nil
}

// icmpNumber reads a type or code; -1 is any.
func icmpNumber(text string) (int, error) {
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return int(n), err
}

// subjects reads a list of CIDRs, ranges FIRST-LAST, and names of other ACLs or groups of addresses (@internal, @external).
func subjects(list string) (ranges []Addresses, named []string, err error) {
	for _, part := range split(list) {
		if p, err := netip.ParsePrefix(part); err == nil {
			ranges = append(ranges, Addresses{p.Masked().Addr(), last(p)})
			continue
		}
		if a, err := netip.ParseAddr(part); err == nil && a.Zone() == "" {
			ranges = append(ranges, Addresses{a, a})
			continue
		}
		first, final, is := strings.Cut(part, "-")
		a, e1 := netip.ParseAddr(strings.TrimSpace(first))
		b, e2 := netip.ParseAddr(strings.TrimSpace(final))
		switch {
		case is && e1 == nil && e2 == nil && (a.Is4() != b.Is4() || b.Less(a)):
			return nil, nil, fmt.Errorf("%q is not a range FIRST-LAST of addresses of one family", part)
		case is && e1 == nil && e2 == nil:
			ranges = append(ranges, Addresses{a, b})
		case group(part) || CheckName(part) == nil:
			named = append(named, part)
		default:
			return nil, nil, fmt.Errorf("%q is no address, CIDR or range FIRST-LAST, and no name of an ACL", part)
		}
	}
	return ranges, named, nil
}

// group tells whether a subject is one that networks know by themselves: all of theirs, all others, or a peer.
func group(s string) bool {
	switch s {
	case "@internal", "@external", "#internal", "#external":
		return true
	}
	network, peer, ok := strings.Cut(strings.TrimPrefix(s, "@"), "/")
	return strings.HasPrefix(s, "@") && ok && network != "" && peer != "" && !strings.Contains(peer, "/")
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// named are the other ACLs that the rules name.
func (r Record) named() (names []string) {
	for _, rule := range slices.Concat(r.Ingress, r.Egress) {
		for _, list := range []string{rule.Source, rule.Destination} {
			_, found, _ := subjects(list)
			for _, s := range found {
				if !group(s) && !slices.Contains(names, s) {
					names = append(names, s)
				}
			}
		}
	}
	return names
}

// families are the address families that a rule can match: 4, 6, or both.
func families(r api.NetworkACLRule) (list []int) {
	for _, f := range []int{4, 6} {
		if r.Protocol == "icmp4" && f == 6 || r.Protocol == "icmp6" && f == 4 {
			continue
		}
		if has(r.Source, f) && has(r.Destination, f) {
			list = append(list, f)
		}
	}
	return list
}

// has tells whether a list of subjects lets packets of a family match.
func has(list string, family int) bool {
	ranges, named, _ := subjects(list)
	return len(ranges) == 0 || len(named) > 0 || len(ofFamily(ranges, family)) > 0
}

func ofFamily(ranges []Addresses, family int) (out []Addresses) {
	for _, a := range ranges {
		if a.First.Is4() == (family == 4) {
			out = append(out, a)
		}
	}
	return out
}
