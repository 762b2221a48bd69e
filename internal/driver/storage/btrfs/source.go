package btrfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/host/mount"
	"lxd/internal/schema"
)

// kind is what a pool's file system is on.
type kind string

const (
	// ownFile is a file that the driver makes below LXD_DIR.
	ownFile kind = "own-file"
	file    kind = "file"
	device  kind = "device"
	// folder is a folder or subvolume of a btrfs that is mounted already.
	folder kind = "folder"
)

// source is where a pool's files really are.
type source struct {
	dir, name     string
	kind          kind
	path          string
	size          int64
	options       []string
	recover, wipe bool
}

// note is what the driver knows of a pool's file system apart from it: a disk that is missing must not be taken for a new pool. It is
// written before anything is made, so that whatever is there without one is somebody else's.
type note struct {
	Kind kind   `json:"kind"`
	Path string `json:"path"`
	UUID string `json:"uuid,omitempty"`
	// Ready says that the file system was made and is the pool's.
	Ready bool `json:"ready,omitempty"`
	// Made says that the folder was made as a subvolume by the driver.
	Made bool `json:"made,omitempty"`
}

// disks is the folder that has the files of all pools.
func disks(dir string) string { return filepath.Join(filepath.Dir(filepath.Dir(dir)), "disks") }

// source finds out where the pool's files are.
func (d *Driver) source(dir string, cfg map[string]string) (source, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return source{}, err
	}
	own := filepath.Join(disks(real), filepath.Base(dir)+".img")
	s := source{dir: real, name: filepath.Base(dir), kind: ownFile, path: own, options: options(cfg["btrfs.mount_options"]),
		recover: d.keys.Bool(cfg, "source.recover"), wipe: d.keys.Bool(cfg, "source.wipe")}
	if cfg["size"] != "" {
		if s.size, err = schema.ParseSize(cfg["size"]); err != nil {
			return s, err
		}
	}
	src := filepath.Clean(cfg["source"])
	if cfg["source"] == "" || src == own || src == filepath.Join(disks(filepath.Clean(dir)), s.name+".img") {
		return s, nil
	}
	s.path = src
	if src == filepath.Clean(dir) {
		s.path = real
	}
	s.kind, err = s.sort()
	return s, err
}

// sort finds out what kind of thing the user's source is; "" is none that could be one.
func (s source) sort() (kind, error) {
	if n, err := s.readNote(); err == nil {
		return n.Kind, nil // it may be missing now
	}
	st, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return folder, nil
	case err != nil:
		return "", err
	case st.IsDir():
		return folder, nil
	case st.Mode().IsRegular():
		return file, nil
	case st.Mode().Type() == os.ModeDevice:
		return device, nil
	}
	return "", nil
}

// check refuses configurations that cannot be.
func (s source) check(cfg map[string]string) error {
	switch {
	case !filepath.IsAbs(s.path):
		return errs.Newf(errs.Invalid, "source %q is no absolute path: write it from / on", s.path)
	case s.kind == "":
		return errs.Newf(errs.Invalid, "source %s is neither a block device, file nor folder", s.path)
	case s.kind != ownFile && s.kind != file && cfg["size"] != "":
		return errs.Newf(errs.Invalid, "size is for a pool in a file: source %s has a size of its own, leave size out", s.path)
	case s.kind == folder && cfg["btrfs.mount_options"] != "":
		return errs.Newf(errs.Invalid, "source %s is on a file system that is mounted already: its options apply, leave btrfs.mount_options out", s.path)
	}
	return nil
}

// show makes the pool visible at its folder, and makes what is missing of a new one.
func (s source) show(ctx context.Context) error {
	n, err := s.readNote()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil && !n.Ready { // a crash in the middle of making it
		if err := s.forget(n); err != nil {
			return err
		}
		n = note{}
	}
	shown, err := s.shown()
	if err != nil {
		return err
	}
	switch {
	case shown && n.Ready:
		return s.grow()
	case s.kind == folder:
		return s.showFolder(n)
	case n.Ready:
		return s.attach(n)
	}
	return s.make(ctx)
}

// shown tells whether the pool is visible already, as after a crash.
func (s source) shown() (bool, error) {
	there, err := mount.At(s.dir)
	if err != nil || !there {
		return false, err
	}
	m, err := tree.ReadMark(s.dir)
	if err != nil || m.Dir != s.dir {
		return false, errs.Newf(errs.Conflict, "something else is mounted at the storage pool's folder %s: unmount it", s.dir)
	}
	return true, nil
}

// showFolder shows a folder of a file system that is mounted elsewhere.
func (s source) showFolder(n note) error {
	if !n.Ready {
		n = note{Kind: folder, Path: s.path}
		if err := s.makeFolder(&n); err != nil {
			return err
		}
	}
	t := tree.Source{Dir: s.dir, Path: s.path, Recover: s.recover}
	if err := t.Claim(); err != nil {
		if !n.Ready {
			err = errors.Join(err, s.forget(n))
		}
		return err
	}
	n.Ready = true
	return errors.Join(s.writeNote(n), t.Show())
}

