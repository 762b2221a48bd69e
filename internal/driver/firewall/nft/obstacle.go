package nft

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"lxd/internal/network"
)

// Obstacles implements network.Firewall. A packet passes only if every program's chain lets it: one whose policy is to drop, such as
// Docker's, keeps out what ours accepts.
func (f *Firewall) Obstacles(_ context.Context, g network.Guard) ([]string, error) {
	if len(families(g)) == 0 {
		return nil, nil
	}
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	all, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list the chains of the host's firewall: %w", err)
	}
	var out []string
	for _, ch := range all {
		if ch.Table.Name == f.table || !forwardsDrop(ch) || !concerns(ch.Table.Family, g) {
			continue
		}
		w := walk{conn: c, chains: all, table: ch.Table, bridge: g.Network, seen: map[string]bool{}}
		if err := w.chain(ch.Name); err != nil {
			return nil, fmt.Errorf("read chain %s of table %s of the host's firewall: %w", ch.Name, ch.Table.Name, err)
		}
		if !w.in || !w.out {
			out = append(out, w.obstacle(ch.Name))
		}
	}
	legacy, err := legacyObstacles(g)
	return append(out, legacy...), err
}

// forwardsDrop tells whether a chain decides on forwarded packets, and drops what it knows nothing of.
func forwardsDrop(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter && c.Policy != nil &&
		*c.Policy == nftables.ChainPolicyDrop
}

// concerns tells whether a family of tables sees packets of the network.
func concerns(f nftables.TableFamily, g network.Guard) bool {
	switch f {
	case nftables.TableFamilyIPv4:
		return g.IPv4.Subnet.IsValid() && g.IPv4.Routing
	case nftables.TableFamilyIPv6:
		return g.IPv6.Subnet.IsValid() && g.IPv6.Routing
	case nftables.TableFamilyINet:
		return g.IPv4.Subnet.IsValid() && g.IPv4.Routing || g.IPv6.Subnet.IsValid() && g.IPv6.Routing
	}
	return false
}

// walk looks for rules that let packets from (in) and to (out) a bridge pass.
type walk struct {
	conn   *nftables.Conn
	chains []*nftables.Chain
	table  *nftables.Table
	bridge string
	seen   map[string]bool

	in, out bool
}

func (w *walk) chain(name string) error {
	if w.seen[name] {
		return nil
	}
	w.seen[name] = true
	rules, err := w.conn.GetRules(w.table, &nftables.Chain{Name: name, Table: w.table})
	if err != nil {
		return err
	}
	for _, r := range rules {
		m := matchOf(r.Exprs, w.bridge)
		switch {
		case m.verdict == nil || m.other || m.others:
		case m.verdict.Kind == expr.VerdictAccept:
			w.in, w.out = w.in || !m.onOut && !m.answers, w.out || !m.onIn
		case m.verdict.Kind == expr.VerdictJump || m.verdict.Kind == expr.VerdictGoto:
			if err := w.chain(m.verdict.Chain); err != nil {
				return err
			}
		}
	}
	return nil
}

// match is what one rule asks of a packet.
type match struct {
	verdict *expr.Verdict
	// onIn and onOut tell that it is about packets from and to the bridge; other that it is about another interface, and others that
	// it looks at something that not all packets have; answers that it is about connections that others let begin.
	onIn, onOut, other, others, answers bool
}

func matchOf(exprs []expr.Any, bridge string) (m match) {
	var loaded expr.Any
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Verdict:
			m.verdict = e
		case *expr.Counter, *expr.Log, *expr.Bitwise:
		case *expr.Meta, *expr.Ct:
			loaded = e
		case *expr.Match: // of iptables; the state of connections is what answers have
			m.answers = m.answers || e.Name == "conntrack" || e.Name == "state"
			m.others = m.others || !m.answers && e.Name != "comment"
		case *expr.Cmp:
			m.compare(loaded, e, bridge)
		default:
			m.others = true
		}
	}
	return m
}

func (m *match) compare(loaded expr.Any, c *expr.Cmp, bridge string) {
	if ct, ok := loaded.(*expr.Ct); ok && ct.Key == expr.CtKeySTATE {
		m.answers = true
		return
	}
	meta, ok := loaded.(*expr.Meta)
	if !ok || meta.Key != expr.MetaKeyIIFNAME && meta.Key != expr.MetaKeyOIFNAME {
		m.others = true
		return
	}
	name := ifnameBytes(bridge)
	same := bytes.HasPrefix(name, c.Data) // a whole name ends with zeros, one with a wildcard does not
	if (c.Op == expr.CmpOpEq) != same {
		m.other = true
		return
	}
	m.onIn, m.onOut = m.onIn || meta.Key == expr.MetaKeyIIFNAME, m.onOut || meta.Key == expr.MetaKeyOIFNAME
}

// obstacle says what is wrong and the command that mends it.
func (w *walk) obstacle(chain string) string {
	family := map[nftables.TableFamily]string{
		nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet",
	}[w.table.Family]
	where := fmt.Sprintf("chain %s (policy drop) of table %s %s", chain, family, w.table.Name)
	if w.table.Name == "filter" && family != "inet" && chain == "FORWARD" {
		target := "FORWARD"
		if slices.ContainsFunc(w.chains, func(c *nftables.Chain) bool {
			return c.Name == dockerUser && c.Table.Name == w.table.Name && c.Table.Family == w.table.Family
		}) {
			target = dockerUser
		}
		return complain(w.bridge, where, iptables(family == "ip6", "", target, w.bridge))
	}
	insert := fmt.Sprintf("nft insert rule %s %s %s", family, w.table.Name, chain)
	return complain(w.bridge, where, fmt.Sprintf("%s iifname %s accept && %s oifname %s accept", insert, w.bridge, insert, w.bridge))
}

// dockerUser is the chain that Docker leaves to others.
const dockerUser = "DOCKER-USER"

func iptables(is6 bool, variant, chain, bridge string) string {
	program := "iptables" + variant
	if is6 {
		program = "ip6tables" + variant
	}
	return fmt.Sprintf("%s -I %s -i %s -j ACCEPT && %s -I %s -o %s -j ACCEPT", program, chain, bridge, program, chain, bridge)
}

func complain(bridge, where, command string) string {
	return fmt.Sprintf("packets that network %s exchanges with others are dropped by %s, a rule of another program such as Docker: let them pass with: %s", bridge, where, command)
}
