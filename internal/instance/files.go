package instance

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/image"
	"lxd/internal/instance/file"
	"lxd/internal/instance/template"
	"lxd/internal/machine"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// Files opens the files of an instance: those of a running one as it sees them, those of a stopped one on its root volume. The
// caller closes the tree.
func (s *Service) Files(ctx context.Context, proj, name string) (*file.Tree, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return nil, err
	}
	if v.Making {
		return nil, errs.Newf(errs.Invalid, "the instance is not complete: wait until it is created")
	}
	if r := s.live.get(v.key()); r != nil && !r.over() {
		if m, ok := r.m.(machine.Rooter); ok {
			return s.filesInside(v, r, m)
		}
	}
	return s.filesOnDisk(ctx, v)
}

// filesInside starts at the root of the running machine. What is mounted there may be anything, so that only what the container's root
// may do itself is done.
func (s *Service) filesInside(v view, r *running, m machine.Rooter) (*file.Tree, error) {
	dir, err := m.Root()
	if err != nil {
		return nil, err
	}
	ids := owners(s.idmap(v))
	owned := func(id uint32) bool { _, ok := ids.Inside(int64(id)); return ok }
	root, err := fs.RootAt(dir).Guarded(fs.Guard{Owned: owned})
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &file.Tree{Root: root, IDs: ids, Done: r.m.Done()}, nil
}

// filesOnDisk mounts the root volume for as long as the tree is open.
func (s *Service) filesOnDisk(ctx context.Context, v view) (*file.Tree, error) {
	h, mounted, err := s.visit(ctx, v)
	if err != nil {
		return nil, err
	}
	release := func() error { return s.leave(context.WithoutCancel(ctx), v, h) }
	root, err := fs.OpenRoot(mounted.Root)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	t := &file.Tree{Root: root, Release: release, Done: h.gone}
	if mounted.Shifted {
		t.IDs = owners(s.idmap(v))
	}
	return t, nil
}

func owners(list []machine.IDRange) (m idmap.Map) {
	for _, r := range list {
		m = append(m, idmap.Range(r))
	}
	return m
}

// Content describes an instance, or the snapshot NAME/SNAPSHOT of one, for those who read all of it.
func (s *Service) Content(ctx context.Context, proj, name string) (c image.Content, err error) {
	name, snapshot, isSnapshot := strings.Cut(name, "/")
	var v view
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		if !isSnapshot {
			v, err = look(tx, Key(proj, name))
			return err
		}
		snap, err := findSnapshot(tx, proj, name, snapshot)
		if err == nil {
			v, err = compose(tx, snap.Instance, 0)
		}
		return err
	})
	if err != nil {
		return c, err
	}
	if v.Making {
		return c, errs.Newf(errs.Invalid, "instance %q is not complete: wait until it is created", name)
	}
	c = image.Content{Type: string(v.Type), Architecture: v.Architecture, Properties: map[string]string{}}
	for k, value := range v.Config {
		if k, ok := strings.CutPrefix(k, "image."); ok {
			c.Properties[k] = value
		}
	}
	if isSnapshot {
		c.Open = func(ctx context.Context) (image.Tree, error) { return s.openSnapshot(ctx, v, snapshot) }
		return c, nil
	}
	c.Running, c.Lock = s.status(v.key()) != api.StatusStopped, v.lock()
	c.Open = func(ctx context.Context) (image.Tree, error) { return s.openRoot(ctx, v) }
	return c, nil
}

// openRoot mounts the root volume for as long as the tree is open.
func (s *Service) openRoot(ctx context.Context, v view) (image.Tree, error) {
	h, mounted, err := s.visit(ctx, v)
	if err != nil {
		return image.Tree{}, err
	}
	return s.treeOf(v, mounted, func() error { return s.leave(context.WithoutCancel(ctx), v, h) }), nil
}

// openSnapshot mounts a snapshot for as long as the tree is open.
func (s *Service) openSnapshot(ctx context.Context, v view, snapshot string) (image.Tree, error) {
	h, mounted, err := s.visitSnapshot(ctx, v, snapshot)
	if err != nil {
		return image.Tree{}, err
	}
	return s.treeOf(v, mounted, func() error { return s.leaveSnapshot(context.WithoutCancel(ctx), v, h, snapshot) }), nil
}

