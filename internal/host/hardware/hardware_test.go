package hardware_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"lxd/api"
	"lxd/internal/host/hardware"
)

// machine writes the files that the kernel would show.
func machine(t *testing.T, files map[string]string) hardware.Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return hardware.Host{Root: root}
}

const info = "processor\t: 0\nvendor_id\t: Acme\nmodel name\t: Acme 9000\ncpu MHz\t\t: 2100.5\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\ncpu MHz\t\t: 2300.0"

func TestCPU(t *testing.T) {
	const cpu = "sys/devices/system/cpu/"
	h := machine(t, map[string]string{
		"proc/cpuinfo": info, cpu + "isolated": "1,4-5", cpu + "cpufreq/x": "",
		cpu + "cpu0/topology/physical_package_id": "0", cpu + "cpu0/topology/core_id": "0", cpu + "cpu0/topology/die_id": "1", cpu + "cpu0/node0/x": "",
		cpu + "cpu0/cache/index0/level": "1", cpu + "cpu0/cache/index0/type": "Data", cpu + "cpu0/cache/index0/size": "32K",
		cpu + "cpu1/topology/physical_package_id": "0", cpu + "cpu1/topology/core_id": "0", cpu + "cpu1/topology/die_id": "1", cpu + "cpu1/node1/x": "",
		cpu + "cpu2/topology/physical_package_id": "1", cpu + "cpu2/topology/core_id": "0", cpu + "cpu2/cpufreq/scaling_cur_freq": "1500000",
		cpu + "cpu3/topology/physical_package_id": "1", cpu + "cpu3/online": "0",
	})
	got, err := h.CPU()
	if err != nil {
		t.Fatal(err)
	}
	got.Architecture = ""
	want := api.ResourcesCPU{Total: 4, Sockets: []api.ResourcesCPUSocket{
		{Socket: 0, Name: "Acme 9000", Vendor: "Acme", Frequency: 2100, Cache: []api.ResourcesCPUCache{{Level: 1, Type: "Data", Size: 32 << 10}},
			Cores: []api.ResourcesCPUCore{{Core: 0, Die: 1, Frequency: 2100, Threads: []api.ResourcesCPUThread{
				{ID: 0, Thread: 0, Online: true}, {ID: 1, Thread: 1, NUMANode: 1, Online: true, Isolated: true},
			}}}},
		{Socket: 1, Name: "Acme 9000", Vendor: "Acme", Frequency: 1500, Cores: []api.ResourcesCPUCore{
			{Core: 0, Frequency: 1500, Threads: []api.ResourcesCPUThread{{ID: 2, Online: true}}},
			{Core: 3, Threads: []api.ResourcesCPUThread{{ID: 3, Online: false}}},
		}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if _, err := machine(t, nil).CPU(); err == nil {
		t.Error("a host without processors")
	}
}

func TestMemory(t *testing.T) {
	h := machine(t, map[string]string{
		"proc/meminfo":                          "MemTotal:  1000 kB\nMemAvailable: 400 kB\nHugePages_Total: 4\nHugePages_Free: 3\nHugepagesize: 2048 kB",
		"sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 1000 kB\nNode 0 MemUsed: 700 kB\nNode 0 HugePages_Total: 4\nNode 0 HugePages_Free: 4",
	})
	got, err := h.Memory()
	want := api.ResourcesMemory{Total: 1000 << 10, Used: 600 << 10, HugepagesSize: 2 << 20, HugepagesTotal: 8 << 20, HugepagesUsed: 2 << 20,
		Nodes: []api.ResourcesMemoryNode{{NUMANode: 0, Total: 1000 << 10, Used: 700 << 10, HugepagesTotal: 8 << 20}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v, %v", got, want, err)
	}
	for _, text := range []string{"MemTotal: lots kB", ""} {
		if _, err := machine(t, map[string]string{"proc/meminfo": text}).Memory(); (err == nil) != (text == "") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSystem(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a machine", map[string]string{"proc/cpuinfo": "processor: 0\nflags: fpu"}, "physical"},
		{"a virtual one", map[string]string{"proc/cpuinfo": info}, "virtual-machine"},
		{"a container", map[string]string{"proc/cpuinfo": info, "run/systemd/container": "lxc"}, "container"},
	} {
		c.files["sys/class/dmi/id/sys_vendor"], c.files["sys/class/dmi/id/chassis_type"], c.files["sys/class/dmi/id/bios_version"] = "Acme", "3", "1.2"
		s := machine(t, c.files).System()
		if s.Type != c.want || s.Vendor != "Acme" || s.Chassis.Type != "Desktop" || s.Firmware.Version != "1.2" {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

func TestThisHost(t *testing.T) {
	r, err := hardware.Host{}.Resources()
	if err != nil || r.CPU.Total < 1 || len(r.CPU.Sockets) == 0 || r.Memory.Total <= r.Memory.Used || r.System.Type == "" {
		t.Errorf("%+v %v", r, err)
	}
}
