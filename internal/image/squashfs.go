package image

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// Bounds of the program that unpacks squashfs.
const (
	unpackMemory = 1 << 30
	unpackTime   = time.Hour
)

// unpackSquashfs unpacks into a folder that must not exist yet, and then takes away what would be dangerous on the host. The program sees
// nothing of the host but the file and that folder; who is not root runs it with their own rights. scratch is a folder that may be covered
// meanwhile, for the program only.
func unpackSquashfs(ctx context.Context, file, dest, scratch string) error {
	if _, err := os.Stat(unsquashfs); err != nil {
		return errs.Newf(errs.Unsupported, "squashfs images need %s: install squashfs-tools", unsquashfs)
	}
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	err := runUnsquashfs(ctx, file, dest, scratch)
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

func runUnsquashfs(ctx context.Context, file, dest, scratch string) error {
	args := []string{"-no-progress", "-quiet", "-force", "-ignore-errors", "-processors", "2", "-data-queue", "64", "-frag-queue", "64", "-dest"}
	if os.Geteuid() != 0 {
		_, err := run.Output(ctx, run.Call{Path: unsquashfs, Args: append(args, dest, file)})
		return err
	}
	r, err := run.Jail{
		Path: unsquashfs, Args: append(args, "/out", "/image"), Dir: scratch, Memory: unpackMemory, FileSize: maxFile, Time: unpackTime,
		Binds: []run.Bind{{From: file, Name: "image"}, {From: dest, Name: "out", Writable: true}},
	}.Run(ctx)
	if err != nil {
		return err
	}
	if why := complaint(r.Stderr); r.Code != 0 && (why != "" || r.Code > 2) {
		return fmt.Errorf("%s (exit code %d)", cmp.Or(why, "the program failed"), r.Code)
	}
	return nil
}

// maxFile is the largest file that an image may have in it.
const maxFile = 1 << 40

// complaint is the first thing that the program could not do, other than what it is not to: making device nodes, and setting attributes that
// a container could not set itself.
func complaint(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		node := strings.Contains(line, "failed to create") && (strings.Contains(line, "character device") || strings.Contains(line, "block device"))
		attribute := strings.Contains(line, "failed to write xattr ") && !strings.Contains(line, "xattr security.capability") && !strings.Contains(line, "xattr user.") &&
			strings.Contains(line, "Operation not permitted")
		if line != "" && !node && !attribute {
			return line
		}
	}
	return ""
}

// fullDisk tells whether a file system has practically no room left.
func fullDisk(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) < 1<<20
}
