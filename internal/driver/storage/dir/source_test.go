package dir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/driver/storage/dir"
	"lxd/internal/errs"
	"lxd/internal/host/mount"
)

func TestSourceElsewhere(t *testing.T) {
	needRoot(t)
	top := scratchDir(t)
	src, at := filepath.Join(top, "src"), filepath.Join(top, "lxd", "storage-pools", "p")
	if err := os.Mkdir(src, 0o700); err != nil {
		t.Fatal(err)
	}
	d, cfg := dir.New(), map[string]string{"source": src}
	for range 2 {
		p, err := d.Open(t.Context(), at, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if there, _ := mount.At(at); !there {
			t.Error("the source is not shown in the pool's folder")
		}
		p.Delete(t.Context(), instance("c1"))
		if err := p.Create(t.Context(), instance("c1"), small); err != nil {
			t.Fatal(err)
		}
		m, err := p.Mount(t.Context(), instance("c1"))
		if err != nil || !strings.HasPrefix(m.Path, at) {
			t.Errorf("%+v, %v", m, err)
		}
		if !reaches(t, 1000000, filepath.Join(m.Root, "usr/ping")) {
			t.Error("the instance cannot reach its files through the folders above the source")
		}
		if _, err := os.Stat(filepath.Join(src, "containers", "c1", "rootfs")); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if there, _ := mount.At(at); there {
			t.Error("the source is still shown after Close")
		}
	}
	if err := d.Destroy(t.Context(), at, cfg); !errs.Is(err, errs.Invalid) {
		t.Errorf("destroy with a volume: %v", err)
	}
	p, err := d.Open(t.Context(), at, cfg)
	if err == nil {
		err = errors.Join(p.Delete(t.Context(), instance("c1")), p.Close())
	}
	for range 2 {
		err = errors.Join(err, d.Destroy(t.Context(), at, cfg))
	}
	if err != nil {
		t.Error(err)
	}
	if l, err := os.ReadDir(src); err != nil || len(l) != 0 {
		t.Errorf("the source is left with %v, %v", l, err)
	}
	if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
		t.Error("the pool's folder is left")
	}
}

func TestSourceRefused(t *testing.T) {
	needRoot(t)
	top := scratchDir(t)
	p := func(s string) string { return filepath.Join(top, s) }
	for _, f := range []string{"full/x", "lxd/storage-pools", "other/inside", "empty"} {
		if err := os.MkdirAll(p(f), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("empty", p("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p("other/.pool.json"), []byte(`{"dir":"/elsewhere/p"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := dir.New()
	for _, c := range []struct{ name, source, want string }{
		{"relative", "some/where", "absolute"},
		{"missing", p("missing"), "does not exist"},
		{"full", p("full"), "not empty"},
		{"a link", p("link"), "symbolic link"},
		{"through a link", p("link/../link"), "symbolic link"},
		{"a file", p("other/.pool.json"), "no folder"},
		{"inside another pool", p("other/inside"), "inside another storage pool"},
		{"another pool", p("other"), "is the storage pool of /elsewhere/p"},
		{"the daemon's folder", p("lxd"), "contain one another"},
		{"inside of that", p("lxd/storage-pools"), "contain one another"},
		{"around it", top, "contain one another"},
		{"the whole host", "/", "contain one another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, at := map[string]string{"source": c.source}, p("lxd/storage-pools/p")
			_, err := d.Open(t.Context(), at, cfg)
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want Invalid with %q", err, c.want)
			}
			if err := d.Destroy(t.Context(), at, cfg); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
				t.Error("the pool's folder is left")
			}
		})
	}
	for name, want := range map[string]int{"full": 1, "other": 2, "empty": 0} {
		if l, _ := os.ReadDir(p(name)); len(l) != want {
			t.Errorf("%s now has %v", name, l)
		}
	}
	pool, err := d.Open(t.Context(), p("lxd/storage-pools/p"), map[string]string{"source": p("other"), "source.recover": "true"})
	if err != nil {
		t.Fatalf("recover: %v", err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	d := dir.New()
	cfg := d.Defaults("/lxd/storage-pools/p", map[string]string{"user.x": "1"})
	if cfg["source"] != "/lxd/storage-pools/p" || cfg["user.x"] != "1" {
		t.Errorf("%v", cfg)
	}
	if cfg := d.Defaults("/lxd/storage-pools/p", map[string]string{"source": "/srv"}); cfg["source"] != "/srv" {
		t.Errorf("%v", cfg)
	}
	if err := d.Keys().Validate(map[string]string{"rsync.bwlimit": "1", "volume.size": "1GiB", "source": "/x", "volume.snapshots.expiry": "1d"}); err != nil {
		t.Error(err)
	}
	if err := d.VolumeKeys().Validate(map[string]string{"security.shifted": "maybe"}); err == nil {
		t.Error("a bad value was taken")
	}
}

// TestDefaultSourceIsTheOwnFolder: a source that names the pool's own folder is no source elsewhere.
func TestDefaultSourceIsTheOwnFolder(t *testing.T) {
	needRoot(t)
	at := filepath.Join(scratchDir(t), "lxd", "storage-pools", "p")
	d := dir.New()
	cfg := d.Defaults(at, nil)
	p, err := d.Open(context.Background(), at, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if there, _ := mount.At(at); there {
		t.Error("the folder is mounted on itself")
	}
	if err := errors.Join(p.Close(), d.Destroy(context.Background(), at, cfg)); err != nil {
		t.Error(err)
	}
}
