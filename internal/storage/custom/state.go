package custom

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// patience is how long the files of a volume are counted where the pool does not know what it uses.
const patience = 5 * time.Second

// State is how much a volume uses and may use. Usage is missing if that cannot be found out in a few seconds.
func (s *Service) State(ctx context.Context, at storage.Name) (st api.StorageVolumeState, err error) {
	var r storage.VolumeRecord
	if err := s.d.Store.View(ctx, func(tx store.Tx) (err error) { r, err = storage.Find(tx, at); return err }); err != nil {
		return st, err
	}
	n := Name{r.Pool, r.Project, r.Name}
	used, total, err := s.d.Pools.VolumeUsage(ctx, n.Pool, storage.Volume{Type: r.Type, Project: r.Project, Name: r.Name})
	if errs.Is(err, errs.Unsupported) {
		if r.Type != storage.CustomVolume {
			return st, nil
		}
		used, err = s.measure(ctx, n)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return st, nil
		}
		total, _ = schema.ParseSize(r.Config["size"])
	}
	if err != nil {
		return st, err
	}
	st.Usage = &api.StorageVolumeStateUsage{Used: used, Total: total}
	return st, nil
}

// measure adds up what a volume holds, in a few seconds.
func (s *Service) measure(ctx context.Context, n Name) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := s.d.Pools.Mount(ctx, n.Pool, n.volume())
	if err != nil {
		return 0, err
	}
	return count(ctx, m.Root)
}

// count adds up the blocks of all files below a folder, each once. What goes away meanwhile does not count.
func count(ctx context.Context, path string) (bytes int64, err error) {
	root, err := os.OpenRoot(path) // whoever uses the volume may put links into our way
	if err != nil {
		return 0, err
	}
	defer root.Close()
	seen := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // it went away
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if many := ok && st.Nlink > 1 && !info.IsDir(); ok && !(many && seen[st.Ino]) {
			bytes += st.Blocks * 512
			if many {
				seen[st.Ino] = true
			}
		}
		return nil
	})
	return bytes, err
}