func (s *Service) treeOf(v view, mounted storage.Mounted, release func() error) image.Tree {
	t := image.Tree{Path: mounted.Path, Root: mounted.Root, Close: release}
	if ids := owners(s.idmap(v)); mounted.Shifted && len(ids) > 0 {
		t.Owner = func(id uint32) (uint32, error) {
			inside, ok := ids.Inside(int64(id))
			if !ok {
				return 0, errs.Newf(errs.Invalid, "owner %d is not one of the instance's", id)
			}
			return uint32(inside), nil
		}
	}
	return t
}

// Event announces what others did to an instance.
func (s *Service) Event(ctx context.Context, action, proj, name string) {
	s.announce(change(ctx, action, Record{Project: proj, Name: name}))
}

// FileEvent announces what was done to a file.
func (s *Service) FileEvent(ctx context.Context, action, proj, name, p string) {
	e := change(ctx, action, Record{Project: proj, Name: name})
	e.Context = map[string]any{"path": path.Join("/", p)}
	s.announce(e)
}

// holds counts who needs the root volumes of instances mounted: a machine, and those who visit its files; and who reads their snapshots.
// The last one to go unmounts.
type holds struct {
	mu  sync.Mutex
	all map[string]*held
}

// held is who needs one volume. mu is held while it is mounted or unmounted.
type held struct {
	mu       sync.Mutex
	machine  bool
	visitors int
	// gone is closed when the volume is about to be removed.
	gone chan struct{}
	// apart is full while somebody reads a snapshot of the volume as it is now.
	apart chan struct{}
}

func (h *holds) of(key string) *held {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[string]*held{}
	}
	if h.all[key] == nil {
		h.all[key] = &held{gone: make(chan struct{}), apart: make(chan struct{}, 1)}
	}
	return h.all[key]
}

// evict ends all visits of a volume that is about to be removed or exchanged, and of its snapshots.
func (h *holds) evict(key string) {
	h.mu.Lock()
	var ended []*held
	for k, e := range h.all {
		if k == key || strings.HasPrefix(k, key+"/") {
			ended = append(ended, e)
			delete(h.all, k)
		}
	}
	h.mu.Unlock()
	for _, e := range ended {
		e.mu.Lock()
		close(e.gone)
		e.mu.Unlock()
	}
}

// over fails if the volume is not what it was when the visit began: what was read of it may be a part only.
func (h *held) over(v view) error {
	select {
	case <-h.gone:
		return errs.Newf(errs.Conflict, "instance %q, or its snapshot, was deleted, renamed or restored meanwhile: try again", v.Name)
	default:
		return nil
	}
}

// visit mounts the root volume for somebody who looks at its files.
func (s *Service) visit(ctx context.Context, v view) (*held, storage.Mounted, error) {
	h := s.holds.of(v.key())
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := s.d.Volumes.Mount(ctx, v.Pool, s.volume(v))
	if err == nil {
		h.visitors++
	}
	return h, m, err
}

// leave ends a visit.
func (s *Service) leave(ctx context.Context, v view, h *held) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.visitors--
	if err := h.over(v); err != nil {
		return err // another volume may have the name by now
	}
	if h.visitors > 0 || h.machine || s.live.get(v.key()) != nil {
		return nil
	}
	return s.d.Volumes.Unmount(ctx, v.Pool, s.volume(v))
}

// visitSnapshot mounts a snapshot for somebody who reads it.
func (s *Service) visitSnapshot(ctx context.Context, v view, snapshot string) (*held, storage.Mounted, error) {
	h := s.holds.of(snapshotKey(v.key(), snapshot))
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := s.d.Volumes.Mount(ctx, v.Pool, s.volume(v).At(snapshot))
	if err == nil {
		h.visitors++
	}
	return h, m, err
}

// leaveSnapshot ends such a visit.
func (s *Service) leaveSnapshot(ctx context.Context, v view, h *held, snapshot string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.visitors--
	if err := h.over(v); err != nil || h.visitors > 0 {
		return err
	}
	return s.d.Volumes.Unmount(ctx, v.Pool, s.volume(v).At(snapshot))
}

