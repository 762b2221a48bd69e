package lxc

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/machine"
)

// placeFolder holds a file for each mount that was placed in a container, with its number.
const placeFolder = "mounts"

// interior is the inside of a container, where mounts and nodes are placed. Everything is done by what is held: the guest may exchange
// what the names on the way lead to at any time.
type interior struct {
	locker *mount.Locker
	runDir string
	pid    int
	ns     *os.File
	user   *os.File
	ids    idmap.Map
	root   *fs.Root
}

// enter opens the inside of the process that is a container's first one. It must not end meanwhile, or who calls must look whether it has.
func (d *Driver) enter(runDir string, pid int) (*interior, error) {
	in := &interior{locker: &d.locker, runDir: runDir, pid: pid}
	if err := in.open(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// open opens what is held of the process; the caller closes it, also after a failure.
func (in *interior) open() (err error) {
	if in.ns, err = os.Open(in.proc("ns/mnt")); err != nil {
		return err
	}
	if in.user, err = os.Open(in.proc("ns/user")); err != nil {
		return err
	}
	f, err := os.Open(in.proc("uid_map"))
	if err != nil {
		return err
	}
	ranges, err := idmap.ParseMap(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	in.ids = ranges
	top, err := unix.Open(in.proc("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: in.proc("root"), Err: err}
	}
	owned := func(id uint32) bool { _, ok := in.ids.Inside(int64(id)); return ok }
	in.root, err = fs.RootAt(os.NewFile(uintptr(top), in.proc("root"))).Guarded(fs.Guard{Owned: owned})
	return err
}

func (in *interior) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", in.pid, name) }

func (in *interior) close() {
	for _, f := range []*os.File{in.ns, in.user} {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}
	if in.root != nil {
		_ = in.root.Close() // nothing was written
	}
}

// privileged tells whether the container's ids are those of the host.
func (in *interior) privileged() bool {
	return len(in.ids) > 0 && in.ids[0].Inside == 0 && in.ids[0].Host == 0
}

// owner is who gets what is made for a mount.
func (in *interior) owner(mode uint32) fs.Owner {
	id, _ := in.ids.Host(0)
	return fs.Owner{UID: int(id), GID: int(id), Mode: mode}
}

// mount places m; on failure nothing but folders that were made is left.
func (in *interior) mount(m machine.Mount) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mount %s at %s in the instance: %w", m.Source, m.Target, err)
		}
	}()
	target, err := cleanTarget(m.Target)
	if err != nil {
		return err
	}
	t, file, err := in.tree(m)
	if err != nil {
		return err
	}
	if !in.privileged() { // else the guest may change all mounts anyway
		if t, err = in.locker.Lock(t); err != nil {
			return err
		}
	}
	defer t.Close()
	if err := propagate(t, m.Propagation); err != nil {
		return err
	}
	e, err := in.settle(target, file)
	if err != nil {
		return err
	}
	defer e.Close()
	// Written down first: what is placed and not known could not be taken away.
	id, err := t.ID()
	if err == nil {
		err = in.note(target, id)
	}
	if err != nil {
		return err
	}
	if err := t.Into(in.ns, e.File()); err != nil {
		return errors.Join(err, in.forget(target))
	}
	return nil
}

// tree makes what is to be mounted, and tells whether it is a file.
func (in *interior) tree(m machine.Mount) (t *mount.Tree, file bool, err error) {
	switch m.FSType {
	case "", "none":
		t, file, err = bind(m)
	case "auto":
		t, err = probe(m)
	default:
		t, err = mount.Filesystem(m.FSType, m.Source, fsOptions(m.Options))
	}
	if err != nil {
		return nil, false, err
	}
	flags := attributes(m)
	err = in.detach(t, m.Propagation)
	if err == nil && flags != 0 {
		err = t.Restrict(flags)
	}
	if err == nil && m.Shifted && !in.privileged() {
		if err = t.MapAll(in.user); err != nil {
			err = errs.Newf(errs.Unsupported, "the file system of %s cannot show its owners shifted: %w", m.Source, err)
		}
	}
	if err != nil {
		return nil, false, errors.Join(err, t.Close())
	}
	return t, file, nil
}

// detach keeps what is mounted below a clone from reaching the host, and what the host mounts from reaching the clone unless that is
// wanted. A container whose ids are the host's may share its mounts in full.
func (in *interior) detach(t *mount.Tree, propagation string) error {
	switch strings.TrimPrefix(propagation, "r") {
	case "shared":
		if in.privileged() {
			return nil
		}
		return t.Propagate(unix.MS_SLAVE, true)
	case "slave":
		return t.Propagate(unix.MS_SLAVE, true)
	}
	return t.Propagate(unix.MS_PRIVATE, true)
}

// bind is a clone of what is at a path of the host.
func bind(m machine.Mount) (*mount.Tree, bool, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	if m.NoLinks {
		how.Resolve = unix.RESOLVE_NO_SYMLINKS
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, m.Source, &how)
	if err != nil {
		return nil, false, &os.PathError{Op: "open", Path: m.Source, Err: err}
	}
	f := os.NewFile(uintptr(fd), m.Source)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	t, err := mount.OpenFile(f, m.Recursive)
	return t, !st.IsDir(), err
}

// attributes are the properties of a mount that its options ask for.
func attributes(m machine.Mount) (flags uint64) {
	if m.ReadOnly {
		flags = unix.MOUNT_ATTR_RDONLY
	}
	for _, o := range m.Options {
		flags |= attributeOptions[o]
	}
	return flags
}

// attributeOptions are the options that are about the mount and not the file system.
var attributeOptions = map[string]uint64{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
	"nosymfollow": unix.MOUNT_ATTR_NOSYMFOLLOW, "nodiratime": unix.MOUNT_ATTR_NODIRATIME, "rw": 0, "suid": 0, "dev": 0, "exec": 0, "relatime": 0, "defaults": 0,
}

func fsOptions(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(o string) bool { _, is := attributeOptions[o]; return is })
}

