package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"lxd/internal/storage"
)

// busybox fills an image with a shell.
func busybox(t *testing.T) func(context.Context, string) error {
	t.Helper()
	from, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox (package busybox-static)")
	}
	return func(_ context.Context, root string) error {
		bin := filepath.Join(root, "rootfs", "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return err
		}
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(filepath.Join(bin, "busybox"), os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		for _, name := range []string{"sh", "mount", "umount", "mkdir", "touch", "rm", "ls"} {
			err = errors.Join(err, os.Symlink("busybox", filepath.Join(bin, name)))
		}
		return errors.Join(err, out.Close())
	}
}

// TestNestedLayers: inside of a plain volume containers can have layers of their own; a layer cannot carry another, which is why
// Volume.Plain exists.
func TestNestedLayers(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), busybox(t)); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	b.clone(t, image(), v)
	const nest = `mkdir -p /l/d /u /w /m; mount -t overlay -o lowerdir=/l,upperdir=/u,workdir=/w,userxattr overlay /m && touch /m/d/x && ls /u/d/x && umount /m`
	root := b.mounted(t, v).Root
	inside(t, root, "touch /works")
	if out, err := runInside(root, nest); err == nil {
		t.Errorf("a layer carried another, Plain is not needed on this kernel: %s", out)
	}
	b.unmount(t, v)
	v.Plain = true
	root = b.mounted(t, v).Root
	inside(t, root, "ls /works")
	inside(t, root, nest)
	fresh := storage.Volume{Type: v.Type, Project: v.Project, Name: "c2", IDMap: v.IDMap, Plain: true}
	b.clone(t, image(), fresh)
	inside(t, b.mounted(t, fresh).Root, nest)
}

// TestPropagation: what is mounted on a volume does not reach namespaces that share mounts with the host, nor keep it from being removed.
func TestPropagation(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), busybox(t)); err != nil {
		t.Fatal(err)
	}
	b.clone(t, image(), instance("c1"))
	b.mounted(t, instance("c1"))
	// A process with a copy of all mounts, as a container has while it starts.
	holder := exec.Command("unshare", "--mount", "--propagation", "private", "sleep", "60")
	if err := holder.Start(); err != nil {
		t.Skip("needs unshare: ", err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	own, _ := os.Readlink("/proc/self/ns/mnt")
	for range 1000 {
		if l, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", holder.Process.Pid)); err == nil && l != own {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := b.Delete(t.Context(), instance("c1")); err != nil {
		t.Error(err)
	}
	b.clean(t, "while another namespace held the mount")
	b.clone(t, image(), instance("c1"))
	inside(t, b.mounted(t, instance("c1")).Root, "touch /x")
	b.unmount(t, instance("c1"))
	b.mounted(t, instance("c1"))
}

// TestRemountWhileWriting: a volume that is mounted again while its last content still goes to disk has all of it.
func TestRemountWhileWriting(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), busybox(t)); err != nil {
		t.Fatal(err)
	}
	b.clone(t, image(), instance("c1"))
	for i := range 4 {
		root := b.mounted(t, instance("c1")).Root
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), make([]byte, 20<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		b.unmount(t, instance("c1"))
	}
	root := b.mounted(t, instance("c1")).Root
	for i := range 4 {
		if st, err := os.Stat(filepath.Join(root, fmt.Sprint(i))); err != nil || st.Size() != 20<<20 {
			t.Errorf("file %d: %v", i, err)
		}
	}
	inside(t, root, "rm /0 /1 /2 /3; touch /4")
}
