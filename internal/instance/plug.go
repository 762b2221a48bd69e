package instance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/machine"
	"lxd/internal/store"
)

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
	plugger, ok := r.m.(machine.Plugger)
	if !ok {
		return errs.Newf(errs.Unsupported, "devices %q cannot be changed while an instance of this type runs: stop it first", names)
	}
	set := map[string]string{}
	var failed error
	for _, name := range names {
		if err := s.replugOne(ctx, v, &run, name, plugger); err != nil {
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
func (s *Service) replugOne(ctx context.Context, v view, run *Run, name string, plugger machine.Plugger) error {
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
		if err := plugger.Plug(ctx, c.Connect); err != nil {
			return errors.Join(err, d.Detach(context.WithoutCancel(ctx)))
		}
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
