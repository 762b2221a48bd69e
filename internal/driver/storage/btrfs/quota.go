package btrfs

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// Resize sets the most that a volume may hold, what it shares with others included. Quotas are switched on with the first one: they cost
// time that a pool without any need not spend. In a container nobody may: the size stays a wish there.
func (p *pool) Resize(_ context.Context, v storage.Volume, bytes int64) error {
	folder, path, err := p.path(v.At(""))
	if err != nil {
		return err
	}
	defer p.locks.Write(folder)()
	if err := missing(path, v.At("")); err != nil {
		return err
	}
	if bytes > 0 {
		p.quota.Lock()
		err = btrfs.EnableQuota(p.dir)
		p.quota.Unlock()
	}
	if err == nil {
		err = btrfs.Limit(path, bytes)
	}
	if errors.Is(err, btrfs.ErrNoQuota) && bytes <= 0 || errors.Is(err, unix.EPERM) && !p.maps {
		return nil
	}
	return err
}

// VolumeUsage is what a volume holds, what it shares with others included, and its quota. Both are as of some seconds ago.
func (p *pool) VolumeUsage(_ context.Context, v storage.Volume) (used, total int64, err error) {
	_, path, err := p.path(v)
	if err != nil {
		return 0, 0, err
	}
	if err := missing(path, v); err != nil {
		return 0, 0, err
	}
	q, err := btrfs.Usage(path)
	if errors.Is(err, btrfs.ErrNoQuota) || errors.Is(err, unix.EPERM) {
		return 0, 0, errs.Newf(errs.Unsupported, "the storage pool does not count what its volumes use: give one of them a size first")
	}
	return q.Used, q.Limit, err
}

// resize takes a new size of the pool's file, which can grow only.
func (s *source) resize(value string) error {
	if value == "" {
		return nil
	}
	size, err := schema.ParseSize(value)
	if err != nil {
		return errs.Newf(errs.Invalid, "size of the storage pool: %w", err)
	}
	if s.kind == folder || s.kind == device {
		return errs.Newf(errs.Invalid, "size is for a pool in a file: source %s has a size of its own, leave size out", s.path)
	}
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if size < st.Size() {
		return errs.Newf(errs.Invalid, "the storage pool cannot shrink: it has %d bytes now, choose a larger size", st.Size())
	}
	s.size = size
	return nil
}
