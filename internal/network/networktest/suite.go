// Package networktest is the contract of network.Driver as tests: every driver runs them.
package networktest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/network"
)

// Subject is a driver to be held to the contract.
type Subject struct {
	Driver network.Driver
	// Name of the network to make; Dir is its folder, which exists.
	Name, Dir string
	// Config is that of a fresh network, Change what Up must take while the network is up.
	Config, Change map[string]string
	// Static are two addresses within the network, for drivers that are Leasers.
	Static [2]netip.Addr
}

// Run holds the driver that open returns to the contract. Each part gets a fresh subject, and must leave the host as it was.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for name, part := range map[string]func(*testing.T, Subject){
		"fill": fill, "up and down": upDown, "change": change, "ports": ports, "wanted name": wantedName, "name taken inside": insideTaken,
		"connect to what is down": connectDown, "ports at once": portsAtOnce, "leases": leases,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			part(t, s)
			ok(t, s.Driver.Down(t.Context(), network.Net{Name: s.Name, Dir: s.Dir, Config: s.Config}))
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// net is the complete network of s.
func (s Subject) net(t *testing.T) network.Net {
	t.Helper()
	cfg, err := s.Driver.Fill(t.Context(), s.Name, s.Config, true)
	ok(t, err)
	return network.Net{Project: "default", Name: s.Name, Dir: s.Dir, Config: cfg}
}

func (s Subject) up(t *testing.T) network.Net {
	t.Helper()
	n := s.net(t)
	ok(t, s.Driver.Up(t.Context(), n))
	return n
}

func (s Subject) status(t *testing.T, n network.Net) network.State {
	t.Helper()
	st, err := s.Driver.Status(t.Context(), n)
	ok(t, err)
	return st
}

func port(i int) network.Port {
	return network.Port{Project: "default", Instance: fmt.Sprintf("c%d", i), Device: "eth0", Hwaddr: fmt.Sprintf("00:16:3e:00:00:%02x", i+1)}
}

func fill(t *testing.T, s Subject) {
	before := maps.Clone(s.Config)
	n := s.net(t)
	if !maps.Equal(before, s.Config) {
		t.Error("Fill changed what it was given")
	}
	for k, v := range n.Config {
		if v == "auto" {
			t.Errorf("%s is still undecided", k)
		}
	}
	ok(t, s.Driver.Keys().Validate(n.Config))
	again, err := s.Driver.Fill(t.Context(), s.Name, n.Config, false)
	if err != nil || !maps.Equal(again, n.Config) {
		t.Errorf("a complete configuration changed to %v, %v", again, err)
	}
	if _, err := s.Driver.Fill(t.Context(), s.Name, map[string]string{"no.such.key": "x"}, true); !errs.Is(err, errs.Invalid) {
		t.Errorf("an unknown key gives %v", err)
	}
	if st := s.status(t, n); st.Up {
		t.Error("Fill had an effect")
	}
}

func upDown(t *testing.T, s Subject) {
	n := s.up(t)
	ok(t, s.Driver.Up(t.Context(), n))
	if st := s.status(t, n); !st.Up || st.Hwaddr == "" || st.MTU == 0 {
		t.Errorf("after Up: %+v", st)
	}
	for range 2 {
		ok(t, s.Driver.Down(t.Context(), n))
		if st := s.status(t, n); st.Up {
			t.Errorf("after Down: %+v", st)
		}
	}
	ok(t, s.Driver.Up(t.Context(), n))
	if st := s.status(t, n); !st.Up {
		t.Error("does not come up again")
	}
}

func change(t *testing.T, s Subject) {
	n := s.up(t)
	l, err := s.Driver.Connect(t.Context(), n, port(0))
	ok(t, err)
	changed := n
	changed.Config = maps.Clone(n.Config)
	maps.Copy(changed.Config, s.Change)
	ok(t, s.Driver.Up(t.Context(), changed))
	if st := s.status(t, changed); !st.Up || !slices.Contains(st.Members, l.HostName) {
		t.Errorf("a change lost the ports: %+v", st)
	}
	ok(t, s.Driver.Up(t.Context(), n))
	ok(t, s.Driver.Disconnect(t.Context(), n, port(0), l.HostName))
}

