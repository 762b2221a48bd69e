package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/naming"
	"lxd/internal/instance/template"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// creation is one instance in the making.
type creation struct {
	s           *Service
	r           Record
	fingerprint string
	properties  map[string]string
	// remote is the image of another server that it is made from.
	remote *api.ImagesPostSource
	// origin is the instance that it is a copy of, arrival what it comes from elsewhere by; kept are the snapshots that come along.
	origin  *origin
	arrival *Arrival
	kept    []Snapshot
	// override gives those the profiles of the instance.
	override bool
	start    bool
	v        view
	// done is set once the instance is complete: what fails after that does not undo it.
	done bool
}

// Create checks a request and returns the work that makes an instance. What is wrong with its configuration or devices fails
// the work, as clients expect.
func (s *Service) Create(ctx context.Context, proj string, post api.InstancesPost) (op.Spec, error) {
	c := s.creation(proj, post)
	if err := c.checkSource(ctx, post); err != nil {
		return op.Spec{}, err
	}
	if post.Source.Refresh && post.Source.Type == api.SourceTypeCopy {
		if o, there, err := s.refresh(ctx, c); there || err != nil {
			return o, err
		}
	}
	if err := s.d.Store.View(ctx, c.admit); err != nil {
		return op.Spec{}, err
	}
	return c.spec("instance-create", api.OperationCreatingInstance), c.rehearse(ctx)
}

// rehearse fails with Forbidden if the project will not allow the instance, before anything is fetched or unpacked for it. Whatever
// else is wrong with it fails the work.
func (c *creation) rehearse(ctx context.Context) error {
	err := c.s.d.Store.Update(store.Trial(ctx), func(tx store.Tx) error { return Collection.Insert(tx, c.r) })
	if errs.Is(err, errs.Forbidden) {
		return err
	}
	return nil
}

// creation begins one.
func (s *Service) creation(proj string, post api.InstancesPost) *creation {
	c := &creation{s: s, start: post.Start, override: post.Source.OverrideSnapshotProfiles, r: Record{
		Project: proj, Name: post.Name, Location: s.d.Location, Description: post.Description, Type: post.Type,
		Architecture: post.Architecture, Ephemeral: post.Ephemeral, Stateful: post.Stateful,
		Profiles: post.Profiles, Config: clean(post.Config), Devices: post.Devices,
	}}
	if c.r.Type == "" {
		c.r.Type = api.InstanceTypeContainer
	}
	return c
}

// spec is the work; the name is known.
func (c *creation) spec(kind string, what api.OperationType) op.Spec {
	o := spec(kind, what, c.r)
	o.Resources = map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", c.r.Project)}}
	o.Metadata = map[string]any{"entity_url": c.r.URL()}
	o.Run = c.run
	return o
}