// probe mounts a device with the first file system that knows what is on it.
func probe(m machine.Mount) (*mount.Tree, error) {
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return nil, err
	}
	options := fsOptions(m.Options)
	if m.ReadOnly {
		options = append(options, "ro")
	}
	for line := range strings.Lines(string(b)) {
		name := strings.TrimSpace(line)
		if strings.HasPrefix(line, "nodev") || name == "" || name == "fuseblk" {
			continue
		}
		t, err := mount.Filesystem(name, m.Source, options)
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EUCLEAN) {
			return nil, err
		}
	}
	return nil, errs.Newf(errs.Invalid, "no file system that the kernel knows is on %s, or an option is wrong: make one with mkfs", m.Source)
}

// propagate gives a tree that was handed over the propagation that is wanted.
func propagate(t *mount.Tree, kind string) error {
	name, deep := strings.CutPrefix(kind, "r")
	flag, known := map[string]uint64{
		"": unix.MS_PRIVATE, "private": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE,
	}[name]
	if !known {
		return errs.Newf(errs.Invalid, "propagation %q is unknown", kind)
	}
	return t.Propagate(flag, deep)
}

// cleanTarget is a target as a path from the root on, without a slash at its begin.
func cleanTarget(target string) (string, error) {
	t := strings.TrimPrefix(path.Clean("/"+target), "/")
	if t == "" {
		return "", errs.Newf(errs.Invalid, "nothing can be mounted over the instance's root")
	}
	return t, nil
}

// settle takes hold of the place for a mount, which is made if it is missing.
func (in *interior) settle(target string, file bool) (*fs.Entry, error) {
	parts := strings.Split(target, "/")
	for i := range parts {
		at, last := strings.Join(parts[:i+1], "/"), i == len(parts)-1
		e, err := in.root.Follow(at)
		if errors.Is(err, os.ErrNotExist) {
			if err = in.make(at, file && last); err == nil || errors.Is(err, os.ErrExist) {
				e, err = in.root.Follow(at)
			}
		}
		if err != nil {
			return nil, err
		}
		if last {
			return fit(e, target, file)
		}
		e.Close()
	}
	return nil, errs.Newf(errs.Internal, "the mount target %q has no parts", target)
}

func fit(e *fs.Entry, target string, file bool) (*fs.Entry, error) {
	if e.Is(unix.S_IFDIR) == file {
		e.Close()
		kinds := map[bool]string{true: "a file", false: "a folder"}
		return nil, errs.Newf(errs.Invalid, "there is %s at %s already, and %s is to be mounted there", kinds[!file], target, kinds[file])
	}
	return e, nil
}

func (in *interior) make(at string, file bool) error {
	if !file {
		return in.root.Mkdir(at, in.owner(0o755))
	}
	f, err := in.root.Create(at, in.owner(0o644))
	if err != nil {
		return err
	}
	return f.Close()
}

// unmount takes away what was placed at a target, wherever the guest has moved it to. What it cannot find, the guest has taken away.
func (in *interior) unmount(target string) error {
	target, err := cleanTarget(target)
	if err != nil {
		return err
	}
	id, err := in.noted(target)
	if err != nil || id == 0 {
		return err
	}
	found, err := in.drop(target, id)
	if err == nil && !found {
		err = in.search(id)
	}
	if err != nil {
		return fmt.Errorf("unmount %s in the instance: %w", target, err)
	}
	return in.forget(target)
}

// search looks for a mount of that number in the container's table.
func (in *interior) search(id uint64) error {
	f, err := os.Open(in.proc("mountinfo"))
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := mount.Parse(f)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(table) {
		if found, err := in.drop(m.Path, id); found || err != nil {
			return err
		}
	}
	return nil
}

// drop takes away the mount at path if it is the one of that number.
func (in *interior) drop(path string, id uint64) (bool, error) {
	e, err := in.root.Follow(path)
	if err != nil { // nothing that could be ours
		return false, nil
	}
	defer e.Close()
	now, top, err := mount.ID(e.File())
	if err != nil || now != id || !top {
		return false, err
	}
	return true, mount.Drop(in.ns, e.File())
}

func (in *interior) noteFile(target string) string {
	return filepath.Join(in.runDir, placeFolder, url.QueryEscape(target))
}

func (in *interior) note(target string, id uint64) error {
	if err := os.MkdirAll(filepath.Join(in.runDir, placeFolder), 0o700); err != nil {
		return err
	}
	return os.WriteFile(in.noteFile(target), []byte(strconv.FormatUint(id, 10)), 0o600)
}

// noted is the number of the mount that was placed at target, 0 for none.
func (in *interior) noted(target string) (uint64, error) {
	b, err := os.ReadFile(in.noteFile(target))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

func (in *interior) forget(target string) error { return gone(os.Remove(in.noteFile(target))) }

// placeAll gives a new container its mounts, those above others first, and its nodes.
func (in *interior) placeAll(p machine.Plan) error {
	mounts := slices.Clone(p.Mounts)
	slices.SortStableFunc(mounts, func(a, b machine.Mount) int {
		return strings.Compare(path.Clean("/"+a.Target), path.Clean("/"+b.Target))
	})
	for _, m := range mounts {
		if err := in.mount(m); err != nil {
			return err
		}
	}
	for _, n := range p.Nodes {
		if err := in.node(n); err != nil {
			return err
		}
	}
	return nil
}
