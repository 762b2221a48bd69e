package storage

import (
	"context"
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
}

// mounted is one volume; its lock is held while it is mounted and unmounted.
type mounted struct {
	sync.Mutex
	users []string
	// waiting are those who have the lock or want it.
	waiting int
}

// with calls fn with the volume's users, one at a time for each volume.
func (m *mounts) with(key string, fn func(*mounted) error) error {
	m.mu.Lock()
	v := m.all[key]
	if v == nil {
		if m.all == nil {
			m.all = map[string]*mounted{}
		}
		v = &mounted{}
		m.all[key] = v
	}
	v.waiting++
	m.mu.Unlock()
	v.Lock()
	defer func() {
		v.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if v.waiting--; v.waiting == 0 && len(v.users) == 0 {
			delete(m.all, key)
		}
	}()
	return fn(v)
}

// MountCustom mounts a custom volume, or with NAME/SNAPSHOT one of its snapshots, that the project sees, for a user of that name. Root of
// the result is to be shown with the owners of its files mapped, unless Shifted says that they are to be left as they are. The same user
// again, and more users, find it mounted. It fails with NotFound if there is no such volume.
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

// Quiet calls fn while nobody has the volume mounted, and keeps it so meanwhile. It fails with Invalid if somebody has. Snapshots are
// volumes of their own in this.
func (s *Service) Quiet(ctx context.Context, pool string, v Volume, fn func(context.Context) error) error {
	return s.mounts.with(customKey(pool, v), func(m *mounted) error {
		if len(m.users) > 0 {
			return errs.Newf(errs.Invalid, "storage volume %q is in use by %s: stop that first", v.Name, strings.Join(m.users, ", "))
		}
		return fn(ctx)
	})
}

func customKey(pool string, v Volume) string {
	return volumeKey(pool, CustomVolume, v.Project, v.Name) + "/" + v.Snapshot
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
