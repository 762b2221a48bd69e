package volume_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/backup/volume"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/host/shelf"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// none are no instances.
type none struct{}

func (none) Runs(store.Tx, string) (bool, error)                           { return false, nil }
func (none) ChangeDevices(store.Tx, string, func(map[string]string)) error { return nil }

type world struct {
	st     store.Store
	driver *mem.Driver
	dir    string
	pools  *storage.Service
	vols   *custom.Service
	svc    *volume.Service
	ops    *op.Manager
	hook   op.Hook
	now    time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking sets owners: needs root")
	}
	w := &world{st: store.NewMem(store.Options{}), driver: mem.New("dir"), dir: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	t.Cleanup(func() { w.st.Close() })
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return project.Collection.Insert(tx, project.Record{Name: "default", Config: map[string]string{"features.storage.volumes": "true"}})
	}))
	w.daemon(t)
	must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "p", Driver: "dir"}))
	must(t, w.run(w.vols.Create(t.Context(), "p", "default", api.StorageVolumesPost{Name: "v"})))
	w.write(t, "v", "one")
	must(t, w.run(w.vols.Snapshot(t.Context(), at("v"), api.StorageVolumeSnapshotsPost{Name: "s0"})))
	w.write(t, "v", "two")
	return w
}

// daemon makes new services on what is stored, as after a crash.
func (w *world) daemon(t *testing.T) {
	t.Helper()
	w.pools = storage.New(storage.Deps{Store: w.st, Drivers: []storage.Driver{w.driver}, Dir: filepath.Join(w.dir, "pools")})
	must(t, w.pools.Start(t.Context()))
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.st, Hook: func(kind, step, moment string) error {
		if w.hook == nil {
			return nil
		}
		return w.hook(kind, step, moment)
	}})
	w.vols = custom.New(t.Context(), custom.Deps{Store: w.st, Ops: w.ops, Pools: w.pools, Instances: none{}})
	w.svc = volume.New(t.Context(), volume.Deps{Store: w.st, Ops: w.ops, Pools: w.pools, Volumes: w.vols, Files: shelf.New(w.files()),
		Compression: func(context.Context, string) (string, error) { return "none", nil }, Now: func() time.Time { return w.now }})
	w.vols.Use(w.svc)
	for kind, r := range w.svc.Recoverers() {
		w.ops.Register(kind, r)
	}
	must(t, errors.Join(w.ops.Recover(t.Context()), w.svc.Start(t.Context())))
	t.Cleanup(w.svc.Close)
}

func (w *world) files() string { return filepath.Join(w.dir, "files") }

// left counts the files of backups.
func (w *world) left(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(w.files())
	must(t, err)
	return len(all)
}

func at(name string) storage.Name {
	return storage.Name{Pool: "p", Project: "default", Type: storage.CustomVolume, Name: name}
}

func (w *world) run(s op.Spec, err error) error {
	if err != nil {
		return err
	}
	o, err := w.ops.Start(context.Background(), s)
	if err != nil {
		return err
	}
	return o.Wait(context.Background())
}

func (w *world) root(t *testing.T, name string) string {
	t.Helper()
	m, err := w.pools.MountCustom(t.Context(), "default", "p", name, "test")
	must(t, err)
	must(t, w.pools.UnmountCustom(t.Context(), "default", "p", name, "test"))
	return m.Root
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.root(t, name), "text"), []byte(text), 0o640))
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root(t, name), "text"))
	must(t, err)
	return string(b)
}

func (w *world) back(name string) error {
	return w.run(w.svc.Create(context.Background(), at("v"), api.StoragePoolVolumeBackupsPost{Name: name}))
}

func (w *world) receive(name string, body []byte) error {
	in, err := backup.Read(context.Background(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	err = w.run(w.svc.Import(context.Background(), at(name), in))
	return errors.Join(err, in.Close())
}

// archive is a tar archive of entries NAME or NAME=TEXT or NAME->TARGET.
func archive(t *testing.T, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		name, text, _ := strings.Cut(e, "=")
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o644}
		if n, target, ok := strings.Cut(name, "->"); ok {
			h.Name, h.Typeflag, h.Linkname = n, tar.TypeSymlink, target
		}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		must(t, tw.WriteHeader(h))
		_, err := tw.Write([]byte(text))
		must(t, err)
	}
	must(t, tw.Close())
	return b.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, k errs.Kind, text string) {
	t.Helper()
	if !errs.Is(err, k) || !strings.Contains(err.Error(), text) {
		t.Errorf("error = %v (kind %d), want kind %d with %q", err, errs.KindOf(err), k, text)
	}
}

