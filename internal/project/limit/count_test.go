package limit_test

import (
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/project/limit"
)

// full is a project that has something of everything.
func full() limit.Objects {
	root := func(size string) dev { return dev{"root": {"type": "disk", "path": "/", "pool": "p", "size": size}} }
	return limit.Objects{
		Instances: []limit.Instance{
			{Name: "c1", Config: cfg{"limits.cpu": "2", "limits.memory": "1GiB", "limits.processes": "100"}, Devices: root("1GiB")},
			{Name: "c2", Config: cfg{"limits.cpu": "1", "limits.memory": "512MiB", "limits.processes": "50"}, Devices: root(""), Settled: true},
			{Name: "v1", VM: true, Config: cfg{"limits.cpu": "4", "limits.memory": "2GiB"}, Devices: root("10GiB")},
		},
		Volumes:  []limit.Volume{{Name: "a", Pool: "p", Size: "3GiB"}, {Name: "b", Pool: "q", Size: "5GiB"}},
		Networks: []limit.Network{{Name: "n", Config: cfg{"network": "up"}, Addresses4: 2, Addresses6: 1}, {Name: "m"}},
		Images:   1 << 30,
		Sizes:    map[string]string{"p": "2GiB"},
	}
}

// sums are the limits that exactly fit.
var sums = cfg{
	"limits.instances": "3", "limits.containers": "2", "limits.virtual-machines": "1", "limits.cpu": "7", "limits.memory": "3584MiB", "limits.processes": "150",
	"limits.disk": "22GiB", "limits.disk.pool.p": "16GiB", "limits.disk.pool.q": "5GiB", "limits.networks": "2",
	"limits.networks.uplink_ips.ipv4.up": "2", "limits.networks.uplink_ips.ipv6.up": "1",
}

var less = cfg{
	"limits.instances": "2", "limits.containers": "1", "limits.virtual-machines": "0", "limits.cpu": "6", "limits.memory": "3583MiB", "limits.processes": "149",
	"limits.disk": "21GiB", "limits.disk.pool.p": "15GiB", "limits.disk.pool.q": "4GiB", "limits.networks": "1",
	"limits.networks.uplink_ips.ipv4.up": "1", "limits.networks.uplink_ips.ipv6.up": "0",
}

func TestLimits(t *testing.T) {
	if all := limit.Judge(sums, full()); all != nil {
		t.Fatal("what fits is refused:", all)
	}
	for key := range sums {
		all := limit.Judge(on(key, less[key]), full())
		if len(all) != 1 || all[0].Key != key || all[0].Amount == 0 {
			t.Errorf("%s: %v", key, all)
			continue
		}
		if text := limit.Refuse("p", all).Error(); !strings.Contains(text, key+" is "+less[key]) || strings.Contains(text, "%!") {
			t.Error(text)
		}
	}
}

func TestUncountable(t *testing.T) {
	for key, spoil := range map[string]func(*limit.Instance){
		"limits.cpu":         func(i *limit.Instance) { i.Config["limits.cpu"] = "0-1" },
		"limits.memory":      func(i *limit.Instance) { i.Config["limits.memory"] = "50%" },
		"limits.processes":   func(i *limit.Instance) { delete(i.Config, "limits.processes") },
		"limits.disk":        func(i *limit.Instance) { i.Devices = dev{"r": {"type": "disk", "path": "/", "pool": "other"}} },
		"limits.disk.pool.z": func(i *limit.Instance) { i.Devices = dev{"r": {"type": "disk", "path": "/", "pool": "z"}} },
	} {
		o := full()
		spoil(&o.Instances[0])
		all := limit.Judge(on(key, "100GiB"), o)
		if strings.HasSuffix(key, "cpu") || strings.HasSuffix(key, "processes") {
			all = limit.Judge(on(key, "1000"), o)
		}
		if len(all) != 1 || all[0].Key != key || !strings.Contains(all[0].Object, "c1") {
			t.Errorf("%s: %v", key, all)
		}
	}
}

func TestUsage(t *testing.T) {
	c := cfg{"limits.cpu": "8", "limits.memory": "4GiB", "limits.disk.pool.p": "16GiB", "limits.networks.uplink_ips.ipv4.up": "9"}
	got := limit.Usage(c, full())
	for name, want := range map[string]limit.Resource{
		"cpu": {8, 7}, "memory": {4 << 30, 3584 << 20}, "disk": {-1, 22 << 30}, "disk.p": {16 << 30, 16 << 30}, "instances": {-1, 3},
		"containers": {-1, 2}, "virtual-machines": {-1, 1}, "processes": {-1, 150}, "networks": {-1, 2}, "networks.uplink_ips.ipv4.up": {9, 2},
	} {
		if got[name] != want {
			t.Errorf("%s: %+v, not %+v", name, got[name], want)
		}
	}
	if len(got) != 10 {
		t.Error(got)
	}
	if got := limit.Usage(nil, limit.Objects{}); len(got) != 8 || got["disk"] != (limit.Resource{Limit: -1}) {
		t.Error(got)
	}
}

// TestNew: what was wrong before is held against nobody, unless it gets worse.
func TestNew(t *testing.T) {
	judge := func(o limit.Objects) []limit.Violation { return limit.Judge(cfg{"limits.cpu": "3"}, o) }
	before, smaller, larger := full(), full(), full()
	smaller.Instances[0].Config = cfg{"limits.cpu": "1"}
	larger.Instances[0].Config = cfg{"limits.cpu": "3"}
	if all := limit.New(judge(smaller), judge(before)); all != nil {
		t.Error(all)
	}
	if all := limit.New(judge(larger), judge(before)); len(all) != 1 {
		t.Error(all)
	}
	if limit.Refuse("p", nil) != nil {
		t.Error("refused for nothing")
	}
	many := make([]limit.Violation, 9)
	if err := limit.Refuse("p", many); !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "and 4 more") {
		t.Error(err)
	}
}

func TestApplies(t *testing.T) {
	for _, c := range []struct {
		config cfg
		want   bool
	}{{nil, false}, {cfg{"features.images": "true"}, false}, {cfg{"restricted": "false"}, false}, {cfg{"restricted": "true"}, true}, {cfg{"limits.cpu": "1"}, true}} {
		if limit.Applies(c.config) != c.want {
			t.Error(c)
		}
	}
}
