package listing_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/cli/listing"
)

func TestPath(t *testing.T) {
	for _, c := range []struct {
		need      listing.Need
		selective bool
		want      string
	}{
		{0, true, "1"},
		{listing.NeedObject, true, "1"},
		{listing.NeedState, true, "2%3Bfields%3D"},
		{listing.NeedState | listing.NeedNetwork, true, "2%3Bfields%3Dstate.network"},
		{listing.NeedObject | listing.NeedState | listing.NeedDisk, true, "2%3Bfields%3Dstate.disk"},
		{listing.NeedState | listing.NeedNetwork | listing.NeedDisk, true, "2%3Bfields%3Dstate.disk%2Cstate.network"},
		{listing.NeedAll, true, "2"},
		{listing.NeedState, false, "2"},
	} {
		if got := c.need.Path(c.selective); got != "/1.0/instances?recursion="+c.want {
			t.Errorf("%d, selective %v: got %s, want %s", c.need, c.selective, got, c.want)
		}
	}
}

// The slim reading must see the same as the whole one, in the fields that it reads.
func TestDecodeSlim(t *testing.T) {
	full := []api.InstanceFull{
		{Instance: api.Instance{Name: "c1", Status: "Running", Type: "container", Location: "m1", Project: "web \"x\"", Ephemeral: true,
			Config: map[string]string{"user.a": `{"name":"other"}`}},
			State:     &api.InstanceState{Pid: 5, Network: map[string]api.InstanceStateNetwork{"eth0": {Type: "broadcast", Addresses: []api.InstanceStateNetworkAddress{{Family: "inet", Address: "10.0.0.1"}}}}},
			Snapshots: []api.InstanceSnapshot{{Name: "a"}, {Name: "b"}}},
		{Instance: api.Instance{Name: "c2", Status: "Stopped"}},
	}
	data, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (listing.NeedState | listing.NeedNetwork).Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.InstanceFull{
		{Instance: api.Instance{Name: "c1", Status: "Running", Type: "container", Location: "m1", Project: "web \"x\"", Ephemeral: true},
			State: &api.InstanceState{Network: full[0].State.Network}, Snapshots: make([]api.InstanceSnapshot, 2)},
		{Instance: api.Instance{Name: "c2", Status: "Stopped"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if whole, err := listing.NeedAll.Decode(data); err != nil || !reflect.DeepEqual(whole, full) {
		t.Errorf("got %+v, %v", whole, err)
	}
	for _, bad := range []string{`{}`, `[{"name":1}]`, `[{"state":[]}]`, `[{"name":"x"`} {
		if _, err := listing.Need(0).Decode([]byte(bad)); err == nil {
			t.Errorf("%s was taken for a list of instances", bad)
		}
	}
}

func inst() *api.InstanceFull {
	return &api.InstanceFull{Instance: api.Instance{Name: "web01", Status: "Running", Type: "container", Architecture: "x86_64", Location: "m1",
		ExpandedConfig: map[string]string{"user.role": "db", "volatile.eth0.hwaddr": "00:16:3e:aa:bb:cc", "security.privileged": "true"}},
		State: &api.InstanceState{Network: map[string]api.InstanceStateNetwork{"eth0": {Type: "broadcast", Addresses: []api.InstanceStateNetworkAddress{
			{Family: "inet", Address: "10.1.2.3", Scope: "global"}, {Family: "inet6", Address: "fe80::1", Scope: "link"}}}}}}
}

func TestMatcher(t *testing.T) {
	for filter, want := range map[string]bool{
		"web": true, "web.*01$": true, "eb": false, "web02": false, "": true,
		"type=container": true, "type=virtual-machine": false, "type=virtual-machine,container": true,
		"status=RUNNING": true, "status=stopped": false, "architecture=x86_64": true, "location=m2": false,
		"ipv4=10.1.2.3": true, "ipv4=10.1.0.0/16": true, "ipv4=10.9.0.0/16,10.1.2.0/24": true, "ipv4=10.9.0.0/16": false, "ipv6=fe80::/10": false,
		"user.role=db": true, "u.role=db": true, "s.privileged=true": true, "user.role=web": false, "user.none=x": false, "user.role=d.*": true,
		"volatile.eth0.hwaddr=00:16:3e:.*": true, "user.role=*": false,
	} {
		m, err := listing.NewMatcher([]string{filter})
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := m.Matches(inst()); got != want {
			t.Errorf("%s: got %v, want %v", filter, got, want)
		}
	}
	for _, bad := range []string{"(", "ipv4=x", "ipv6=1/999", "(=x"} {
		if _, err := listing.NewMatcher([]string{bad}); err == nil {
			t.Errorf("filter %q was accepted", bad)
		}
	}
	m, err := listing.NewMatcher([]string{"web", "status=stopped"})
	if err != nil || m.Matches(inst()) {
		t.Errorf("one of two filters was enough (%v)", err)
	}
	m, err = listing.NewMatcher([]string{"ipv4=10.0.0.0/8", "user.a=b"})
	if err != nil || m.Needs() != listing.NeedObject|listing.NeedState|listing.NeedNetwork {
		t.Errorf("got %v, %v", m.Needs(), err)
	}
}

func TestPick(t *testing.T) {
	for columns, want := range map[string]string{"n,s": "NAME|STATE", "nsL": "NAME|STATE|LOCATION", "n,user.a_b": "NAME|USER A B", "config:user.a:X": "X", "devices:eth0.network:": "eth0.network"} {
		cols, err := listing.Pick(columns, true)
		if err != nil {
			t.Errorf("%s: %v", columns, err)
			continue
		}
		header, rows := listing.LayOut(cols, []api.InstanceFull{*inst()})
		if got := strings.Join(header, "|"); got != want || len(rows) != 1 || len(rows[0]) != len(header) {
			t.Errorf("%s: got %s %v, want %s", columns, got, rows, want)
		}
	}
	for _, bad := range []string{"Z", "n,", "a.b:c:d:e", "a.b:c:-2", "config:"} {
		if _, err := listing.Pick(bad, true); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := listing.Pick("L", false); err == nil {
		t.Error("the location of a server that stands alone was listed")
	}
}

func BenchmarkDecode(b *testing.B) {
	list := make([]api.InstanceFull, 1000)
	for i := range list {
		list[i] = *inst()
	}
	data, err := json.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := (listing.NeedState | listing.NeedNetwork).Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
