package acl_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/network/acl"
	"lxd/internal/project"
	"lxd/internal/store"
)

type rule = api.NetworkACLRule

func ingress(rules ...rule) acl.Record {
	return acl.Record{Project: "default", Name: "a"}.With(api.NetworkACLPut{Ingress: rules})
}

func TestCheck(t *testing.T) {
	for _, good := range []rule{
		{Action: "allow"}, {Action: "drop", State: "logged", Source: "10.0.0.0/8, 10.1.1.1,2001:db8::/32"},
		{Action: "reject", Source: "10.0.0.1-10.0.0.9", Protocol: "tcp", DestinationPort: "80, 90-99", SourcePort: "1"},
		{Action: "allow", Protocol: "icmp4", ICMPType: "8", ICMPCode: "0"}, {Action: "allow", Source: "@internal,web"},
		{Action: "allow", Source: "@net/peer"},
	} {
		if err := ingress(good).Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for why, bad := range map[string]rule{
		"action \"\"":          {},
		"action \"permit\"":    {Action: "permit"},
		"state \"on\"":         {Action: "allow", State: "on"},
		"protocol \"sctp\"":    {Action: "allow", Protocol: "sctp"},
		"ports need":           {Action: "allow", DestinationPort: "80"},
		"icmp_type and":        {Action: "allow", Protocol: "tcp", ICMPType: "8"},
		"icmp_type \"300\"":    {Action: "allow", Protocol: "icmp4", ICMPType: "300"},
		"icmp_code needs":      {Action: "allow", Protocol: "icmp4", ICMPCode: "0"},
		"destination_port":     {Action: "allow", Protocol: "tcp", DestinationPort: "99-90"},
		"10.0.0.9-10.0.0.1":    {Action: "allow", Source: "10.0.0.9-10.0.0.1"},
		"10.0.0.1-::1":         {Action: "allow", Source: "10.0.0.1-::1"},
		"no name of an ACL":    {Action: "allow", Source: "10.0.0.0/40"},
		"cannot be named":      {Action: "allow", Destination: "web"},
		"different families":   {Action: "allow", Source: "10.0.0.1", Destination: "::1"},
		"different families 2": {Action: "allow", Source: "10.0.0.1", Protocol: "icmp6"},
		"one line":             {Action: "allow", Description: "a\nb"},
	} {
		if err := ingress(rule{Action: "allow"}, bad).Check(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), strings.TrimRight(why, " 2")) ||
			!strings.Contains(err.Error(), "ingress rule 1") {
			t.Errorf("%s: %v", why, err)
		}
	}
	if err := ingress(rule{Action: "allow"}, rule{Action: "allow", State: "enabled"}).Check(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
	if err := (acl.Record{Config: map[string]string{"x": "y"}}).Check(); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "web-1", "Web"} {
		if err := acl.CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "1a", "-a", "a-", "a_b", "a/b", "@a", "internal", strings.Repeat("a", 64), "é"} {
		if err := acl.CheckName(bad); !errs.Is(err, errs.Invalid) {
			t.Error(bad, err)
		}
	}
}

func TestCompileOrdersByAction(t *testing.T) {
	p, err := acl.Compile([]acl.Record{
		ingress(rule{Action: "allow", Source: "10.0.0.1,::1"}, rule{Action: "drop", State: "disabled"}, rule{Action: "reject", Protocol: "udp"}),
		{Name: "b", Ingress: []rule{{Action: "drop", State: "logged", Destination: "10.0.0.0/30"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.Ingress.Rules {
		got = append(got, r.ACL+r.Action)
	}
	if !slices.Equal(got, []string{"bdrop", "areject", "aallow", "aallow"}) {
		t.Error(got)
	}
	if r := p.Ingress.Rules[0]; !r.Log || r.Destination[0].Last.String() != "10.0.0.3" || r.ICMPType != -1 || p.Egress.Default != "reject" {
		t.Errorf("%+v", r)
	}
	if a, b := p.Ingress.Rules[2].Source, p.Ingress.Rules[3].Source; len(a) != 1 || len(b) != 1 || a[0].First.Is6() || !b[0].First.Is6() {
		t.Error(a, b)
	}
	if _, err := acl.Compile([]acl.Record{ingress(rule{Action: "allow", Source: "@external"})}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	// What was stored unsound must not become a rule that matches more.
	if _, err := acl.Compile([]acl.Record{ingress(rule{Action: "allow", Protocol: "tcp", DestinationPort: "x"})}); err == nil {
		t.Error("a rule lost its port")
	}
}

// noNetworks are networks that use nothing.
type noNetworks struct{ st store.Store }

func (n noNetworks) Enforce(ctx context.Context, _ acl.Record, write func(store.Tx) error) error {
	return n.st.Update(ctx, write)
}

func TestService(t *testing.T) {
	var events []string
	st := store.NewMem(store.Options{OnAnnounce: func(ev any) {
		if c, ok := ev.(event.Change); ok {
			events = append(events, c.Action+" "+c.Source)
		}
	}})
	t.Cleanup(func() { _ = st.Close() })
	must(t, project.New(project.Deps{Store: st}).Start(t.Context()))
	s := acl.New(acl.Deps{Store: st, Networks: noNetworks{st}})
	create := func(name string, rules ...rule) error {
		return s.Create(t.Context(), "default", api.NetworkACLsPost{NetworkACLPost: api.NetworkACLPost{Name: name}, NetworkACLPut: api.NetworkACLPut{Ingress: rules}})
	}
	must(t, create("db"))
	must(t, create("web", rule{Action: "allow", Source: "db"}))
	for what, err := range map[string]error{
		"taken": create("web"), "a name": create("1"), "a rule": create("x", rule{Action: "x"}), "a missing name": create("x", rule{Action: "allow", Source: "nobody"}),
		"used": s.Delete(t.Context(), "default", "db"), "used ": s.Rename(t.Context(), "default", "db", "sql"),
	} {
		if !errs.Is(err, errs.Invalid) {
			t.Error(what, err)
		}
	}
	a, etag, err := s.Get(t.Context(), "default", "db")
	if err != nil || !slices.Equal(a.UsedBy, []string{"/1.0/network-acls/web"}) || etag == nil || a.Project != "default" {
		t.Error(a, err)
	}
	must(t, s.Update(t.Context(), "default", "web", api.NetworkACLPut{Description: "d", Egress: []rule{{Action: "drop", Destination: " 10.0.0.1 , 10.0.0.2"}}}))
	if a, _, _ = s.Get(t.Context(), "default", "web"); len(a.Ingress) != 0 || a.Egress[0].State != "enabled" || a.Egress[0].Destination != "10.0.0.1,10.0.0.2" {
		t.Errorf("%+v", a)
	}
	must(t, s.Rename(t.Context(), "default", "db", "sql"))
	if list, err := s.List(t.Context(), "default", false); err != nil || len(list) != 2 || list[0].Name != "sql" {
		t.Error(list, err)
	}
	must(t, s.Delete(t.Context(), "default", "sql"))
	if err := s.Delete(t.Context(), "default", "sql"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	for _, want := range []string{"network-acl-created /1.0/network-acls/db", "network-acl-updated /1.0/network-acls/web",
		"network-acl-renamed /1.0/network-acls/sql", "network-acl-deleted /1.0/network-acls/sql"} {
		if !slices.Contains(events, want) {
			t.Error("no", want, "in", events)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
