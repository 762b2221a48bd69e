package instance_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/network"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// host is a computer of which all is in memory: it outlives the daemons that use it.
type host struct {
	mu       sync.Mutex
	machines map[string]*fakeMachine
	volumes  map[string]bool
	mounts   map[string]bool
	links    map[string]bool
	// serving is the links that do something, by the machines that they do it in.
	serving map[string]int
	resized int64
	// fail makes the effect of that name fail.
	fail map[string]error
	// slow makes starts take time, so that races show.
	slow time.Duration
	// stall, if set, is called before each effect.
	stall func(name string)
}

func newHost() *host {
	return &host{machines: map[string]*fakeMachine{}, volumes: map[string]bool{}, mounts: map[string]bool{}, links: map[string]bool{}, serving: map[string]int{}, fail: map[string]error{}}
}

// do makes one effect unless it is to fail.
func (h *host) do(name string, effect func()) error {
	time.Sleep(h.slow)
	h.mu.Lock()
	stall := h.stall
	h.mu.Unlock()
	if stall != nil {
		stall(name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fail[name]; err != nil {
		return err
	}
	effect()
	return nil
}

// left lists all that is there.
func (h *host) left() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.machines {
		all = append(all, "machine "+id)
	}
	for kind, set := range map[string]map[string]bool{"volume ": h.volumes, "mount ": h.mounts, "link ": h.links} {
		for name := range set {
			all = append(all, kind+name)
		}
	}
	for name := range h.serving {
		if !h.links[name] {
			all = append(all, "stray "+name)
		}
	}
	slices.Sort(all)
	return all
}

func (h *host) failing(t *testing.T, name string) {
	h.fails(t, name, errors.New(name+" is to fail"))
}

func (h *host) fails(t *testing.T, name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[name] = err
	t.Cleanup(func() { h.heal(name) })
}

func (h *host) heal(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.fail, name)
}

func (h *host) get(id string) *fakeMachine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machines[id]
}

// fakeMachine is a machine of the host.
type fakeMachine struct {
	h      *host
	plan   machine.Plan
	handle machine.Handle
	done   chan struct{}

	mu     sync.Mutex
	frozen bool
	limits machine.Limits
	// inside is where mounts and nodes were put.
	inside    map[string]bool
	throttles []machine.Throttle
	reboot    bool
	deaf      bool
}

func (h *host) Name() string                                { return "fake" }
func (h *host) Probe(context.Context) (machine.Info, error) { return machine.Info{}, nil }

