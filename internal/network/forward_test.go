package network_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network"
	"lxd/internal/network/acl"
)

func forwardPost(listen, target string) api.NetworkForwardsPost {
	return api.NetworkForwardsPost{ListenAddress: listen, NetworkForwardPut: api.NetworkForwardPut{Config: map[string]string{"target_address": target}}}
}

// targets are where the driver sends what is for listen addresses.
func (w world) targets(name string) (out []string) {
	for _, f := range w.driver.Guarded(name).Forwards {
		out = append(out, f.Listen.String()+">"+f.Target.String())
	}
	slices.Sort(out)
	return out
}

func TestForwards(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	listen, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("2001:DB8:0::1", ""))
	if must(t, err); listen != "2001:db8::1" {
		t.Error(listen)
	}
	_, err = w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("192.0.2.1", "10.0.0.9"))
	must(t, err)
	if got := w.targets("lxdbr0"); !slices.Equal(got, []string{"192.0.2.1>10.0.0.9", "2001:db8::1>invalid IP"}) {
		t.Error(got)
	}
	if _, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("192.0.2.1", "")); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	if _, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("10.0.0.77", "")); !errs.Is(err, errs.Invalid) {
		t.Error("an address of the network's own machines:", err)
	}
	put := api.NetworkForwardPut{Ports: []api.NetworkForwardPort{{Protocol: "tcp", ListenPort: "80", TargetAddress: "10.0.0.5"}}}
	must(t, w.UpdateForward(t.Context(), "default", "lxdbr0", "192.0.2.1", put))
	f, etag, err := w.Forward(t.Context(), "default", "lxdbr0", "192.0.2.1")
	if must(t, err); len(f.Ports) != 1 || len(f.Config) != 0 || etag == nil || f.Location != "none" {
		t.Errorf("%+v", f)
	}
	if list, err := w.Forwards(t.Context(), "default", "lxdbr0"); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
	must(t, w.DeleteForward(t.Context(), "default", "lxdbr0", "2001:db8::1"))
	if err := w.DeleteForward(t.Context(), "default", "lxdbr0", "2001:db8::1"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if got := w.targets("lxdbr0"); len(got) != 1 {
		t.Error(got)
	}
	for _, want := range []string{"network-forward-created /1.0/networks/lxdbr0/forwards/2001:db8::1", "network-forward-updated /1.0/networks/lxdbr0/forwards/192.0.2.1",
		"network-forward-deleted /1.0/networks/lxdbr0/forwards/2001:db8::1"} {
		if !slices.Contains(*w.events, want) {
			t.Error("no", want, "in", *w.events)
		}
	}
}

// One address can be that of one network only, however many want it at the same time.
func TestForwardsOfTwoNetworks(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	w.create(t, "lxdbr1", map[string]string{"ipv4.address": "10.1.0.1/24"})
	for n := range 50 {
		listen := "192.0.2." + strconv.Itoa(n+1)
		results := make(chan error, 2)
		for _, name := range []string{"lxdbr0", "lxdbr1"} {
			go func() {
				_, err := w.CreateForward(t.Context(), "default", name, forwardPost(listen, ""))
				results <- err
			}()
		}
		a, b := <-results, <-results
		if (a == nil) == (b == nil) || !errs.Is(errors.Join(a, b), errs.Conflict) {
			t.Fatal(listen, a, b)
		}
	}
	if a, b := w.targets("lxdbr0"), w.targets("lxdbr1"); len(a)+len(b) != 50 {
		t.Error(a, b)
	}
}

