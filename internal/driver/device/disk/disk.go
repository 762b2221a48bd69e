// Package disk is the device kind of disks: the root disk, which says in which pool the root volume is and how large it may be; folders,
// files and block devices of the host; and custom volumes.
package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// Volumes is what disks need of storage.
type Volumes interface {
	// MountCustom mounts a custom volume, or with NAME/SNAPSHOT one of its snapshots, that the project sees, for a user of that name. It
	// is idempotent for each user.
	MountCustom(ctx context.Context, project, pool, name, user string) (storage.Mounted, error)
	// UnmountCustom undoes MountCustom for one user. Nothing that is missing is an error.
	UnmountCustom(ctx context.Context, project, pool, name, user string) error
}

// Kind is the device kind.
func Kind(volumes Volumes) device.Kind {
	k := keys()
	return device.Kind{Type: "disk", Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		return open(volumes, k, env, cfg)
	}}
}

func open(volumes Volumes, k *schema.Schema, env device.Env, cfg device.Config) (device.Device, error) {
	if cfg["path"] == "/" {
		return openRoot(k, cfg)
	}
	d := disk{volumes: volumes, env: env, cfg: cfg, keys: k}
	if env.Leaving {
		return d.kind(), nil
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d.kind(), nil
}

// disk is what all disks have in common but the root disk.
type disk struct {
	volumes Volumes
	env     device.Env
	cfg     device.Config
	keys    *schema.Schema
}

func (d disk) kind() device.Device {
	if d.cfg["pool"] != "" {
		return custom{d}
	}
	return local{d}
}

func (d disk) flag(name string) bool { return d.keys.Bool(d.cfg, name) }

// check refuses what cannot work.
func (d disk) check() error {
	source, pool := d.cfg["source"], d.cfg["pool"]
	switch {
	case d.cfg["path"] == "":
		return errs.Newf(errs.Invalid, "a disk of a container needs a path: where it is mounted inside")
	case source == "":
		return errs.Newf(errs.Invalid, "the source is missing: a path on the host, or with a pool the name of a custom volume; only the root disk (path /) has none")
	case d.cfg["size"] != "":
		return errs.Newf(errs.Invalid, "size is for the root disk only")
	case pool != "" && filepath.IsAbs(source):
		return errs.Newf(errs.Invalid, "the source %s is a path on the host: leave pool away, or name a custom volume", source)
	case pool != "" && d.cfg["source.type"] == "virtual-machine":
		return errs.Newf(errs.Unsupported, "volumes of virtual machines cannot be attached to containers")
	case pool == "" && !filepath.IsAbs(source):
		return errs.Newf(errs.Invalid, "the source %q is no path on the host: it must begin with /; for a custom volume name its pool as well", source)
	case pool == "" && (d.cfg["source.type"] != "" || d.cfg["source.snapshot"] != ""):
		return errs.Newf(errs.Invalid, "source.type and source.snapshot are for volumes: name the pool")
	}
	return checkLimits(d.cfg)
}

// mount is how the disk is shown inside.
func (d disk) mount(source string) device.Mount {
	m := device.Mount{
		Source: source, Target: d.cfg["path"], ReadOnly: d.flag("readonly"), Recursive: d.flag("recursive"), Propagation: d.cfg["propagation"],
	}
	if o := d.cfg["raw.mount.options"]; o != "" {
		m.Options = strings.Split(o, ",")
	}
	return m
}

// grant grants one mount.
func (d disk) grant(m device.Mount) (device.Grant, error) {
	for _, o := range m.Options {
		if m.FSType == "" && !mountOptions[o] {
			return device.Grant{}, errs.Newf(errs.Invalid, "raw.mount.options: %q is an option of file systems, and %s is not a device with one", o, m.Source)
		}
	}
	return device.Grant{Mounts: []device.Mount{m}, Throttles: d.limits(m.Source)}, nil
}

// limits are those of what is on the host at path.
func (d disk) limits(path string) []device.Throttle {
	t := throttle(d.cfg)
	if t == nil {
		return nil
	}
	t.Path = path
	return []device.Throttle{*t}
}

// local is something of the host's own.
type local struct{ disk }

// Attach implements device.Device: it has no effects.
func (d local) Attach(context.Context) (device.Grant, error) {
	source := d.cfg["source"]
	st, err := d.look(source)
	if errors.Is(err, os.ErrNotExist) && !d.flag("required") {
		return device.Grant{}, nil
	}
	if err != nil {
		return device.Grant{}, errs.Newf(errs.Invalid, "the source %s cannot be used: %w; with required=false the instance can start without it", source, err)
	}
	m := d.mount(source)
	m.Shifted, m.NoLinks = d.flag("shift"), d.env.Restricted
	switch kind := st.Mode() & os.ModeType; {
	case kind&os.ModeDevice != 0 && d.env.Restricted:
		return device.Grant{}, errs.Newf(errs.Forbidden, "the source %s is a device: a project with restricted=true may only use files and folders of the host", source)
	case kind&os.ModeDevice != 0 && kind&os.ModeCharDevice == 0:
		m.FSType = "auto"
	case kind&os.ModeCharDevice != 0:
		return device.Grant{}, errs.Newf(errs.Invalid, "the source %s is a character device: add it as a device of type unix-char", source)
	}
	return d.grant(m)
}

// look finds out what the source is. In a restricted project the way there must not have symbolic links: who may write in an allowed
// folder, such as a guest, could let them lead to any other.
func (d local) look(source string) (os.FileInfo, error) {
	if !d.env.Restricted {
		return os.Stat(source)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("there is a symbolic link on the way, which a project with restricted=true may not follow: name the path that it leads to")
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: source, Err: err}
	}
	f := os.NewFile(uintptr(fd), source)
	defer f.Close()
	return f.Stat()
}

