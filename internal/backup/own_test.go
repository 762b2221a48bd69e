package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// own is a driver whose format is what the file "text" holds.
type own struct{ storage.Driver }

// able is what its pools can do besides.
type able interface {
	storage.Pool
	storage.Snapshotter
	storage.Cloner
	storage.Filler
	storage.Renamer
}

type ownPool struct{ able }

func (d own) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	p, err := d.Driver.Open(ctx, dir, cfg)
	if err != nil {
		return nil, err
	}
	return ownPool{p.(able)}, nil
}

func (p ownPool) Export(ctx context.Context, v storage.Volume, kept []string, to storage.PartWriter) error {
	var parts []storage.Part
	for _, name := range append(slices.Clone(kept), "") {
		parts = append(parts, storage.Part{Snapshot: name})
	}
	parts = append(parts, storage.Part{Path: "rootfs/a-b/c"})
	if err := to.Begin(parts); err != nil {
		return err
	}
	for _, part := range parts {
		at, err := p.Mount(ctx, v.At(part.Snapshot))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(at.Root, "text"))
		if err != nil {
			return err
		}
		if err := to.Put(part, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
			return err
		}
	}
	return nil
}

func (p ownPool) Import(ctx context.Context, v storage.Volume, next func() (storage.Part, io.Reader, error)) error {
	if err := p.Create(ctx, v, nil); err != nil {
		return err
	}
	for {
		part, r, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(b), "bad") {
			return errs.Newf(errs.Invalid, "the stream is damaged")
		}
		if part.Path != "" {
			continue
		}
		err = p.Fill(ctx, v.At(part.Snapshot), func(_ context.Context, root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "rootfs"), 0o755), os.WriteFile(filepath.Join(root, "rootfs", "text"), b, 0o600))
		})
		if err != nil {
			return err
		}
	}
}

// onOwn is a world in which instances are in the pool "mine" of that driver.
func onOwn(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "mine", Driver: "own"}))
	return w
}

