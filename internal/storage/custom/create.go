package custom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// creation is one volume in the making.
type creation struct {
	s *Service
	r storage.VolumeRecord
	// origin is what it is a copy of; nil is nothing.
	origin *origin
	// kept are the snapshots that it gets.
	kept []storage.SnapshotRecord
	// arrival is what it is made of from elsewhere; nil is nothing.
	arrival *Arrival
	done    bool
}

// Arrival is a volume that comes from elsewhere.
type Arrival struct {
	Description string
	Config      map[string]string
	// Snapshots are those that it brings along.
	Snapshots []api.StorageVolumeSnapshot
	// Fill writes the content of the volume, which is there and empty, and makes its snapshots.
	Fill func(ctx context.Context, t *op.Task, pool string, v storage.Volume) error
}

// Receive returns the work that makes a volume of what arrives. Keys that volumes of the pool cannot have are left out.
func (s *Service) Receive(ctx context.Context, at storage.Name, a Arrival) (op.Spec, error) {
	if err := checkPost(api.StorageVolumesPost{Name: at.Name}); err != nil {
		return op.Spec{}, err
	}
	c := &creation{s: s, arrival: &a, r: storage.VolumeRecord{Pool: at.Pool, Type: storage.CustomVolume, Project: at.Project, Name: at.Name,
		Description: a.Description, ContentType: "filesystem", Location: s.d.Location}}
	for _, snap := range a.Snapshots {
		if err := snapshot.CheckName(snap.Name); err != nil {
			return op.Spec{}, err
		}
	}
	if err := s.d.Store.View(ctx, c.admit); err != nil {
		return op.Spec{}, err
	}
	o := c.spec()
	o.Description = api.OperationRestoringCustomVolumeBackup.String()
	return o, nil
}

// createTarget is what the journal of a creation holds.
type createTarget struct {
	Name
	// From is what is copied.
	From *Source `json:",omitempty"`
}

// Create returns the work that makes a volume, or a copy of one.
func (s *Service) Create(ctx context.Context, pool, proj string, post api.StorageVolumesPost) (op.Spec, error) {
	if err := checkPost(post); err != nil {
		return op.Spec{}, err
	}
	c := &creation{s: s, r: storage.VolumeRecord{Pool: pool, Type: storage.CustomVolume, Project: proj, Name: post.Name, Description: post.Description,
		ContentType: "filesystem", Config: withoutEmpty(post.Config), Location: s.d.Location}}
	var err error
	switch post.Source.Type {
	case "":
	case api.SourceTypeCopy:
		c.origin, err = s.findOrigin(ctx, pool, proj, post.Source)
	case api.SourceTypeMigration:
		err = errs.Newf(errs.Unsupported, "copying volumes between servers is not supported yet by this server")
	default:
		err = errs.Newf(errs.Invalid, "source type %q of a storage volume is unknown: it is copy or migration", post.Source.Type)
	}
	if err != nil {
		return op.Spec{}, err
	}
	if post.Source.Refresh && c.origin != nil {
		if o, ok, err := s.refresh(ctx, c); ok || err != nil {
			return o, err
		}
	}
	if err := s.d.Store.View(ctx, c.admit); err != nil {
		return op.Spec{}, err
	}
	return c.spec(), nil
}

func checkPost(post api.StorageVolumesPost) error {
	if err := CheckName(post.Name); err != nil {
		return err
	}
	if post.Type != "" && post.Type != string(storage.CustomVolume) {
		return errs.Newf(errs.Invalid, "volumes of type %q come and go with what they belong to: only custom volumes can be created", post.Type)
	}
	switch post.ContentType {
	case "", "filesystem":
		return nil
	case "block":
		return errs.Newf(errs.Unsupported, "content type block is not supported yet by this server: use filesystem")
	case "iso":
		return errs.Newf(errs.Invalid, "volumes of content type iso are made by importing an image")
	}
	return errs.Newf(errs.Invalid, "content type %q of a storage volume is unknown: it is filesystem, block or iso", post.ContentType)
}

// name is the volume that is made; admit has found out whose it is.
func (c *creation) name() Name { return Name{c.r.Pool, c.r.Project, c.r.Name} }