func (h *host) Start(ctx context.Context, p machine.Plan) (machine.Machine, error) {
	if p.Connect != nil {
		if err := p.Connect(ctx, nil); err != nil {
			return nil, err
		}
	}
	m := &fakeMachine{h: h, plan: p, done: make(chan struct{}), limits: p.Limits, inside: map[string]bool{}}
	for _, at := range p.Mounts {
		m.inside[at.Target] = true
	}
	err := h.do("machine start", func() {
		m.handle = machine.Handle{Driver: "fake", ID: p.ID, RunDir: p.RunDir, PID: 1000 + len(h.machines)}
		if h.machines[p.ID] != nil {
			panic("started twice: " + p.ID)
		}
		h.machines[p.ID] = m
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (h *host) Reattach(_ context.Context, hd machine.Handle) (machine.Machine, error) {
	if m := h.get(hd.ID); m != nil {
		return m, nil
	}
	return nil, errs.Newf(errs.NotFound, "machine %s does not run", hd.ID)
}

func (h *host) Reap(ctx context.Context, id, _ string) error {
	if m := h.get(id); m != nil {
		return m.Kill(ctx)
	}
	return nil
}

func (m *fakeMachine) Handle() machine.Handle { return m.handle }
func (m *fakeMachine) Done() <-chan struct{}  { return m.done }
func (m *fakeMachine) Exit() machine.Exit     { return machine.Exit{Reboot: m.reboot} }

func (m *fakeMachine) Status(context.Context) (machine.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen {
		return machine.Frozen, nil
	}
	return machine.Running, nil
}

func (m *fakeMachine) Stop(ctx context.Context, grace time.Duration) error {
	if m.deaf {
		return errs.Newf(errs.Unavailable, "it does not listen")
	}
	return m.Kill(ctx)
}

func (m *fakeMachine) Kill(context.Context) error {
	return m.h.do("machine kill", func() { m.end(false) })
}

// end is called with the host locked.
func (m *fakeMachine) end(reboot bool) {
	if m.h.machines[m.plan.ID] != m {
		return
	}
	m.reboot = reboot
	delete(m.h.machines, m.plan.ID)
	close(m.done)
}

func (m *fakeMachine) Exec(context.Context, machine.Command) (machine.Process, error) {
	return nil, errors.New("nothing to run")
}

func (m *fakeMachine) Usage(context.Context) (machine.Usage, error) {
	return machine.Usage{PID: m.handle.PID, Processes: 3, CPUNanos: 5, MemoryBytes: 7, MemoryPeak: -1, SwapBytes: -1, SwapPeak: -1, Networks: []machine.Interface{{
		Name: "eth0", HostName: "veth1", MTU: 1500, State: "up", Type: "broadcast", BytesIn: 9,
		Addresses: []machine.Address{{Family: "inet", Address: "10.0.0.2", Netmask: 24, Scope: "global"}}}}}, nil
}

func (m *fakeMachine) Freeze(context.Context) error { return m.setFrozen(true) }
func (m *fakeMachine) Thaw(context.Context) error   { return m.setFrozen(false) }
func (m *fakeMachine) setFrozen(v bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = v
	return nil
}

// inside are the mounts and nodes of a machine.
func (m *fakeMachine) put(what, at string, there bool) error {
	return m.h.do(what, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.inside == nil {
			m.inside = map[string]bool{}
		}
		if m.inside[at] = there; !there {
			delete(m.inside, at)
		}
	})
}

func (m *fakeMachine) Mount(_ context.Context, at machine.Mount) error {
	return m.put("mount inside", at.Target, true)
}

func (m *fakeMachine) Unmount(_ context.Context, at machine.Mount) error {
	return m.put("unmount inside", at.Target, false)
}

func (m *fakeMachine) AddNode(_ context.Context, n machine.Node) error {
	return m.put("node", n.Path, true)
}

func (m *fakeMachine) RemoveNode(_ context.Context, n machine.Node) error {
	return m.put("unnode", n.Path, false)
}

func (m *fakeMachine) Throttle(_ context.Context, all []machine.Throttle) error {
	return m.h.do("throttle", func() { m.throttles = all })
}

func (m *fakeMachine) Plug(ctx context.Context, connect machine.Connect) error {
	return connect(ctx, nil)
}

func (m *fakeMachine) Tune(_ context.Context, l machine.Limits) error {
	return m.h.do("tune", func() { m.limits = l })
}

// screen echoes what is typed.
type screen struct {
	*io.PipeReader
	*io.PipeWriter
}

func (s screen) Close() error { return errors.Join(s.PipeReader.Close(), s.PipeWriter.Close()) }

func (m *fakeMachine) Console(context.Context) (io.ReadWriteCloser, error) {
	r, w := io.Pipe()
	return screen{r, w}, nil
}

func (m *fakeMachine) ConsoleLog(context.Context) ([]byte, error) { return []byte("it runs\n"), nil }

// nets notes which networks are told of their ports.
type nets struct {
	mu   sync.Mutex
	told []string
	gone []string
}

func (n *nets) Refresh(_ context.Context, proj, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, proj+"/"+name)
	return nil
}

func (n *nets) Gone(_ context.Context, proj string, nic network.NIC) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = append(n.gone, proj+"/"+nic.Instance+"/"+nic.Device)
	return nil
}

