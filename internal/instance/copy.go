package instance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// origin is the instance, or the snapshot of one, that another is a copy of.
type origin struct {
	v view
	// snapshot is the name of the snapshot; "" is the instance as it is now.
	snapshot string
	// kept are the snapshots that are copied too.
	kept []Snapshot
}

// checkCopy finds what is to be copied, and takes over from it what the request leaves open.
func (c *creation) checkCopy(ctx context.Context, post api.InstancesPost) error {
	src := post.Source
	name, snapshot, _ := strings.Cut(src.Source, "/")
	switch {
	case src.Source == "":
		return errs.Newf(errs.Invalid, "the source names no instance to copy")
	case src.Project != "" && src.Project != c.r.Project:
		return errs.Newf(errs.Unsupported, "copying instances between projects is not supported yet by this server")
	case src.Refresh:
		return errs.Newf(errs.Unsupported, "refreshing a copy is not supported yet by this server: delete it and copy again")
	}
	o := &origin{snapshot: snapshot}
	err := c.s.d.Store.View(ctx, func(tx store.Tx) error { return o.find(tx, c.r.Project, name, !src.InstanceOnly && !src.ContainerOnly) })
	if err != nil {
		return err
	}
	c.origin = o
	c.inherit(o.v.Record, post)
	return nil
}

// find loads what is to be copied.
func (o *origin) find(tx store.Tx, proj, name string, snapshots bool) (err error) {
	if o.snapshot != "" {
		snap, err := findSnapshot(tx, proj, name, o.snapshot)
		if err == nil {
			o.v, err = compose(tx, snap.Instance, 0)
		}
		return err
	}
	if o.v, err = look(tx, Key(proj, name)); err != nil {
		return err
	}
	if o.v.Making {
		return errs.Newf(errs.Invalid, "instance %q is not complete and cannot be copied", name)
	}
	if snapshots {
		o.kept = snapshotsOf(tx, o.v.key())
	}
	return nil
}

// inherit takes over configuration, devices and profiles of the source; what the request says goes first. Of the keys that the server
// keeps only those that are true of a copy come along.
func (c *creation) inherit(from Record, post api.InstancesPost) {
	config := maps.Clone(from.Config)
	if config == nil {
		config = map[string]string{}
	}
	maps.Copy(config, c.r.Config)
	c.r.Config = withoutOwn(config)
	devices := maps.Clone(from.Devices)
	if devices == nil {
		devices = Devices{}
	}
	maps.Copy(devices, post.Devices)
	c.r.Devices = devices
	if c.r.Profiles == nil {
		c.r.Profiles = append([]string{}, from.Profiles...)
	}
	if c.r.Architecture == "" {
		c.r.Architecture = from.Architecture
	}
	if c.r.Description == "" {
		c.r.Description = from.Description
	}
}

// withoutOwn drops from a configuration the keys that belong to one instance alone.
func withoutOwn(config map[string]string) map[string]string {
	config = maps.Clone(config)
	maps.DeleteFunc(config, func(k, _ string) bool { return strings.HasPrefix(k, "volatile.") && k != "volatile.base_image" })
	return config
}

// copyTo copies the volume, and those of the snapshots; on failure nothing is left. A source that runs is held still meanwhile.
func (o *origin) copyTo(ctx context.Context, s *Service, to storage.Volume) error {
	from := s.volume(o.v)
	if o.snapshot != "" {
		return s.d.Copies.Copy(ctx, o.v.Pool, from.At(o.snapshot), to)
	}
	err := s.still(ctx, o.v.key(), func(ctx context.Context) error { return s.d.Copies.Copy(ctx, o.v.Pool, from, to) })
	if err != nil {
		return err
	}
	for _, snap := range o.kept {
		if err := s.d.Copies.Copy(ctx, o.v.Pool, from.At(snap.Name), to.At(snap.Name)); err != nil {
			return errors.Join(err, s.d.Volumes.Delete(context.WithoutCancel(ctx), o.v.Pool, to))
		}
	}
	return nil
}

// insertSnapshots writes the records of the copied snapshots.
func (o *origin) insertSnapshots(tx store.Tx, r Record) error {
	for _, snap := range slices.Clone(o.kept) {
		was := &snap.Instance
		was.Project, was.Name, was.Location = r.Project, r.Name, r.Location
		was.ProfileProject, was.NetworkProject, was.VolumeProject = r.ProfileProject, r.NetworkProject, r.VolumeProject
		was.Pool, was.Privileged, was.Config = r.Pool, r.Privileged, withoutOwn(was.Config)
		if err := Snapshots.Insert(tx, snap); err != nil {
			return err
		}
	}
	return nil
}