// admit checks the request against what is there, and fills in what it left open.
func (c *creation) admit(tx store.Tx) error {
	pool, err := storage.Pools.Get(tx, c.r.Pool)
	if err != nil {
		return err
	}
	keys, err := c.s.d.Pools.VolumeKeys(tx, c.r.Pool)
	if err != nil {
		return err
	}
	if c.r.Project, err = project.Owner(tx, c.r.Project, project.Volumes); err != nil {
		return err
	}
	switch {
	case c.origin != nil:
		c.origin.inherit(&c.r, keys)
	case c.arrival != nil:
		c.r.Config = known(c.arrival.Config, keys)
		defaults(c.r.Config, keys, pool.Config)
	default:
		defaults(c.r.Config, keys, pool.Config)
	}
	if err := checkConfig(keys, c.r.Config); err != nil {
		return err
	}
	return c.free(tx)
}

// free fails with Conflict if the name is taken.
func (c *creation) free(tx store.Tx) error {
	if storage.Volumes.Has(tx, c.name().key()) {
		return errs.Newf(errs.Conflict, "storage volume %q of type \"custom\" already exists in storage pool %q: choose another name", c.r.Name, c.r.Pool)
	}
	return nil
}

// defaults gives a new volume what its pool says of new volumes.
func defaults(cfg map[string]string, keys *schema.Schema, pool map[string]string) {
	for name, v := range pool {
		name, ok := strings.CutPrefix(name, "volume.")
		if k, known := keys.Lookup(name); ok && known && cfg[name] == "" && v != "" && name != "security.shared" && !k.Volatile {
			cfg[name] = v
		}
	}
}

// checkConfig fails with Invalid on a configuration that a volume with files cannot have.
func checkConfig(keys *schema.Schema, cfg map[string]string) error {
	if err := keys.Validate(cfg); err != nil {
		return err
	}
	switch {
	case schema.IsTrue(cfg["security.shared"]):
		return errs.Newf(errs.Invalid, "security.shared is for block volumes: volumes with files can be shared anyway, leave it out")
	case schema.IsTrue(cfg["security.shifted"]) && schema.IsTrue(cfg["security.unmapped"]):
		return errs.Newf(errs.Invalid, "security.shifted and security.unmapped exclude each other: set one of them")
	}
	return nil
}

// spec is the work; admit has been called.
func (c *creation) spec() op.Spec {
	what := api.OperationCreatingStorageVolume
	if c.origin != nil {
		what = api.OperationCopyingStorageVolume
	}
	o := spec("volume-create", what, c.name())
	o.Resources = map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", c.r.Project)}}
	o.Metadata = map[string]any{"entity_url": c.name().URL()}
	t := createTarget{Name: c.name()}
	if c.origin != nil {
		t.From = &c.origin.Source
		o.Resources[string(api.EntityTypeStorageVolume)] = []string{c.origin.URL()}
	}
	o.Args = t
	o.Run = c.run
	return o
}

func (c *creation) run(ctx context.Context, t *op.Task) error {
	if err := c.s.d.Store.Update(store.Trial(ctx), c.reserve); err != nil {
		return err
	}
	// Until the record is written nothing else keeps the pool.
	return c.s.d.Pools.With(ctx, c.r.Pool, func(p storage.Pool) error {
		err := t.Step(ctx, "volume", func(ctx context.Context) error { return c.volume(ctx, t, p) }, func(ctx context.Context) error {
			if c.done {
				return nil
			}
			return c.s.d.Pools.Delete(ctx, c.r.Pool, c.name().volume())
		})
		if err != nil {
			return err
		}
		return t.Step(ctx, "record", func(ctx context.Context) error { return c.record(ctx, t) }, nil)
	})
}

// volume makes the content. On failure nothing of it is left.
func (c *creation) volume(ctx context.Context, t *op.Task, p storage.Pool) (err error) {
	v := c.name().volume()
	v.Config = c.r.Config
	switch {
	case c.arrival != nil:
		err = c.arrive(ctx, t, p)
	case c.origin != nil:
		c.kept, err = c.origin.copyTo(ctx, c.s, c.name())
	default:
		err = p.Create(ctx, v, nil)
	}
	if err != nil {
		return err
	}
	err = resize(ctx, p, v)
	if err == nil && (c.origin != nil || c.arrival != nil) {
		err = fits(ctx, p, v)
	}
	if err != nil {
		return c.s.dropped(ctx, c.r.Pool, v, err)
	}
	return nil
}