func (n *nets) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

// volumes are the pools of the host.
type volumes struct{ *host }

func id(pool string, v storage.Volume) string {
	name := pool + "/" + v.Project + "_" + v.Name
	if v.Snapshot != "" {
		name += "@" + v.Snapshot
	}
	return name
}

// copies of the host know of each volume when it was written last, by the name of what wrote it.
func (d volumes) Snapshot(_ context.Context, pool string, v storage.Volume) error {
	return d.put("snapshot", id(pool, v.At("")), id(pool, v))
}

func (d volumes) Copy(_ context.Context, pool string, from, to storage.Volume) error {
	return d.put("copy", id(pool, from), id(pool, to))
}

func (d volumes) CreateFilled(ctx context.Context, pool string, v storage.Volume, _ func(context.Context, string) error) error {
	return d.CreateEmpty(ctx, pool, v)
}

func (d volumes) Fill(_ context.Context, pool string, v storage.Volume, _ func(context.Context, string) error) error {
	return d.put("fill", id(pool, v.At("")), id(pool, v))
}

// Stream works between pools whose names begin with fast.
func (d volumes) Stream(_ context.Context, from storage.Place, snapshots []string, to storage.Place) (err error) {
	if !strings.HasPrefix(from.Pool, "fast") || !strings.HasPrefix(to.Pool, "fast") {
		return errs.Newf(errs.Unsupported, "no format in common")
	}
	err = d.put("stream", id(from.Pool, from.Volume), id(to.Pool, to.Volume))
	for _, name := range snapshots {
		err = errors.Join(err, d.put("stream", id(from.Pool, from.Volume.At(name)), id(to.Pool, to.Volume.At(name))))
	}
	return err
}

// put copies a volume to a name that is free.
func (d volumes) put(what, from, to string) (err error) {
	failed := d.do(what, func() {
		switch {
		case !d.volumes[from]:
			err = errs.Newf(errs.NotFound, "%s is not there", from)
		case d.volumes[to]:
			err = errs.Newf(errs.Conflict, "%s is there", to)
		default:
			d.volumes[to] = true
		}
	})
	return errors.Join(failed, err)
}

func (d volumes) Restore(_ context.Context, pool string, v storage.Volume) (err error) {
	failed := d.do("restore", func() {
		if !d.volumes[id(pool, v)] || !d.volumes[id(pool, v.At(""))] || d.mounts[id(pool, v.At(""))] {
			err = errs.Newf(errs.NotFound, "%s cannot be restored", v.Name)
		}
	})
	return errors.Join(failed, err)
}

func (d volumes) Rename(_ context.Context, pool string, from, to storage.Volume) (err error) {
	failed := d.do("rename", func() {
		a, b := id(pool, from), id(pool, to)
		switch {
		case !d.volumes[a] && d.volumes[b]:
		case !d.volumes[a]:
			err = errs.Newf(errs.NotFound, "%s is not there", a)
		case d.volumes[b]:
			err = errs.Newf(errs.Conflict, "%s is there", b)
		default:
			for name := range maps.Clone(d.volumes) {
				if rest, ok := strings.CutPrefix(name, a); ok && (rest == "" || rest[0] == '@') {
					delete(d.volumes, name)
					d.volumes[b+rest] = true
				}
			}
		}
	})
	return errors.Join(failed, err)
}

func (d volumes) Replace(ctx context.Context, pool string, from, to storage.Volume) error {
	d.mu.Lock()
	there := d.volumes[id(pool, from)]
	d.mu.Unlock()
	if !there {
		return nil
	}
	return errors.Join(d.Delete(ctx, pool, to), d.Rename(ctx, pool, from, to))
}

func (d volumes) EnsureImage(_ context.Context, t *op.Task, _, fp string) error {
	return d.do("image", func() { t.Progress("create_instance_from_image_unpack_progress", "Unpack: 100%") })
}

