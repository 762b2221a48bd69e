package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// origin is the instance, or the snapshot of one, that another is a copy of.
type origin struct {
	v view
	// snapshot is the name of the snapshot; "" is the instance as it is now.
	snapshot string
	// only says that snapshots stay what they are.
	only bool
	// kept are the snapshots that are copied too.
	kept []Snapshot
}

// checkCopy finds what is to be copied, and takes over from it what the request leaves open.
func (c *creation) checkCopy(ctx context.Context, post api.InstancesPost) error {
	src := post.Source
	name, snapshot, _ := strings.Cut(src.Source, "/")
	if src.Source == "" {
		return errs.Newf(errs.Invalid, "the source names no instance to copy")
	}
	o := &origin{snapshot: snapshot, only: snapshot != "" || src.InstanceOnly || src.ContainerOnly}
	err := c.s.d.Store.View(ctx, func(tx store.Tx) error {
		return o.find(tx, cmp.Or(src.Project, c.r.Project), name, !src.InstanceOnly && !src.ContainerOnly)
	})
	if err != nil {
		return err
	}
	c.origin, c.kept = o, o.kept
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
func (o *origin) copyTo(ctx context.Context, s *Service, to storage.Place) error {
	if o.v.Pool != to.Pool {
		return o.carryTo(ctx, s, to)
	}
	from := s.volume(o.v)
	if o.snapshot != "" {
		return s.d.Copies.Copy(ctx, to.Pool, from.At(o.snapshot), to.Volume)
	}
	err := s.still(ctx, o.v.key(), func(ctx context.Context) error { return s.d.Copies.Copy(ctx, to.Pool, from, to.Volume) })
	if err != nil {
		return err
	}
	for _, snap := range o.kept {
		if err := o.snapshotTo(ctx, s, snap.Name, to); err != nil {
			return errors.Join(err, s.d.Volumes.Delete(context.WithoutCancel(ctx), to.Pool, to.Volume))
		}
	}
	return nil
}

// carryTo is copyTo for another pool: by the pools' own format if they have one in common, else file by file.
func (o *origin) carryTo(ctx context.Context, s *Service, to storage.Place) error {
	from := s.volume(o.v)
	if o.snapshot != "" {
		return s.carry(ctx, func() (image.Tree, error) { return s.openSnapshot(ctx, o.v, o.snapshot) }, to, s.d.Copies.CreateFilled)
	}
	var names []string
	for _, snap := range o.kept {
		names = append(names, snap.Name)
	}
	err := s.still(ctx, o.v.key(), func(ctx context.Context) error {
		err := s.d.Copies.Stream(ctx, storage.Place{Pool: o.v.Pool, Volume: from}, names, to)
		if !errs.Is(err, errs.Unsupported) {
			names = nil // they came along
			return err
		}
		return s.carry(ctx, func() (image.Tree, error) { return s.openRoot(ctx, o.v) }, to, s.d.Copies.CreateFilled)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := o.snapshotTo(ctx, s, name, to); err != nil {
			return errors.Join(err, s.d.Volumes.Delete(context.WithoutCancel(ctx), to.Pool, to.Volume))
		}
	}
	return nil
}

// snapshotTo copies one snapshot to a volume that is there.
func (o *origin) snapshotTo(ctx context.Context, s *Service, name string, to storage.Place) error {
	to.Volume = to.Volume.At(name)
	if o.v.Pool == to.Pool {
		return s.d.Copies.Copy(ctx, to.Pool, s.volume(o.v).At(name), to.Volume)
	}
	return s.carry(ctx, func() (image.Tree, error) { return s.openSnapshot(ctx, o.v, name) }, to, s.d.Copies.Fill)
}

// filling makes a volume or snapshot of what fill writes.
type filling = func(ctx context.Context, pool string, v storage.Volume, fill func(ctx context.Context, root string) error) error

// carry makes a volume or snapshot of the files of a tree, with owners as seen inside.
func (s *Service) carry(ctx context.Context, open func() (image.Tree, error), to storage.Place, by filling) (err error) {
	t, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return by(ctx, to.Pool, to.Volume, func(ctx context.Context, stage string) error {
		entries, err := os.ReadDir(t.Path)
		if err != nil {
			return err
		}
		o := fs.CopyOptions{Unprivileged: os.Geteuid() != 0}
		beside := o
		for _, e := range entries {
			if e.Name() != "metadata.yaml" && e.Name() != "templates" { // the rest is the pool's own
				beside.Skip = append(beside.Skip, e.Name())
			}
		}
		root := filepath.Join(stage, "rootfs")
		if err := errors.Join(fs.CopyTree(ctx, t.Path, stage, beside), fs.CopyTree(ctx, t.Root, root, o)); err != nil || t.Owner == nil {
			return err
		}
		return fs.Reown(ctx, root, t.Owner)
	})
}

// insertSnapshots writes the records of the snapshots that came along.
func (c *creation) insertSnapshots(tx store.Tx) error {
	for _, snap := range c.brought() {
		if err := Snapshots.Insert(tx, snap); err != nil {
			return err
		}
	}
	return nil
}

// brought are the snapshots that come along, as those of this instance.
func (c *creation) brought() (all []Snapshot) {
	for _, snap := range c.kept {
		was := &snap.Instance
		was.moveTo(c.r)
		was.Privileged, was.Config, was.Making = c.r.Privileged, withoutOwn(was.Config), false
		if c.override {
			was.Profiles = slices.Clone(c.r.Profiles)
		}
		all = append(all, snap)
	}
	return all
}

// rooted is the devices of a snapshot that was in another pool: its root disk is where that of the instance is now.
func rooted(devices Devices, pool string, r Record) Devices {
	name := rootDevice(r.Devices)
	if pool == r.Pool || name == "" {
		return devices
	}
	devices = maps.Clone(devices)
	if devices == nil {
		devices = Devices{}
	}
	root := maps.Clone(devices[name])
	if root == nil {
		root = maps.Clone(r.Devices[name])
	}
	root["pool"] = r.Pool
	devices[name] = root
	return devices
}

// Arrival is an instance that comes from elsewhere: from a backup or another server.
type Arrival struct {
	// Kind is that of the operation, one of the arrivals; Description is what clients see.
	Kind        string
	Description api.OperationType
	// Same says that it is meant to be the instance that it was: the identity that its volatile keys hold stays, unless another has it.
	Same bool
	// Pool is where its root goes, whatever its devices say; "" leaves it to those.
	Pool string
	// Refresh says that an instance that is there is brought up to date; Only that this leaves its snapshots alone.
	Refresh, Only bool
	// Snapshots come along.
	Snapshots []api.InstanceSnapshot
	// Begin, if set, is called when the work begins, and yields the snapshots. It has no effects.
	Begin func(ctx context.Context) ([]api.InstanceSnapshot, error)
	// Fill writes the root, which is there and empty, and makes each of the snapshots. What it leaves after a failure is removed.
	Fill func(ctx context.Context, t *op.Task, pool string, root storage.Volume) error
}

// Kinds of operations by which instances arrive.
const (
	ImportKind  = "instance-import"
	ReceiveKind = "instance-receive"
)

// Receive checks a request and returns the work that makes an instance of what arrives. The source of post is not looked at.
func (s *Service) Receive(ctx context.Context, proj string, post api.InstancesPost, a Arrival) (op.Spec, error) {
	post.Source = api.InstanceSource{Type: api.SourceTypeNone, InstanceOnly: a.Only}
	c := s.creation(proj, post)
	c.arrival = &a
	if a.Refresh {
		if o, there, err := s.refresh(ctx, c); there || err != nil {
			return o, err
		}
	}
	if err := c.checkSource(ctx, post); err != nil {
		return op.Spec{}, err
	}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		if err := c.admit(tx); err != nil {
			return err
		}
		if err := c.settle(tx, a.Pool); err != nil {
			return err
		}
		return c.bring(a.Snapshots)
	})
	if err != nil {
		return op.Spec{}, err
	}
	return c.spec(a.Kind, a.Description), nil
}

