package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/instance/cpu"
	"lxd/internal/profile"
	"lxd/internal/store"
)

// CheckProfile fails with Invalid and names every key and device that no instance can have.
func (s *Service) CheckProfile(keys map[string]string, devices Devices) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, checkKeyName(name))
		if k, ok := Keys.Lookup(name); ok && k.Volatile {
			all = append(all, fmt.Errorf("key %q belongs to one instance: it cannot be in a profile", name))
		}
	}
	return joined(append(all, Keys.Validate(keys), s.checkDevices(devices)))
}

func checkKeyName(name string) error {
	if err := config.CheckName(name); err != nil {
		return fmt.Errorf("key %q: %w", name, err)
	}
	return nil
}

// checkLocal fails with Invalid and names every key and device of an instance that it cannot have.
func (s *Service) checkLocal(r Record) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(r.Config)) {
		all = append(all, checkKeyName(name))
		if k, ok := Keys.Lookup(name); ok && k.Condition == config.VM && r.Type == api.InstanceTypeContainer {
			all = append(all, fmt.Errorf("key %q applies to virtual machines only", name))
		}
	}
	return joined(append(all, Keys.Validate(r.Config), s.checkDevices(r.Devices)))
}

// checkView fails with Invalid if what an instance is made of, profiles included, cannot work.
func (s *Service) checkView(ctx context.Context, v view) error {
	if err := s.checkLocal(v.Record); err != nil {
		return err
	}
	if err := errors.Join(config.Check(v.config), s.checkIDs(v.config), s.checkNodes(v.config["limits.cpu.nodes"]), checkRoot(v.devices), checkPaths(v.devices)); err != nil {
		return err
	}
	_, err := s.build(ctx, v)
	return err
}

// checkIDs refuses id maps that this host cannot give.
func (s *Service) checkIDs(keys map[string]string) error {
	picks, err := config.Picked(keys["raw.idmap"])
	if err != nil {
		return err
	}
	base := int64(0)
	if config.Isolated(keys) { // what others have is known when it is started
		if base, err = config.FreeBase(s.d.Host.IDMap, picks, config.IsolatedBase(keys), config.IsolatedSize(keys)); err != nil {
			return err
		}
	}
	if _, err := config.IDMap(keys, s.d.Host.IDMap, base); err != nil {
		return err
	}
	return config.Permitted(keys, s.d.Host.Reserved)
}

// checkNodes refuses NUMA nodes that this host has not.
func (s *Service) checkNodes(list string) error {
	if list == "" {
		return nil
	}
	nodes, err := cpu.Parse(list)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if len(s.d.Host.Nodes[n]) == 0 {
			return errs.Newf(errs.Invalid, "limits.cpu.nodes: this host has no NUMA node %d with CPUs", n)
		}
	}
	return nil
}

// checkRoot fails with Invalid unless devices have one root disk. There may be none where there are no devices at all: so an
// instance can lose all its profiles, and get others.
func checkRoot(devices Devices) error {
	var roots []string
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if isRoot(devices[name]) {
			roots = append(roots, name)
		}
	}
	switch {
	case len(roots) == 0 && len(devices) > 0:
		return errNoRoot()
	case len(roots) > 1:
		return errs.Newf(errs.Invalid, "devices %q are all root disks: leave the path / to one of them", roots)
	}
	return nil
}

func errNoRoot() error {
	return errs.Newf(errs.Invalid, `the instance has no root disk: add a device such as "root: {type: disk, path: /, pool: NAME}" to it or to one of its profiles`)
}

// AdmitProfile fails, within the transaction that is to write p, if an instance that uses it could not be what it is any more.
func (s *Service) AdmitProfile(tx store.Tx, p profile.Record) error {
	return users(tx, p, func(r Record) error {
		before, after, err := layered(tx, r, p)
		if err != nil {
			return err
		}
		if rootDevice(before.devices) != "" && rootDevice(after.devices) == "" {
			return errNoRoot()
		}
		return errors.Join(checkFixed(r, after.config, after.devices), checkRunning(r, before, after))
	})
}

// CheckUsers fails if an instance could not be what p would make of it. It has no effects.
func (s *Service) CheckUsers(ctx context.Context, p profile.Record) error {
	var all []view
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		return users(tx, p, func(r Record) error {
			_, v, err := layered(tx, r, p)
			all = append(all, v)
			return err
		})
	})
	for _, v := range all {
		if err == nil {
			err = ofUser(p, v.Record, s.checkView(ctx, v))
		}
	}
	return err
}

// users calls fn with each instance that uses a profile.
func users(tx store.Tx, p profile.Record, fn func(Record) error) error {
	for _, ref := range profile.Collection.UsedBy(tx, profile.Key(p.Project, p.Name)) {
		if ref.Collection != Collection.Name {
			continue
		}
		r, err := Collection.Get(tx, ref.Key)
		if err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return ofUser(p, r, err)
		}
	}
	return nil
}

