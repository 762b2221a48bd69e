//go:build system

package instance_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/driver/machine/lxc"
	"lxd/internal/driver/storage/dir"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/store/etcd"
)

const initScript = `#!/bin/sh
trap '/bin/busybox poweroff -f' PWR
trap '/bin/busybox reboot -f' HUP
echo booted >/dev/console
echo >/run/up
while :; do /bin/busybox sleep 1000 & wait $!; done
`

// tree writes a small system below root.
func tree(root string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	var all []error
	for _, d := range []string{"bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "run"} {
		all = append(all, os.MkdirAll(filepath.Join(root, "rootfs", d), 0o755))
	}
	all = append(all, os.WriteFile(filepath.Join(root, "rootfs/bin/busybox"), b, 0o755), os.WriteFile(filepath.Join(root, "rootfs/sbin/init"), []byte(initScript), 0o755))
	for _, name := range strings.Fields("sh true sleep echo cat id kill mount touch") {
		all = append(all, os.Symlink("busybox", filepath.Join(root, "rootfs/bin", name)))
	}
	return errors.Join(all...)
}

// real is a daemon over the kernel, without networks.
type real struct {
	st    store.Store
	ops   *op.Manager
	svc   *instance.Service
	dir   string
	lxc   *lxc.Driver
	pools *storage.Service
}

func newReal(t *testing.T) *real {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for containers")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox-static:", err)
	}
	helper, _ := filepath.Abs("../../bin/lxd-lxc")
	if _, err := os.Stat(helper); err != nil {
		t.Skip("needs the container helper; run make build:", err)
	}
	r := &real{}
	var err error
	if r.dir, err = os.MkdirTemp("/var/tmp", "lxd-instance-"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(r.dir); err != nil {
			t.Error(err)
		}
	})
	if r.lxc, err = lxc.New(helper); err != nil {
		t.Fatal(err)
	}
	if r.st, err = etcd.Open(context.Background(), etcd.Config{Dir: filepath.Join(r.dir, "database")}, store.Options{}); err != nil {
		t.Fatal(err)
	}
	r.daemon(t)
	t.Cleanup(func() {
		r.svc.Shutdown(context.Background())
		r.svc.Close()
		if err := errors.Join(r.pools.Close(), r.lxc.Close(), r.st.Close()); err != nil {
			t.Error(err)
		}
	})
	profiles := profile.New(profile.Deps{Store: r.st, Instances: r.svc})
	err = errors.Join(project.New(project.Deps{Store: r.st}).Start(t.Context()), profiles.Start(t.Context()), r.pools.Start(t.Context()),
		r.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "tank", Driver: "dir"}))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := profiles.Update(t.Context(), "default", "default", api.ProfilePut{Devices: instance.Devices{"root": {"type": "disk", "path": "/", "pool": "tank"}}})
	if err := r.run(spec, err); err != nil {
		t.Fatal(err)
	}
	return r
}

// daemon makes the services anew, as a daemon does that starts.
func (r *real) daemon(t *testing.T) {
	t.Helper()
	r.ops = op.NewManager(context.Background(), op.Options{Store: r.st})
	r.pools = storage.New(storage.Deps{Store: r.st, Drivers: []storage.Driver{dir.New()}, Dir: filepath.Join(r.dir, "storage-pools"),
		Unpack: func(_ context.Context, _, root string, _ func(string)) error { return tree(root) }})
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	r.svc = instance.New(context.Background(), instance.Deps{
		Store: r.st, Ops: r.ops, Machine: r.lxc, Volumes: r.pools, Copies: r.pools, Images: images{}, Kinds: []device.Kind{disk.Kind(nil), pairKind()},
		Host: instance.Host{Architecture: "x86_64", CPUs: []int{0, 1}, Memory: 8 << 30, Boot: string(boot),
			IDMap: []machine.IDRange{{Host: 1000000, Size: 1000000000}}},
		RunDir: filepath.Join(r.dir, "run"), LogDir: filepath.Join(r.dir, "logs"),
	})
	for kind, rec := range r.svc.Recoverers() {
		r.ops.Register(kind, rec)
	}
}

func (r *real) run(spec op.Spec, err error) error {
	if err != nil {
		return err
	}
	o, err := r.ops.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	return o.Wait(context.Background())
}

func (r *real) create(t *testing.T, name string, config map[string]string) {
	t.Helper()
	post := request(name)
	post.Config = config
	if err := r.run(r.svc.Create(t.Context(), "default", post)); err != nil {
		t.Fatal(err)
	}
}

func (r *real) state(t *testing.T, name, action string, timeout int64) error {
	return r.run(r.svc.SetState(t.Context(), "default", name, api.InstanceStatePut{Action: action, Timeout: timeout}))
}

func (r *real) remove(t *testing.T, name string) {
	t.Helper()
	if err := r.run(r.svc.Delete(t.Context(), "default", name, true)); err != nil {
		t.Error(err)
	}
}