// clean is a copy of a configuration without keys of no value.
func clean(config map[string]string) map[string]string {
	out := make(map[string]string, len(config))
	for k, v := range config {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// checkSource finds out what the instance is to be made from.
func (c *creation) checkSource(ctx context.Context, post api.InstancesPost) error {
	switch c.r.Type {
	case api.InstanceTypeContainer:
	case api.InstanceTypeVirtualMachine:
		return errs.Newf(errs.Unsupported, "virtual machines are not supported yet by this server: leave the type out, or choose container")
	default:
		return errs.Newf(errs.Invalid, "unknown instance type %q: it is container or virtual-machine", c.r.Type)
	}
	if post.InstanceType != "" {
		return errs.Newf(errs.Unsupported, "instance_type %q: sizes by name are not supported yet by this server, set limits.cpu and limits.memory", post.InstanceType)
	}
	switch post.Source.Type {
	case api.SourceTypeNone:
		return nil
	case api.SourceTypeImage:
		return c.checkImage(ctx, post.Source)
	case api.SourceTypeCopy:
		return c.checkCopy(ctx, post)
	case api.SourceTypeMigration, api.SourceTypeConversion:
		return errs.Newf(errs.Unsupported, "source type %q is not supported yet by this server: it has image, copy and none", post.Source.Type)
	}
	return errs.Newf(errs.Invalid, "unknown source type %q: it is image, copy or none", post.Source.Type)
}

// Image is the image of this server that an alias or the beginning of a fingerprint names in a project.
func (s *Service) Image(ctx context.Context, proj, ref string) (api.Image, error) {
	return s.d.Images.Resolve(ctx, proj, ref)
}

// checkImage resolves an alias at once. A fingerprint that is not there fails the work, not the request.
func (c *creation) checkImage(ctx context.Context, src api.InstanceSource) error {
	switch {
	case src.Server != "":
		c.remote = &api.ImagesPostSource{Fingerprint: src.Fingerprint, Secret: src.Secret, Project: src.Project}
		c.remote.Server, c.remote.Protocol, c.remote.Certificate, c.remote.Alias = src.Server, src.Protocol, src.Certificate, src.Alias
		c.remote.ImageType = string(c.r.Type)
		return nil
	case src.Fingerprint != "":
		c.fingerprint = src.Fingerprint
		img, err := c.s.d.Images.Resolve(ctx, c.r.Project, src.Fingerprint)
		if errs.Is(err, errs.NotFound) {
			return nil
		}
		c.take(img)
		return err
	case src.Alias != "":
		img, err := c.s.d.Images.Resolve(ctx, c.r.Project, src.Alias)
		c.take(img)
		return err
	}
	return errs.Newf(errs.Invalid, "the source names no image: give it an alias or a fingerprint")
}

// take takes over what an image says about its instances.
func (c *creation) take(img api.Image) {
	if img.Fingerprint == "" {
		return
	}
	c.fingerprint, c.properties = img.Fingerprint, img.Properties
	if c.r.Architecture == "" {
		c.r.Architecture = img.Architecture
	}
	if c.r.Profiles == nil && img.Profiles != nil {
		c.r.Profiles = img.Profiles
	}
}

// admit checks the request against what is there, and fills in what it left open.
func (c *creation) admit(tx store.Tx) error {
	r := &c.r
	if err := r.settleOwners(tx); err != nil {
		return err
	}
	for r.Name == "" {
		if n := naming.New(); !Collection.Has(tx, Key(r.Project, n)) {
			r.Name = n
		}
	}
	if err := naming.Check(r.Name); err != nil {
		return err
	}
	if Collection.Has(tx, r.key()) {
		return errs.Newf(errs.Conflict, "instance %q already exists in project %q: choose another name", r.Name, r.Project)
	}
	if r.Profiles == nil {
		r.Profiles = []string{project.Default}
	}
	for i, p := range r.Profiles {
		if !profile.Collection.Has(tx, profile.Key(r.ProfileProject, p)) {
			// Internal on purpose: clients know this failure by status 500.
			return errs.Newf(errs.Internal, "profile %q not found in project %q", p, r.ProfileProject)
		}
		for _, other := range r.Profiles[:i] {
			if p == other {
				return errs.Newf(errs.Invalid, "profile %q is named twice", p)
			}
		}
	}
	if r.Architecture == "" {
		r.Architecture = c.s.d.Host.Architecture
	}
	return c.s.checkArchitecture(r.Architecture)
}

// checkArchitecture refuses what the kernel cannot run.
func (s *Service) checkArchitecture(arch string) error {
	personality := map[string]string{"x86_64": "i686", "aarch64": "armv7l", "ppc64": "ppc", "s390x": "s390"}[s.d.Host.Architecture]
	if arch == s.d.Host.Architecture || arch == personality {
		return nil
	}
	return errs.Newf(errs.Invalid, "architecture %q cannot run on this server: it runs %s", arch, s.d.Host.Architecture)
}

func (c *creation) run(ctx context.Context, t *op.Task) error {
	if c.remote != nil {
		img, err := c.s.d.Images.Fetch(ctx, t, c.r.Project, *c.remote)
		if err != nil {
			return err
		}
		c.fingerprint = img.Fingerprint
	}
	if c.properties == nil && c.fingerprint != "" {
		img, err := c.s.d.Images.Resolve(ctx, c.r.Project, c.fingerprint)
		if err != nil {
			return err
		}
		c.take(img)
		if err := c.s.checkArchitecture(c.r.Architecture); err != nil {
			return err
		}
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	c.identify()
	steps := []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"record", c.record, c.forget},
		{"image", func(ctx context.Context) error { return c.ensureImage(ctx, t) }, nil},
		{"volume", func(ctx context.Context) error { return c.fill(ctx, t, c.s.volume(c.v)) }, c.dropVolume},
		{"ready", func(ctx context.Context) error { return c.ready(ctx, t) }, nil},
	}
	for _, step := range steps {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	if !c.start {
		return nil
	}
	return c.s.start(ctx, t, c.r.key(), api.LifecycleInstanceStarted)
}

// identify gives the record what makes it this instance and no other.
func (c *creation) identify() {
	c.r.CreatedAt = now()
	for k, v := range c.properties {
		if key := "image." + k; c.r.Config[key] == "" && k != "" && v != "" && schema.OneLine(k) == nil {
			c.r.Config[key] = v
		}
	}
	// What a client says of an earlier run, as of a copy of an instance that runs, is not true of this one: its host_name is an
	// interface of somebody else's.
	c.r.setVolatile(Record{}.kept(c.r.Config))
	if c.origin != nil || c.arrival != nil {
		c.fingerprint = c.r.Config["volatile.base_image"]
		defer func() { c.fingerprint = "" }() // it is copied, not unpacked
	}
	c.r.setVolatile(map[string]string{"volatile.base_image": c.fingerprint, "volatile.idmap.base": "0", "volatile.last_state.idmap": noMap})
	if c.arrival != nil && c.r.Config["volatile.uuid.generation"] == "" { // older servers do not know it
		c.r.setVolatile(map[string]string{"volatile.uuid.generation": c.r.Config["volatile.uuid"]})
	}
	if c.arrival == nil || c.r.Config["volatile.uuid"] == "" {
		uuid := op.NewUUID()
		c.r.setVolatile(map[string]string{"volatile.uuid": uuid, "volatile.uuid.generation": uuid, "volatile.cloud-init.instance-id": op.NewUUID()})
	}
	switch {
	case c.origin != nil:
		c.r.setVolatile(map[string]string{templateKey: template.Copy})
	case c.arrival == nil:
		c.r.setVolatile(map[string]string{templateKey: template.Create})
	}
	c.r.Making = true
}

// record checks what the instance is made of and takes its name.
func (c *creation) record(ctx context.Context) error {
	err := c.s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		c.v, err = compose(tx, c.r, 0)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.s.checkView(ctx, c.v); err != nil {
		return err
	}
	root := rootDevice(c.v.devices)
	if root == "" {
		return errNoRoot()
	}
	c.r.Pool = c.v.devices[root]["pool"]
	if c.r.Pool == "" {
		return errs.Newf(errs.Invalid, "the root disk names no storage pool: set its pool")
	}
	c.r.setVolatile(hwaddrs(c.v))
	c.r.Privileged = Keys.Bool(c.v.config, "security.privileged")
	c.v.Record = c.r
	return c.s.claim(ctx, c.v, func(r Record) error { return c.insert(ctx, r) })
}

// insert writes the record, with the ids that the instance was given.
func (c *creation) insert(ctx context.Context, r Record) error {
	c.r, c.v.Record = r, r
	c.r.setVolatile(map[string]string{"volatile.idmap.current": r.Config["volatile.idmap.next"]})
	return c.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if Collection.Has(tx, c.r.key()) {
			return errs.Newf(errs.Conflict, "instance %q already exists in project %q: choose another name", c.r.Name, c.r.Project)
		}
		return Collection.Insert(tx, c.r)
	})
}