func ofUser(p profile.Record, r Record, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("profile %q is used by instance %q of project %q: %w", p.Name, r.Name, r.Project, err)
}

// layered is an instance as it is, and as it would be with p instead of the stored profile of that name.
func layered(tx store.Tx, r Record, p profile.Record) (now, with view, err error) {
	if now, err = compose(tx, r, 0); err != nil {
		return now, with, err
	}
	with = now
	with.layers = slices.Clone(now.layers)
	for i, name := range r.Profiles {
		if name == p.Name {
			with.layers[i] = p
		}
	}
	with.expand()
	return now, with, nil
}

// checkFixed refuses changes of what is decided when an instance is made.
func checkFixed(r Record, config map[string]string, devices Devices) error {
	root := rootDevice(devices)
	if err := checkRoot(devices); err != nil {
		return err
	}
	switch {
	case r.Pool != "" && root != "" && devices[root]["pool"] != r.Pool:
		return errs.Newf(errs.Invalid, "the root disk is in pool %q: it cannot be moved to pool %q by changing the configuration", r.Pool, devices[root]["pool"])
	}
	return nil
}

// checkRunning refuses changes that a running instance cannot take, and would silently miss. Devices are plugged, but for the root disk.
func checkRunning(r Record, old, next view) error {
	if r.Run == nil {
		return nil
	}
	var names []string
	for name := range allNames(old.devices, next.devices) {
		if !sameDevice(old.devices[name], next.devices[name]) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		return errs.Newf(errs.Invalid, "devices %q cannot be changed while the instance runs: stop it first", names)
	}
	return nil
}

// sameDevice tells whether a change from a to b is one that a running instance can take: of the root disk only the size may change, which
// is a matter of the pool alone, and limits.
func sameDevice(a, b map[string]string) bool {
	if !isRoot(a) && !isRoot(b) {
		return true
	}
	a, b = maps.Clone(a), maps.Clone(b)
	for _, key := range []string{"size", "limits.max", "limits.read", "limits.write"} {
		delete(a, key)
		delete(b, key)
	}
	return maps.Equal(a, b)
}

// checkPaths refuses two devices that would be in the same place.
func checkPaths(devices Devices) error {
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		at := devicePath(devices[name])
		if at == "" {
			continue
		}
		if other, is := taken[at]; is {
			return errs.Newf(errs.Invalid, "devices %q and %q both have the path %s: change one of them", other, name, at)
		}
		taken[at] = name
	}
	return nil
}

// devicePath is where a device appears inside, "" for nowhere.
func devicePath(cfg map[string]string) string {
	switch at := cmp.Or(cfg["path"], cfg["source"]); {
	case cfg["type"] == "disk" && cfg["path"] != "":
		return path.Clean("/" + cfg["path"])
	case (cfg["type"] == "unix-char" || cfg["type"] == "unix-block") && at != "":
		return path.Clean("/" + at)
	}
	return ""
}

func allNames(a, b Devices) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// ProfileChanged brings the instances that use a profile up to date: the machines that run, and the sizes of root disks. before is the profile
// as it was.
func (s *Service) ProfileChanged(ctx context.Context, before profile.Record) error {
	var were, are []view
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		were, are = nil, nil
		return users(tx, before, func(r Record) error {
			now, was, err := layered(tx, r, before)
			were, are = append(were, was), append(are, now)
			return err
		})
	})
	for i, v := range are {
		e := s.resize(ctx, were[i], v)
		s.portsChanged(v.NetworkProject, append(were[i].nics(), v.nics()...))
		err = errors.Join(err, ofUser(before, v.Record, errors.Join(e, s.catchUp(ctx, v.key()))))
	}
	return err
}

// RenameProfile makes every instance that uses profile "from" use "to" instead, within tx.
func (s *Service) RenameProfile(tx store.Tx, proj, from, to string) error {
	for _, u := range profile.Collection.UsedBy(tx, profile.Key(proj, from)) {
		if u.Collection != Collection.Name {
			continue
		}
		err := Collection.Modify(tx, u.Key, func(r *Record) error {
			r.renameProfile(from, to)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for e, snap := range Snapshots.AllRev(tx, "") {
		if snap.Instance.ProfileProject != proj || !slices.Contains(snap.Instance.Profiles, from) {
			continue
		}
		err := Snapshots.Modify(tx, e.Key, func(s *Snapshot) error {
			s.Instance.renameProfile(from, to)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) renameProfile(from, to string) {
	for i, p := range r.Profiles {
		if p == from {
			r.Profiles[i] = to
		}
	}
}
