package instance

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/instance/naming"
	"lxd/internal/machine"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// rootDevice is the name of the device that the root file system is on; "" when there is none.
func rootDevice(devices Devices) string {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if isRoot(devices[name]) {
			return name
		}
	}
	return ""
}

func isRoot(cfg map[string]string) bool {
	return cfg["type"] == "disk" && cfg["path"] == "/" && cfg["source"] == ""
}

// kind finds what implements a device. A NIC is of the kind of its "nictype", and of the first kind if it names a network.
func (s *Service) kind(cfg map[string]string) (device.Kind, error) {
	var known []string
	for _, k := range s.d.Kinds {
		if k.Type == cfg["type"] && (cfg["nictype"] == "" || cfg["nictype"] == k.Subtype) {
			return k, nil
		}
		known = append(known, strings.TrimSpace(k.Type+" "+k.Subtype))
	}
	if cfg["type"] == "" {
		return device.Kind{}, fmt.Errorf("the type is missing: one of %s is needed", strings.Join(known, ", "))
	}
	return device.Kind{}, fmt.Errorf("type %q is not supported by this server: it has %s",
		strings.TrimSpace(cfg["type"]+" "+cfg["nictype"]), strings.Join(known, ", "))
}

// checkDevices reports every device that cannot be, by type and keys alone.
func (s *Service) checkDevices(devices Devices) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if err := s.checkDevice(name, devices[name]); err != nil {
			all = append(all, fmt.Errorf("device %q: %w", name, err))
		}
	}
	return joined(all)
}

func (s *Service) checkDevice(name string, cfg map[string]string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if cfg["type"] == "none" {
		return nil
	}
	k, err := s.kind(cfg)
	if err != nil || k.Keys == nil {
		return err
	}
	own := maps.Clone(cfg)
	delete(own, "type")
	return k.Keys.Validate(own)
}

// checkDeviceName keeps names usable as a part of keys and paths.
func checkDeviceName(name string) error {
	if name == "" || len(name) > 64 || name == "." || name == ".." {
		return errors.New("the name must have 1 to 64 characters, and more than dots")
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !naming.Allowed(r) && !strings.ContainsRune("._:", r) }); i >= 0 {
		return fmt.Errorf("%q may not be in its name: use letters, digits and . _ : -", name[i:i+1])
	}
	return nil
}

// build makes the devices of a view, in order of name, without effects.
func (s *Service) build(ctx context.Context, v view) ([]named, error) {
	var all []error
	var out []named
	for _, name := range slices.Sorted(maps.Keys(v.devices)) {
		d, err := s.buildOne(ctx, v, name, device.Env{})
		if err != nil {
			all = append(all, fmt.Errorf("device %q: %w", name, err))
			continue
		}
		out = append(out, named{name, d})
	}
	return out, joined(all)
}

// named is a device and what it is called.
type named struct {
	name string
	device.Device
}

func (s *Service) buildOne(ctx context.Context, v view, name string, env device.Env) (device.Device, error) {
	k, err := s.kind(v.devices[name])
	if err != nil {
		return nil, err
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		p, err := project.Collection.Get(tx, v.Project)
		env.Restricted = project.Keys.Bool(p.Config, "restricted")
		return err
	})
	if err != nil && !(env.Leaving && errs.Is(err, errs.NotFound)) {
		return nil, err
	}
	env.Project, env.Instance, env.Name, env.InstanceConfig, env.IDMap = v.Project, v.Name, name, v.config, s.idmap(v)
	return k.New(ctx, env, v.devices[name])
}

// hwaddrs makes up addresses for the NICs of a view that have none, as volatile keys.
func hwaddrs(v view) map[string]string {
	made := map[string]string{}
	for name, cfg := range v.devices {
		key := "volatile." + name + ".hwaddr"
		if cfg["type"] == "nic" && cfg["hwaddr"] == "" && v.config[key] == "" {
			made[key] = newMAC()
		}
	}
	return made
}

// newMAC makes up a MAC address with the prefix 00:16:3e, which is set aside for virtual machines.
func newMAC() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}

// joined makes one Invalid error, on one line, of many.
func joined(all []error) error {
	var text []string
	for _, err := range all {
		if err != nil {
			text = append(text, err.Error())
		}
	}
	if len(text) == 0 {
		return nil
	}
	return errs.As(errs.Invalid, errors.New(strings.Join(text, "; ")))
}

// seen is a running machine as one of its devices sees it.
type seen struct {
	m         machine.Machine
	late      *late
	key, name string
}

