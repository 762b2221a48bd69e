package disk

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

func keys() *schema.Schema {
	return schema.New("disk device",
		schema.Key{Name: "path", Type: schema.String, Check: place, Condition: "container", Short: "Where the disk is mounted inside; / is the root disk"},
		schema.Key{Name: "pool", Type: schema.String, Short: "Storage pool of the volume"},
		schema.Key{Name: "size", Type: schema.Size, Short: "Most that the root disk may hold"},
		schema.Key{Name: "source", Type: schema.String, Short: "Volume, or path on the host, that is mounted"},
		schema.Key{Name: "source.snapshot", Type: schema.String, Short: "Snapshot of the volume that is mounted"},
		schema.Key{Name: "source.type", Type: schema.OneOf("custom", "virtual-machine"), Default: "custom", Short: "Type of the volume that is mounted"},
		schema.Key{Name: "readonly", Type: schema.Bool, Default: "false", Short: "Whether the disk can only be read"},
		schema.Key{Name: "recursive", Type: schema.Bool, Default: "false", Short: "Whether mounts below the source are taken along"},
		schema.Key{Name: "required", Type: schema.Bool, Default: "true", Short: "Whether the instance fails to start without the source"},
		schema.Key{Name: "shift", Type: schema.Bool, Default: "false", Condition: "container", Short: "Whether owners are shifted to those of the instance"},
		schema.Key{
			Name: "propagation", Type: schema.OneOf("private", "shared", "slave", "unbindable", "rshared", "rslave", "runbindable", "rprivate"),
			Default: "private", Short: "How mounts below it are shared with the host",
		},
		schema.Key{Name: "raw.mount.options", Type: schema.String, Check: options, Short: "Mount options of the file system, separated by commas"},
		schema.Key{Name: "limits.max", Type: schema.Type{Name: "string", OK: rate}, Live: schema.LiveYes, Short: "Most that is read, and as much that is written, in a second"},
		schema.Key{Name: "limits.read", Type: schema.Type{Name: "string", OK: rate}, Live: schema.LiveYes, Short: "Most that is read in a second: bytes, or a number of requests with iops"},
		schema.Key{Name: "limits.write", Type: schema.Type{Name: "string", OK: rate}, Live: schema.LiveYes, Short: "Most that is written in a second: bytes, or a number of requests with iops"},
		later("boot.priority", schema.Integer, "Boot order; higher is first"),
		later("ceph.cluster_name", schema.String, "Ceph cluster of the source"),
		later("ceph.user_name", schema.String, "Ceph user for the source"),
		later("initial.*", schema.String, "Configuration of the new root volume"),
		later("io.bus", schema.OneOf("virtio-scsi", "virtio-blk", "nvme"), "Bus that the disk is on"),
		later("io.cache", schema.OneOf("none", "writeback", "unsafe"), "How the host caches the disk"),
		later("io.threads", schema.Integer, "Number of I/O threads"),
		later("size.state", schema.Size, "Most that the saved state of a virtual machine may take"),
	)
}

// later is a key that would promise what is not done.
func later(name string, t schema.Type, short string) schema.Key {
	return schema.Key{Name: name, Type: t, Later: true, Short: short}
}

// place refuses paths that cannot be mounted at.
func place(v string) error {
	if err := schema.OneLine(v); err != nil {
		return err
	}
	if strings.Contains("/"+v+"/", "/../") {
		return errors.New("must not have \"..\" in it")
	}
	if v != "/" && path.Clean("/"+v) == "/" {
		return errors.New("must be a path below the root, or / for the root disk")
	}
	return nil
}

// mountOptions are those of the mount itself; others are for the file system and need a device with one.
var mountOptions = map[string]bool{
	"defaults": true, "ro": true, "rw": true, "suid": true, "nosuid": true, "dev": true, "nodev": true, "exec": true, "noexec": true,
	"relatime": true, "nodiratime": true, "nosymfollow": true,
}

func options(v string) error {
	for o := range strings.SplitSeq(v, ",") {
		if o == "" || strings.ContainsAny(o, " \t\n\\") || strings.HasPrefix(o, "=") {
			return fmt.Errorf("%q is not a mount option", o)
		}
	}
	return nil
}

func rate(v string) error {
	_, _, err := parseRate(v)
	return err
}

// parseRate reads a number of bytes in a second, or with iops of requests.
func parseRate(v string) (bytes, requests int64, err error) {
	if v == "" {
		return 0, 0, nil
	}
	if n, ok := strings.CutSuffix(v, "iops"); ok {
		requests, err = strconv.ParseInt(n, 10, 64)
	} else {
		bytes, err = schema.ParseSize(v)
	}
	if err != nil || bytes+requests <= 0 {
		return 0, 0, errors.New("must be a size, such as 10MiB, or a number of requests, such as 100iops")
	}
	return bytes, requests, nil
}

// checkLimits refuses limits that contradict each other.
func checkLimits(cfg device.Config) error {
	if cfg["limits.max"] != "" && (cfg["limits.read"] != "" || cfg["limits.write"] != "") {
		return errs.Newf(errs.Invalid, "limits.max cannot be set together with limits.read or limits.write")
	}
	return nil
}

// throttle is what the limits of a disk ask for.
func throttle(cfg device.Config) *device.Throttle {
	read, write := cfg["limits.read"], cfg["limits.write"]
	if all := cfg["limits.max"]; all != "" {
		read, write = all, all
	}
	if read == "" && write == "" {
		return nil
	}
	var t device.Throttle
	t.ReadBytes, t.ReadRequests, _ = parseRate(read) // both were validated
	t.WriteBytes, t.WriteRequests, _ = parseRate(write)
	return &t
}
