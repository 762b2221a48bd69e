package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/instance/config"
	"lxd/internal/instance/file"
	"lxd/internal/instance/template"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// launch is one start of an instance, from its steps' point of view.
type launch struct {
	s        *Service
	v        view
	volatile map[string]string
	root     storage.Mounted
	devices  []named
	grants   []device.Grant
	limits   machine.Limits
	m        machine.Machine
	action   string
	// last is called in the transaction that ends the start.
	last func(store.Tx) error
}

// start brings up a stopped instance. Its steps undo themselves when a later one fails; action is the event to announce.
func (s *Service) start(ctx context.Context, t *op.Task, key, action string) (err error) {
	l := &launch{s: s, action: action, last: t.EndJournal}
	if err := l.prepare(ctx, key); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.cpus.Release(key)
		}
	}()
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"mount", l.mount, l.unmount},
		{"templates", l.templates, nil},
		{"devices", l.attach, l.detach},
		{"machine", l.run, l.kill},
		{"serve", l.serve, nil},
		{"remember", l.remember, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// prepare loads the instance and decides all that needs no effect.
func (l *launch) prepare(ctx context.Context, key string) error {
	r, err := l.s.current(ctx, key)
	if err != nil {
		return err
	}
	if r != nil {
		return errs.Newf(errs.Invalid, "the instance is already running")
	}
	v, err := l.s.viewByKey(ctx, key)
	if err != nil {
		return err
	}
	if err := startable(v); err != nil {
		return err
	}
	if v.Run != nil { // its end was not dealt with: the daemon or a driver failed then
		if err := l.s.sweep(ctx, v); err != nil {
			return fmt.Errorf("clean up after the last run: %w", err)
		}
	}
	if rootDevice(v.devices) == "" {
		return errNoRoot()
	}
	if v, err = l.s.settleIDs(ctx, v); err != nil {
		return err
	}
	l.volatile = hwaddrs(v)
	l.v = v.withVolatile(l.volatile)
	if l.devices, err = l.s.build(ctx, l.v); err != nil {
		return err
	}
	l.limits, err = l.s.limits(key, l.v.config)
	return err
}

// settleIDs gives an instance that is about to start the ids that its configuration asks for now. Its files get them when they are mounted.
func (s *Service) settleIDs(ctx context.Context, v view) (view, error) {
	v.Run = nil // it was swept
	was := v.Record.Config["volatile.idmap.next"]
	err := s.claim(ctx, v, func(r Record) error {
		next := r.Config["volatile.idmap.next"]
		if next == was && r.Config[baseKey] == v.Record.Config[baseKey] {
			return nil
		}
		if was != next && was != "" && Keys.Bool(v.config, "security.protection.shift") {
			return errs.Newf(errs.Forbidden, "the files of the instance would get other owners: set security.protection.shift to false first, or the keys of its id map back")
		}
		v.Record = r
		return s.d.Store.Update(ctx, func(tx store.Tx) error {
			return Collection.Modify(tx, r.key(), func(rec *Record) error {
				rec.setVolatile(map[string]string{baseKey: r.Config[baseKey], "volatile.idmap.next": next})
				return nil
			})
		})
	})
	v.expand()
	return v, err
}

// loadModules makes the kernel have the modules that a configuration names.
func (s *Service) loadModules(ctx context.Context, keys map[string]string) error {
	for _, name := range config.Modules(keys["linux.kernel_modules"]) {
		if err := s.d.LoadModule(ctx, name); err != nil {
			return fmt.Errorf("linux.kernel_modules: %w", err)
		}
	}
	return nil
}

// startable tells whether an instance may be started at all.
func startable(v view) error {
	switch {
	case v.Making:
		return errs.Newf(errs.Invalid, "the instance is not complete: its creation or removal was cut short, delete it")
	case v.Type != api.InstanceTypeContainer:
		return errs.Newf(errs.Unsupported, "instances of type %s are not supported yet by this server", v.Type)
	case Keys.Bool(v.config, "security.protection.start"):
		return errs.Newf(errs.Forbidden, "the instance is protected from being started: set security.protection.start to false first")
	}
	return suits(v)
}

// suits fails if the instance is not what its image needs to work.
func suits(v view) error {
	nested, privileged := v.config["image.requirements.nesting"], v.config["image.requirements.privileged"]
	switch {
	case schema.IsTrue(nested) && !Keys.Bool(v.config, "security.nesting"):
		return errs.Newf(errs.Invalid, "the image works only with nesting: set security.nesting to true")
	case schema.IsFalse(privileged) && Keys.Bool(v.config, "security.privileged"):
		return errs.Newf(errs.Invalid, "the image does not work in a privileged container: set security.privileged to false")
	}
	return nil
}

func (l *launch) mount(ctx context.Context) (err error) {
	l.root, err = l.s.mountRoot(ctx, l.v)
	return err
}

func (l *launch) unmount(ctx context.Context) error {
	return l.s.unmountRoot(ctx, l.v)
}

// templates renders what the image wants to be made at this start. What it makes stays if the start fails, and is made again by the next.
func (l *launch) templates(ctx context.Context) error {
	trigger := l.v.Config[templateKey]
	items, err := template.Folder{Path: l.root.Path}.Due(template.Start, cmp.Or(trigger, template.Start))
	if err != nil || len(items) == 0 {
		return err
	}
	root, err := fs.OpenRoot(l.root.Root)
	if err != nil {
		return err
	}
	tree := &file.Tree{Root: root}
	defer tree.Close()
	if l.root.Shifted {
		tree.IDs = owners(l.s.idmap(l.v))
	}
	if items, err = template.Missing(tree, items); err != nil || len(items) == 0 {
		return err
	}
	results, err := l.s.d.Templates.Render(ctx, template.Job{Trigger: cmp.Or(trigger, template.Start), Config: l.v.config, Devices: l.v.devices, Items: items,
		Instance: map[string]string{"name": l.v.Name, "type": string(l.v.Type), "architecture": l.v.Architecture,
			"ephemeral": strconv.FormatBool(l.v.Ephemeral), "privileged": strconv.FormatBool(Keys.Bool(l.v.config, "security.privileged"))}})
	for i, text := range results {
		if err := template.Place(tree, items[i].Target, text); err != nil {
			return fmt.Errorf("write what the template of %s makes: %w", items[i].Target, err)
		}
	}
	return err
}

// templateKey keeps what has happened to an instance since its last start, for the templates of its next.
const templateKey = "volatile.apply_template"

// attach makes the host side of all devices, or of none.
func (l *launch) attach(ctx context.Context) error {
	for i, d := range l.devices {
		g, err := d.Attach(ctx)
		if err != nil {
			err = fmt.Errorf("device %q: %w", d.name, err)
			return errors.Join(err, detachAll(context.WithoutCancel(ctx), l.devices[:i]))
		}
		l.grants = append(l.grants, g)
		for k, v := range g.Volatile {
			l.volatile["volatile."+d.name+"."+k] = v
		}
	}
	return nil
}

func (l *launch) detach(ctx context.Context) error { return detachAll(ctx, l.devices) }

// detachAll takes devices away in reverse order; one that fails does not keep the others.
func detachAll(ctx context.Context, devices []named) (err error) {
	for _, d := range slices.Backward(devices) {
		if e := d.Detach(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("device %q: %w", d.name, e))
		}
	}
	return err
}