var _ device.Noder = seen{}

// PID implements device.Machine.
func (s seen) PID() int { return s.m.Handle().PID }

// Namespace implements device.Machine.
func (s seen) Namespace(kind string) (*os.File, error) {
	n, ok := s.m.(machine.Namespacer)
	if !ok {
		return nil, errs.Newf(errs.Unsupported, "the namespaces of an instance of this type cannot be entered")
	}
	return n.Namespace(kind)
}

// AddNode implements device.Noder.
func (s seen) AddNode(ctx context.Context, n device.Node) error {
	m, err := mounter(s.m)
	if err != nil {
		return err
	}
	s.late.set(s.key, s.name, n, true)
	return m.AddNode(ctx, n)
}

// RemoveNode implements device.Noder.
func (s seen) RemoveNode(ctx context.Context, n device.Node) error {
	m, err := mounter(s.m)
	if err != nil {
		return err
	}
	if err := m.RemoveNode(ctx, n); err != nil {
		return err
	}
	s.late.set(s.key, s.name, n, false)
	return nil
}

// startAll starts what devices do while the machine runs. When one fails, whoever detaches them takes the others back.
func (s *Service) startAll(ctx context.Context, key string, devices []named, m machine.Machine) error {
	for _, d := range devices {
		if c, ok := d.Device.(device.Starter); ok {
			if err := c.Start(ctx, seen{m, &s.late, key, d.name}); err != nil {
				return fmt.Errorf("device %q: %w", d.name, err)
			}
		}
	}
	return nil
}

// startAgain starts what the devices of a machine do that went on running while the daemon did not. One that cannot go on is no reason
// to give up the machine. It tells whether the machine has not ended meanwhile: whoever deals with its end waits until all has begun.
func (s *Service) startAgain(ctx context.Context, r *running, v view) bool {
	r.plugging.Lock()
	defer r.plugging.Unlock()
	if r.over() {
		return false
	}
	as := v.attached()
	for _, name := range slices.Sorted(maps.Keys(as.devices)) {
		if name == v.Run.Plugging {
			continue // it is plugged anew
		}
		d, err := s.buildOne(ctx, as, name, device.Env{Running: true})
		if err == nil {
			err = s.startAll(ctx, v.key(), []named{{name, d}}, r.m)
		}
		if err != nil {
			slog.Warn("A device of a running instance does not work any more: remove it and add it again", "instance", v.key(), "device", name, "err", err)
		}
	}
	return true
}

// plugging changes the devices of one running machine.
type plugging struct {
	s   *Service
	v   view
	m   machine.Machine
	key string
	// run is what is attached, step by step.
	run Run
	// touched are the volatile keys that there were.
	touched map[string]bool
}

// replug makes the devices of a running machine those that its configuration asks for now; one that does not run needs nothing.
func (s *Service) replug(ctx context.Context, key string) error {
	r := s.live.get(key)
	if r == nil {
		return nil
	}
	r.plugging.Lock()
	defer r.plugging.Unlock()
	if r.over() {
		return nil
	}
	v, err := s.viewByKey(ctx, key)
	if err != nil || v.Run == nil {
		return err
	}
	p := &plugging{s: s, v: v, m: r.m, key: key, run: v.Run.clone(), touched: map[string]bool{}}
	names := changedDevices(p.run, v.devices)
	before := v.Run.Placed
	rooted, err := p.root(ctx)
	if err != nil || !rooted && len(names) == 0 {
		return err
	}
	err = p.all(ctx, names)
	if err == nil && (throttled(before) || throttled(p.run.Placed)) {
		err = throttle(ctx, r.m, v.Run.Root, p.run.Placed)
	}
	if err != nil && r.over() {
		return nil // what it has attached goes with it, and what it wants it gets at its next start
	}
	return err
}

