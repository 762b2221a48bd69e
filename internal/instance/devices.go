package instance

import (
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

// seen is a running machine as its devices see it.
type seen struct{ m machine.Machine }

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

// startAll starts what devices do while the machine runs. When one fails, whoever detaches them takes the others back.
func startAll(ctx context.Context, devices []named, m machine.Machine) error {
	for _, d := range devices {
		if c, ok := d.Device.(device.Starter); ok {
			if err := c.Start(ctx, seen{m}); err != nil {
				return fmt.Errorf("device %q: %w", d.name, err)
			}
		}
	}
	return nil
}

// startAgain starts what the devices of a machine do that went on running while the daemon did not. One that cannot go on is no reason
// to give up the machine.
func (s *Service) startAgain(ctx context.Context, v view, m machine.Machine) {
	as := v.attached()
	for _, name := range slices.Sorted(maps.Keys(as.devices)) {
		d, err := s.buildOne(ctx, as, name, device.Env{Running: true})
		if err == nil {
			err = startAll(ctx, []named{{name, d}}, m)
		}
		if err != nil {
			slog.Warn("A device of a running instance does not work any more: remove it and add it again", "instance", v.key(), "device", name, "err", err)
		}
	}
}

// replug makes the NICs of a running machine those that its configuration asks for now; one that does not run needs nothing.
func (s *Service) replug(ctx context.Context, key string) error {
	r := s.live.get(key)
	if r == nil || r.over() {
		return nil
	}
	v, err := s.viewByKey(ctx, key)
	if err != nil || v.Run == nil {
		return err
	}
	run := *v.Run
	run.Devices, run.Volatile = maps.Clone(run.Devices), merged(run.Volatile, nil)
	if run.Devices == nil {
		run.Devices = Devices{}
	}
	names := changedNICs(run.Devices, v.devices)
	if len(names) == 0 {
		return nil
	}
	if _, ok := r.m.(machine.Plugger); !ok {
		return errs.Newf(errs.Unsupported, "devices %q cannot be changed while an instance of this type runs: stop it first", names)
	}
	set := map[string]string{}
	var failed error
	for _, name := range names {
		if err := s.replugOne(ctx, v, &run, name, r.m); err != nil {
			failed = errors.Join(failed, fmt.Errorf("device %q: %w", name, err))
		}
	}
	for k := range merged(v.Run.Volatile, run.Volatile) {
		set[k] = run.Volatile[k]
	}
	return errors.Join(failed, s.d.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return Collection.Modify(tx, key, func(rec *Record) error {
			if rec.Run != nil {
				rec.Run = &run
				rec.setVolatile(set)
			}
			return nil
		})
	}))
}

// replugOne takes a NIC away and puts the one in its place that is wanted now; run is kept in step with what is there.
func (s *Service) replugOne(ctx context.Context, v view, run *Run, name string, m machine.Machine) error {
	before := v.withVolatile(run.Volatile)
	if cfg, ok := run.Devices[name]; ok {
		before.devices = Devices{name: cfg}
		d, err := s.buildOne(ctx, before, name, device.Env{Leaving: true})
		if err != nil {
			return err
		}
		if err := d.Detach(ctx); err != nil {
			return err
		}
		delete(run.Devices, name)
		maps.DeleteFunc(run.Volatile, func(k, _ string) bool { return strings.HasPrefix(k, "volatile."+name+".") && !lasting(k) })
	}
	if _, wanted := v.devices[name]; !wanted {
		return nil
	}
	d, err := s.buildOne(ctx, v, name, device.Env{Running: true})
	if err != nil {
		return err
	}
	g, err := d.Attach(ctx)
	if err != nil {
		return err
	}
	if c, ok := d.(device.Connector); ok {
		if err := m.(machine.Plugger).Plug(ctx, c.Connect); err != nil {
			return errors.Join(err, d.Detach(context.WithoutCancel(ctx)))
		}
	}
	if err := startAll(ctx, []named{{name, d}}, m); err != nil {
		return errors.Join(err, d.Detach(context.WithoutCancel(ctx)))
	}
	run.Devices[name] = v.devices[name]
	for k, val := range g.Volatile {
		run.Volatile["volatile."+name+"."+k] = val
	}
	return nil
}

// changedNICs are the names of the NICs that differ, in order.
func changedNICs(have, want Devices) (names []string) {
	for name := range allNames(have, want) {
		nic := have[name]["type"] == "nic" || want[name]["type"] == "nic"
		if nic && !maps.Equal(have[name], want[name]) {
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
