package btrfs_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/btrfs"
	"lxd/internal/errs"
	host "lxd/internal/host/btrfs"
	"lxd/internal/host/loop"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// bed is a scratch folder with room for the pool "p".
type bed struct {
	driver *btrfs.Driver
	top    string
	dir    string
}

func newBed(t testing.TB) *bed {
	t.Helper()
	needBtrfs(t)
	top, err := os.MkdirTemp(scratch, "btrfspool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(mount.UnmountBelow(top), os.RemoveAll(top)); err != nil {
			t.Error(err)
		}
	})
	return &bed{btrfs.New(), top, filepath.Join(top, "lxd", "storage-pools", "p")}
}

func (b *bed) at(path string) string { return filepath.Join(b.top, path) }

func (b *bed) image() string { return b.at("lxd/disks/p.img") }

func (b *bed) open(t testing.TB, cfg ...string) storage.Pool {
	t.Helper()
	p, err := b.driver.Open(context.Background(), b.dir, config(cfg...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func config(words ...string) map[string]string {
	cfg := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		cfg[k] = v
	}
	return cfg
}

// refused checks that a pool cannot be opened, and that nothing is left of the attempt.
func (b *bed) refused(t *testing.T, k errs.Kind, want string, cfg ...string) {
	t.Helper()
	_, err := b.driver.Open(t.Context(), b.dir, config(cfg...))
	if !errs.Is(err, k) || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: error %v, want %q of kind %d", cfg, err, want, k)
	}
	if err := b.driver.Destroy(t.Context(), b.dir, config(cfg...)); err != nil {
		t.Errorf("%q: destroy: %v", cfg, err)
	}
	if l, _ := os.ReadDir(b.at("lxd/storage-pools")); len(l) > 0 {
		t.Errorf("%q left %v", cfg, l)
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// marked makes or finds a volume that tells pools apart.
func marked(t *testing.T, p storage.Pool) {
	t.Helper()
	must(t, p.Create(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "mark"}, nil))
}

func hasMark(t *testing.T, p storage.Pool) {
	t.Helper()
	if l, err := p.Volumes(t.Context()); err != nil || len(l) != 1 || l[0].Name != "mark" || l[0].Project != "default" {
		t.Errorf("%v, %v", l, err)
	}
}

func TestOwnFile(t *testing.T) {
	b := newBed(t)
	p := b.open(t, "size=300MiB")
	marked(t, p)
	st, err := os.Stat(b.dir)
	if err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	infos, err := mount.Below(b.dir)
	if err != nil || len(infos) != 1 || !strings.Contains(infos[0].Super, "user_subvol_rm_allowed") || infos[0].Shared {
		t.Errorf("%+v, %v", infos, err)
	}
	again := b.open(t, "size=300MiB") // after a crash it is mounted still
	hasMark(t, again)
	must(t, p.Close())
	if dev, err := loop.Find(b.image()); dev != nil || err != nil {
		t.Error("the file is still shown as a device", err)
	}
	p = b.open(t, "size=400MiB") // the file was to grow when the daemon died
	hasMark(t, p)
	if _, total, err := p.Usage(t.Context()); err != nil || total != 400<<20 {
		t.Error(total, err)
	}
	must(t, p.Close(), os.Rename(b.image(), b.at("elsewhere")))
	_, err = b.driver.Open(t.Context(), b.dir, nil)
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "is missing") {
		t.Error(err)
	}
	if _, err := os.Stat(b.image()); !errors.Is(err, os.ErrNotExist) {
		t.Error("a new file was made in place of the missing one")
	}
	must(t, os.Rename(b.at("elsewhere"), b.image()))
	p = b.open(t)
	hasMark(t, p)
	must(t, p.Delete(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "mark"}), p.Close(),
		b.driver.Destroy(t.Context(), b.dir, nil))
	if l, err := os.ReadDir(b.at("lxd")); err != nil || len(l) != 1 { // storage-pools
		t.Errorf("left: %v, %v", l, err)
	}
}

