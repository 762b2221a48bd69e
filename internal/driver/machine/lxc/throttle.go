package lxc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/mount"
	"lxd/internal/machine"
)

var _ machine.Throttler = (*container)(nil)

// rates are what may be limited, in the order of the files below.
type rates [4]int64

// throttleFiles are the files of control groups of version 1, and throttleWords the words of version 2, that limit reading and writing.
var (
	throttleFiles = [4]string{
		"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device",
	}
	throttleWords = [4]string{"rbps", "wbps", "riops", "wiops"}
)

// Throttle limits what the container reads and writes.
func (c *container) Throttle(_ context.Context, all []machine.Throttle) error {
	want := map[string]rates{}
	for _, t := range all {
		device, err := blockDevice(t.Path)
		if err != nil {
			return fmt.Errorf("find the device of %s: %w", t.Path, err)
		}
		if device != "" {
			want[device] = strictest(want[device], rates{t.ReadBytes, t.WriteBytes, t.ReadRequests, t.WriteRequests})
		}
	}
	tree := c.driver.tree
	switch {
	case tree.Version("blkio") == 1:
		return c.throttleFiles(want)
	case tree.Version("io") == 2:
		return c.throttleWords(want)
	case len(want) > 0:
		return errs.Newf(errs.Unsupported, "the kernel of this host cannot limit disks: it has no control groups for block devices")
	}
	return nil
}

// strictest is the lower of each limit; 0 is none.
func strictest(a, b rates) rates {
	for i := range a {
		if a[i] == 0 || b[i] > 0 && b[i] < a[i] {
			a[i] = b[i]
		}
	}
	return a
}

// throttleFiles writes limits in version 1, and takes away those of other devices.
func (c *container) throttleFiles(want map[string]rates) error {
	for i, file := range throttleFiles {
		set := map[string]int64{}
		old, err := c.group.Get("blkio", file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(old) {
			if f := strings.Fields(line); len(f) == 2 {
				set[f[0]] = 0
			}
		}
		for device, r := range want {
			set[device] = r[i]
		}
		for _, device := range slices.Sorted(maps.Keys(set)) {
			if err := c.group.Set("blkio", file, fmt.Sprintf("%s %d\n", device, set[device])); err != nil {
				return fmt.Errorf("limit device %s: %w", device, err)
			}
		}
	}
	return nil
}

// throttleWords does the same in version 2.
func (c *container) throttleWords(want map[string]rates) error {
	old, err := c.group.Get("io", "io.max")
	if err != nil {
		return err
	}
	all := maps.Clone(want)
	for line := range strings.Lines(old) {
		if f := strings.Fields(line); len(f) > 0 {
			all[f[0]] = want[f[0]]
		}
	}
	for _, device := range slices.Sorted(maps.Keys(all)) {
		text := device
		for i, word := range throttleWords {
			text += " " + word + "=" + number(all[device][i], "max")
		}
		if err := c.group.Set("io", "io.max", text+"\n"); err != nil {
			return fmt.Errorf("limit device %s: %w", device, err)
		}
	}
	return nil
}

// blockDevice is the whole device, as MAJOR:MINOR, that a file or folder is on, "" if it is on none.
func blockDevice(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	number := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		number = st.Rdev
	}
	if unix.Major(number) == 0 { // a file system with a number of its own, such as btrfs
		source, err := mountSource(path)
		if err != nil || !strings.HasPrefix(source, "/dev/") {
			return "", err
		}
		if err := unix.Stat(source, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return "", nil
		}
		number = st.Rdev
	}
	name := fmt.Sprintf("%d:%d", unix.Major(number), unix.Minor(number))
	dir, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", name))
	if err != nil {
		return "", nil // hidden from this part of the system
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); errors.Is(err, os.ErrNotExist) {
		return name, nil
	}
	whole, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev"))
	return strings.TrimSpace(string(whole)), err
}

// mountSource is the source of the mount that a path is in.
func mountSource(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	table, err := mount.Table()
	if err != nil {
		return "", err
	}
	best := mount.Info{}
	for _, m := range table {
		if within := m.Path == "/" || path == m.Path || strings.HasPrefix(path, m.Path+"/"); within && len(m.Path) >= len(best.Path) {
			best = m
		}
	}
	return best.Source, nil
}