// mountRoot mounts the root volume for the machine.
func (s *Service) mountRoot(ctx context.Context, v view) (storage.Mounted, error) {
	h := s.holds.of(v.key())
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := s.d.Volumes.Mount(ctx, v.Pool, s.volume(v))
	h.machine = h.machine || err == nil
	return m, err
}

// unmountRoot unmounts the root volume of a machine that has ended, unless somebody looks at its files.
func (s *Service) unmountRoot(ctx context.Context, v view) error {
	h := s.holds.of(v.key())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.machine = false
	if h.visitors > 0 {
		return nil
	}
	return s.d.Volumes.Unmount(ctx, v.Pool, s.volume(v))
}

// alone ends all visits of a root volume that is about to be exchanged, whose machine does not run.
func (s *Service) alone(ctx context.Context, v view) error {
	s.holds.evict(v.key())
	return s.unmountRoot(ctx, v)
}

// beside lets do read the folder of an instance's volume: metadata and templates.
func (s *Service) beside(ctx context.Context, proj, name string, do func(template.Folder) error) error {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return err
	}
	if v.Making {
		return errs.Newf(errs.Invalid, "the instance is not complete: wait until it is created")
	}
	h, mounted, err := s.visit(ctx, v)
	if err != nil {
		return err
	}
	return errors.Join(do(template.Folder{Path: mounted.Path}), s.leave(context.WithoutCancel(ctx), v, h))
}

// Metadata is what the image said of itself that the instance was made from, as it may have been changed since.
func (s *Service) Metadata(ctx context.Context, proj, name string) (m api.ImageMetadata, err error) {
	err = s.beside(ctx, proj, name, func(f template.Folder) (err error) {
		m, err = f.Metadata()
		return err
	})
	return m, err
}

// RetrieveMetadata is Metadata for somebody who asks for it, which is announced.
func (s *Service) RetrieveMetadata(ctx context.Context, proj, name string) (api.ImageMetadata, error) {
	m, err := s.Metadata(ctx, proj, name)
	return m, s.besideEvent(ctx, api.LifecycleInstanceMetadataRetrieved, proj, name, err)
}

// SetMetadata replaces it.
func (s *Service) SetMetadata(ctx context.Context, proj, name string, m api.ImageMetadata) error {
	err := s.beside(ctx, proj, name, func(f template.Folder) error { return f.SetMetadata(m) })
	return s.besideEvent(ctx, api.LifecycleInstanceMetadataUpdated, proj, name, err)
}

// TemplateNames lists the templates of an instance.
func (s *Service) TemplateNames(ctx context.Context, proj, name string) (names []string, err error) {
	err = s.beside(ctx, proj, name, func(f template.Folder) (err error) {
		names, err = f.Templates()
		return err
	})
	return names, err
}

// Template reads a template of an instance.
func (s *Service) Template(ctx context.Context, proj, name, which string) (text []byte, err error) {
	err = s.beside(ctx, proj, name, func(f template.Folder) (err error) {
		text, err = f.Template(which)
		return err
	})
	return text, s.besideEvent(ctx, api.LifecycleInstanceMetadataTemplateRetrieved, proj, name, err)
}

// SetTemplate makes or replaces a template.
func (s *Service) SetTemplate(ctx context.Context, proj, name, which string, content io.Reader) error {
	err := s.beside(ctx, proj, name, func(f template.Folder) error { return f.SetTemplate(which, content) })
	return s.besideEvent(ctx, api.LifecycleInstanceMetadataTemplateCreated, proj, name, err)
}

// DeleteTemplate removes a template.
func (s *Service) DeleteTemplate(ctx context.Context, proj, name, which string) error {
	err := s.beside(ctx, proj, name, func(f template.Folder) error { return f.DeleteTemplate(which) })
	return s.besideEvent(ctx, api.LifecycleInstanceMetadataTemplateDeleted, proj, name, err)
}

// besideEvent announces what was done, unless it failed with err.
func (s *Service) besideEvent(ctx context.Context, action, proj, name string, err error) error {
	if err != nil {
		return err
	}
	e := change(ctx, action, Record{Project: proj, Name: name})
	e.Source += "/metadata"
	if action != api.LifecycleInstanceMetadataUpdated && action != api.LifecycleInstanceMetadataRetrieved {
		e.Source += "/templates"
	}
	s.announce(e)
	return nil
}
