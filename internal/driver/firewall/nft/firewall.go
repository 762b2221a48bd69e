// Package nft is the firewall on nftables, in tables of our own: what other programs put into theirs is never touched.
package nft

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"lxd/internal/network"
)

const (
	defaultDir = "/var/lib/lxd"
	// ports is the map from a filtered port to its chain.
	ports = "ports"
	// dispatch is the chain that looks ports up: one look-up a packet, however many ports are filtered.
	dispatch = "dispatch"
	// bridgeFirst comes before everything that looks at a packet in a bridge.
	bridgeFirst = -300
)

// Firewall implements network.Firewall.
type Firewall struct {
	table string
	mu    sync.Mutex
}

// New makes the firewall of the daemon whose state is in dir. Daemons side by side have tables of their own.
func New(dir string) *Firewall {
	name := "lxd"
	if dir = filepath.Clean(dir); dir != defaultDir {
		sum := sha256.Sum256([]byte(dir))
		name = fmt.Sprintf("lxd_%x", sum[:4])
	}
	return &Firewall{table: name}
}

// Table is the name of the tables, in the inet and the bridge family.
func (f *Firewall) Table() string { return f.table }

// Guard implements network.Firewall.
func (f *Firewall) Guard(_ context.Context, g network.Guard) error {
	err := f.replace(nftables.TableFamilyINet, chainNames(g.Network), guardChains(g, f.LogGroup()))
	if err != nil {
		return fmt.Errorf("firewall rules of network %s: %w", g.Network, err)
	}
	return nil
}

// Unguard implements network.Firewall.
func (f *Firewall) Unguard(_ context.Context, name string) error {
	if err := f.replace(nftables.TableFamilyINet, chainNames(name), nil); err != nil {
		return fmt.Errorf("remove firewall rules of network %s: %w", name, err)
	}
	return nil
}

// Filter implements network.Firewall.
func (f *Firewall) Filter(_ context.Context, p network.Filter) error {
	chains, err := filterChains(p)
	if err == nil {
		err = f.replacePort(p.HostName, chains)
	}
	if err != nil {
		return fmt.Errorf("filter of port %s: %w", p.HostName, err)
	}
	return nil
}

// Unfilter implements network.Firewall.
func (f *Firewall) Unfilter(_ context.Context, hostName string) error {
	if err := f.replacePort(hostName, nil); err != nil {
		return fmt.Errorf("remove the filter of port %s: %w", hostName, err)
	}
	return nil
}

// replace puts chains in the place of those of the names old, in one transaction, and drops the table once nothing is in it.
func (f *Firewall) replace(family nftables.TableFamily, old []string, chains []chain) error {
	return f.change(family, old, chains, nil)
}

// replacePort is replace for the chains of one port, with its entry in the map of ports.
func (f *Firewall) replacePort(hostName string, chains []chain) error {
	n := filterNames(hostName)
	entry := []nftables.SetElement{{
		Key: ifnameBytes(hostName), VerdictData: &expr.Verdict{Kind: unix.NFT_JUMP, Chain: n.port},
	}}
	return f.change(nftables.TableFamilyBridge, n.all(), chains, func(x exchange) error {
		set := &nftables.Set{
			Table: x.table, Name: ports, IsMap: true,
			KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.NativeEndian,
		}
		if !slices.Contains(x.have, dispatch) {
			if err := addDispatch(x.conn, x.table, set); err != nil {
				return err
			}
		}
		if !x.after {
			if !slices.Contains(x.have, n.port) {
				return nil
			}
			return x.conn.SetDeleteElements(set, entry)
		}
		return x.conn.SetAddElements(set, entry)
	})
}

// exchange is a transaction under way; after tells whether the new chains are in it.
type exchange struct {
	conn  *nftables.Conn
	table *nftables.Table
	have  []string
	after bool
}

// change takes chains out and puts chains in; refer, if set, takes out and puts in what refers to them.
func (f *Firewall) change(family nftables.TableFamily, old []string, chains []chain, refer func(exchange) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return err
	}
	have, err := f.chains(c, family)
	if err != nil || have == nil && chains == nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Name: f.table, Family: family})
	mine := slices.DeleteFunc(slices.Clone(have), func(n string) bool { return !slices.Contains(old, n) })
	others := slices.ContainsFunc(have, func(n string) bool { return n != dispatch && !slices.Contains(old, n) })
	if !others && chains == nil {
		c.DelTable(t)
		return c.Flush()
	}
	if refer == nil {
		refer = func(exchange) error { return nil }
	}
	if err := refer(exchange{c, t, have, false}); err != nil {
		return err
	}
	for _, n := range mine { // rules first: a chain that another still jumps to cannot be deleted
		c.FlushChain(&nftables.Chain{Name: n, Table: t})
	}
	for _, n := range mine {
		c.DelChain(&nftables.Chain{Name: n, Table: t})
	}
	if chains != nil {
		if err := addChains(c, t, chains); err != nil {
			return err
		}
		if err := refer(exchange{c, t, append(have, dispatch), true}); err != nil {
			return err
		}
	}
	return c.Flush()
}

// chains lists the chains of the table, nil when there is no table.
func (f *Firewall) chains(c *nftables.Conn, family nftables.TableFamily) ([]string, error) {
	t, err := c.ListTableOfFamily(f.table, family)
	if errors.Is(err, unix.ENOENT) || err == nil && t == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := c.ListChainsOfTableFamily(family)
	names := []string{}
	for _, ch := range all {
		if ch.Table.Name == f.table {
			names = append(names, ch.Name)
		}
	}
	return names, err
}

// addDispatch makes the one chain of the bridge table that packets enter by.
func addDispatch(c *nftables.Conn, t *nftables.Table, set *nftables.Set) error {
	if err := c.AddSet(set, nil); err != nil {
		return err
	}
	base := chain{name: dispatch, kind: nftables.ChainTypeFilter, hook: "prerouting", priority: bridgeFirst, rules: []rule{{term{
		text: "iifname vmap @" + ports,
		exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
			&expr.Lookup{SourceRegister: reg, DestRegister: 0, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		},
	}}}}
	return addChains(c, t, []chain{base})
}

// addChains adds all chains before any rule, since rules jump to chains.
func addChains(c *nftables.Conn, t *nftables.Table, chains []chain) error {
	made := make([]*nftables.Chain, len(chains))
	for i, ch := range chains {
		n := &nftables.Chain{Name: ch.name, Table: t}
		if ch.hook != "" {
			n.Type, n.Hooknum, n.Priority = ch.kind, hooks[ch.hook], nftables.ChainPriorityRef(nftables.ChainPriority(ch.priority))
		}
		made[i] = c.AddChain(n)
	}
	for i, ch := range chains {
		for _, r := range ch.rules {
			for _, part := range r {
				if part.set == nil {
					continue
				}
				if err := part.set.add(c, t, part.exprs); err != nil {
					return err
				}
			}
			c.AddRule(&nftables.Rule{Table: t, Chain: made[i], Exprs: r.exprs()})
		}
	}
	return nil
}