// makeFolder checks that the folder is on btrfs, and makes it a subvolume if it is not there.
func (s source) makeFolder(n *note) error {
	_, err := os.Lstat(s.path)
	missing := errors.Is(err, os.ErrNotExist)
	at := s.path
	if missing {
		at = filepath.Dir(s.path)
	}
	on, err := btrfs.On(at)
	if errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.Invalid, "source %s does not exist, nor does the folder that it would be in: make that first", s.path)
	}
	if err != nil {
		return err
	}
	if !on {
		return errs.Newf(errs.Invalid, "source %s is not on a btrfs file system: name a folder on one, a block device, or leave source out for a file", s.path)
	}
	n.Made = missing
	if err := s.writeNote(*n); err != nil || !missing {
		return err
	}
	if err := btrfs.Create(s.path); err != nil {
		return errors.Join(err, s.dropNote())
	}
	return nil
}

// attach mounts the file system of a pool that was made before.
func (s source) attach(n note) error {
	path := s.path
	if s.kind == device {
		path = s.find(n)
	}
	at, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.Unavailable, "source %s of the storage pool is missing: bring the file or disk back, then restart the daemon", s.path)
	}
	if err != nil {
		return err
	}
	if s.kind != device && at.Size() < s.size {
		if err := os.Truncate(path, s.size); err != nil {
			return err
		}
	}
	if err := s.mount(path); err != nil {
		return err
	}
	if _, err := s.shown(); err != nil {
		return errors.Join(errs.Newf(errs.Conflict, "source %s does not hold this storage pool: bring the right disk back", s.path), mount.Unmount(s.dir))
	}
	return s.grow()
}

// find is where a device is today: disks change their names.
func (s source) find(n note) string {
	if u, err := btrfs.UUID(s.path); err == nil && u == n.UUID {
		return s.path
	}
	if other, err := filepath.EvalSymlinks("/dev/disk/by-uuid/" + n.UUID); err == nil {
		return other
	}
	return s.path
}

// claim marks the mounted file system as this pool's.
func (s source) claim() error {
	m, err := tree.ReadMark(s.dir)
	switch {
	case err == nil && m.Dir == s.dir:
		return nil
	case err == nil && !s.recover:
		return errs.Newf(errs.Invalid, "source %s is the storage pool of %s already: choose another, or set source.recover=true to take it over", s.path, m.Dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("source %s: %w", s.path, err)
	}
	b, err := json.Marshal(tree.Mark{Dir: s.dir})
	if err != nil {
		return err
	}
	return tree.Full(tree.ReplaceFile(filepath.Join(s.dir, tree.Marker), b))
}

// empty removes what is the pool's own from its file system; a volume there is an error.
func (s source) empty(ctx context.Context, n note) error {
	if !n.Ready {
		return mount.Unmount(s.dir)
	}
	shown, err := s.shown()
	if err == nil && !shown {
		err = s.show(ctx)
	}
	if errs.Is(err, errs.Unavailable) {
		return mount.Unmount(s.dir) // the disk is gone: nothing of the pool's can be found there
	}
	if err != nil {
		return err
	}
	if err := clear(s.dir); err != nil {
		return err
	}
	return mount.Unmount(s.dir)
}

// forget removes the pool's file, or makes what it was on look empty again, and then the note.
func (s source) forget(n note) error {
	if err := mount.Unmount(s.dir); err != nil {
		return err
	}
	var err error
	switch n.Kind {
	case ownFile:
		err = os.Remove(s.path)
	case folder:
		if n.Made {
			err = btrfs.Destroy(n.Path)
		}
	default:
		path := s.find(n)
		var uuid string
		if uuid, err = btrfs.UUID(path); err == nil && uuid == n.UUID {
			err = wipe(path)
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the storage pool's %s: %w", n.Kind, err)
	}
	return s.dropNote()
}

func (s source) notePath() string { return filepath.Join(disks(s.dir), s.name+".json") }

func (s source) readNote() (n note, err error) {
	b, err := os.ReadFile(s.notePath())
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("%s is damaged: %w", s.notePath(), err)
	}
	return n, nil
}

func (s source) writeNote(n note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	write := func() error { return errors.Join(os.MkdirAll(disks(s.dir), 0o700), tree.ReplaceFile(s.notePath(), b)) }
	if err := write(); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return write() // the end of another pool took the folder along
}

// dropNote removes the note, and the folder that it was the last in.
func (s source) dropNote() error {
	if err := os.Remove(s.notePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_ = unix.Rmdir(disks(s.dir))
	return nil
}

// options splits the value of btrfs.mount_options.
func options(value string) (all []string) {
	if value == "" {
		value = "user_subvol_rm_allowed"
	}
	for _, o := range strings.Split(value, ",") {
		if o = strings.TrimSpace(o); o != "" {
			all = append(all, o)
		}
	}
	return all
}

// checkOptions refuses options that would show something else than the pool.
func checkOptions(value string) error {
	if err := schema.OneLine(value); err != nil {
		return err
	}
	for _, o := range options(value) {
		key, _, _ := strings.Cut(o, "=")
		for _, other := range []string{"subvol", "subvolid", "source", "device", "ro"} {
			if key == other {
				return fmt.Errorf("must not have the option %q: the whole file system is the pool's", key)
			}
		}
	}
	return nil
}