func TestOwnFormat(t *testing.T) {
	w := onOwn(t)
	w.make(t, "c0", "now", "s0", "s1")
	post := api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "copy", Source: "c0"}}
	post.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "mine"}}
	s, err := w.instances.Create(t.Context(), "default", post)
	w.must(t, s, err)
	b := w.export(t, "c1", backup.Wish{Compression: "none", Optimized: true})
	names, header := parts(t, b, "backup/optimized_header.yaml")
	want := []string{"backup/", "backup/index.yaml", "backup/optimized_header.yaml", "backup/snapshots/", "backup/snapshots/s0.bin", "backup/snapshots/s1.bin",
		"backup/container.bin", "backup/container_rootfs-a--b-c.bin"}
	if !slices.Equal(names, want) || !strings.Contains(header, "path: /rootfs/a-b/c") {
		t.Errorf("entries %q, header %s", names, header)
	}
	_, err = w.send(t, b, backup.Overrides{Name: "c2"})
	must(t, err)
	for snap, text := range map[string]string{"": "now", "s0": "s0", "s1": "s1"} {
		if got := w.read(t, "mine", "c2", snap); got != text {
			t.Errorf("%q holds %q", snap, got)
		}
	}
	before := w.left(t)
	if _, err := w.send(t, b, backup.Overrides{Name: "c3", Pool: "tank"}); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `pool "tank" has the driver "dir"`) {
		t.Error(err)
	}
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left: %q", after)
	}
	s, err = w.Create(t.Context(), "default", "c1", api.InstanceBackupsPost{Name: "b", OptimizedStorage: true})
	w.must(t, s, err)
	s, err = w.Create(t.Context(), "default", "c0", api.InstanceBackupsPost{Name: "b", OptimizedStorage: true}) // its pool has no format
	w.must(t, s, err)
	for name, want := range map[string]bool{"c1": true, "c0": false} {
		if r, err := w.Get(t.Context(), "default", name, "b"); err != nil || r.OptimizedStorage != want {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestHostileOwnFormat(t *testing.T) {
	const top, s0 = "subvolumes:\n- {path: /, snapshot: s0}\n", "- {path: /, snapshot: ''}\n"
	index := func(h string) entry {
		return file("backup/index.yaml", strings.ReplaceAll(good, "config:\n", "backend: own\noptimized: true\noptimized_header: "+h+"\nconfig:\n"))
	}
	bins := []entry{file("backup/snapshots/s0.bin", "then"), file("backup/container.bin", "now")}
	build := func(h string, header string, more ...entry) []entry {
		all := []entry{dir("backup/"), index(h)}
		if header != "" {
			all = append(all, file("backup/optimized_header.yaml", header))
		}
		return append(all, more...)
	}
	for name, c := range map[string]struct {
		all  []entry
		want string
	}{
		"as it should be":      {build("true", top+s0, bins...), ""},
		"without a header":     {build("false", "", bins...), ""},
		"a header too late":    {build("true", "", bins...), "optimized_header.yaml"},
		"no stream":            {build("true", top+s0), "ends before"},
		"a missing stream":     {build("true", top+s0, bins[0]), "ends before"},
		"a stream twice":       {build("true", top+s0, bins[0], bins[0], bins[1]), "twice"},
		"a snapshot not told":  {build("true", top+s0+"- {path: /, snapshot: s1}\n", bins...), "s1"},
		"a snapshot left out":  {build("true", "subvolumes:\n"+s0, bins...), "s0"},
		"no volume":            {build("true", top, bins...), "lacks the stream"},
		"a link":               {build("true", top+s0, bins[0], link('2', "backup/container.bin", "/etc/passwd")), "container.bin"},
		"an entry besides":     {build("true", top+s0, append(slices.Clone(bins), file("backup/etc", "x"))...), "backup/etc"},
		"an entry out":         {build("true", top+s0, append(slices.Clone(bins), file("../etc", "x"))...), "etc"},
		"a damaged stream":     {build("true", top+s0, bins[0], file("backup/container.bin", "bad")), "damaged"},
		"a header of nonsense": {build("true", "{{{", bins...), "optimized_header.yaml"},
		"a header of anchors":  {build("true", "x: &a 1\nsubvolumes: []\n", bins...), "anchors"},
		"a path twice":         {build("true", top+top[len("subvolumes:\n"):]+s0, bins...), "twice"},
		"owners of a host": {append([]entry{dir("backup/"), file("backup/index.yaml", strings.ReplaceAll(strings.ReplaceAll(good, "config:\n", "backend: own\noptimized: true\nconfig:\n"),
			"user.a: '1'", `volatile.last_state.idmap: '[{"Isuid":true,"Hostid":1000000,"Maprange":10}]'`))}, bins...), "owners"},
	} {
		t.Run(name, func(t *testing.T) {
			w := onOwn(t)
			before := w.left(t)
			_, err := w.send(t, packed(t, c.all...), backup.Overrides{Pool: "mine"})
			if c.want == "" {
				must(t, err)
				if w.read(t, "mine", "c1", "") != "now" || w.read(t, "mine", "c1", "s0") != "then" {
					t.Error("other content")
				}
				return
			}
			if err == nil || errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (kind %d), want one about %q", err, errs.KindOf(err), c.want)
			}
			w.clean(t, before)
		})
	}
	whole := packed(t, build("true", top+s0, bins...)...)
	for _, n := range []int{len(whole) - 1600, len(whole) / 2, len(whole) - 2560} {
		w := onOwn(t)
		before := w.left(t)
		if _, err := w.send(t, whole[:n], backup.Overrides{Pool: "mine"}); !errs.Is(err, errs.Invalid) {
			t.Errorf("cut at %d: %v", n, err)
		}
		w.clean(t, before)
	}
}
