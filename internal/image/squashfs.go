package image

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/run"
)

// unsquashfs is the program that unpacks squashfs.
const unsquashfs = "/usr/bin/unsquashfs"

// Where things are in a squashfs superblock.
const (
	superblock = 96
	majorAt    = 28
	usedAt     = 40
)

// checkSquashfs fails with Invalid if the file is shorter than it says it is.
func checkSquashfs(f *os.File) error {
	head := make([]byte, superblock)
	if _, err := f.ReadAt(head, 0); err != nil {
		return errs.Newf(errs.Invalid, "the squashfs file ends in its first block: get or build it again")
	}
	if major := binary.LittleEndian.Uint16(head[majorAt:]); major != 4 {
		return errs.Newf(errs.Invalid, "the squashfs file is of version %d: only version 4 can be read", major)
	}
	used := binary.LittleEndian.Uint64(head[usedAt:])
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if used > uint64(size) {
		return errs.Newf(errs.Invalid, "the squashfs file has %d of its %d bytes: get or build it again", size, used)
	}
	return nil
}

// unpackSquashfs unpacks into a folder that must not exist yet, and then takes away what would be dangerous on the host.
func unpackSquashfs(ctx context.Context, file, dest string) error {
	if _, err := os.Stat(unsquashfs); err != nil {
		return errs.Newf(errs.Unsupported, "squashfs images need %s: install squashfs-tools", unsquashfs)
	}
	_, err := run.Output(ctx, run.Call{Path: unsquashfs, Args: []string{"-no-progress", "-quiet", "-dest", dest, file}})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && fullDisk(filepath.Dir(dest)) {
		return errs.Newf(errs.Unavailable, "unpacking the rootfs: no space left on the file system: free some and try again: %w", err)
	}
	if err != nil {
		return errs.Newf(errs.Invalid, "the squashfs rootfs cannot be unpacked: %w", err)
	}
	return fs.Disarm(ctx, dest)
}

// fullDisk tells whether a file system has practically no room left.
func fullDisk(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) < 1<<20
}