// ofDevice says which device an error is about, unless it says so itself.
func ofDevice(name string, err error) error {
	prefix := fmt.Sprintf("device %q: ", name)
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// all takes devices away first, so that others may have what they leave: names, paths, addresses.
func (p *plugging) all(ctx context.Context, names []string) error {
	for _, name := range names {
		changed, err := p.change(ctx, name)
		if err == nil && !changed && p.run.Devices[name] != nil {
			err = p.unplug(ctx, name)
		}
		if err != nil {
			return errors.Join(ofDevice(name, err), p.note(ctx, ""))
		}
	}
	for _, name := range names {
		if p.v.devices[name] == nil || p.run.Devices[name] != nil {
			continue
		}
		if err := p.plug(ctx, name); err != nil {
			return errors.Join(ofDevice(name, err), p.note(ctx, ""))
		}
	}
	return p.note(ctx, "")
}

// change changes a device in place if that can be.
func (p *plugging) change(ctx context.Context, name string) (bool, error) {
	before, after := p.run.Devices[name], p.v.devices[name]
	if before == nil || after == nil || p.run.Plugging == name || before["type"] != after["type"] || before["nictype"] != after["nictype"] {
		return false, nil
	}
	k, err := p.s.kind(after)
	if err != nil || !changesLive(k, before, after) {
		return false, err
	}
	d, err := p.s.buildOne(ctx, p.v.withVolatile(p.run.Volatile), name, device.Env{Running: true})
	if err != nil {
		return false, err
	}
	c, ok := d.(device.Changer)
	if !ok {
		return false, nil
	}
	g, err := c.Change(ctx, before)
	if err != nil {
		return false, err
	}
	p.run.Devices[name] = after
	p.place(name, Placed{p.run.Placed[name].Mounts, p.run.Placed[name].Nodes, g.Throttles})
	p.remember(name, g)
	return true, nil
}

// place keeps in mind what the machine has of a device.
func (p *plugging) place(name string, at Placed) {
	delete(p.run.Placed, name)
	if len(at.Mounts)+len(at.Nodes)+len(at.Throttles) > 0 {
		p.run.Placed[name] = at
	}
}

func (p *plugging) remember(name string, g device.Grant) {
	for k, val := range g.Volatile {
		p.run.Volatile["volatile."+name+"."+k] = val
	}
}

// root follows a change of the root disk, of which only limits concern the machine. Attaching it has no effects.
func (p *plugging) root(ctx context.Context) (changed bool, err error) {
	name := rootDevice(p.v.devices)
	if name == "" || name != rootDevice(p.run.Devices) || maps.Equal(p.run.Devices[name], p.v.devices[name]) {
		return false, nil
	}
	d, err := p.s.buildOne(ctx, p.v, name, device.Env{Running: true})
	if err != nil {
		return false, err
	}
	g, err := d.Attach(ctx)
	if err != nil {
		return false, err
	}
	p.run.Devices[name] = p.v.devices[name]
	p.place(name, Placed{Throttles: g.Throttles})
	return true, nil
}

// throttle gives a machine the limits of all its disks; at is where its root volume is.
func throttle(ctx context.Context, m machine.Machine, at string, placed map[string]Placed) error {
	var all []machine.Throttle
	for _, p := range placed {
		for _, t := range p.Throttles {
			t.Path = cmp.Or(t.Path, at)
			all = append(all, t)
		}
	}
	th, ok := m.(machine.Throttler)
	if ok {
		return th.Throttle(ctx, all)
	}
	if len(all) > 0 {
		return errs.Newf(errs.Unsupported, "limits of disks cannot be set on an instance of this type")
	}
	return nil
}

// throttled tells whether any device limits what a machine reads and writes.
func throttled(placed map[string]Placed) bool {
	for _, p := range placed {
		if len(p.Throttles) > 0 {
			return true
		}
	}
	return false
}

// changesLive tells whether two configurations differ only in keys that can change while the device is attached.
func changesLive(k device.Kind, a, b map[string]string) bool {
	if k.Keys == nil {
		return false
	}
	for key := range merged(a, b) {
		if info, _ := k.Keys.Lookup(key); a[key] != b[key] && info.Live == schema.LiveNo {
			return false
		}
	}
	return true
}

// note writes down what is attached, and which device is about to be: after a crash that one may be there in part.
func (p *plugging) note(ctx context.Context, next string) error {
	p.run.Plugging = next
	run := p.run.clone()
	set := map[string]string{}
	for k := range run.Volatile {
		p.touched[k] = true
	}
	for k := range p.touched {
		set[k] = run.Volatile[k]
	}
	return p.s.d.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return Collection.Modify(tx, p.key, func(rec *Record) error {
			if rec.Run != nil {
				run.Handle, run.Held = rec.Run.Handle, rec.Run.Held
				rec.Run = &run
				rec.setVolatile(set)
			}
			return nil
		})
	})
}

