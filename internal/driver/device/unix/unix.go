// Package unix gives instances device nodes of the host: character devices and block devices by their paths or numbers. Those that an
// instance can do without come and go with the host's.
package unix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/driver/device/unix/watch"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

// Kinds are the device kinds of nodes. w is told of by the host, and ends with the daemon.
func Kinds(w *watch.Watcher) []device.Kind {
	return []device.Kind{kind(w, "unix-char", false), kind(w, "unix-block", true)}
}

func kind(w *watch.Watcher, name string, block bool) device.Kind {
	k := keys(name)
	return device.Kind{Type: name, Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		n := &node{watcher: w, env: env, cfg: cfg, keys: k, block: block}
		if err := n.check(); err != nil && !env.Leaving {
			return nil, err
		}
		return n, nil
	}}
}

// largest is the largest id of a user or group, and number of a device.
const largest = 1<<32 - 2

func keys(entity string) *schema.Schema {
	return schema.New(entity+" device",
		schema.Key{Name: "gid", Type: schema.Between(0, largest), Default: "0", Short: "Group that the node belongs to inside"},
		schema.Key{Name: "uid", Type: schema.Between(0, largest), Default: "0", Short: "User that the node belongs to inside"},
		schema.Key{Name: "mode", Type: schema.Type{Name: "integer", OK: mode}, Default: "0660", Short: "Permissions of the node inside, in octal"},
		schema.Key{Name: "major", Type: schema.Between(0, 1<<12-1), Default: "that of the host's", Short: "Major number of the device"},
		schema.Key{Name: "minor", Type: schema.Between(0, 1<<20-1), Default: "that of the host's", Short: "Minor number of the device"},
		schema.Key{Name: "path", Type: schema.String, Check: absolute, Short: "Where the node is inside; the same as source if unset"},
		schema.Key{Name: "source", Type: schema.String, Check: absolute, Short: "Where the node is on the host; the same as path if unset"},
		schema.Key{Name: "required", Type: schema.Bool, Default: "true", Short: "Whether the instance fails to start without the device"},
	)
}

func mode(v string) error {
	if n, err := strconv.ParseUint(v, 8, 32); err != nil || n > 0o777 {
		return errors.New("must be permissions in octal, such as 0660")
	}
	return nil
}

func absolute(v string) error {
	if !path.IsAbs(v) || strings.Contains(v+"/", "/../") || path.Clean(v) == "/" {
		return errors.New("must be an absolute path, without .. in it")
	}
	return nil
}

// node is one device node of one instance.
type node struct {
	watcher *watch.Watcher
	env     device.Env
	cfg     device.Config
	keys    *schema.Schema
	block   bool
}

func (n *node) check() error {
	switch {
	case n.cfg["path"] == "" && n.cfg["source"] == "":
		return errs.Newf(errs.Invalid, "it needs source, the path of the node on the host, or path, that inside")
	case (n.cfg["major"] == "") != (n.cfg["minor"] == ""):
		return errs.Newf(errs.Invalid, "major and minor are set together, or left to the node on the host")
	}
	return nil
}

// here is where the node is on the host.
func (n *node) here() string { return cmp.Or(n.cfg["source"], n.cfg["path"]) }

// numbered tells whether the device is given by its numbers, whatever is on the host.
func (n *node) numbered() bool { return n.cfg["major"] != "" }

// optional tells whether the node comes and goes with the host's.
func (n *node) optional() bool { return !n.keys.Bool(n.cfg, "required") && !n.numbered() }

// number reads a key that was validated.
func (n *node) number(name string, base int) uint32 {
	v, _ := strconv.ParseUint(n.keys.Get(n.cfg, name), base, 32)
	return uint32(v)
}

// wanted is the node as it is to be inside; its numbers are not known yet.
func (n *node) wanted() device.Node {
	return device.Node{
		Path: cmp.Or(n.cfg["path"], n.cfg["source"]), Block: n.block, Mode: n.number("mode", 8), UID: n.number("uid", 10), GID: n.number("gid", 10),
	}
}

// look finds out the numbers of the device; it fails with os.ErrNotExist if the host has none.
func (n *node) look() (device.Node, error) {
	d := n.wanted()
	if n.numbered() {
		d.Major, d.Minor = n.number("major", 10), n.number("minor", 10)
		return d, nil
	}
	st, err := os.Stat(n.here())
	if err != nil {
		return d, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if want := map[bool]uint32{false: unix.S_IFCHR, true: unix.S_IFBLK}[n.block]; !ok || sys.Mode&unix.S_IFMT != want {
		return d, errs.Newf(errs.Invalid, "%s on the host is not a %s device", n.here(), map[bool]string{false: "character", true: "block"}[n.block])
	}
	d.Major, d.Minor = unix.Major(sys.Rdev), unix.Minor(sys.Rdev)
	return d, nil
}

// Attach implements device.Device: it has no effects.
func (n *node) Attach(context.Context) (device.Grant, error) {
	if n.optional() {
		return device.Grant{}, nil // Start follows the host's
	}
	d, err := n.look()
	if errors.Is(err, os.ErrNotExist) {
		return device.Grant{}, errs.Newf(errs.Invalid, "the host has no device %s; with required=false the instance can start without it, and gets it when it appears", n.here())
	}
	return device.Grant{Nodes: []device.Node{d}}, err
}

// Start implements device.Starter: from then on the node comes and goes with the host's.
func (n *node) Start(_ context.Context, m device.Machine) error {
	if !n.optional() {
		return nil
	}
	noder, ok := m.(device.Noder)
	if !ok {
		return errs.Newf(errs.Unsupported, "an instance of this type cannot be given devices while it runs")
	}
	var now device.Node
	return n.watcher.Subscribe(n.name(), n.here(), func() {
		// This follows the host, and nobody waits for it.
		if err := n.follow(context.Background(), noder, &now); err != nil && !errs.Is(err, errs.NotFound) {
			slog.Warn("A device that came or went could not be given to an instance or taken from it",
				"project", n.env.Project, "instance", n.env.Instance, "device", n.env.Name, "err", err)
		}
	})
}

// follow makes the node inside like that on the host; now is how it is.
func (n *node) follow(ctx context.Context, m device.Noder, now *device.Node) error {
	d, err := n.look()
	if err != nil {
		gone := *now
		if *now = (device.Node{}); gone.Path == "" {
			gone = n.wanted()
		}
		if !errors.Is(err, os.ErrNotExist) && !errs.Is(err, errs.Invalid) {
			return err
		}
		return m.RemoveNode(ctx, gone)
	}
	if d == *now {
		return nil
	}
	if err := m.AddNode(ctx, d); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	*now = d
	return nil
}

// name is that of the device among all of this host.
func (n *node) name() string { return n.env.Project + "/" + n.env.Instance + "/" + n.env.Name }

// Detach implements device.Device.
func (n *node) Detach(context.Context) error {
	n.watcher.Unsubscribe(n.name())
	return nil
}