// Change implements device.Changer.
func (d local) Change(context.Context, device.Config) (device.Grant, error) {
	return device.Grant{Throttles: d.limits(d.cfg["source"])}, nil
}

// Detach implements device.Device.
func (local) Detach(context.Context) error { return nil }

// custom is a custom volume. Each attachment is a mount of its own with the owners mapped, so that containers with different maps can
// share a volume.
type custom struct{ disk }

// volume is the name of the volume, and of its snapshot if that is what is shown.
func (d custom) volume() string {
	if s := d.cfg["source.snapshot"]; s != "" {
		return d.cfg["source"] + "/" + s
	}
	return d.cfg["source"]
}

// user is who uses the volume.
func (d custom) user() string {
	return "instance " + d.env.Project + "/" + d.env.Instance + " device " + d.env.Name
}

// Attach implements device.Device.
func (d custom) Attach(ctx context.Context) (device.Grant, error) {
	at, err := d.volumes.MountCustom(ctx, d.env.Project, d.cfg["pool"], d.volume(), d.user())
	if errs.Is(err, errs.NotFound) && !d.flag("required") {
		return device.Grant{}, nil
	}
	if err != nil {
		return device.Grant{}, err
	}
	m := d.mount(at.Root)
	m.Shifted = !at.Shifted
	m.ReadOnly = m.ReadOnly || strings.Contains(d.volume(), "/")
	g, err := d.grant(m)
	if err != nil {
		return g, errors.Join(err, d.Detach(context.WithoutCancel(ctx)))
	}
	return g, nil
}

// Start implements device.Starter: a restarted daemon must know again who uses the volume.
func (d custom) Start(ctx context.Context, _ device.Machine) error {
	_, err := d.volumes.MountCustom(ctx, d.env.Project, d.cfg["pool"], d.volume(), d.user())
	if errs.Is(err, errs.NotFound) && !d.flag("required") {
		return nil
	}
	return err
}

// Change implements device.Changer.
func (d custom) Change(ctx context.Context, _ device.Config) (device.Grant, error) {
	at, err := d.volumes.MountCustom(ctx, d.env.Project, d.cfg["pool"], d.volume(), d.user())
	return device.Grant{Throttles: d.limits(at.Root)}, err
}

// Detach implements device.Device.
func (d custom) Detach(ctx context.Context) error {
	return d.volumes.UnmountCustom(ctx, d.env.Project, d.cfg["pool"], d.volume(), d.user())
}