// unplug takes a device away, from the machine and then from the host.
func (p *plugging) unplug(ctx context.Context, name string) error {
	before := p.v.withVolatile(p.run.Volatile)
	before.devices = Devices{name: p.run.Devices[name]}
	d, err := p.s.buildOne(ctx, before, name, device.Env{Running: true, Leaving: true})
	if err != nil {
		return err
	}
	if err := p.take(ctx, name); err != nil {
		return err
	}
	if c, ok := d.(device.Disconnector); ok {
		if err := p.disconnect(ctx, c); err != nil {
			return err
		}
	}
	if err := d.Detach(ctx); err != nil {
		return err
	}
	delete(p.run.Devices, name)
	delete(p.run.Placed, name)
	for k := range p.run.Volatile {
		if strings.HasPrefix(k, "volatile."+name+".") && !lasting(k) {
			p.touched[k] = true
			delete(p.run.Volatile, k)
		}
	}
	return nil
}

// disconnect takes an interface away that has no side on the host.
func (p *plugging) disconnect(ctx context.Context, c device.Disconnector) error {
	plugger, ok := p.m.(machine.Plugger)
	if !ok {
		return errs.Newf(errs.Unsupported, "an instance of this type cannot lose network interfaces while it runs: stop it first")
	}
	err := plugger.Plug(ctx, c.Disconnect)
	if errs.Is(err, errs.NotFound) {
		return nil // the machine has ended, and the interface with it
	}
	return err
}

// take takes the mounts and nodes of a device out of the machine, the last first.
func (p *plugging) take(ctx context.Context, name string) error {
	at := p.run.Placed[name]
	at.Nodes = append(slices.Clone(at.Nodes), p.s.late.take(p.key, name)...)
	if len(at.Mounts)+len(at.Nodes) == 0 {
		return nil
	}
	m, err := mounter(p.m)
	for _, n := range slices.Backward(at.Nodes) {
		if err == nil {
			err = m.RemoveNode(ctx, n)
		}
	}
	for _, mount := range slices.Backward(at.Mounts) {
		if err == nil {
			err = m.Unmount(ctx, mount)
		}
	}
	return err
}

// plug attaches a device. What it has done when it fails it takes back.
func (p *plugging) plug(ctx context.Context, name string) error {
	v := p.v.withVolatile(p.run.Volatile)
	d, err := p.s.buildOne(ctx, v, name, device.Env{Running: true})
	if err != nil {
		return err
	}
	p.run.Devices[name] = v.devices[name]
	err = p.note(ctx, name)
	if err == nil {
		err = p.attach(ctx, name, d)
	}
	if err != nil {
		return errors.Join(err, p.unplug(context.WithoutCancel(ctx), name))
	}
	return nil
}

func (p *plugging) attach(ctx context.Context, name string, d device.Device) error {
	g, err := d.Attach(ctx)
	if err != nil {
		return err
	}
	p.remember(name, g)
	p.place(name, Placed{g.Mounts, g.Nodes, g.Throttles})
	if len(g.Mounts)+len(g.Nodes) > 0 {
		if err := p.note(ctx, name); err != nil {
			return err
		}
		if err := put(ctx, p.m, g); err != nil {
			return err
		}
	}
	if c, ok := d.(device.Connector); ok {
		plugger, ok := p.m.(machine.Plugger)
		if !ok {
			return errs.Newf(errs.Unsupported, "an instance of this type cannot be given network interfaces while it runs: stop it first")
		}
		if err := plugger.Plug(ctx, c.Connect); err != nil {
			return err
		}
	}
	return p.s.startAll(ctx, p.key, []named{{name, d}}, p.m)
}

// put gives a running machine what a device grants it.
func put(ctx context.Context, to machine.Machine, g device.Grant) error {
	m, err := mounter(to)
	for _, mount := range g.Mounts {
		if err == nil {
			err = m.Mount(ctx, mount)
		}
	}
	for _, n := range g.Nodes {
		if err == nil {
			err = m.AddNode(ctx, n)
		}
	}
	return err
}

func mounter(m machine.Machine) (machine.Mounter, error) {
	p, ok := m.(machine.Mounter)
	if !ok {
		return nil, errs.Newf(errs.Unsupported, "an instance of this type cannot be given such devices while it runs: stop it first")
	}
	return p, nil
}

// changedDevices are the names of the devices that differ, in order. The root disk is changed by other means.
func changedDevices(have Run, want Devices) (names []string) {
	for name := range allNames(have.Devices, want) {
		if isRoot(have.Devices[name]) || isRoot(want[name]) {
			continue
		}
		if !maps.Equal(have.Devices[name], want[name]) || have.Plugging == name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// merged is a copy of base with over laid over it.
func merged(base, over map[string]string) map[string]string {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, over)
	return out
}
