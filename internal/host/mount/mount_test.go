package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
)

// folders makes a scratch folder with the given ones below it. It is outside /tmp, which may be an overlay or tmpfs itself.
func folders(t *testing.T, names ...string) func(string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	top, err := os.MkdirTemp("/var/tmp", "mount test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mount.UnmountBelow(top); err != nil {
			t.Error(err)
		}
		os.RemoveAll(top)
	})
	for _, n := range names {
		if err := os.MkdirAll(filepath.Join(top, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return func(s string) string { return filepath.Join(top, s) }
}

func mounted(t *testing.T, path string, want bool) {
	t.Helper()
	if got, err := mount.At(path); err != nil || got != want {
		t.Errorf("mounted at %s: %v, %v; want %v", path, got, err, want)
	}
	below, err := mount.Below(path)
	if err != nil || (len(below) > 0) != want {
		t.Errorf("table below %s: %v, %v", path, below, err)
	}
}

func TestOverlayOfMappedLower(t *testing.T) {
	for name, build := range map[string]func(mount.Overlay) (*mount.Tree, error){"default": mount.Overlay.Make, "staged": mount.Overlay.Staged} {
		t.Run(name, func(t *testing.T) {
			at := folders(t, "lower/d", "upper", "work,with:odd\\name", "stage", "m")
			if err := os.WriteFile(at("lower/f"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			var ns idmap.Namespaces
			defer ns.Close()
			user, err := ns.Get(idmap.Default())
			if err != nil {
				t.Fatal(err)
			}
			lower, err := mount.Open(at("lower"), false)
			if err != nil {
				t.Fatal(err)
			}
			defer lower.Close()
			if err := lower.Map(user); err != nil {
				t.Skip("needs a file system that can map ids: ", err)
			}
			tree, err := build(mount.Overlay{
				Lower: lower, Stage: at("stage"), Upper: at("upper"), Work: at("work,with:odd\\name"), Options: []string{"redirect_dir=on", "index=off"},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if err := errors.Join(tree.Private(), tree.Attach(at("m"))); err != nil {
				t.Fatal(err)
			}
			mounted(t, at("m"), true)
			mounted(t, at("stage"), false)
			if l, _ := os.ReadDir(at("stage")); len(l) != 0 {
				t.Errorf("left in the stage: %v", l)
			}
			var st unix.Stat_t
			if err := unix.Stat(at("m/f"), &st); err != nil || st.Uid != 1000000 {
				t.Errorf("owner %d, %v", st.Uid, err)
			}
			if err := os.WriteFile(at("m/new"), nil, 0o600); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(at("upper/new")); err != nil {
				t.Error(err)
			}
			flushed, err := mount.Release(at("m"))
			if err != nil {
				t.Fatal(err)
			}
			mounted(t, at("m"), false)
			<-flushed
		})
	}
}

func TestOverlayExplainsFailure(t *testing.T) {
	at := folders(t, "lower", "upper", "work")
	lower, err := mount.Open(at("lower"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer lower.Close()
	for name, o := range map[string]mount.Overlay{
		"option":  {Upper: at("upper"), Work: at("work"), Options: []string{"nonsense=1"}},
		"missing": {Upper: at("missing"), Work: at("work")},
	} {
		o.Lower, o.Stage = lower, at("work")
		if _, err := o.Make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	mounted(t, at("work"), false)
}

func TestBindMoveUnmount(t *testing.T) {
	at := folders(t, "from/d", "a", "b")
	if err := mount.Bind(at("from"), at("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at("a/d")); err != nil {
		t.Error(err)
	}
	if err := mount.Move(at("a"), at("b")); err != nil {
		t.Error(err)
	}
	mounted(t, at("a"), false)
	mounted(t, at("b"), true)
	held, err := os.Open(at("b/d")) // a busy mount goes away by name
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 2 {
		if err := mount.Unmount(at("b")); err != nil {
			t.Error(err)
		}
	}
	mounted(t, at("b"), false)
	for _, p := range []string{"missing", "from"} {
		if err := mount.Unmount(at(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if flushed, err := mount.Release(at(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		} else {
			<-flushed
		}
	}
}

func TestUnmountTakesAllLayers(t *testing.T) {
	at := folders(t, "from", "m")
	for range 3 {
		if err := mount.Bind(at("from"), at("m")); err != nil {
			t.Fatal(err)
		}
	}
	if err := mount.Unmount(at("m")); err != nil {
		t.Error(err)
	}
	mounted(t, at("m"), false)
	for range 3 {
		if err := mount.Bind(at("from"), at("m")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mount.Release(at("m")); err != nil {
		t.Error(err)
	}
	mounted(t, at("m"), false)
}

// TestReleaseLeavesTheNextMountAlone: what is mounted while the one before is still being written stays.
func TestReleaseLeavesTheNextMountAlone(t *testing.T) {
	at := folders(t, "from", "m")
	for range 20 {
		if err := mount.Bind(at("from"), at("m")); err != nil {
			t.Fatal(err)
		}
		flushed, err := mount.Release(at("m"))
		if err := errors.Join(err, mount.Bind(at("from"), at("m"))); err != nil {
			t.Fatal(err)
		}
		<-flushed
		mounted(t, at("m"), true)
		if err := mount.Unmount(at("m")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnmountFollowsNoLink(t *testing.T) {
	at := folders(t, "from", "m")
	if err := errors.Join(mount.Bind(at("from"), at("m")), os.Symlink("m", at("l"))); err != nil {
		t.Fatal(err)
	}
	if err := mount.Unmount(at("l")); err != nil {
		t.Error(err)
	}
	mounted(t, at("m"), true)
}

func TestPrivateKeepsMountsHome(t *testing.T) {
	at := folders(t, "from", "m")
	tree, err := mount.Open(at("from"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := errors.Join(tree.Attach(at("m")), tree.Private()); err != nil {
		t.Fatal(err)
	}
	for _, m := range must(t, at("m")) {
		if m.Shared {
			t.Errorf("%s is shared", m.Path)
		}
	}
}

func must(t *testing.T, path string) []mount.Info {
	t.Helper()
	all, err := mount.Below(path)
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
	return all
}
