package btrfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	host "lxd/internal/host/btrfs"
	"lxd/internal/storage"
)

func mounted(t testing.TB, p storage.Pool, v storage.Volume) storage.Mounted {
	t.Helper()
	m, err := p.Mount(context.Background(), v)
	must(t, err)
	return m
}

// began is a pool with an instance.
func began(t testing.TB, size string) (*bed, abilities, storage.Volume) {
	t.Helper()
	b := newBed(t)
	p := b.open(t, "size="+size).(abilities)
	t.Cleanup(func() { must(t, p.Close()) })
	must(t, p.Create(t.Context(), image(), some))
	_, err := p.Clone(t.Context(), image(), instance("c1"))
	must(t, err)
	return b, p, instance("c1")
}

// TestOneImageServesAllMaps: the owners on disk stay those inside, and nobody but the instance's root passes through its folder.
func TestOneImageServesAllMaps(t *testing.T) {
	_, p, v := began(t, "300MiB")
	other := instance("c2")
	other.IDMap = []storage.IDRange{{Host: 5000000, Size: 65536}}
	_, err := p.Clone(t.Context(), image(), other)
	must(t, err)
	for _, v := range []storage.Volume{v, other} {
		m := mounted(t, p, v)
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(m.Root, "etc", "name"), &st))
		if m.Shifted || st.Uid != 0 {
			t.Errorf("%s: shifted %v, owner %d", v.Name, m.Shifted, st.Uid)
		}
		must(t, unix.Stat(m.Path, &st))
		if int64(st.Uid) != v.IDMap[0].Host || st.Mode&0o7777 != 0o100 {
			t.Errorf("%s: folder of %d with mode %o", v.Name, st.Uid, st.Mode&0o7777)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(mounted(t, p, image()).Path, &st))
	if st.Mode&0o7777 != 0o700 || st.Uid != 0 {
		t.Errorf("image's folder of %d with mode %o", st.Uid, st.Mode&0o7777)
	}
}