func (c *creation) forget(ctx context.Context) error {
	if c.done {
		return nil
	}
	if err := c.s.dropFiles(c.r); err != nil {
		return err
	}
	return c.s.forget(ctx, c.v, func(store.Tx) error { return nil })
}

func (c *creation) ensureImage(ctx context.Context, t *op.Task) error {
	if c.fingerprint == "" {
		return nil
	}
	return c.s.d.Volumes.EnsureImage(ctx, t, c.r.Pool, c.fingerprint)
}

// fill makes a volume of what the instance is made from, of the size that its root disk is to have. On failure nothing of it is left.
func (c *creation) fill(ctx context.Context, t *op.Task, v storage.Volume) (err error) {
	switch {
	case c.arrival != nil:
		if err = c.s.d.Volumes.CreateEmpty(ctx, c.r.Pool, v); err != nil {
			return err
		}
		if err = c.arrival.Fill(ctx, t, c.r.Pool, v); err != nil {
			return errors.Join(err, c.s.d.Volumes.Delete(context.WithoutCancel(ctx), c.r.Pool, v))
		}
	case c.origin != nil:
		err = c.origin.copyTo(ctx, c.s, storage.Place{Pool: c.r.Pool, Volume: v})
	case c.fingerprint == "":
		err = c.s.d.Volumes.CreateEmpty(ctx, c.r.Pool, v)
	default:
		err = c.s.d.Volumes.CreateFromImage(ctx, c.r.Pool, v, c.fingerprint)
	}
	if err != nil || v.Config["size"] == "" {
		return err
	}
	size, err := schema.ParseSize(v.Config["size"])
	if err == nil {
		err = c.s.d.Volumes.Resize(ctx, c.r.Pool, v, size)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("size of the root disk: %w", err)
	if e := c.s.d.Volumes.Delete(context.WithoutCancel(ctx), c.r.Pool, v); e != nil {
		return fmt.Errorf("%w; and the volume could not be removed: %w", err, e)
	}
	return err
}

func (c *creation) dropVolume(ctx context.Context) error {
	if c.done {
		return nil
	}
	return c.s.dropVolume(ctx, c.v)
}

// ready makes the instance one like any other.
func (c *creation) ready(ctx context.Context, t *op.Task) error {
	err := c.s.d.Store.Update(ctx, func(tx store.Tx) error {
		e := change(ctx, api.LifecycleInstanceCreated, c.r)
		e.Context = map[string]any{"type": string(c.r.Type), "storage-pool": c.r.Pool, "location": cmp.Or(c.r.Location, "none")}
		tx.Announce(e)
		err := Collection.Modify(tx, c.r.key(), func(r *Record) error {
			r.Making = false
			return nil
		})
		if err == nil && c.fingerprint != "" {
			err = c.s.d.Images.Used(tx, c.r.Project, c.fingerprint, c.r.CreatedAt)
		}
		if err == nil {
			err = c.insertSnapshots(tx)
		}
		if err != nil || c.start {
			return err
		}
		return t.EndJournal(tx)
	})
	c.done = err == nil
	return err
}
