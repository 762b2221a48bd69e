// Package disk is the device kind of disks: so far the root disk, which says in which pool the root volume is and how large it
// may be. The volume itself is mounted by whoever starts the machine.
package disk

import (
	"context"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

// Kind is the device kind.
func Kind() device.Kind { return device.Kind{Type: "disk", Keys: keys(), New: open} }

func keys() *schema.Schema {
	return schema.New("disk device",
		schema.Key{Name: "path", Type: schema.String, Short: "Where the disk is mounted inside; / is the root disk"},
		schema.Key{Name: "pool", Type: schema.String, Short: "Storage pool of the volume"},
		schema.Key{Name: "size", Type: schema.Size, Short: "Most that the disk may hold"},
		schema.Key{Name: "source", Type: schema.String, Short: "Volume, or path on the host, that is mounted"},
		later("boot.priority", schema.Integer, "Boot order; higher is first"),
		later("ceph.cluster_name", schema.String, "Ceph cluster of the source"),
		later("ceph.user_name", schema.String, "Ceph user for the source"),
		later("initial.*", schema.String, "Configuration of the new root volume"),
		later("io.bus", schema.OneOf("virtio-scsi", "virtio-blk", "nvme"), "Bus that the disk is on"),
		later("io.cache", schema.OneOf("none", "writeback", "unsafe"), "How the host caches the disk"),
		later("io.threads", schema.Integer, "Number of I/O threads"),
		later("limits.max", schema.String, "Most that is read and written in a second"),
		later("limits.read", schema.String, "Most that is read in a second"),
		later("limits.write", schema.String, "Most that is written in a second"),
		later("propagation", schema.OneOf("private", "shared", "slave", "unbindable", "rshared", "rslave", "runbindable", "rprivate"), "How mounts below it are shared with the host"),
		later("raw.mount.options", schema.String, "Mount options of the file system"),
		flag("readonly", "false", "Whether the disk can only be read"),
		flag("recursive", "false", "Whether mounts below the source are taken along"),
		flag("required", "true", "Whether the instance fails to start without the source"),
		flag("shift", "false", "Whether owners are shifted to those of the instance"),
		later("size.state", schema.Size, "Most that the saved state of a virtual machine may take"),
		later("source.snapshot", schema.String, "Snapshot of the volume that is mounted"),
		later("source.type", schema.OneOf("custom", "virtual-machine"), "Type of the volume that is mounted"),
	)
}

// later is a key that would promise what is not done.
func later(name string, t schema.Type, short string) schema.Key {
	return schema.Key{Name: name, Type: t, Later: true, Short: short}
}

// flag is a boolean of which only the default is done.
func flag(name, standard, short string) schema.Key {
	return schema.Key{Name: name, Type: schema.Bool, Default: standard, Later: true, Short: short}
}

// root is the root disk. There is nothing to attach: the machine's plan has the root file system in a place of its own.
type root struct{}

func open(_ context.Context, _ device.Env, cfg device.Config) (device.Device, error) {
	switch {
	case cfg["path"] != "/" || cfg["source"] != "":
		return nil, errs.Newf(errs.Unsupported, "disks other than the root disk (path / and no source) are not supported yet by this server")
	case cfg["pool"] == "":
		return nil, errs.Newf(errs.Invalid, "the root disk names no storage pool: set its pool")
	}
	return root{}, nil
}

// Attach grants nothing.
func (root) Attach(context.Context) (device.Grant, error) { return device.Grant{}, nil }

// Detach has nothing to undo.
func (root) Detach(context.Context) error { return nil }
