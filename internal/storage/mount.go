package storage

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// mounts are the custom volumes that are mounted, by record key and snapshot, and by whom. The zero value is ready.
type mounts struct {
	mu  sync.Mutex
	all map[string]*mounted
	// quiet are those that nobody may mount.
	quiet map[string]bool
}

// mounted is one volume; its lock is held while it is mounted and unmounted.
type mounted struct {
	sync.Mutex
	users []string
	// waiting are those who have the lock or want it.
	waiting int
}

// with calls fn with a volume's users, one at a time for each volume. It fails with Conflict if the volume is to be left alone.
func (m *mounts) with(key mountKey, fn func(*mounted) error) error {
	m.mu.Lock()
	if m.quiet[key.all()] || m.quiet[key.volume] {
		m.mu.Unlock()
		return errs.Newf(errs.Conflict, "storage volume %q is being changed: try again later", key.name)
	}
	v := m.all[key.all()]
	if v == nil {
		if m.all == nil {
			m.all = map[string]*mounted{}
		}
		v = &mounted{}
		m.all[key.all()] = v
	}
	v.waiting++
	m.mu.Unlock()
	v.Lock()
	defer m.leave(key, v)
	return fn(v)
}

// leave undoes what with did to a volume.
func (m *mounts) leave(key mountKey, v *mounted) {
	v.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.waiting--; v.waiting == 0 && len(v.users) == 0 {
		delete(m.all, key.all())
	}
}

// hush lets nobody mount a volume or, with snapshots, any of its snapshots, if nobody has.
func (m *mounts) hush(key mountKey) (unhush func(), err error) {
	for {
		m.mu.Lock()
		busy, users := m.busy(key)
		switch {
		case len(users) > 0:
			m.mu.Unlock()
			return nil, errs.Newf(errs.Invalid, "storage volume %q is in use by %s: stop that first", key.name, strings.Join(users, ", "))
		case busy != nil:
			m.mu.Unlock()
			busy.Lock() // somebody comes or goes at this moment
			busy.Unlock()
			runtime.Gosched()
			continue
		case m.quiet[key.all()] || m.quiet[key.volume]:
			m.mu.Unlock()
			return nil, errs.Newf(errs.Conflict, "storage volume %q is being changed: try again later", key.name)
		case m.quiet == nil:
			m.quiet = map[string]bool{}
		}
		m.quiet[key.all()] = true
		m.mu.Unlock()
		return func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.quiet, key.all())
		}, nil
	}
}

// busy finds who has the volume mounted, or is about to.
func (m *mounts) busy(key mountKey) (busy *mounted, users []string) {
	for k, v := range m.all {
		if k != key.all() && (key.snapshot != "" || !strings.HasPrefix(k, key.volume)) {
			continue
		}
		if v.waiting > 0 {
			busy = v
			continue
		}
		users = append(users, v.users...)
	}
	slices.Sort(users)
	return busy, users
}

// mountKey names a volume, or a snapshot of it. volume begins the keys of all its snapshots, and is that of the volume itself.
type mountKey struct{ name, volume, snapshot string }

func (k mountKey) all() string { return k.volume + k.snapshot }

// MountCustom mounts a custom volume, or with NAME/SNAPSHOT one of its snapshots, that the project sees, for a user of that name. Root of
// the result is to be shown with the owners of its files mapped, unless Shifted says that they are to be left as they are. The same user
// again, and more users, find it mounted. It fails with NotFound if there is no such volume, and with Conflict while it is being changed.
func (s *Service) MountCustom(ctx context.Context, proj, pool, name, user string) (at Mounted, err error) {
	v, unmapped, err := s.findCustom(ctx, proj, pool, name)
	if err != nil {
		return at, err
	}
	err = s.mounts.with(customKey(pool, v), func(m *mounted) error {
		if at, err = s.Mount(ctx, pool, v); err != nil {
			return err
		}
		if at.Shifted = unmapped; !slices.Contains(m.users, user) {
			m.users = append(m.users, user)
		}
		return nil
	})
	return at, err
}

// UnmountCustom undoes MountCustom for one user; the last one to go takes the mount away. It is no error if the user has none, the volume is
// gone, or a crash has come in between.
func (s *Service) UnmountCustom(ctx context.Context, proj, pool, name, user string) error {
	v, _, err := s.findCustom(ctx, proj, pool, name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.mounts.with(customKey(pool, v), func(m *mounted) error {
		m.users = slices.DeleteFunc(m.users, func(u string) bool { return u == user })
		if len(m.users) > 0 {
			return nil
		}
		return s.Unmount(ctx, pool, v)
	})
}

// Quiet calls fn while nobody has the volume, or any of its snapshots, mounted; until fn returns nobody can mount it. It fails with Invalid if
// somebody has. With v.Snapshot it is about that snapshot alone.
func (s *Service) Quiet(ctx context.Context, pool string, v Volume, fn func(context.Context) error) error {
	done, err := s.mounts.hush(customKey(pool, v))
	if err != nil {
		return err
	}
	defer done()
	return fn(ctx)
}

func customKey(pool string, v Volume) mountKey {
	return mountKey{v.Name, volumeKey(pool, CustomVolume, v.Project, v.Name) + "/", v.Snapshot}
}

// findCustom finds the custom volume that a project calls by that name, or a snapshot of it.
func (s *Service) findCustom(ctx context.Context, proj, pool, name string) (v Volume, unmapped bool, err error) {
	name, snapshot, _ := strings.Cut(name, "/")
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := Find(tx, Name{Pool: pool, Project: proj, Type: CustomVolume, Name: name})
		if err != nil {
			return err
		}
		v = Volume{Type: CustomVolume, Project: r.Project, Name: name, Config: r.Config, Snapshot: snapshot}
		unmapped = schema.IsTrue(r.Config["security.unmapped"])
		return nil
	})
	return v, unmapped, err
}
