package instance_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/instance"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The plan that a driver gets for a configuration.
func TestPlan(t *testing.T) {
	for name, post := range map[string]api.InstancesPost{
		"plain": {},
		"limits": {InstancePut: api.InstancePut{Config: map[string]string{
			"limits.memory": "25%", "limits.memory.swap": "false", "limits.cpu": "2", "limits.cpu.allowance": "25ms/100ms", "limits.processes": "100"}}},
		"shares": {InstancePut: api.InstancePut{Config: map[string]string{
			"limits.cpu": "1,3", "limits.cpu.allowance": "50%", "limits.cpu.priority": "5"}}},
		"environment": {InstancePut: api.InstancePut{Config: map[string]string{"environment.A": "x y", "environment.B": "#"}}},
		"kernel": {InstancePut: api.InstancePut{Config: map[string]string{
			"limits.kernel.nofile": "100:200", "linux.sysctl.net.ipv4.ip_forward": "1", "linux.kernel_modules": "tun, overlay", "limits.cpu.nodes": "1",
			"security.syscalls.deny": "mount errno 1", "security.syscalls.deny_default": "false", "security.syscalls.deny_compat": "true",
			"raw.lxc": "lxc.cap.drop = sys_nice", "limits.disk.priority": "8", "limits.memory.enforce": "soft", "limits.memory": "512MiB"}}},
		"nesting":    {InstancePut: api.InstancePut{Config: map[string]string{"security.nesting": "true"}}},
		"privileged": {InstancePut: api.InstancePut{Config: map[string]string{"security.privileged": "true"}}},
		"no-nic":     {InstancePut: api.InstancePut{Devices: instance.Devices{"eth0": {"type": "none"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			post.Name, post.Start, post.Source = "c1", true, api.InstanceSource{Type: api.SourceTypeNone}
			if err := w.create(t, post); err != nil {
				t.Fatal(err)
			}
			p := w.host.get("default_c1").plan
			p.RunDir, p.LogDir = strings.TrimPrefix(p.RunDir, w.dir), strings.TrimPrefix(p.LogDir, w.dir)
			for i := range p.NICs {
				p.NICs[i].Hwaddr = "(made up)"
			}
			got, _ := json.MarshalIndent(p, "", "  ")
			file := "testdata/plan-" + name + ".json"
			if *update {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || strings.TrimSpace(string(want)) != string(got) {
				t.Errorf("%v\n%s", err, got)
			}
		})
	}
}