func ports(t *testing.T, s Subject) {
	n := s.up(t)
	p := port(0)
	l, err := s.Driver.Connect(t.Context(), n, p)
	ok(t, err)
	if l.HostName == "" || len(l.HostName) > 15 || l.MTU == 0 {
		t.Errorf("%+v", l)
	}
	if st := s.status(t, n); !slices.Equal(st.Members, []string{l.HostName}) {
		t.Errorf("members %v, want %s", st.Members, l.HostName)
	}
	for range 2 {
		ok(t, s.Driver.Disconnect(t.Context(), n, p, l.HostName))
		if st := s.status(t, n); len(st.Members) > 0 {
			t.Errorf("left %v", st.Members)
		}
	}
	ok(t, s.Driver.Disconnect(t.Context(), n, p, ""))
}

func wantedName(t *testing.T, s Subject) {
	n := s.up(t)
	p := port(0)
	p.HostName, p.MTU = "lxdtest0", 1400
	l, err := s.Driver.Connect(t.Context(), n, p)
	ok(t, err)
	if l.HostName != "lxdtest0" || l.MTU != 1400 {
		t.Errorf("%+v", l)
	}
	q := port(1)
	q.HostName = "lxdtest0"
	if _, err := s.Driver.Connect(t.Context(), n, q); !errs.Is(err, errs.Conflict) {
		t.Errorf("a taken name gives %v", err)
	}
	if st := s.status(t, n); !slices.Equal(st.Members, []string{"lxdtest0"}) {
		t.Errorf("members %v", st.Members)
	}
	ok(t, s.Driver.Disconnect(t.Context(), n, p, l.HostName))
}

func insideTaken(t *testing.T, s Subject) {
	n := s.up(t)
	p, q := port(0), port(1)
	p.Inside.Name, q.Inside.Name = "lxdtestp0", "lxdtestp0"
	l, err := s.Driver.Connect(t.Context(), n, p)
	ok(t, err)
	if _, err := s.Driver.Connect(t.Context(), n, q); !errs.Is(err, errs.Invalid) {
		t.Errorf("a name that is taken inside gives %v", err)
	}
	if st := s.status(t, n); !slices.Equal(st.Members, []string{l.HostName}) {
		t.Errorf("members %v", st.Members)
	}
	ok(t, s.Driver.Disconnect(t.Context(), n, p, l.HostName))
}

func connectDown(t *testing.T, s Subject) {
	n := s.net(t)
	if _, err := s.Driver.Connect(t.Context(), n, port(0)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v", err)
	}
	ok(t, s.Driver.Disconnect(t.Context(), n, port(0), "lxdtest1"))
}

func portsAtOnce(t *testing.T, s Subject) {
	const many = 20
	n := s.up(t)
	links := make([]network.Link, many)
	fails := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { links[i], fails[i] = s.Driver.Connect(t.Context(), n, port(i)) })
	}
	wg.Wait()
	var names []string
	for i := range many {
		ok(t, fails[i])
		names = append(names, links[i].HostName)
	}
	members := s.status(t, n).Members
	slices.Sort(members)
	slices.Sort(names)
	if !slices.Equal(members, names) {
		t.Errorf("members %v, connected %v", members, names)
	}
	for i := range many {
		wg.Go(func() { fails[i] = s.Driver.Disconnect(t.Context(), n, port(i), links[i].HostName) })
	}
	wg.Wait()
	for i := range many {
		ok(t, fails[i])
	}
	if members := s.status(t, n).Members; len(members) > 0 {
		t.Errorf("left %v", members)
	}
}

func leases(t *testing.T, s Subject) {
	d, is := s.Driver.(network.Leaser)
	if !is {
		t.Skip("the driver hands out no addresses")
	}
	n := s.net(t)
	for i, a := range s.Static {
		p := port(i)
		if p.IPv4 = a; a.Is6() {
			p.IPv4, p.IPv6 = netip.Addr{}, a
		}
		n.Ports = append(n.Ports, p)
	}
	ok(t, s.Driver.Up(t.Context(), n))
	list, err := d.Leases(t.Context(), n)
	ok(t, err)
	for i, a := range s.Static {
		want := network.Lease{Project: "default", Hostname: port(i).Instance, Hwaddr: port(i).Hwaddr, Address: a.String(), Type: "static"}
		if !slices.Contains(list, want) {
			t.Errorf("%+v is not in %+v", want, list)
		}
	}
	if !slices.ContainsFunc(list, func(l network.Lease) bool { return l.Type == "gateway" }) {
		t.Errorf("no gateway in %+v", list)
	}
}