// begin finds out what comes.
func (c *creation) begin(ctx context.Context) error {
	if c.arrival == nil {
		return nil
	}
	if c.arrival.Begin != nil {
		snapshots, err := c.arrival.Begin(ctx)
		if err == nil {
			err = c.bring(snapshots)
		}
		if err != nil {
			return err
		}
	}
	return c.resume(ctx)
}

// bring checks the snapshots that come along as they will be used: they can be restored.
func (c *creation) bring(snapshots []api.InstanceSnapshot) error {
	c.kept = nil
	for _, in := range snapshots {
		snap := Snapshot{Name: in.Name, TakenAt: in.CreatedAt.UTC(), ExpiresAt: in.ExpiresAt.UTC(), Instance: c.r}
		was := &snap.Instance
		was.Architecture, was.Ephemeral, was.Config, was.Devices, was.Profiles = in.Architecture, in.Ephemeral, withoutOwn(clean(in.Config)), in.Devices, in.Profiles
		if c.override {
			was.Profiles = slices.Clone(c.r.Profiles)
		}
		if err := snapshot.CheckName(in.Name); err != nil {
			return err
		}
		for _, other := range c.kept {
			if other.Name == in.Name {
				return errs.Newf(errs.Invalid, "the snapshot %q is there twice", in.Name)
			}
		}
		if err := c.s.checkLocal(*was); err != nil {
			return fmt.Errorf("snapshot %q: %w", in.Name, err)
		}
		c.kept = append(c.kept, snap)
	}
	return nil
}