func TestForwardsThatTheHostRefusesAreNotKept(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	_, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("192.0.2.1", "10.0.0.9"))
	must(t, err)
	no := errors.New("no")
	for what, do := range map[string]func() error{
		"create": func() error {
			_, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("192.0.2.2", "10.0.0.8"))
			return err
		},
		"update": func() error {
			return w.UpdateForward(t.Context(), "default", "lxdbr0", "192.0.2.1", forwardPost("", "10.0.0.8").NetworkForwardPut)
		},
		"delete": func() error { return w.DeleteForward(t.Context(), "default", "lxdbr0", "192.0.2.1") },
	} {
		w.driver.FailNext("Guard", no)
		if err := do(); !errors.Is(err, no) {
			t.Error(what, err)
		}
		f, _, err := w.Forward(t.Context(), "default", "lxdbr0", "192.0.2.1")
		if got := w.targets("lxdbr0"); err != nil || f.Config["target_address"] != "10.0.0.9" || !slices.Equal(got, []string{"192.0.2.1>10.0.0.9"}) {
			t.Error("after a failed", what, f, got, err)
		}
	}
}

func TestForwardsFollowTheirNetwork(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	_, err := w.CreateForward(t.Context(), "default", "lxdbr0", forwardPost("192.0.2.1", "10.0.0.9"))
	must(t, err)
	err = w.Update(t.Context(), "default", "lxdbr0", api.NetworkPut{Config: map[string]string{"ipv4.address": "10.5.0.1/24"}})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Error("a forward lost its target:", err)
	}
	must(t, w.Rename(t.Context(), "default", "lxdbr0", "br1"))
	if got := w.targets("br1"); len(got) != 1 {
		t.Error(got)
	}
	must(t, w.daemon().StartAll(t.Context()))
	if got := w.targets("br1"); len(got) != 1 {
		t.Error("after a restart:", got)
	}
	must(t, w.Delete(t.Context(), "default", "br1"))
	w.create(t, "br1", nil)
	if list, err := w.Forwards(t.Context(), "default", "br1"); err != nil || len(list) != 0 {
		t.Error("a forward outlived its network:", list, err)
	}
}

func TestACLsOnNetworks(t *testing.T) {
	w := setup(t)
	acls := acl.New(acl.Deps{Store: w.store, Networks: w.Service})
	rule := func(port string) api.NetworkACLPut {
		return api.NetworkACLPut{Ingress: []api.NetworkACLRule{{Action: "allow", Protocol: "tcp", DestinationPort: port}}}
	}
	if err := w.Create(t.Context(), "default", post("br0", map[string]string{"security.acls": "web"})); !errs.Is(err, errs.Invalid) {
		t.Error("an ACL that is not there:", err)
	}
	must(t, acls.Create(t.Context(), "default", api.NetworkACLsPost{NetworkACLPost: api.NetworkACLPost{Name: "web"}, NetworkACLPut: rule("80")}))
	w.create(t, "br0", map[string]string{"security.acls": "web", "security.acls.default.ingress.action": "drop"})
	policy := func() *acl.Policy { return w.driver.Guarded("br0").Policy }
	if p := policy(); p == nil || p.Ingress.Default != "drop" || p.Egress.Default != "reject" || len(p.Ingress.Rules) != 1 {
		t.Fatalf("%+v", p)
	}
	must(t, acls.Update(t.Context(), "default", "web", rule("443")))
	if p := policy().Ingress.Rules[0].DestinationPorts; p[0].First != 443 {
		t.Error("the network did not follow:", p)
	}
	no := errors.New("no")
	w.driver.FailNext("Guard", no)
	if err := acls.Update(t.Context(), "default", "web", rule("444")); !errors.Is(err, no) {
		t.Error(err)
	}
	if a, _, err := acls.Get(t.Context(), "default", "web"); err != nil || a.Ingress[0].DestinationPort != "443" || policy().Ingress.Rules[0].DestinationPorts[0].First != 443 {
		t.Error("a change that failed is kept:", a, err)
	}
	named := api.NetworkACLPut{Ingress: []api.NetworkACLRule{{Action: "allow", Source: "@external"}}}
	if err := acls.Update(t.Context(), "default", "web", named); !errs.Is(err, errs.Invalid) {
		t.Error("a rule that a bridge cannot obey:", err)
	}
	if a, _, _ := acls.Get(t.Context(), "default", "web"); !slices.Equal(a.UsedBy, []string{"/1.0/networks/br0"}) {
		t.Error(a.UsedBy)
	}
	for what, err := range map[string]error{"delete": acls.Delete(t.Context(), "default", "web"), "rename": acls.Rename(t.Context(), "default", "web", "w2")} {
		if !errs.Is(err, errs.Invalid) {
			t.Error(what, "of one that is in use:", err)
		}
	}
	must(t, w.Update(t.Context(), "default", "br0", api.NetworkPut{Config: map[string]string{"ipv4.address": "10.0.0.1/24"}}))
	if policy() != nil {
		t.Error("still there:", policy())
	}
	must(t, acls.Delete(t.Context(), "default", "web"))
}