// inside runs a command that nobody is attached to and returns its exit code.
func (r *real) inside(t *testing.T, name string, args ...string) int {
	t.Helper()
	spec, err := r.svc.Exec(t.Context(), "default", name, api.InstanceExecPost{Command: args})
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.ops.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	err = o.Wait(t.Context())
	code, _ := o.API().Metadata["return"].(int)
	if err != nil && code != 126 && code != 127 { // with these the operation has failed, and says so in words too
		t.Fatal(err)
	}
	return code
}

func (r *real) mounts(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], r.dir) {
			all = append(all, f[4])
		}
	}
	return all
}

func TestRealLife(t *testing.T) {
	r := newReal(t)
	r.create(t, "c1", map[string]string{"environment.COLOR": "blue", "limits.processes": "64", "limits.memory": "64MiB"})
	if err := r.state(t, "c1", "start", -1); err != nil {
		t.Fatal(err)
	}
	s, err := r.svc.State(t.Context(), "default", "c1")
	if err != nil || s.StatusCode != 103 || s.Pid < 2 || s.Processes < 1 || s.Memory.Usage == 0 || s.Memory.Total != 64<<20 {
		t.Errorf("%+v %v", s, err)
	}
	for script, want := range map[string]int{`[ "$COLOR" = blue ]`: 0, `[ $(id -u) = 0 ]`: 0, "exit 7": 7, "kill -9 $$": 137, "touch /root/x": 0} {
		if code := r.inside(t, "c1", "sh", "-c", script); code != want {
			t.Errorf("%s: %d", script, code)
		}
	}
	if code := r.inside(t, "c1", "nonsense"); code != 127 {
		t.Error("nonsense:", code)
	}
	for _, action := range []string{"freeze", "unfreeze", "restart", "stop"} {
		if action == "restart" || action == "stop" { // a first program that has not set its traps yet heeds no signal
			wait(t, "booted", func() bool { return r.inside(t, "c1", "sh", "-c", "[ -e /run/up ]") == 0 })
		}
		if err := r.state(t, "c1", action, 10); err != nil {
			t.Fatal(action, err)
		}
	}
	if left := r.mounts(t); len(left) > 0 {
		t.Error("left mounted:", left)
	}
	if b, err := r.svc.ConsoleLog(t.Context(), "default", "c1"); err != nil || !strings.Contains(string(b), "booted") {
		t.Errorf("console log %q %v", b, err)
	}
	r.remove(t, "c1")
	if _, err := os.Stat(filepath.Join(r.dir, "storage-pools/tank/containers/c1")); !errors.Is(err, os.ErrNotExist) {
		t.Error("left:", err)
	}
}

// A container goes on running while the daemon does not, and is a running instance again afterwards.
func TestRealRestartOfDaemon(t *testing.T) {
	r := newReal(t)
	for _, name := range []string{"up", "dies"} {
		r.create(t, name, nil)
		if err := r.state(t, name, "start", -1); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := r.svc.State(t.Context(), "default", "up")
	r.svc.Close()
	dies, _ := r.svc.State(t.Context(), "default", "dies")
	if p, err := os.FindProcess(int(dies.Pid)); err != nil || p.Kill() != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	r.daemon(t)
	if err := errors.Join(r.pools.Start(t.Context()), r.ops.Recover(t.Context()), r.svc.Boot(t.Context())); err != nil {
		t.Fatal(err)
	}
	after, _ := r.svc.State(t.Context(), "default", "up")
	if after.StatusCode != 103 || after.Pid != before.Pid {
		t.Errorf("%+v, before %+v", after, before)
	}
	if code := r.inside(t, "up", "true"); code != 0 {
		t.Error(code)
	}
	if s, _ := r.svc.State(t.Context(), "default", "dies"); s.StatusCode != 102 {
		t.Errorf("%+v", s)
	}
	if m := r.mounts(t); slices.ContainsFunc(m, func(s string) bool { return strings.Contains(s, "dies") }) {
		t.Error(m)
	}
	r.remove(t, "up")
	r.remove(t, "dies")
}

// A guest that reboots comes back, an ephemeral one that powers off goes.
func TestRealGuestEnds(t *testing.T) {
	r := newReal(t)
	r.create(t, "c1", nil)
	if err := r.state(t, "c1", "start", -1); err != nil {
		t.Fatal(err)
	}
	before, _ := r.svc.State(t.Context(), "default", "c1")
	wait(t, "booted", func() bool { return r.inside(t, "c1", "sh", "-c", "[ -e /run/up ] && rm /run/up") == 0 })
	r.inside(t, "c1", "kill", "-HUP", "1")
	up := func() bool {
		s, err := r.svc.State(t.Context(), "default", "c1")
		return err == nil && s.StatusCode == 103 && s.Pid > 0 && s.Pid != before.Pid
	}
	wait(t, "rebooted", up)
	wait(t, "booted again", func() bool { return r.inside(t, "c1", "sh", "-c", "[ -e /run/up ]") == 0 })
	put, _, err := r.svc.Writable(t.Context(), "default", "c1")
	if err != nil {
		t.Fatal(err)
	}
	put.Ephemeral = true
	if err := r.svc.UpdateNow(t.Context(), "default", "c1", put); err != nil {
		t.Fatal(err)
	}
	r.inside(t, "c1", "kill", "-PWR", "1")
	wait(t, "deleted", func() bool { _, _, err := r.svc.Get(t.Context(), "default", "c1"); return errs.Is(err, errs.NotFound) })
}

// pair is a NIC that is one end of a veth pair.
type pair struct{ host, hwaddr string }

func pairKind() device.Kind {
	return device.Kind{Type: "nic", New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		return pair{"t" + strconv.Itoa(os.Getpid()) + env.Name, env.InstanceConfig["volatile."+env.Name+".hwaddr"]}, nil
	}}
}