// settle sees to it that the root disk is in the pool that is asked for or, if that of the devices is not there, in that of the default
// profile.
func (c *creation) settle(tx store.Tx, pool string) error {
	v, err := compose(tx, c.r, 0)
	if err != nil {
		return err
	}
	name := rootDevice(v.devices)
	root := maps.Clone(v.devices[name])
	if root == nil {
		name, root = "root", map[string]string{"type": "disk", "path": "/"}
	}
	if pool == "" && c.arrival.Kind == ImportKind && !storage.Pools.Has(tx, root["pool"]) {
		p, err := profile.Collection.Get(tx, profile.Key(c.r.ProfileProject, project.Default))
		if err != nil {
			return err
		}
		pool = p.Devices[rootDevice(p.Devices)]["pool"]
	}
	if pool == "" || pool == root["pool"] {
		return nil
	}
	if !storage.Pools.Has(tx, pool) {
		return errs.Newf(errs.NotFound, "storage pool %q not found", pool)
	}
	root["pool"] = pool
	c.r.Devices = maps.Clone(c.r.Devices)
	if c.r.Devices == nil {
		c.r.Devices = Devices{}
	}
	c.r.Devices[name] = root
	return nil
}

// own are the volatile keys that make an instance the one that it is.
func own(key string) bool {
	return key == "volatile.uuid" || key == "volatile.uuid.generation" || key == "volatile.cloud-init.instance-id" ||
		strings.HasPrefix(key, "volatile.") && strings.HasSuffix(key, ".hwaddr")
}

// resume lets an instance that arrives be the one that it was. If that is here already it becomes another.
func (c *creation) resume(ctx context.Context) error {
	return c.s.d.Store.View(ctx, func(tx store.Tx) error {
		taken := false
		for _, r := range Collection.AllRev(tx, "") {
			taken = taken || r.Config["volatile.uuid"] == c.r.Config["volatile.uuid"]
		}
		if taken || !c.arrival.Same || c.r.Config["volatile.uuid"] == "" {
			maps.DeleteFunc(c.r.Config, func(k, _ string) bool { return own(k) })
		}
		return nil
	})
}

// Original is an instance as it can be given to others.
type Original struct {
	Instance  api.Instance
	Snapshots []api.InstanceSnapshot
	// Profiles are those that it has, in order.
	Profiles []api.Profile
	// Pool and Volume are where its root is.
	Pool   string
	Volume storage.Volume
}

// Original describes a complete instance.
func (s *Service) Original(ctx context.Context, proj, name string) (o Original, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		v, err := look(tx, Key(proj, name))
		if err != nil {
			return err
		}
		if v.Making {
			return errs.Newf(errs.Invalid, "instance %q is not complete: wait until it is created, or delete it", name)
		}
		o = Original{Instance: v.api(s.status(v.key())), Pool: v.Pool, Volume: s.volume(v)}
		for _, snap := range snapshotsOf(tx, v.key()) {
			o.Snapshots = append(o.Snapshots, snap.api(tx))
		}
		for _, p := range v.layers {
			o.Profiles = append(o.Profiles, p.API(nil))
		}
		return nil
	})
	return o, err
}

// Visit shows what the root of an instance holds, or one of its snapshots, for as long as look takes. ids says who owns what.
func (s *Service) Visit(ctx context.Context, o Original, snapshot string, look func(at storage.Mounted, ids idmap.Map) error) error {
	v, err := s.view(ctx, o.Instance.Project, o.Instance.Name)
	if err != nil {
		return err
	}
	visit, leave := s.visit, s.leave
	if snapshot != "" {
		visit = func(ctx context.Context, v view) (*held, storage.Mounted, error) {
			return s.visitSnapshot(ctx, v, snapshot)
		}
		leave = func(ctx context.Context, v view, h *held) error { return s.leaveSnapshot(ctx, v, h, snapshot) }
	}
	h, at, err := visit(ctx, v)
	if err != nil {
		return err
	}
	var ids idmap.Map
	if at.Shifted {
		ids = owners(s.idmap(v))
	}
	return errors.Join(look(at, ids), leave(context.WithoutCancel(ctx), v, h))
}

// apart is the snapshot that a running instance is read from; no user's can have its name.
const apart = "+apart"

// Apart calls do with the name of a snapshot that shows the instance as it is now and goes on doing so, or with "" where the instance itself
// does: one that does not run, or whose pool keeps no snapshots. One waits for the other.
func (s *Service) Apart(ctx context.Context, o Original, do func(snapshot string) error) error {
	key := Key(o.Instance.Project, o.Instance.Name)
	if r := s.live.get(key); r == nil || r.over() {
		return do("")
	}
	alone := s.holds.of(key).apart
	select {
	case alone <- struct{}{}:
		defer func() { <-alone }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.Rejoin(ctx, o); err != nil { // a crash may have left it
		return err
	}
	err := s.still(ctx, key, func(ctx context.Context) error { return s.d.Copies.Snapshot(ctx, o.Pool, o.Volume.At(apart)) })
	if errs.Is(err, errs.Unsupported) {
		return do("")
	}
	if err != nil {
		return err
	}
	return errors.Join(do(apart), s.Rejoin(context.WithoutCancel(ctx), o))
}

// Rejoin removes what Apart made; it may be called when a crash kept Apart from doing so.
func (s *Service) Rejoin(ctx context.Context, o Original) error {
	return s.d.Volumes.Delete(ctx, o.Pool, o.Volume.At(apart))
}
