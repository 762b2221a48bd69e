package lxc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

var _ machine.Mounter = (*container)(nil)

// inside calls do with the container's inside.
func (c *container) inside(do func(*interior) error) error {
	gone := errs.Newf(errs.NotFound, "machine %s does not run", c.handle.ID)
	if c.over() {
		return gone
	}
	c.placing.Lock()
	defer c.placing.Unlock()
	in, err := c.driver.enter(c.handle.RunDir, c.handle.PID)
	if c.over() { // the number may have been another's
		if err == nil {
			in.close()
		}
		return gone
	}
	if err != nil {
		return err
	}
	defer in.close()
	if err := do(in); err != nil {
		if c.over() {
			return gone
		}
		return err
	}
	return nil
}

// Mount adds a mount.
func (c *container) Mount(_ context.Context, m machine.Mount) error {
	return c.inside(func(in *interior) error { return in.mount(m) })
}

// Unmount takes a mount away.
func (c *container) Unmount(_ context.Context, m machine.Mount) error {
	return ended(c.inside(func(in *interior) error { return in.unmount(m.Target) }))
}

// AddNode makes a device node. The kernel's rule comes first: a node that cannot be used would be taken for a broken device.
func (c *container) AddNode(_ context.Context, n machine.Node) error {
	return c.inside(func(in *interior) error {
		if err := in.removeNode(n.Path); err != nil {
			return err
		}
		if err := c.allow(n, true); err != nil {
			return err
		}
		if err := in.node(n); err != nil {
			return errors.Join(err, c.allow(n, false))
		}
		return nil
	})
}

// RemoveNode takes a device node away.
func (c *container) RemoveNode(_ context.Context, n machine.Node) error {
	return ended(c.inside(func(in *interior) error {
		return errors.Join(in.removeNode(n.Path), c.allow(n, false))
	}))
}

// ended makes it no error that the machine has ended.
func ended(err error) error {
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// allow changes the container's rule about one device. One that every container may use, or that another node is of, stays allowed.
func (c *container) allow(n machine.Node, yes bool) error {
	if c.driver.tree.Version("devices") != 1 {
		if c.driver.tree.Version("memory") == 2 {
			return errs.Newf(errs.Unsupported, "on this host, whose control groups are of version 2, devices can be added only while the instance is stopped")
		}
		return nil
	}
	rule := deviceRule(n)
	if yes {
		return c.group.Set("devices", "devices.allow", rule+"\n")
	}
	if slices.Contains(devices, rule) {
		return nil
	}
	all, err := filepath.Glob(filepath.Join(c.handle.RunDir, nodeFolder, "*"))
	if err != nil {
		return err
	}
	for _, name := range all {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Rdev == unix.Mkdev(n.Major, n.Minor) && (st.Mode&unix.S_IFMT == unix.S_IFBLK) == n.Block {
			return nil
		}
	}
	return c.group.Set("devices", "devices.deny", rule+"\n")
}

// deviceRule allows the use of a device, in the words of the kernel.
func deviceRule(n machine.Node) string {
	kind := "c"
	if n.Block {
		kind = "b"
	}
	return fmt.Sprintf("%s %d:%d rwm", kind, n.Major, n.Minor)
}

func (in *interior) nodeFile(path string) string {
	return filepath.Join(in.runDir, nodeFolder, url.QueryEscape(path))
}

// nodes makes the folder of the nodes. Only the daemon may pass: their modes and owners are meant for the instance, and would let users of
// the host use the devices.
func (in *interior) nodes() error {
	dir := filepath.Join(in.runDir, nodeFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// node makes a device node on the host, since a container may not make it itself, and shows it in the container.
func (in *interior) node(n machine.Node) (err error) {
	target, err := cleanTarget(n.Path)
	if err != nil {
		return err
	}
	uid, ok := in.ids.Host(int64(n.UID))
	gid, ok2 := in.ids.Host(int64(n.GID))
	if !ok || !ok2 {
		return errs.Newf(errs.Invalid, "the owner %d:%d of %s is not one of the instance's", n.UID, n.GID, n.Path)
	}
	kind := uint32(unix.S_IFCHR)
	if n.Block {
		kind = unix.S_IFBLK
	}
	path := in.nodeFile(target)
	if err := errors.Join(in.nodes(), gone(os.Remove(path))); err != nil {
		return err
	}
	if err := unix.Mknod(path, kind|n.Mode&0o777, int(unix.Mkdev(n.Major, n.Minor))); err != nil {
		return fmt.Errorf("make the node of %s: %w", n.Path, err)
	}
	err = errors.Join(os.Chmod(path, os.FileMode(n.Mode&0o777)), os.Lchown(path, int(uid), int(gid)))
	if err == nil {
		err = in.mount(machine.Mount{Source: path, Target: target})
	}
	if err != nil {
		return errors.Join(err, in.removeNode(target))
	}
	return nil
}

// removeNode takes a node away, and the empty file that it was shown at.
func (in *interior) removeNode(path string) error {
	target, err := cleanTarget(path)
	if err != nil {
		return err
	}
	file := in.nodeFile(target)
	if _, err := os.Lstat(file); err != nil {
		return gone(err)
	}
	if err := errors.Join(in.unmount(target), os.Remove(file)); err != nil {
		return err
	}
	// What the guest has put there meanwhile stays, and one that cannot be removed does no harm.
	if e, err := in.root.Find(target); err == nil {
		empty := e.Is(unix.S_IFREG) && e.Stat.Size == 0
		e.Close()
		if empty {
			_ = in.root.Unlink(target)
		}
	}
	return nil
}