// TestNested: what a container has made subvolumes of goes along with all that is done to its volume.
func TestNested(t *testing.T) {
	b, p, v := began(t, "300MiB")
	root := mounted(t, p, v).Root
	at := func(v storage.Volume) string { return filepath.Join(mounted(t, p, v).Root, "a/sub/deep") }
	write := func(text string) { t.Helper(); must(t, os.WriteFile(filepath.Join(at(v), "f"), []byte(text), 0o600)) }
	holds := func(v storage.Volume, want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(at(v), "f")); string(got) != want {
			t.Errorf("%s %s holds %q, %v; want %q", v.Name, v.Snapshot, got, err, want)
		}
	}
	must(t, os.Mkdir(filepath.Join(root, "a"), 0o755), host.Create(filepath.Join(root, "a/sub")), host.Create(filepath.Join(root, "a/sub/deep")))
	write("one")
	must(t, p.Snapshot(t.Context(), v.At("s0")))
	write("two")
	if err := os.WriteFile(filepath.Join(at(v.At("s0")), "f"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a snapshot was changed: %v", err)
	}
	_, err := p.Clone(t.Context(), v, instance("c2"))
	must(t, err)
	must(t, p.Rename(t.Context(), v.At("s0"), v.At("s1")))
	var stream bytes.Buffer
	must(t, p.Send(t.Context(), v, []string{"s1"}, &stream), p.Receive(t.Context(), instance("c3"), &stream))
	holds(instance("c2"), "two")
	holds(instance("c3"), "two")
	holds(instance("c3").At("s1"), "one")
	must(t, p.Restore(t.Context(), v.At("s1")))
	holds(v, "one")
	must(t, p.Rename(t.Context(), v, instance("c4")))
	holds(instance("c4").At("s1"), "one")
	for _, v := range []storage.Volume{instance("c4").At("s1"), instance("c4"), instance("c2"), instance("c3"), image()} {
		must(t, p.Delete(t.Context(), v))
	}
	must(t, p.Close())
	_, err = b.driver.Open(t.Context(), b.dir, nil)
	must(t, err)
	if left, err := host.Within(b.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestFullPool: whatever does not fit leaves nothing, and can be deleted and done again.
func TestFullPool(t *testing.T) {
	b, p, v := began(t, "300MiB")
	root := mounted(t, p, v).Root
	f, err := os.Create(filepath.Join(root, "big"))
	must(t, err)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for i := 0; err == nil; i++ {
		copy(block, fmt.Sprint(i))
		_, err = f.Write(block)
		err = errors.Join(err, f.Sync())
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, f.Close())
	before, err := host.Within(b.dir)
	must(t, err)
	filler := func(_ context.Context, root string) error {
		return os.WriteFile(filepath.Join(root, "big"), block, 0o600)
	}
	for range 3 {
		if err := p.Create(t.Context(), storage.Volume{Type: storage.ImageVolume, Name: "i2"}, filler); err == nil || !strings.Contains(err.Error(), "is full") {
			t.Errorf("created: %v", err)
		}
		if err := p.Fill(t.Context(), v, filler); err == nil || !strings.Contains(err.Error(), "is full") {
			t.Errorf("filled: %v", err)
		}
	}
	// what needs no space may do its work, or not
	for i := range 200 {
		name := fmt.Sprint("s", i)
		if err := p.Snapshot(t.Context(), v.At(name)); err != nil {
			if !strings.Contains(err.Error(), "is full") {
				t.Errorf("snapshot: %v", err)
			}
			break
		}
		must(t, p.Delete(t.Context(), v.At(name)))
	}
	must(t, p.Close())
	_, err = b.driver.Open(t.Context(), b.dir, nil)
	must(t, err)
	if after, err := host.Within(b.dir); err != nil || strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("%v, then %v, %v", before, after, err)
	}
	must(t, p.Delete(t.Context(), v))
	_, err = p.Clone(t.Context(), image(), v)
	must(t, err)
}

// TestOneStreamManyTimes: what is received at the same time does not get mixed up.
func TestOneStreamManyTimes(t *testing.T) {
	_, p, v := began(t, "300MiB")
	must(t, p.Snapshot(t.Context(), v.At("s0")), os.WriteFile(filepath.Join(mounted(t, p, v).Root, "etc", "name"), []byte("two"), 0o600))
	var stream bytes.Buffer
	must(t, p.Send(t.Context(), v, []string{"s0"}, &stream))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			to := instance(fmt.Sprint("r", i))
			if err := p.Receive(t.Context(), to, bytes.NewReader(stream.Bytes())); err != nil {
				t.Error(err)
				return
			}
			got, err := os.ReadFile(filepath.Join(mounted(t, p, to).Root, "etc", "name"))
			if string(got) != "two" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// TestHostileStream: links in a stream lead nowhere, and it brings no devices.
func TestHostileStream(t *testing.T) {
	b, p, v := began(t, "300MiB")
	root := mounted(t, p, v).Root
	must(t, os.WriteFile(b.at("precious"), []byte("mine"), 0o600))
	dev := filepath.Join(root, "disk")
	must(t, os.Symlink(b.at("precious"), filepath.Join(root, "link")), unix.Mknod(dev, unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))),
		unix.Setxattr(filepath.Join(root, "etc"), "trusted.x", []byte("y"), 0))
	var stream bytes.Buffer
	must(t, p.Send(t.Context(), v, nil, &stream), p.Receive(t.Context(), instance("c2"), &stream))
	came := mounted(t, p, instance("c2")).Root
	if _, err := os.Lstat(filepath.Join(came, "disk")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a device came along: %v", err)
	}
	if _, err := unix.Getxattr(filepath.Join(came, "etc"), "trusted.x", make([]byte, 9)); !errors.Is(err, unix.ENODATA) {
		t.Errorf("an attribute came along: %v", err)
	}

	// the same, but for a change through a link: a stream of a plain folder where the receiver has a link
	must(t, os.Mkdir(filepath.Join(root, "dir"), 0o755), p.Snapshot(t.Context(), v.At("s0")),
		os.WriteFile(filepath.Join(root, "dir", "precious"), []byte("theirs"), 0o600), p.Snapshot(t.Context(), v.At("s1")))
	s := func(name string) string { return filepath.Join(b.dir, "containers/c1/snapshots", name) }
	evil := bytes.NewBufferString(`{"format":"lxd btrfs 1","parts":[{}]}` + "\n")
	for _, args := range [][]string{{s("s0")}, {"-p", s("s0"), s("s1")}} {
		out, err := exec.Command("btrfs", append([]string{"send", "-q"}, args...)...).Output()
		must(t, err)
		evil.Write(out)
	}
	if err := p.Receive(t.Context(), instance("c3"), evil); !errs.Is(err, errs.Invalid) {
		t.Errorf("a stream that is not what it says: %v", err)
	}
	for _, parts := range []string{
		`[{"path":"x"}]`, `[{},{"path":"../x"}]`, `[{},{"path":"/etc"}]`, `[{"snapshot":"../x"},{}]`, `[{},{}]`, `[]`, `[{},{"path":"rootfs/link/x"}]`,
		`[{"snapshot":"a"},{"snapshot":".tmp"},{}]`, `[{},{"snapshot":"a"},{"path":"rootfs"}]`, `[{},{"path":"rootfs"}]`,
	} {
		one, err := exec.Command("btrfs", "send", "-q", s("s0")).Output()
		must(t, err)
		stream := append([]byte(`{"format":"lxd btrfs 1","parts":`+parts+"}\n"), one...)
		if err := p.Receive(t.Context(), instance("c3"), bytes.NewReader(stream)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", parts, err)
		}
	}
	if got, err := os.ReadFile(b.at("precious")); string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
	if l, err := p.Volumes(t.Context()); err != nil || len(l) != 3 {
		t.Errorf("%v, %v", l, err)
	}
}

func BenchmarkInstance(b *testing.B) {
	_, p, v := began(b, "1GiB")
	must(b, p.Snapshot(b.Context(), v.At("s0")))
	b.Run("clone and delete", func(b *testing.B) {
		for b.Loop() {
			_, err := p.Clone(b.Context(), image(), instance("c2"))
			must(b, err, p.Delete(b.Context(), instance("c2")))
		}
	})
	b.Run("snapshot and delete", func(b *testing.B) {
		for b.Loop() {
			must(b, p.Snapshot(b.Context(), v.At("s1")), p.Delete(b.Context(), v.At("s1")))
		}
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			must(b, p.Restore(b.Context(), v.At("s0")))
		}
	})
	b.Run("mount", func(b *testing.B) {
		for b.Loop() {
			mounted(b, p, v)
		}
	})
}