func TestThereAndBack(t *testing.T) {
	w := newWorld(t)
	must(t, w.back(""))
	all, urls, err := w.svc.List(t.Context(), at("v"))
	if err != nil || len(all) != 1 || all[0].Name != "backup0" || urls[0] != "/1.0/storage-pools/p/volumes/custom/v/backups/backup0" {
		t.Fatalf("%+v %q %v", all, urls, err)
	}
	f, err := w.svc.Open(t.Context(), at("v"), "backup0")
	must(t, err)
	defer f.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	must(t, err)
	must(t, w.receive("new", b.Bytes()))
	if got := w.read(t, "new") + w.read(t, "new/s0"); got != "twoone" {
		t.Error("it holds", got)
	}
	wants(t, w.receive("new", b.Bytes()), errs.Conflict, "already exists")
	wants(t, w.receive("cut", b.Bytes()[:b.Len()/2]), errs.Invalid, "")
	if _, _, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "cut"); !errs.Is(err, errs.NotFound) {
		t.Error("a part of a backup became a volume", err)
	}
	must(t, w.pools.With(t.Context(), "p", func(p storage.Pool) error {
		vols, err := p.Volumes(t.Context())
		if len(vols) != 2 {
			t.Errorf("the pool holds %+v", vols)
		}
		return err
	}))
}

func TestLifeOfBackups(t *testing.T) {
	w := newWorld(t)
	expires := w.now.Add(time.Hour)
	must(t, w.run(w.svc.Create(t.Context(), at("v"), api.StoragePoolVolumeBackupsPost{Name: "a", ExpiresAt: expires, VolumeOnly: true})))
	must(t, w.back("b"))
	wants(t, w.back("b"), errs.Conflict, "already exists")
	wants(t, w.back("x/y"), errs.Invalid, "not allowed")
	must(t, w.run(w.svc.Rename(t.Context(), at("v"), "b", api.StoragePoolVolumeBackupPost{Name: "c"})))
	wants(t, w.run(w.svc.Rename(t.Context(), at("v"), "c", api.StoragePoolVolumeBackupPost{Name: "a"})), errs.Conflict, "already exists")
	wants(t, w.run(w.svc.Delete(t.Context(), at("v"), "b")), errs.NotFound, "b")
	_, err := w.svc.Get(t.Context(), at("none"), "a")
	wants(t, err, errs.NotFound, "none")
	if b, err := w.svc.Get(t.Context(), at("v"), "a"); err != nil || !b.VolumeOnly || !b.ExpiresAt.Equal(expires) {
		t.Errorf("%+v %v", b, err)
	}
	w.svc.Tend(t.Context())
	if w.left(t) != 2 {
		t.Error("a backup went before its time")
	}
	w.now = expires
	w.svc.Tend(t.Context())
	if _, err := w.svc.Get(t.Context(), at("v"), "a"); !errs.Is(err, errs.NotFound) || w.left(t) != 1 {
		t.Error("the backup did not expire", err, w.left(t))
	}
	must(t, w.run(w.vols.Move(t.Context(), at("v"), api.StorageVolumePost{Name: "w"})))
	_, err = w.svc.Get(t.Context(), at("w"), "c")
	must(t, err)
	must(t, w.run(w.vols.Delete(t.Context(), "p", "default", "w")))
	for end := time.Now().Add(5 * time.Second); w.left(t) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if w.left(t) > 0 {
		t.Error("the files of a volume's backups did not go with it")
	}
}

func TestWhatTheServerKeepsIsNotBackedUp(t *testing.T) {
	w := newWorld(t)
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return depot.Collection.Insert(tx, depot.Record{Place: depot.Place{Sort: depot.Images}, Pool: "p", Volume: "v"})
	}))
	wants(t, w.back("a"), errs.Invalid, "in use by the server")
	if n := w.left(t); n > 0 {
		t.Errorf("%d files are left", n)
	}
}