func (d volumes) CreateFromImage(ctx context.Context, pool string, v storage.Volume, _ string) error {
	return d.CreateEmpty(ctx, pool, v)
}

func (d volumes) CreateEmpty(_ context.Context, pool string, v storage.Volume) error {
	return d.do("volume", func() { d.volumes[id(pool, v)] = true })
}

func (d volumes) Delete(_ context.Context, pool string, v storage.Volume) error {
	return d.do("volume delete", func() {
		for name := range maps.Clone(d.volumes) {
			if rest, ok := strings.CutPrefix(name, id(pool, v)); ok && (rest == "" || rest[0] == '@') {
				delete(d.volumes, name)
			}
		}
		delete(d.mounts, id(pool, v))
	})
}

func (d volumes) Mount(_ context.Context, pool string, v storage.Volume) (m storage.Mounted, err error) {
	return storage.Mounted{Path: "/pool/" + v.Name, Root: "/pool/" + v.Name + "/rootfs"}, d.do("mount", func() { d.mounts[id(pool, v)] = true })
}

func (d volumes) Unmount(_ context.Context, pool string, v storage.Volume) error {
	return d.do("unmount", func() { delete(d.mounts, id(pool, v)) })
}

func (d volumes) VolumeUsage(context.Context, string, storage.Volume) (int64, int64, error) {
	return 0, 0, errs.Newf(errs.Unsupported, "not measured")
}

func (d volumes) Resize(_ context.Context, _ string, _ storage.Volume, n int64) error {
	return d.do("resize", func() { d.resized = n })
}

// nic is a network device of the host.
type nic struct {
	h   *host
	env device.Env
}

func (h *host) nicKind() device.Kind {
	return device.Kind{Type: "nic", Subtype: "bridged",
		Keys: schema.New("nic",
			schema.Key{Name: "network", Type: schema.String, Short: "Network"}, schema.Key{Name: "name", Type: schema.String, Short: "Name"},
			schema.Key{Name: "hwaddr", Type: schema.MAC, Short: "Address"}, schema.Key{Name: "nictype", Type: schema.String, Short: "Kind"}),
		New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
			if cfg["network"] == "" {
				return nil, errs.Newf(errs.Invalid, "a network is needed")
			}
			return nic{h, env}, nil
		}}
}

func (n nic) name() string { return n.env.Project + "_" + n.env.Instance + "_" + n.env.Name }

func (n nic) Attach(context.Context) (device.Grant, error) {
	g := device.Grant{
		NICs:     []device.NIC{{HostName: "veth-" + n.env.Instance, Name: "eth0", Hwaddr: n.env.InstanceConfig["volatile."+n.env.Name+".hwaddr"], MTU: 1500}},
		Volatile: map[string]string{"host_name": "veth-" + n.env.Instance},
	}
	return g, n.h.do("attach", func() {})
}

func (n nic) Connect(context.Context, *os.File) error {
	return n.h.do("connect", func() { n.h.links[n.name()] = true })
}

func (n nic) Start(_ context.Context, m device.Machine) error {
	return n.h.do("serve", func() { n.h.serving[n.name()] = m.PID() })
}

func (n nic) Detach(context.Context) error {
	return n.h.do("detach", func() {
		delete(n.h.links, n.name())
		delete(n.h.serving, n.name())
	})
}

// proxyKind is a device without effects.
func proxyKind() device.Kind {
	return device.Kind{Type: "proxy", Keys: schema.New("proxy",
		schema.Key{Name: "listen", Type: schema.String, Short: "Listen"}, schema.Key{Name: "nat", Type: schema.Bool, Short: "NAT"}),
		New: func(context.Context, device.Env, device.Config) (device.Device, error) { return nothing{}, nil }}
}

type nothing struct{}

func (nothing) Attach(context.Context) (device.Grant, error) { return device.Grant{}, nil }
func (nothing) Detach(context.Context) error                 { return nil }

