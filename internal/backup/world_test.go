package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/driver/machine/fake"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/host/shelf"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

type noImages struct{}

func (noImages) Resolve(_ context.Context, _, ref string) (api.Image, error) {
	return api.Image{}, errs.Newf(errs.NotFound, "image %q not found", ref)
}

func (noImages) Fetch(context.Context, *op.Task, string, api.ImagesPostSource) (api.Image, error) {
	return api.Image{}, errs.Newf(errs.Unsupported, "there are no other servers here")
}

func (noImages) Used(store.Tx, string, string, time.Time) error { return nil }

// world is backups of real instances on a pool and a machine of fakes.
type world struct {
	*backup.Service
	st        store.Store
	ops       *op.Manager
	pools     *storage.Service
	instances *instance.Service
	dir, pool string
	now       time.Time

	mu      sync.Mutex
	actions []string
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{now: time.Unix(1_700_000_000, 0), dir: filepath.Join(t.TempDir(), "backups"), pool: t.TempDir()}
	w.st = store.NewMem(store.Options{OnAnnounce: w.heard})
	t.Cleanup(func() { _ = w.st.Close() })
	w.ops = op.NewManager(context.Background(), op.Options{Store: w.st, Location: "none"})
	w.pools = storage.New(storage.Deps{Store: w.st, Drivers: []storage.Driver{mem.New("dir"), own{mem.New("own")}}, Dir: w.pool, Location: "none"})
	profiles := profile.New(profile.Deps{Store: w.st})
	projects := project.New(project.Deps{Store: w.st, Profiles: profiles})
	w.Service = backup.New(context.Background(), backup.Deps{
		Store: w.st, Ops: w.ops, Volumes: w.pools, Files: shelf.New(w.dir), Announce: w.heard, Now: func() time.Time { return w.now },
		Compression: func(context.Context, string) (string, error) { return "gzip", nil },
	})
	host := &fake.Host{}
	w.instances = instance.New(context.Background(), instance.Deps{
		Store: w.st, Ops: w.ops, Machine: host.Driver(), Volumes: w.pools, Copies: w.pools, Images: noImages{}, Belongings: w.Service,
		Kinds:  []device.Kind{disk.Kind(nil)},
		Host:   instance.Host{Architecture: "x86_64", CPUs: []int{0, 1}, Memory: 1 << 30, IDMap: []machine.IDRange{{Host: 1000000, Size: 65536}}},
		RunDir: t.TempDir(), LogDir: t.TempDir(),
	})
	w.Use(w.instances)
	t.Cleanup(func() { w.Close(); w.instances.Close() })
	profiles.Use(w.instances)
	must(t, errors.Join(projects.Start(t.Context()), profiles.Start(t.Context()), w.Start(t.Context())))
	must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "tank", Driver: "dir"}))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return profile.Collection.Modify(tx, profile.Key("default", "default"), func(r *profile.Record) error {
			r.Devices = profile.Devices{"root": {"type": "disk", "path": "/", "pool": "tank"}}
			return nil
		})
	}))
	return w
}

func (w *world) heard(e any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := e.(event.Change); ok {
		w.actions = append(w.actions, c.Action)
	}
}

func (w *world) told(action string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.actions, action)
}

// run runs work that a use case returned, to its end.
func (w *world) run(t testing.TB, s op.Spec, err error) (*op.Operation, error) {
	t.Helper()
	if err != nil {
		return nil, err
	}
	o, err := w.ops.Start(t.Context(), s)
	if err != nil {
		return nil, err
	}
	return o, o.Wait(t.Context())
}

func (w *world) must(t testing.TB, s op.Spec, err error) *op.Operation {
	t.Helper()
	o, err := w.run(t, s, err)
	must(t, err)
	return o
}

// make makes an instance with a file, as it is now and as it was at its snapshots.
func (w *world) make(t testing.TB, name, text string, snapshots ...string) {
	t.Helper()
	s, err := w.instances.Create(t.Context(), "default", api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "none"}, InstancePut: api.InstancePut{Config: map[string]string{"user.a": "1"}}})
	w.must(t, s, err)
	for _, snap := range snapshots {
		w.write(t, name, snap)
		s, err := w.instances.Snapshot(t.Context(), "default", name, api.InstanceSnapshotsPost{Name: snap})
		w.must(t, s, err)
	}
	w.write(t, name, text)
}

func volume(name string) storage.Volume {
	return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name}
}

func (w *world) write(t testing.TB, name, text string) {
	t.Helper()
	at, err := w.pools.Mount(t.Context(), "tank", volume(name))
	must(t, err)
	must(t, errors.Join(os.WriteFile(filepath.Join(at.Root, "text"), []byte(text), 0o640),
		os.WriteFile(filepath.Join(at.Path, "metadata.yaml"), []byte("architecture: x86_64\ncreation_date: 1700000000\n"), 0o600)))
}

func (w *world) read(t testing.TB, pool, name, snapshot string) string {
	t.Helper()
	at, err := w.pools.Mount(t.Context(), pool, volume(name).At(snapshot))
	must(t, err)
	b, err := os.ReadFile(filepath.Join(at.Root, "text"))
	must(t, err)
	return string(b)
}

// left are the volumes, and the names below the pool that belong to none.
func (w *world) left(t testing.TB) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(w.pool, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(w.pool, path); strings.Count(rel, "/") == 2 {
			all = append(all, rel)
		}
		return err
	}))
	files, err := os.ReadDir(w.dir)
	must(t, err)
	for _, f := range files {
		all = append(all, "backups/"+f.Name())
	}
	return all
}

// entry is one entry of a backup under construction.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body)), Uid: os.Getuid(), Gid: os.Getgid()}, body}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()}, ""}
}

func link(typ byte, name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: typ, Linkname: to, Mode: 0o777}, ""}
}

func packed(t testing.TB, all ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range all {
		must(t, tw.WriteHeader(&e.Header))
		_, err := io.WriteString(tw, e.body)
		must(t, err)
	}
	must(t, tw.Close())
	return b.Bytes()
}

// send imports a backup.
func (w *world) send(t testing.TB, b []byte, over backup.Overrides) (*op.Operation, error) {
	t.Helper()
	in, err := backup.Read(t.Context(), bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	s, err := w.Import(t.Context(), "default", in, over)
	if err != nil {
		must(t, in.Close())
	}
	return w.run(t, s, err)
}

// export makes a backup and returns its bytes.
func (w *world) export(t testing.TB, name string, wish backup.Wish) []byte {
	t.Helper()
	var b bytes.Buffer
	s, err := w.Stream(t.Context(), "default", name, wish, &b)
	w.must(t, s, err)
	return b.Bytes()
}

// parts lists the entries of a backup, and the content of one of them.
func parts(t testing.TB, b []byte, want string) (names []string, body string) {
	t.Helper()
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names, body
		}
		must(t, err)
		names = append(names, h.Name)
		if h.Name == want {
			text, err := io.ReadAll(tr)
			must(t, err)
			body = string(text)
		}
	}
}

// owner is who owns a file.
func owner(st os.FileInfo) [2]uint32 {
	s := st.Sys().(*syscall.Stat_t)
	return [2]uint32{s.Uid, s.Gid}
}
