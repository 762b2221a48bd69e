package btrfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/host/loop"
	"lxd/internal/host/mount"
	"lxd/internal/host/run"
)

// Sizes of a pool's own file, if the user does not say: a fifth of what is free, between these.
const (
	gib   = 1 << 30
	least = 5 * gib
	most  = 30 * gib
)

// Defaults puts a new pool into a file of its own unless the user named a source, and gives that file a size.
func (d *Driver) Defaults(dir string, cfg map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range cfg {
		out[k] = v
	}
	own := filepath.Join(disks(dir), filepath.Base(dir)+".img")
	if out["source"] == "" {
		out["source"] = own
	}
	if out["source"] == own && out["size"] == "" {
		out["size"] = strconv.FormatInt(fitting(dir)/gib, 10) + "GiB"
	}
	return out
}

// fitting is the size of a file that suits the file system that it will be on.
func fitting(dir string) int64 {
	for up := dir; ; up = filepath.Dir(up) {
		var st unix.Statfs_t
		if err := unix.Statfs(up, &st); err == nil {
			return min(max(int64(st.Bavail)*st.Bsize/5, least), most)
		}
		if up == filepath.Dir(up) {
			return least
		}
	}
}

// make makes the file system of a new pool, or takes over one that is there, and mounts it.
func (s source) make(ctx context.Context) (err error) {
	if s.recover && !s.wipe {
		return s.takeOver()
	}
	uuid := newUUID()
	n := note{Kind: s.kind, Path: s.path, UUID: uuid}
	if s.kind == ownFile {
		if _, err := os.Lstat(s.path); err == nil {
			return errs.Newf(errs.Conflict, "file %s is there already and is of no storage pool: move it away, or set source.recover=true", s.path)
		}
	}
	if err := s.writeNote(n); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.forget(n))
		}
	}()
	if s.kind == ownFile || s.kind == file && s.size > 0 {
		if err := s.allot(); err != nil {
			return err
		}
	}
	if err := s.format(ctx, uuid); err != nil {
		return err
	}
	if err := errors.Join(s.mount(s.path), s.claim()); err != nil {
		return err
	}
	n.Ready = true
	return s.writeNote(n)
}

// takeOver mounts a file system that has a pool on it already.
func (s source) takeOver() error {
	uuid, err := btrfs.UUID(s.path)
	if err != nil {
		return err
	}
	if uuid == "" {
		return errs.Newf(errs.Invalid, "source %s has no btrfs file system that could be taken over: leave source.recover out", s.path)
	}
	if err := s.mount(s.path); err != nil {
		return err
	}
	if err := s.claim(); err != nil {
		return errors.Join(err, mount.Unmount(s.dir))
	}
	return s.writeNote(note{Kind: s.kind, Path: s.path, UUID: uuid, Ready: true})
}

// allot gives the pool's file its size; the space is taken as it is used.
func (s source) allot() error {
	flags := os.O_WRONLY
	if s.kind == ownFile {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(s.path, flags, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() >= s.size {
		return err
	}
	return f.Truncate(s.size)
}

// format makes the file system; what has data on it already is refused by the program itself, unless it is to be wiped.
func (s source) format(ctx context.Context, uuid string) error {
	path, ok := run.Look("mkfs.btrfs")
	if !ok {
		return errs.Newf(errs.Unsupported, "mkfs.btrfs is missing: install btrfs-progs")
	}
	args := []string{"--quiet", "--label", s.name, "--uuid", uuid}
	if s.wipe {
		args = append(args, "--force")
	}
	if _, err := run.Output(ctx, run.Call{Path: path, Args: append(args, "--", s.path)}); err != nil {
		if there, e := hasData(s.path); e == nil && there && !s.wipe {
			return errs.Newf(errs.Invalid, "source %s has data on it: set source.wipe=true to lose that, or choose another: %w", s.path, err)
		}
		return errs.Newf(errs.Invalid, "no file system could be made on %s: %w", s.path, err)
	}
	return nil
}

// hasData tells whether anything but zeros is where file systems and partition tables begin.
func hasData(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 128<<10)
	n, _ := f.Read(b)
	for _, c := range b[:n] {
		if c != 0 {
			return true, nil
		}
	}
	return false, nil
}

// mount shows the file system at the pool's folder. A file is shown as a device first, which goes by itself after the last unmount, or at
// once if the daemon dies in between.
func (s source) mount(path string) error {
	if s.kind != device {
		dev, err := loop.Attach(path, true)
		if err != nil {
			return err
		}
		defer dev.Close()
		path = dev.Name()
	}
	t, err := mount.Filesystem("btrfs", path, s.options)
	if err != nil {
		return err
	}
	defer t.Close()
	return errors.Join(t.Private(), t.Attach(s.dir))
}

// grow makes the pool's file, its device and its file system as large as they should be; those that are larger stay.
func (s source) grow() error {
	if s.kind == folder || s.kind == device {
		return nil
	}
	dev, err := loop.Find(s.path)
	if err != nil || dev == nil {
		return err
	}
	defer dev.Close()
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if st.Size() < s.size {
		if err := os.Truncate(s.path, s.size); err != nil {
			return err
		}
	}
	if err := loop.Grown(dev); err != nil {
		return err
	}
	return btrfs.Grow(s.dir)
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func wipe(path string) error {
	if err := btrfs.Wipe(path); err != nil {
		return fmt.Errorf("wipe %s: %w", path, err)
	}
	return nil
}