// images has one image.
type images struct{}

const fingerprint = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (i images) Fetch(ctx context.Context, _ *op.Task, proj string, src api.ImagesPostSource) (api.Image, error) {
	if src.Server != "https://images.example.org" {
		return api.Image{}, errs.Newf(errs.Unavailable, "image server %s cannot be reached", src.Server)
	}
	return i.Resolve(ctx, proj, src.Alias)
}

func (images) Resolve(_ context.Context, _, ref string) (img api.Image, err error) {
	if ref != "debian" && ref != fingerprint && !(len(ref) >= 12 && strings.HasPrefix(fingerprint, ref)) {
		return img, errs.Newf(errs.NotFound, "image %q not found", ref)
	}
	img.Fingerprint, img.Architecture = fingerprint, "x86_64"
	img.Properties = map[string]string{"os": "Debian", "evil": "a\nb"}
	return img, nil
}

func (images) Used(store.Tx, string, string, time.Time) error { return nil }

type named struct{ Name string }

// world is a daemon over a host and a store.
type world struct {
	*host
	st       store.Store
	ops      *op.Manager
	svc      *instance.Service
	profiles *profile.Service
	dir      string
	nets     nets

	mu      sync.Mutex
	hook    op.Hook
	actions []string
	// by is who each action was asked for by; "" is nobody.
	by []string
}

func newWorld(t *testing.T) *world {
	w := &world{host: newHost(), dir: t.TempDir()}
	w.st = store.NewMem(store.Options{OnAnnounce: w.note})
	t.Cleanup(func() { _ = w.st.Close() })
	w.daemon(t)
	pools := store.Collection[named]{Name: "storage_pool", Key: func(n named) string { return n.Name }}
	nets := store.Collection[named]{Name: "network", Key: func(n named) string { return "default/" + n.Name }}
	err := errors.Join(
		project.New(project.Deps{Store: w.st}).Start(t.Context()), w.profiles.Start(t.Context()),
		w.st.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(pools.Insert(tx, named{"tank"}), pools.Insert(tx, named{"other"}), nets.Insert(tx, named{"br0"}))
		}),
		w.profile(t, "default", api.ProfilePut{Devices: instance.Devices{
			"root": {"type": "disk", "path": "/", "pool": "tank"}, "eth0": {"type": "nic", "network": "br0", "name": "eth0"}}}))
	if err != nil {
		t.Fatal(err)
	}
	w.forgetActions()
	return w
}

// daemon starts the services anew, as after the daemon was killed.
func (w *world) daemon(t *testing.T) {
	if w.svc != nil {
		w.svc.Close()
	}
	base, cancel := context.WithCancel(context.Background())
	w.ops = op.NewManager(base, op.Options{Store: w.st, Location: "none", Hook: w.step})
	w.svc = instance.New(base, instance.Deps{
		Store: w.st, Ops: w.ops, Machine: w.host, Volumes: volumes{w.host}, Copies: volumes{w.host}, Images: images{}, Networks: &w.nets, Kinds: []device.Kind{disk.Kind(nil), w.nicKind(), proxyKind()},
		LoadModule: func(_ context.Context, name string) error {
			if name == "missing" {
				return errs.Newf(errs.Unavailable, "there is no module %s", name)
			}
			return nil
		},
		Host: instance.Host{Architecture: "x86_64", CPUs: []int{0, 1, 2, 3}, Memory: 8 << 30, Boot: "boot-1", Nodes: map[int][]int{0: {0, 1}, 1: {2, 3}},
			IDMap: []machine.IDRange{{Host: 1000000, Inside: 0, Size: 1000000000}}},
		Location: "none", Announce: w.note, Warnings: warning.New(warning.Deps{Store: w.st}), BridgeFilter: func(six bool) bool { return six }, RunDir: w.dir + "/run", LogDir: w.dir + "/logs",
	})
	w.profiles = profile.New(profile.Deps{Store: w.st, Instances: w.svc})
	for kind, r := range w.svc.Recoverers() {
		w.ops.Register(kind, r)
	}
	svc := w.svc
	t.Cleanup(func() { svc.Close(); cancel() })
}

