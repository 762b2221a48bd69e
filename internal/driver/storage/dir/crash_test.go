package dir_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/dir"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// victim names the folder that a copy of the test program works in until it is killed.
const victim = "LXD_TEST_DIR_VICTIM"

func TestMain(m *testing.M) {
	if at := os.Getenv(victim); at != "" {
		fmt.Fprintln(os.Stderr, churn(at))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// churn makes and removes volumes of all kinds until it is killed or something fails.
func churn(at string) error {
	ctx := context.Background()
	p, err := dir.New().Open(ctx, at, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for i := range 1000 {
		v := instance(fmt.Sprint("c", i%3))
		_, cloned := p.(storage.Cloner).Clone(ctx, image(), v)
		_, mounted := p.Mount(ctx, v)
		unmounted := p.Unmount(ctx, v)
		v.IDMap = []storage.IDRange{{Host: 2000000, Size: 65536}}
		_, moved := p.Mount(ctx, v)
		v.Plain = true
		unmounted = errors.Join(unmounted, p.Unmount(ctx, v))
		_, flat := p.Mount(ctx, v)
		again := instance("again")
		_, copied := p.(storage.Cloner).Clone(ctx, v, again)
		s, r := p.(storage.Snapshotter), p.(storage.Renamer)
		kept := errors.Join(s.Snapshot(ctx, v.At("s0")), s.Restore(ctx, v.At("s0")), r.Rename(ctx, v, instance("other")), r.Rename(ctx, instance("other"), v))
		if err := errors.Join(cloned, mounted, unmounted, moved, flat, copied, kept, p.Delete(ctx, v), p.Delete(ctx, again)); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledAnywhere kills a process in the middle of its work again and again: the next opening finds whole volumes only, can use and delete
// them, and then nothing is left.
func TestKilledAnywhere(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		kill(t, b.dir, time.Duration(rand.Int64N(int64(60*time.Millisecond))))
		b.open(t)
		b.clean(t, fmt.Sprint("round ", i))
	}
}

// kill lets the victim work for a while and ends it.
func kill(t *testing.T, at string, after time.Duration) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), victim+"="+at)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the victim ended by itself: %v", err)
	}
}

// clean uses and deletes all instances, and checks that the pool is as it was with the image alone.
func (b *bed) clean(t *testing.T, when string) {
	t.Helper()
	vols, err := b.Volumes(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, v := range vols {
		if v.Type == storage.ImageVolume {
			continue
		}
		v.IDMap = instance("").IDMap
		b.unmount(t, v) // it may still be mounted as the victim wanted it
		m, err := b.Mount(t.Context(), v)
		if err != nil {
			t.Fatalf("%s: %+v: %v", when, v, err)
		}
		if uid, _ := owner(t, filepath.Join(m.Root, "usr/mine")); uid != 1001000 {
			t.Errorf("%s: %s belongs to %d", when, v.Name, uid)
		}
		if err := b.Delete(t.Context(), v); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	for _, f := range []string{".tmp", ".trash", ".snapshots", "containers"} {
		if l, _ := os.ReadDir(filepath.Join(b.dir, f)); len(l) != 0 {
			t.Errorf("%s: left in %s: %v", when, f, l)
		}
	}
	if m, err := mount.Below(b.dir); err != nil || len(m) != 0 {
		t.Errorf("%s: left mounts %v, %v", when, m, err)
	}
	b.open(t)
}

// TestResumes sets up what a kill between two particular steps leaves.
func TestResumes(t *testing.T) {
	v := instance("c1")
	for name, c := range map[string]struct {
		leave func(t *testing.T, path string)
		want  storage.Volume
	}{
		"owners half moved": {func(t *testing.T, path string) {
			state(t, path, "next", []any{[]any{map[string]any{"Host": 3000000, "Size": 65536}}})
			if err := os.Chown(filepath.Join(path, "upper"), 3000000, 3000000); err != nil {
				t.Fatal(err)
			}
		}, v},
		"copy begun": {func(t *testing.T, path string) {
			if err := os.MkdirAll(filepath.Join(path, "flat", "usr", "half"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, storage.Volume{Type: v.Type, Project: v.Project, Name: v.Name, IDMap: v.IDMap, Plain: true}},
		"copy not in place": {func(t *testing.T, path string) {
			if err := errors.Join(exec.Command("cp", "-a", filepath.Join(path, "..", "..", "images", "i", "rootfs"), filepath.Join(path, "flat")).Run(),
				os.Chown(filepath.Join(path, "flat", "usr", "mine"), 1001000, 1001000)); err != nil {
				t.Fatal(err)
			}
			state(t, path, "source", "")
		}, v},
		"no work folder": {func(t *testing.T, path string) { os.RemoveAll(filepath.Join(path, "work")) }, v},
		"half a state": {func(t *testing.T, path string) {
			os.WriteFile(filepath.Join(path, "volume.json.new"), []byte("{"), 0o600)
		}, v},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, "")
			if err := b.Create(t.Context(), image(), small); err != nil {
				t.Fatal(err)
			}
			b.clone(t, image(), v)
			c.leave(t, filepath.Join(b.dir, "containers", "c1"))
			m := b.mounted(t, c.want)
			if uid, _ := owner(t, filepath.Join(m.Root, "usr/mine")); uid != 1001000 {
				t.Errorf("owner %d", uid)
			}
			if _, err := os.Lstat(filepath.Join(m.Root, "usr", "half")); err == nil {
				t.Error("half a copy was used")
			}
			for _, f := range []string{"flat"} {
				if _, err := os.Lstat(filepath.Join(m.Path, f)); err == nil {
					t.Errorf("%s is left", f)
				}
			}
			if err := b.Delete(t.Context(), v); err != nil {
				t.Error(err)
			}
		})
	}
}

// state changes one field of a volume's state file.
func state(t *testing.T, path, key string, value any) {
	t.Helper()
	file := filepath.Join(path, "volume.json")
	all := map[string]any{}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	all[key] = value
	b, _ = json.Marshal(all)
	if err := errors.Join(err, os.WriteFile(file, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedStateDoesNotKeepAVolume: what cannot be read can still be deleted, and is named in the error.
func TestDamagedStateDoesNotKeepAVolume(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), instance("c1"), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "containers/c1")
	if err := os.WriteFile(filepath.Join(path, "volume.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.mounted(t, instance("c1")) // as after a loss of power: the folder knows as well
	if err := unix.Removexattr(path, "trusted.lxd.volume"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mount(t.Context(), instance("c1")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("mount: %v", err)
	}
	if err := b.Delete(t.Context(), instance("c1")); err != nil {
		t.Error(err)
	}
	b.clean(t, "after")
}
