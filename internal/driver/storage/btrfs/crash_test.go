package btrfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/internal/driver/storage/btrfs"
	host "lxd/internal/host/btrfs"
	"lxd/internal/host/loop"
	"lxd/internal/storage"
)

// victim names the folder of the pool that a copy of the test program works in until it is killed.
const victim = "LXD_TEST_BTRFS_VICTIM"

func TestMain(m *testing.M) {
	if at := os.Getenv(victim); at != "" {
		fmt.Fprintln(os.Stderr, churn(at))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func image() storage.Volume { return storage.Volume{Type: storage.ImageVolume, Name: "i"} }

func instance(name string) storage.Volume {
	return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name, IDMap: []storage.IDRange{{Host: 1000000, Size: 65536}}}
}

// abilities are those of a pool.
type abilities interface {
	storage.Pool
	storage.Cloner
	storage.Snapshotter
	storage.Filler
	storage.Renamer
	storage.Resizer
	storage.Streamer
}

// churn makes and removes volumes of all kinds until it is killed or something fails.
func churn(at string) error {
	ctx := context.Background()
	opened, err := btrfs.New().Open(ctx, at, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	p := opened.(abilities)
	for i := range 1000 {
		v, other := instance(fmt.Sprint("c", i%3)), instance("other")
		_, cloned := p.Clone(ctx, image(), v)
		m, mounted := p.Mount(ctx, v)
		nested := host.Create(filepath.Join(m.Root, "nested"))
		written := os.WriteFile(filepath.Join(m.Root, "nested", "f"), []byte("x"), 0o600)
		kept := errors.Join(p.Snapshot(ctx, v.At("s0")), p.Resize(ctx, v, 50<<20), p.Restore(ctx, v.At("s0")))
		renamed := errors.Join(p.Rename(ctx, v, other), p.Rename(ctx, other, v), p.Rename(ctx, v.At("s0"), v.At("s1")))
		_, copied := p.Clone(ctx, v.At("s1"), other)
		filled := p.Fill(ctx, other, some)
		var stream bytes.Buffer
		sent := p.Send(ctx, v, []string{"s1"}, &stream)
		received := p.Receive(ctx, instance("far"), &stream)
		deleted := errors.Join(p.Delete(ctx, v.At("s1")), p.Delete(ctx, v), p.Delete(ctx, other), p.Delete(ctx, instance("far")))
		if err := errors.Join(cloned, mounted, nested, written, kept, renamed, copied, filled, sent, received, deleted); err != nil {
			return err
		}
	}
	return nil
}

// some fills an image with a little.
func some(_ context.Context, root string) error {
	return errors.Join(os.MkdirAll(filepath.Join(root, "rootfs", "etc"), 0o755), os.WriteFile(filepath.Join(root, "rootfs", "etc", "name"), []byte("x"), 0o644))
}

// TestKilledAnywhere kills a process in the middle of its work again and again: the next opening finds whole volumes only, can use and delete
// them, and then nothing is left.
func TestKilledAnywhere(t *testing.T) {
	b := newBed(t)
	p := b.open(t, "size=400MiB").(abilities)
	must(t, p.Create(t.Context(), image(), some))
	for i := range 15 {
		must(t, p.Close())
		kill(t, b.dir, time.Duration(rand.Int64N(int64(200*time.Millisecond))))
		p = b.open(t).(abilities)
		b.clean(t, p, fmt.Sprint("round ", i))
	}
	must(t, p.Delete(t.Context(), image()), p.Close(), b.driver.Destroy(t.Context(), b.dir, nil))
	if dev, err := loop.Find(b.image()); dev != nil || !errors.Is(err, os.ErrNotExist) {
		t.Error("the file is still shown as a device", err)
	}
}

// kill lets the victim work for a while and ends it.
func kill(t *testing.T, at string, after time.Duration) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), victim+"="+at)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	must(t, err, c.Start())
	line := make([]byte, 6)
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	time.Sleep(after)
	must(t, c.Process.Kill())
	_ = c.Wait() // it was killed
	if said.Len() > 0 {
		t.Errorf("before it was killed: %s", said.String())
	}
}

// clean checks that all volumes are whole, deletes them, and looks for leftovers.
func (b *bed) clean(t *testing.T, p abilities, when string) {
	t.Helper()
	all, err := p.Volumes(t.Context())
	must(t, err)
	for _, v := range all {
		v.IDMap = instance("").IDMap
		names, err := p.Snapshots(t.Context(), v)
		must(t, err)
		for _, at := range append([]string{""}, names...) {
			m, err := p.Mount(t.Context(), v.At(at))
			must(t, err)
			if got, err := os.ReadFile(filepath.Join(m.Root, "etc", "name")); string(got) != "x" {
				t.Errorf("%s: %s %s holds %q, %v", when, v.Name, at, got, err)
			}
			if err := os.WriteFile(filepath.Join(m.Root, "new"), nil, 0o600); (err == nil) != (at == "") {
				t.Errorf("%s: %s %s is written to: %v", when, v.Name, at, err)
			}
		}
		if v.Type != storage.ImageVolume {
			must(t, p.Delete(t.Context(), v))
		} else {
			must(t, os.Remove(filepath.Join(b.dir, "images", v.Name, "volume", "rootfs", "new")))
		}
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := host.Within(b.dir)
		must(t, err)
		if slices.Equal(left, []string{"images/i/volume"}) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: subvolumes are left: %s", when, strings.Join(left, ", "))
		}
	}
}