func TestForeignFileInTheWay(t *testing.T) {
	b := newBed(t)
	must(t, os.MkdirAll(b.at("lxd/disks"), 0o700), os.WriteFile(b.image(), []byte("precious"), 0o600))
	b.refused(t, errs.Conflict, "is there already", "size=300MiB")
	if got, err := os.ReadFile(b.image()); string(got) != "precious" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestHalfMade: the file of a pool that was being made when the daemon died is made again, or removed.
func TestHalfMade(t *testing.T) {
	b := newBed(t)
	for _, next := range []func(){
		func() { must(t, b.open(t, "size=300MiB").Close()) },
		func() {},
	} {
		must(t, os.MkdirAll(b.dir, 0o711), os.MkdirAll(b.at("lxd/disks"), 0o700), os.WriteFile(b.image(), []byte("half"), 0o600),
			os.WriteFile(b.at("lxd/disks/p.json"), []byte(`{"kind":"own-file","path":"`+b.image()+`","uuid":"x"}`), 0o600))
		next()
		must(t, b.driver.Destroy(t.Context(), b.dir, nil))
		if l, err := os.ReadDir(b.at("lxd")); err != nil || len(l) != 1 {
			t.Errorf("left: %v, %v", l, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	b := newBed(t)
	p := b.open(t, "size=300MiB")
	u := p.(storage.Updater)
	for range 2 {
		must(t, u.Update(t.Context(), config("size=350MiB", "btrfs.mount_options=compress=zstd:1,noatime")))
	}
	if _, total, err := p.Usage(t.Context()); err != nil || total != 350<<20 {
		t.Error(total, err)
	}
	infos, err := mount.Below(b.dir)
	if err != nil || len(infos) != 1 || !strings.Contains(infos[0].Super, "compress=zstd:1") {
		t.Errorf("%+v, %v", infos, err)
	}
	for _, cfg := range []map[string]string{config("size=320MiB"), config("btrfs.mount_options=nonsense")} {
		if err := u.Update(t.Context(), cfg); !errs.Is(err, errs.Invalid) {
			t.Errorf("%v: %v", cfg, err)
		}
	}
	must(t, p.Close())
	for _, bad := range []string{"subvol=x", "subvolid=5", "a,ro", "x\ny"} {
		if err := b.driver.Keys().Validate(map[string]string{"btrfs.mount_options": bad}); err == nil {
			t.Errorf("option %q was taken", bad)
		}
	}
}

// blockDevice shows a file of that size as a device, for the time of the test.
func (b *bed) blockDevice(t *testing.T, mib int64) string {
	t.Helper()
	file := b.at("disk")
	must(t, os.WriteFile(file, nil, 0o600), os.Truncate(file, mib<<20))
	dev, err := loop.Attach(file, false)
	if err != nil {
		t.Skip("needs loop devices: ", err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev.Name()
}

func TestDevice(t *testing.T) {
	b := newBed(t)
	dev := b.blockDevice(t, 300)
	b.refused(t, errs.Invalid, "leave size out", "source="+dev, "size=300MiB")
	out, err := exec.Command("mkfs.ext4", "-q", dev).CombinedOutput()
	if err != nil {
		t.Skipf("needs mkfs.ext4: %v %s", err, out)
	}
	b.refused(t, errs.Invalid, "source.wipe=true", "source="+dev)
	if out, err := exec.Command("blkid", "-p", dev).CombinedOutput(); err != nil || !strings.Contains(string(out), "ext4") {
		t.Errorf("the data is gone: %s, %v", out, err)
	}
	p := b.open(t, "source="+dev, "source.wipe=true")
	marked(t, p)
	must(t, p.Close())
	p = b.open(t, "source="+dev, "source.wipe=true") // wiped only once
	hasMark(t, p)
	must(t, p.Close())

	other := filepath.Join(b.top, "other", "storage-pools", "q")
	_, err = b.driver.Open(t.Context(), other, config("source="+dev, "source.recover=true"))
	must(t, err)
	must(t, mount.Unmount(other))
	_, err = b.driver.Open(t.Context(), b.dir, config("source="+dev))
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("another's pool was taken: %v", err)
	}
	p, err = b.driver.Open(t.Context(), other, config("source="+dev))
	must(t, err)
	hasMark(t, p)
	must(t, p.Delete(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "mark"}), p.Close(),
		b.driver.Destroy(t.Context(), other, config("source="+dev)))
	if uuid, err := host.UUID(dev); err != nil || uuid != "" {
		t.Errorf("the device still has %q, %v", uuid, err)
	}
}

func TestFileOfTheUser(t *testing.T) {
	b := newBed(t)
	file := b.at("own.img")
	must(t, os.WriteFile(file, nil, 0o600))
	p := b.open(t, "source="+file, "size=300MiB")
	marked(t, p)
	must(t, p.Close())
	p = b.open(t, "source="+file)
	hasMark(t, p)
	must(t, p.Delete(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "mark"}), p.Close(),
		b.driver.Destroy(t.Context(), b.dir, config("source="+file)))
	if uuid, err := host.UUID(file); err != nil || uuid != "" {
		t.Errorf("the file still has %q, %v", uuid, err)
	}
}

func TestFolders(t *testing.T) {
	b := newBed(t)
	disk := (&bed{b.driver, b.top, b.at("lower/storage-pools/disk")}).open(t, "size=300MiB") // any mounted btrfs would do
	on := func(s string) string { return filepath.Join(b.at("lower/storage-pools/disk/.tmp"), s) }
	must(t, host.Create(on("sub")), os.MkdirAll(on("full/x"), 0o700), os.Mkdir(b.at("plain"), 0o700), os.Symlink("sub", on("link")))
	for source, want := range map[string]string{
		b.at("plain"): "not on a btrfs", b.at("no/where"): "make that first", "relative": "absolute", "/dev/null": "neither", on("link"): "symbolic link",
	} {
		b.refused(t, errs.Invalid, want, "source="+source)
	}
	b.refused(t, errs.Invalid, "mounted already", "source="+on("sub"), "btrfs.mount_options=noatime")
	// those inside another pool are refused, whatever they are
	b.refused(t, errs.Invalid, "inside another storage pool", "source="+on("sub"))
	must(t, os.Remove(b.at("lower/storage-pools/disk/.pool.json")))
	b.refused(t, errs.Invalid, "not empty", "source="+on("full"))
	for _, name := range []string{"sub", "new"} {
		cfg := "source=" + on(name)
		p := b.open(t, cfg)
		marked(t, p)
		must(t, p.Close())
		p = b.open(t, cfg)
		hasMark(t, p)
		must(t, p.Delete(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "mark"}), p.Close(),
			b.driver.Destroy(t.Context(), b.dir, config(cfg)))
		l, err := os.ReadDir(on(name))
		if (name == "new") != errors.Is(err, os.ErrNotExist) || len(l) > 0 {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	must(t, disk.Close())
}

func TestDefaults(t *testing.T) {
	d := btrfs.New()
	cfg := d.Defaults("/var/tmp/lxd/storage-pools/p", map[string]string{"user.x": "1"})
	if cfg["source"] != "/var/tmp/lxd/disks/p.img" || cfg["user.x"] != "1" {
		t.Errorf("%v", cfg)
	}
	var st unix.Statfs_t
	must(t, unix.Statfs("/var/tmp", &st))
	if want := min(max(int64(st.Bavail)*st.Bsize/5, 5<<30), 30<<30) >> 30; cfg["size"] != "" && !strings.HasSuffix(cfg["size"], "GiB") || want < 5 {
		t.Errorf("%v, want about %d GiB", cfg, want)
	}
	for _, source := range []string{"/dev/x", "/srv/y"} {
		if cfg := d.Defaults("/x/storage-pools/p", map[string]string{"source": source}); !maps.Equal(cfg, map[string]string{"source": source}) {
			t.Errorf("%v", cfg)
		}
	}
}