// An ACL that changes while a network is given it is obeyed as it has become.
func TestACLThatChangesMeanwhile(t *testing.T) {
	w := setup(t)
	rule := func(port string) api.NetworkACLPut {
		return api.NetworkACLPut{Ingress: []api.NetworkACLRule{{Action: "allow", Protocol: "tcp", DestinationPort: port}}}
	}
	w.create(t, "br0", nil)
	changed := make(chan error, 1)
	var acls *acl.Service
	svc := network.New(network.Deps{Store: w.store, Drivers: []network.Driver{w.driver}, Dir: w.dir, Instances: users{}, Hook: func(kind, step, moment string) error {
		if kind != "network-update" || step != "record" || moment != "before" {
			return nil
		}
		go func() { changed <- acls.Update(context.Background(), "default", "web", rule("443")) }()
		select {
		case err := <-changed:
			changed <- err
		case <-time.After(100 * time.Millisecond): // it waits its turn
		}
		return nil
	}})
	acls = acl.New(acl.Deps{Store: w.store, Networks: svc})
	must(t, acls.Create(t.Context(), "default", api.NetworkACLsPost{NetworkACLPost: api.NetworkACLPost{Name: "web"}, NetworkACLPut: rule("80")}))
	must(t, svc.Update(t.Context(), "default", "br0", api.NetworkPut{Config: map[string]string{"ipv4.address": "10.0.0.1/24", "security.acls": "web"}}))
	must(t, <-changed)
	if p := w.driver.Guarded("br0").Policy.Ingress.Rules[0].DestinationPorts; p[0].First != 443 {
		t.Error("the network obeys the ACL as it was:", p)
	}
}

// TestLargePrefix warns of networks whose machines cannot choose addresses by themselves.
func TestLargePrefix(t *testing.T) {
	w := setup(t)
	w.create(t, "br0", map[string]string{"ipv6.address": "fd42:1::1/80"})
	must(t, w.Inspect(t.Context()))
	must(t, w.Inspect(t.Context()))
	if got := slices.DeleteFunc(*w.warnings, func(s string) bool { return s == "-" }); len(got) != 1 || !strings.HasPrefix(got[0], "br0: "+api.WarningIPV6NetworksWithAPrefixLargerThan64ArentProperlySupportedByDnsmasq.String()+": fd42:1::1/80") {
		t.Error(got)
	}
}

func TestWarnings(t *testing.T) {
	w := setup(t)
	w.create(t, "br0", nil)
	step := func(what string, want ...string) {
		t.Helper()
		if got := *w.warnings; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		*w.warnings = nil
	}
	w.driver.Break("br0", "dropped by Docker")
	for range 2 { // the second look finds the same, and does not tell it again
		must(t, w.Inspect(t.Context()))
	}
	step("found", "br0: dropped by Docker")
	w.driver.Tell(network.Trouble{Network: "br0", Err: errors.New("dnsmasq ended"), Mended: true})
	step("told", "br0: dnsmasq ended", "br0: dropped by Docker")
	w.driver.Break("br0")
	*w.warnings = []string{"br0: "}
	must(t, w.Inspect(t.Context()))
	step("mended", "br0: ", "-")
	w.driver.Tell(network.Trouble{Network: "br0", Err: errors.New("dnsmasq ended"), Mended: true})
	step("told", "br0: dnsmasq ended", "-")
	w.driver.Tell(network.Trouble{Network: "nobody's", Err: errors.New("x")})
	step("of another")
}
