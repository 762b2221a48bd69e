// Package loop shows files as block devices.
package loop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// attempts bounds how often a device is tried that somebody else was quicker to take.
const attempts = 100

// Attach shows the file as a block device that goes by itself when nothing uses it any more: hold it open until it is mounted. A device
// that shows the file already is taken. direct passes the page cache over where the file's own file system can.
func Attach(path string, direct bool) (*os.File, error) {
	if dev, err := Find(path); dev != nil || err != nil {
		return dev, err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("loop devices: %w", err)
	}
	defer control.Close()
	for range attempts {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = configure(dev, file, direct)
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("show %s as %s: %w", path, dev.Name(), err)
		}
	}
	return nil, fmt.Errorf("show %s as a loop device: others take every free one", path)
}

func configure(dev, file *os.File, direct bool) error {
	c := unix.LoopConfig{Fd: uint32(file.Fd())}
	c.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(c.Info.File_name[:len(c.Info.File_name)-1], file.Name())
	if direct {
		c.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	err := unix.IoctlLoopConfigure(int(dev.Fd()), &c)
	if errors.Is(err, unix.EINVAL) && direct {
		return configure(dev, file, false)
	}
	return err
}

// Find opens the device that shows the file; without one both results are nil.
func Find(path string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	all, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if name, err := os.ReadFile(f); err != nil || len(bytes.TrimSpace(name)) == 0 {
			continue // let go of meanwhile
		}
		dev, err := os.OpenFile("/dev/"+strings.Split(f, "/")[3], os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err == nil && info.Inode == st.Ino && sameDevice(info.Device, st.Dev) {
			return dev, nil
		}
		dev.Close()
	}
	return nil, nil
}

// sameDevice compares the number of a device as loop tells it with that of stat: the former has the kernel's own form.
func sameDevice(kernel, stat uint64) bool {
	return kernel == stat || unix.Mkdev(uint32(kernel>>20), uint32(kernel&(1<<20-1))) == stat
}

// Grown has the device take note that its file has another size.
func Grown(dev *os.File) error {
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("size of %s: %w", dev.Name(), err)
	}
	return nil
}