// step is the hook of the operations.
func (w *world) step(kind, step, moment string) error {
	w.mu.Lock()
	h := w.hook
	w.mu.Unlock()
	if h != nil {
		return h(kind, step, moment)
	}
	return nil
}

func (w *world) setHook(h op.Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = h
}

func (w *world) note(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, who := ev.(event.Change), ""
	if c.Requestor != nil {
		who = c.Requestor.Username
	}
	w.actions, w.by = append(w.actions, c.Action), append(w.by, who)
}

func (w *world) forgetActions() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.actions, w.by = nil, nil
}

func (w *world) wantActions(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.actions, want) {
		t.Errorf("events %v, not %v", w.actions, want)
	}
	w.actions, w.by = nil, nil
}

// profile writes a profile, new or not.
func (w *world) profile(t *testing.T, name string, put api.ProfilePut) error {
	spec, err := w.profiles.Update(t.Context(), "default", name, put)
	if errs.Is(err, errs.NotFound) {
		return w.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: name, ProfilePut: put})
	}
	return w.run(spec, err)
}

// run runs the work that a use case returned.
func (w *world) run(spec op.Spec, err error) error {
	if err != nil {
		return err
	}
	o, err := w.ops.Start(op.WithCaller(context.Background(), op.Caller{Protocol: "tls", Username: "jane"}), spec)
	if err != nil {
		return err
	}
	return o.Wait(context.Background())
}

func (w *world) create(t *testing.T, post api.InstancesPost) error {
	return w.run(w.svc.Create(t.Context(), "default", post))
}

func (w *world) get(t *testing.T, name string) api.Instance {
	t.Helper()
	a, _, err := w.svc.Get(t.Context(), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// started makes a running instance.
func (w *world) started(t *testing.T, name string) {
	t.Helper()
	post := request(name)
	post.Start = true
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
}

func (w *world) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// clean fails unless nothing is left of any instance: on the host, in the store, in folders.
func (w *world) clean(t *testing.T) {
	t.Helper()
	if left := w.left(); len(left) > 0 {
		t.Error("left on the host:", left)
	}
	_ = w.st.View(t.Context(), func(tx store.Tx) error {
		for _, c := range []string{"instance", "instance_snapshot", "operation"} {
			for e := range tx.Scan(c, "") {
				t.Errorf("left in the store: %s %s", c, e.Key)
			}
		}
		for e := range tx.Scan("ref", "") {
			if strings.Contains(e.Key, "/instance/") {
				t.Error("left in the store:", e.Key)
			}
		}
		return nil
	})
	for _, dir := range []string{"run", "logs"} {
		entries, _ := os.ReadDir(w.dir + "/" + dir)
		for _, e := range entries {
			t.Errorf("left in %s: %s", dir, e.Name())
		}
	}
}

var (
	_ instance.Volumes  = (*storage.Service)(nil)
	_ instance.Copies   = (*storage.Service)(nil)
	_ instance.Images   = (*image.Service)(nil)
	_ instance.Networks = (*network.Service)(nil)
	_ network.Instances = (*instance.Service)(nil)
	_ profile.Instances = (*instance.Service)(nil)
	_ profile.Renamer   = (*instance.Service)(nil)
)

func is(t *testing.T, what string, err error, kind errs.Kind, words ...string) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("%s: kind %d: %v", what, errs.KindOf(err), err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q is not in %q", what, word, err)
		}
	}
}

func without(m map[string]string, prefix string) map[string]string {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(k, _ string) bool { return strings.HasPrefix(k, prefix) })
	return m
}