// Each step fails once, and the daemon dies there once: no file is without a record, and no record without a file.
func TestFailures(t *testing.T) {
	for _, point := range []string{"volume-backup/file/before", "volume-backup/file/after", "volume-backup/record/before", "volume-backup/record/after",
		"volume-backup-delete/record/after", "volume-backup-delete/file/before", "volume-backup-rename/record/before"} {
		for _, dies := range []bool{false, true} {
			t.Run(point, func(t *testing.T) {
				w := newWorld(t)
				must(t, w.back("old"))
				reached, dead := make(chan struct{}), make(chan struct{})
				w.hook = func(kind, step, moment string) error {
					if kind+"/"+step+"/"+moment != point {
						return nil
					}
					w.hook = nil
					if !dies {
						return errors.New("boom")
					}
					close(reached)
					<-dead
					return nil
				}
				do := func() error {
					switch kind, _, _ := strings.Cut(point, "/"); kind {
					case "volume-backup":
						return w.back("new")
					case "volume-backup-delete":
						return w.run(w.svc.Delete(context.Background(), at("v"), "old"))
					}
					return w.run(w.svc.Rename(context.Background(), at("v"), "old", api.StoragePoolVolumeBackupPost{Name: "new"}))
				}
				if dies {
					go func() { _ = do() }()
					<-reached
					w.daemon(t)
				} else if err := do(); err == nil {
					t.Error("it did not fail")
				}
				all, _, err := w.svc.List(t.Context(), at("v"))
				must(t, err)
				if w.left(t) != len(all) {
					t.Errorf("%d files, and the backups %+v", w.left(t), all)
				}
				for _, b := range all {
					f, err := w.svc.Open(t.Context(), at("v"), b.Name)
					must(t, err)
					f.Close()
				}
			})
		}
	}
}

const index = `name: v
backend: dir
pool: p
type: custom
config:
  version: 2
  volumes:
  - name: v
    content_type: filesystem
    config: {size: 1GiB, volatile.uuid: stolen, odd.key: x}
    snapshots: []
`

// TestHostileBackups: what is not as it should be becomes no volume, and nothing outside is touched.
func TestHostileBackups(t *testing.T) {
	w := newWorld(t)
	outside := filepath.Join(w.dir, "outside")
	must(t, w.receive("good", archive(t, "backup/index.yaml="+index, "backup/volume/", "backup/volume/text=hi")))
	if got := w.read(t, "good"); got != "hi" {
		t.Error("it holds", got)
	}
	v, _, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "good")
	if err != nil || v.Config["size"] != "1GiB" || v.Config["odd.key"] != "" || v.Config["volatile.uuid"] == "stolen" {
		t.Errorf("%v %v", v.Config, err)
	}
	for name, entries := range map[string][]string{
		"up":             {"backup/index.yaml=" + index, "backup/volume/", "backup/volume/../../../../outside=x"},
		"through a link": {"backup/index.yaml=" + index, "backup/volume/", "backup/volume/l->" + w.dir, "backup/volume/l/outside=x"},
		"absolute":       {"backup/index.yaml=" + index, outside + "=x"},
		"no content":     {"backup/index.yaml=" + index},
		"twice":          {"backup/index.yaml=" + index, "backup/volume/", "backup/volume-snapshots/", "backup/volume/"},
		"odd snapshot":   {"backup/index.yaml=" + index, "backup/volume/", "backup/volume-snapshots/x/text=x"},
		"no index":       {"backup/volume/", "backup/volume/text=x"},
		"instance":       {"backup/index.yaml=" + strings.Replace(index, "type: custom", "type: container", 1), "backup/volume/"},
		"block":          {"backup/index.yaml=" + strings.Replace(index, "content_type: filesystem", "content_type: block", 1), "backup/volume/"},
		"listed only":    {"backup/index.yaml=snapshots: [s]\n" + index, "backup/volume/", "backup/volume-snapshots/s/text=x"},
		"named badly":    {"backup/index.yaml=" + strings.Replace("snapshots: [../s]\n"+index, "snapshots: []", "snapshots: [{name: ../s}]", 1), "backup/volume/", "backup/volume-snapshots/../s/text=x"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := w.receive("bad", archive(t, entries...)); err == nil || errs.Is(err, errs.Internal) {
				t.Error(err)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("something outside was written")
			}
			if _, _, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "bad"); !errs.Is(err, errs.NotFound) {
				t.Error("it became a volume", err)
			}
		})
	}
}

func TestTar(t *testing.T) {
	w := newWorld(t)
	receive := func(name string, body []byte) error {
		in, err := volume.ReadTar(t.Context(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		return errors.Join(w.run(w.svc.ImportTar(t.Context(), at(name), in)), in.Close())
	}
	must(t, receive("files", archive(t, "./", "./text=hi", "./sub/", "./sub/x=y")))
	if got := w.read(t, "files"); got != "hi" {
		t.Error("it holds", got)
	}
	for name, body := range map[string][]byte{
		"up": archive(t, "../outside=x"), "none": []byte("hello"), "cut": archive(t, "text="+strings.Repeat("x", 2000))[:1500],
	} {
		if err := receive("bad", body); err == nil {
			t.Errorf("%s became a volume", name)
		}
	}
	_, _, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "bad")
	wants(t, err, errs.NotFound, "bad")
}