func (p pair) Attach(context.Context) (device.Grant, error) {
	return device.Grant{NICs: []device.NIC{{HostName: p.host, Name: "eth5", Hwaddr: p.hwaddr}}, Volatile: map[string]string{"host_name": p.host}}, nil
}

func (p pair) Connect(_ context.Context, netns *os.File) error {
	return netlink.AddVeth(netlink.Veth{Host: p.host, Peer: "eth5", PeerNetns: netns, PeerHwaddr: p.hwaddr})
}

func (p pair) Detach(context.Context) error { return netlink.Delete(p.host) }

// A NIC comes into a running container and goes again.
func TestRealPlug(t *testing.T) {
	r := newReal(t)
	r.create(t, "c1", nil)
	if err := r.state(t, "c1", "start", -1); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(instance.Devices)) {
		t.Helper()
		put, _, err := r.svc.Writable(t.Context(), "default", "c1")
		if err != nil {
			t.Fatal(err)
		}
		put.Devices = maps.Clone(put.Devices)
		change(put.Devices)
		if err := r.svc.UpdateNow(t.Context(), "default", "c1", put); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(d instance.Devices) { d["eth5"] = map[string]string{"type": "nic"} })
	a, _, _ := r.svc.Get(t.Context(), "default", "c1")
	s, err := r.svc.State(t.Context(), "default", "c1")
	if eth := s.Network["eth5"]; err != nil || eth.Hwaddr == "" || eth.Hwaddr != a.Config["volatile.eth5.hwaddr"] {
		t.Errorf("%+v %v", s.Network, err)
	}
	edit(func(d instance.Devices) { delete(d, "eth5") })
	if s, _ := r.svc.State(t.Context(), "default", "c1"); len(s.Network) != 1 {
		t.Errorf("%+v", s.Network)
	}
	r.remove(t, "c1")
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("never", what)
}

// How long the use cases take on this machine: the log of -v shows medians.
func TestRealTimes(t *testing.T) {
	r := newReal(t)
	r.create(t, "warm", nil)
	times := map[string][]time.Duration{}
	measure := func(what string, do func() error) {
		t.Helper()
		start := time.Now()
		if err := do(); err != nil {
			t.Fatal(what, err)
		}
		times[what] = append(times[what], time.Since(start))
	}
	for range 15 {
		measure("create", func() error { return r.run(r.svc.Create(t.Context(), "default", request("c1"))) })
		measure("start", func() error { return r.state(t, "c1", "start", -1) })
		measure("exec", func() error { r.inside(t, "c1", "true"); return nil })
		measure("stop", func() error { return r.state(t, "c1", "stop", 0) })
		measure("start", func() error { return r.state(t, "c1", "start", -1) })
		measure("delete running", func() error { return r.run(r.svc.Delete(t.Context(), "default", "c1", true)) })
	}
	for what, all := range times {
		slices.Sort(all)
		t.Logf("%s: %s", what, all[len(all)/2])
	}
	if all := times["start"]; all[len(all)/2] > 250*time.Millisecond {
		t.Error("a start takes", all[len(all)/2])
	}
	r.remove(t, "warm")
}

// Many are started and stopped at the same time.
func TestRealMany(t *testing.T) {
	r := newReal(t)
	names := strings.Fields("a1 a2 a3 a4 a5 a6 a7 a8 a9 b1 b2 b3")
	for _, n := range names {
		r.create(t, n, nil)
	}
	for _, action := range []string{"start", "stop"} {
		var group sync.WaitGroup
		for _, n := range names {
			group.Go(func() {
				if err := r.state(t, n, action, 0); err != nil {
					t.Error(action, n, err)
				}
			})
		}
		group.Wait()
	}
	for _, n := range names {
		r.remove(t, n)
	}
	if left := r.mounts(t); len(left) > 0 {
		t.Error("left mounted:", left)
	}
}
