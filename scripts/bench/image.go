package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

type image struct{ alias, file string }

const metadata = `architecture: x86_64
creation_date: %d
properties:
  os: %s
  description: %s for measurements
`

// makeImages builds a busybox image, and a Debian one from a tarball of its root (mmdebstrap makes it when none is given).
func makeImages(ctx context.Context, dir, debian string) ([]image, error) {
	busybox := dir + "/busybox"
	if err := busyboxRoot(busybox + "/rootfs"); err != nil {
		return nil, err
	}
	deb := dir + "/debian"
	if err := os.MkdirAll(deb+"/rootfs", 0o755); err != nil {
		return nil, err
	}
	if debian == "" {
		debian = dir + "/debian.tar"
		c := exec.CommandContext(ctx, "mmdebstrap", "--variant=minbase", "--quiet",
			"--include=systemd,systemd-sysv,dbus,iproute2", "bookworm", debian)
		c.Env = append(os.Environ(), "TMPDIR=/var/tmp")
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("mmdebstrap: %w: %s", err, out)
		}
	}
	if out, err := exec.CommandContext(ctx, "tar", "-C", deb+"/rootfs", "-xf", debian).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tar: %w: %s", err, out)
	}
	var images []image
	for _, alias := range []string{"busybox", "debian"} {
		root := filepath.Join(dir, alias)
		text := fmt.Sprintf(metadata, time.Now().Unix(), alias, alias)
		if err := os.WriteFile(root+"/metadata.yaml", []byte(text), 0o644); err != nil {
			return nil, err
		}
		file := root + ".tar.gz"
		c := exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "-czf", file, "metadata.yaml", "rootfs")
		c.Env = append(os.Environ(), "GZIP=-1")
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("tar: %w: %s", err, out)
		}
		images = append(images, image{alias, file})
	}
	return images, nil
}

// busyboxRoot is the smallest root that starts, gets an address and runs programs.
func busyboxRoot(root string) error {
	for _, d := range []string{"bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "run", "var", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w: install busybox-static", err)
	}
	if err := os.WriteFile(root+"/bin/busybox", b, 0o755); err != nil {
		return err
	}
	for _, n := range []string{"bin/sh", "bin/true", "bin/cat", "bin/sleep", "bin/ls", "sbin/init", "sbin/udhcpc", "sbin/poweroff", "sbin/reboot"} {
		if err := os.Symlink("/bin/busybox", filepath.Join(root, n)); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\n",
		"etc/group":   "root:x:0:\n",
		"etc/inittab": "::sysinit:/bin/true\n::respawn:/bin/sleep 100000\n::ctrlaltdel:/sbin/reboot\n::shutdown:/bin/true\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