func (l *launch) run(ctx context.Context) (err error) {
	at := setting{root: l.root, runDir: l.s.runDir(l.v.Record), logDir: l.s.logDir(l.v.Record), idmap: l.s.idmap(l.v), limits: l.limits}
	// The folders above are passed through by the container's root, who is nobody here.
	if err := errors.Join(os.MkdirAll(l.s.d.RunDir, 0o711), os.MkdirAll(at.runDir, 0o700), os.MkdirAll(at.logDir, 0o700)); err != nil {
		return err
	}
	if err := l.s.loadModules(ctx, l.v.config); err != nil {
		return err
	}
	if at.socket, err = l.s.openSocket(l.v); err != nil {
		return err
	}
	p := plan(l.v, at, l.grants)
	if len(p.NICs) > 0 {
		p.Connect = l.connect
	}
	if l.m, err = l.s.d.Machine.Start(ctx, p); err != nil {
		err = errors.Join(err, l.s.closeSocket(l.v))
	}
	return err
}

// connect makes the machine's network interfaces; what it made when it fails, detach takes away.
func (l *launch) connect(ctx context.Context, netns *os.File) error {
	for _, d := range l.devices {
		if c, ok := d.Device.(device.Connector); ok {
			if err := c.Connect(ctx, netns); err != nil {
				return fmt.Errorf("device %q: %w", d.name, err)
			}
		}
	}
	return nil
}

