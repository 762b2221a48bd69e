// Package storagetest is the contract that every storage driver must pass.
package storagetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

// Run checks the drivers that open makes against the contract, with pools in folders below scratch ("" = the default for scratch files).
func Run(t *testing.T, open func(t *testing.T) storage.Driver, scratch string) {
	for _, c := range []struct {
		name  string
		check func(*testing.T, *bench)
	}{
		{"create makes a volume once", createOnce},
		{"create without fill makes an empty root", createEmpty},
		{"failed fill leaves nothing", failedFill},
		{"cancelled fill leaves nothing", cancelledFill},
		{"root must be a folder", hostileRoot},
		{"impossible names are refused", badNames},
		{"projects are apart", projects},
		{"delete works on anything", deleteAnything},
		{"mount twice is one mount", mountTwice},
		{"mount of a missing volume", mountMissing},
		{"usage", usage},
		{"clone keeps content", cloneKeeps},
		{"clone is a volume of its own", cloneApart},
		{"clone refuses what cannot be", cloneRefuses},
		{"clone of a clone", cloneOfClone},
		{"image lives as long as its last dependent", dependents},
		{"a plain clone depends on nothing", plainClone},
		{"a clone that becomes plain lets its image go", becomesPlain},
		{"snapshot keeps content", snapshotKeeps},
		{"snapshot goes", snapshotGoes},
		{"restore brings content back", restores},
		{"rename takes snapshots along", renames},
		{"copies with snapshots", copiesWithSnapshots},
		{"snapshots go with their volume", snapshotsGoWithTheirVolume},
		{"image lives as long as its last snapshot", imageLivesForSnapshots},
		{"snapshots outlive the pool's closing", snapshotsOutliveClosing},
		{"snapshots of many at once", manySnapshots},
		{"fill gives other content and keeps snapshots", fills},
		{"fill makes snapshots", fillsSnapshots},
		{"a failed fill of what is there changes nothing", failsToFill},
		{"streams carry a volume with its snapshots", streams},
		{"damaged streams leave nothing", damagedStreams},
		{"exports carry a volume with its snapshots", exports},
		{"damaged exports leave nothing", damagedExports},
		{"quotas hold", limits},
		{"volumes outlive the pool's closing", reopen},
		{"destroy takes empty pools only", destroy},
		{"many at once", many},
		{"one name at once", contended},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, newBench(t, open(t), scratch)) })
	}
}

// bench is one open pool under test.
type bench struct {
	driver storage.Driver
	pool   storage.Pool
	dir    string
	cfg    map[string]string
}

func newBench(t *testing.T, d storage.Driver, scratch string) *bench {
	t.Helper()
	top, err := os.MkdirTemp(scratch, "pool")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{driver: d, dir: filepath.Join(top, "storage-pools", "p"), cfg: map[string]string{}}
	b.open(t)
	t.Cleanup(func() {
		vols, err := b.pool.Volumes(context.Background())
		for _, v := range vols {
			err = errors.Join(err, b.pool.Delete(context.Background(), v))
		}
		err = errors.Join(err, b.pool.Close(), d.Destroy(context.Background(), b.dir, b.cfg), os.Remove(filepath.Dir(b.dir)), os.Remove(top))
		if err != nil {
			t.Errorf("the test left something behind: %v", err)
			os.RemoveAll(top)
		}
	})
	return b
}

func (b *bench) open(t *testing.T) {
	t.Helper()
	var err error
	if b.pool, err = b.driver.Open(context.Background(), b.dir, b.cfg); err != nil {
		t.Fatal(err)
	}
}

func image(name string) storage.Volume {
	return storage.Volume{Type: storage.ImageVolume, Name: name}
}

func instance(name string) storage.Volume {
	return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name, IDMap: ids()}
}

// ids is the map of the suite's instances: the caller's own ids where nobody but root may give files away.
func ids() []storage.IDRange {
	if os.Getuid() != 0 {
		return nil
	}
	return []storage.IDRange{{Host: 1000000, Size: 65536}}
}

// fill writes rootfs/etc/name with text, and metadata.yaml.
func fill(text string) func(context.Context, string) error {
	return func(_ context.Context, root string) error {
		return errors.Join(
			os.MkdirAll(filepath.Join(root, "rootfs", "etc"), 0o755),
			os.WriteFile(filepath.Join(root, "rootfs", "etc", "name"), []byte(text), 0o644),
			os.WriteFile(filepath.Join(root, "metadata.yaml"), []byte("of: "+text), 0o644))
	}
}

func (b *bench) create(t *testing.T, v storage.Volume, text string) {
	t.Helper()
	if err := b.pool.Create(t.Context(), v, fill(text)); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) clone(t *testing.T, from, to storage.Volume) (dependent bool) {
	t.Helper()
	c, ok := b.pool.(storage.Cloner)
	if !ok {
		t.Skip("the driver does not clone")
	}
	dependent, err := c.Clone(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	return dependent
}

func (b *bench) mount(t *testing.T, v storage.Volume) storage.Mounted {
	t.Helper()
	m, err := b.pool.Mount(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// holds checks what fill wrote.
func (b *bench) holds(t *testing.T, v storage.Volume, text string) {
	t.Helper()
	m := b.mount(t, v)
	got, err := os.ReadFile(filepath.Join(m.Root, "etc", "name"))
	if err != nil || string(got) != text {
		t.Errorf("volume %s holds %q, %v; want %q", v.Name, got, err, text)
	}
	if _, err := os.Stat(filepath.Join(m.Path, "metadata.yaml")); err != nil {
		t.Error(err)
	}
	if m.Root != filepath.Join(m.Path, "rootfs") {
		t.Errorf("root %s of %s", m.Root, m.Path)
	}
}

func (b *bench) delete(t *testing.T, v storage.Volume) {
	t.Helper()
	if err := b.pool.Delete(t.Context(), v); err != nil {
		t.Errorf("delete %s: %v", v.Name, err)
	}
}

// list checks which volumes there are, by name.
func (b *bench) list(t *testing.T, want ...string) {
	t.Helper()
	all, err := b.pool.Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range all {
		names[v.Name] = true
	}
	if len(all) != len(want) {
		t.Errorf("volumes %v, want %v", names, want)
	}
	for _, n := range want {
		if !names[n] {
			t.Errorf("volumes %v, want %v", names, want)
		}
	}
}

// gone checks that an image is no longer there even hidden: making it again fills it again.
func (b *bench) gone(t *testing.T, v storage.Volume, want bool) {
	t.Helper()
	filled := false
	err := b.pool.Create(t.Context(), v, func(context.Context, string) error { filled = true; return nil })
	if err != nil || filled != want {
		t.Errorf("image %s was gone: %v, %v; want %v", v.Name, filled, err, want)
	}
	b.delete(t, v)
}

func wants(t *testing.T, err error, k errs.Kind) {
	t.Helper()
	if !errs.Is(err, k) {
		t.Errorf("error %v is of kind %d, want %d", err, errs.KindOf(err), k)
	}
}