// arrive makes the content of what arrives. On failure nothing of it is left.
func (c *creation) arrive(ctx context.Context, t *op.Task, p storage.Pool) error {
	v := c.name().volume()
	if err := p.Create(ctx, v, nil); err != nil {
		return err
	}
	if err := c.arrival.Fill(ctx, t, c.r.Pool, v); err != nil {
		return c.s.dropped(ctx, c.r.Pool, v, err)
	}
	c.kept = nil
	for _, snap := range c.arrival.Snapshots {
		r := storage.SnapshotRecord{Name: snap.Name, Description: snap.Description, ContentType: c.r.ContentType, Config: storage.WithUUID(snap.Config),
			CreatedAt: snap.CreatedAt}
		if snap.ExpiresAt != nil {
			r.ExpiresAt = *snap.ExpiresAt
		}
		r.Pool, r.Project, r.Volume = c.r.Pool, c.r.Project, c.r.Name
		c.kept = append(c.kept, r)
	}
	return nil
}

// dropped removes what was made of a volume whose making failed with err.
func (s *Service) dropped(ctx context.Context, pool string, v storage.Volume, err error) error {
	if e := s.d.Pools.Delete(context.WithoutCancel(ctx), pool, v); e != nil {
		return fmt.Errorf("%w; and what was made of the volume could not be removed: %w", err, e)
	}
	return err
}

// resize gives a volume the quota that its configuration asks for.
func resize(ctx context.Context, p storage.Pool, v storage.Volume) error {
	size := int64(0)
	if text := v.Config["size"]; text != "" {
		var err error
		if size, err = schema.ParseSize(text); err != nil {
			return fmt.Errorf("size of the volume: %w", err)
		}
	}
	r, ok := p.(storage.Resizer)
	switch {
	case ok:
		return r.Resize(ctx, v, size)
	case size != 0:
		return errs.Newf(errs.Unsupported, "the storage pool has no quotas: leave the size out, or use a pool with another driver")
	}
	return nil
}

// fits fails with Invalid if a volume that was filled before it had a quota holds more than that: quotas only hold back what is written later.
func fits(ctx context.Context, p storage.Pool, v storage.Volume) error {
	size, err := schema.ParseSize(cmp.Or(v.Config["size"], "0"))
	if _, ok := p.(storage.Measurer); !ok || size == 0 || err != nil { // such a pool has no quotas
		return err
	}
	m, err := p.Mount(ctx, v)
	if err != nil {
		return err
	}
	used, err := count(ctx, m.Root)
	if err = errors.Join(err, p.Unmount(context.WithoutCancel(ctx), v)); err == nil && used > size {
		err = errs.Newf(errs.Invalid, "size %s of the volume is too small for the %d bytes that it would hold: make it larger, or leave it out", v.Config["size"], used)
	}
	return err
}

// reserve writes the volume's record if the name is free.
func (c *creation) reserve(tx store.Tx) error {
	if err := c.free(tx); err != nil {
		return err
	}
	return storage.InsertVolume(tx, c.r)
}

// record makes the volume one like any other.
func (c *creation) record(ctx context.Context, t *op.Task) error {
	c.r.CreatedAt = c.s.d.Now()
	c.r.Config = storage.WithUUID(c.r.Config)
	err := c.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := c.reserve(tx); err != nil {
			return err
		}
		for _, snap := range c.kept {
			if err := storage.Snapshots.Insert(tx, snap); err != nil {
				return err
			}
		}
		tx.Announce(change(ctx, api.LifecycleStorageVolumeCreated, c.name()))
		return t.EndJournal(tx)
	})
	c.done = err == nil
	return err
}

// recoverCreate removes the content of a volume that has no record.
func (s *Service) recoverCreate(ctx context.Context, j op.Journal) error {
	var t createTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	if t.From != nil {
		if err := s.release(ctx, *t.From); err != nil {
			return err
		}
	}
	there, err := s.has(ctx, t.Name)
	if err != nil || there {
		return err
	}
	return s.d.Pools.Delete(ctx, t.Pool, t.volume())
}

func (s *Service) has(ctx context.Context, n Name) (there bool, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		there = storage.Volumes.Has(tx, n.key())
		return nil
	})
	return there, err
}

func unmarshal(j op.Journal, target any) error {
	if err := json.Unmarshal(j.Args, target); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	return nil
}

func withoutEmpty(cfg map[string]string) map[string]string {
	out := maps.Clone(cfg)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}