// serve sets the limits of disks, and starts what devices do while the machine runs; detach takes it back.
func (l *launch) serve(ctx context.Context) error {
	if placed := l.placed(); throttled(placed) {
		if err := throttle(ctx, l.m, l.root.Path, placed); err != nil {
			return err
		}
	}
	return l.s.startAll(ctx, l.v.key(), l.devices, l.m)
}

func (l *launch) kill(ctx context.Context) error {
	return errors.Join(l.m.Kill(ctx), l.s.closeSocket(l.v), l.s.d.Machine.Reap(ctx, l.v.ID(), l.s.runDir(l.v.Record)))
}

// remember writes down what a restarted daemon needs, and from then on watches the machine.
func (l *launch) remember(ctx context.Context) error {
	r := &running{key: l.v.key(), m: l.m, limits: l.limits, gone: make(chan struct{})}
	stamp := now()
	volatile := maps.Clone(l.volatile)
	volatile[templateKey] = ""
	volatile["volatile.last_state.power"], volatile["volatile.last_state.ready"] = powerOn, "false"
	idmap := idmapText(l.s.idmap(l.v))
	volatile["volatile.idmap.current"], volatile["volatile.idmap.next"], volatile["volatile.last_state.idmap"] = idmap, idmap, noMap
	err := l.s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(change(ctx, l.action, l.v.Record))
		err := Collection.Modify(tx, r.key, func(rec *Record) error {
			rec.LastUsedAt, rec.Wanted = stamp, false
			rec.Run = &Run{Handle: l.m.Handle(), Boot: l.s.d.Host.Boot, Devices: l.v.devices, Root: l.root.Path, Placed: l.placed(), CPUs: l.limits.CPUSet, Volatile: l.volatile,
				IDMap: l.s.idmap(l.v), Mapped: true}
			rec.setVolatile(volatile)
			return nil
		})
		if err != nil {
			return err
		}
		return l.last(tx)
	})
	if err != nil {
		return err
	}
	l.s.watch(r)
	return l.follow(ctx)
}

// follow gives the machine what a profile that changed meanwhile asks for. A change after this finds the machine running.
func (l *launch) follow(ctx context.Context) error {
	v, err := l.s.viewByKey(ctx, l.v.key())
	if err != nil {
		return err
	}
	same := func(a, b map[string]string) bool { return maps.Equal(a, b) }
	if maps.EqualFunc(l.v.devices, v.devices, same) && maps.Equal(steady(l.v.config), steady(v.config)) {
		return nil
	}
	return l.s.catchUp(ctx, l.v.key())
}

// steady is a configuration without what the server writes itself.
func steady(config map[string]string) map[string]string {
	out := maps.Clone(config)
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(k, "volatile.") })
	return out
}

// placed is what the machine was given by each device.
func (l *launch) placed() map[string]Placed {
	all := map[string]Placed{}
	for i, g := range l.grants {
		if len(g.Mounts)+len(g.Nodes)+len(g.Throttles) > 0 {
			all[l.devices[i].name] = Placed{g.Mounts, g.Nodes, g.Throttles}
		}
	}
	return all
}

// Values of volatile.last_state.power.
const (
	powerOn  = "RUNNING"
	powerOff = "STOPPED"
)

// setVolatile sets keys of the record's own configuration; an empty value removes the key.
func (r *Record) setVolatile(keys map[string]string) {
	if r.Config == nil {
		r.Config = map[string]string{}
	}
	for k, v := range keys {
		if v == "" {
			delete(r.Config, k)
		} else {
			r.Config[k] = v
		}
	}
}
