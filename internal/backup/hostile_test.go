package backup_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/store"

	"lxd/internal/instance"
)

const good = "name: c1\nsnapshots: [s0]\nconfig:\n  version: 2\n  instance: {name: c1, architecture: x86_64, profiles: [default], config: {user.a: '1'}}\n" +
	"  snapshots: [{name: s0, architecture: x86_64, profiles: [default]}]\n"

// whole is a backup that is as it should be; those of a test come after its index.
func whole(more ...entry) []entry {
	all := []entry{file("backup/index.yaml", good), dir("backup/container/"), dir("backup/container/rootfs/"), file("backup/container/rootfs/text", "now")}
	all = append(all, more...)
	return append(all, dir("backup/snapshots/"), dir("backup/snapshots/s0/"), dir("backup/snapshots/s0/rootfs/"), file("backup/snapshots/s0/rootfs/text", "then"))
}

// with is a backup with another index.
func with(old, new string) []entry {
	all := whole()
	all[0] = file("backup/index.yaml", strings.ReplaceAll(good, old, new))
	return all
}

func TestOrderDoesNotMatter(t *testing.T) {
	w := newWorld(t)
	all := whole()
	turned := append([]entry{dir("./backup"), all[0]}, append(slices.Clone(all[4:]), all[1:4]...)...)
	for n, e := range [][]entry{all, turned} {
		_, err := w.send(t, packed(t, e...), backup.Overrides{Name: []string{"a", "b"}[n]})
		must(t, err)
	}
	for _, name := range []string{"a", "b"} {
		if w.read(t, "tank", name, "") != "now" || w.read(t, "tank", name, "s0") != "then" {
			t.Errorf("%s holds %q and %q", name, w.read(t, "tank", name, ""), w.read(t, "tank", name, "s0"))
		}
	}
}

func TestHostileBackups(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	must(t, os.WriteFile(out, []byte("precious"), 0o600))
	sym := func(name, to string) entry { return link(tar.TypeSymlink, name, to) }
	hard := func(name, to string) entry { return link(tar.TypeLink, name, to) }
	for name, c := range map[string]struct {
		all  []entry
		want string
	}{
		"no index":                     {whole()[1:], "begins with"},
		"index not first":              {append([]entry{file("backup/container/rootfs/x", "")}, whole()...), "begins with"},
		"index is a link":              {append([]entry{sym("backup/index.yaml", "/etc/passwd")}, whole()[1:]...), "begins with"},
		"index is a folder":            {append([]entry{dir("backup/index.yaml/")}, whole()[1:]...), "begins with"},
		"nothing":                      {nil, ""},
		"a second index":               {whole(file("backup/index.yaml", good)), "does not speak of"},
		"dots":                         {whole(file("backup/container/rootfs/../../../../../out", "x")), ""},
		"dots that stay inside":        {whole(file("backup/container/rootfs/a/../b", "x")), ""},
		"dots to another snapshot":     {whole(file("backup/container/../snapshots/s0/rootfs/x", "x")), ""},
		"absolute":                     {whole(file("/backup/container/rootfs/x", "x")), ""},
		"elsewhere":                    {whole(file("etc/passwd", "x")), "does not speak of"},
		"like the folder":              {whole(file("backup/containers/rootfs/x", "x")), "does not speak of"},
		"through a link":               {whole(sym("backup/container/rootfs/l", filepath.Dir(out)), file("backup/container/rootfs/l/out", "x")), "symbolic link"},
		"the root is a link":           {append(whole()[:1], sym("backup/container/rootfs", filepath.Dir(out)), file("backup/container/rootfs/out", "x")), ""},
		"the root is a link alone":     {append(append(whole()[:1], sym("backup/container/rootfs", filepath.Dir(out))), whole()[4:]...), "rootfs"},
		"templates is a link":          {whole(sym("backup/container/templates", filepath.Dir(out)), file("backup/container/templates/out", "x")), "symbolic link"},
		"a hard link out":              {whole(hard("backup/container/rootfs/h", "../../../../../../out")), "hard link"},
		"a hard link to a snapshot":    {whole(hard("backup/container/rootfs/h", "backup/snapshots/s0/rootfs/text")), "hard link"},
		"a hard link to backup.yaml":   {whole(hard("backup/container/rootfs/h", "backup/container/backup.yaml")), "not unpacked"},
		"an absolute hard link":        {whole(hard("backup/container/rootfs/h", "/etc/passwd")), "hard link"},
		"the container twice":          {append(whole(), file("backup/container/rootfs/again", "x")), "twice"},
		"a snapshot that is not said":  {append(whole(), file("backup/snapshots/s1/rootfs/x", "x")), "does not speak of"},
		"a snapshot that is not there": {whole()[:4], "lacks"},
		"a snapshot without text":      {with("name: s0", "name: s9"), "does not describe"},
		"snapshots of one name":        {with("[s0]", "[s0, s0]"), "twice"},
		"a snapshot named ..":          {with("s0", "'..'"), "invalid snapshot name"},
		"a snapshot with a slash":      {with("s0", "a/b"), "invalid snapshot name"},
		"a snapshot with a zero":       {with("s0", `"a\0b"`), "invalid snapshot name"},
		"a snapshot with no name":      {with("s0", `""`), "invalid snapshot name"},
		"a snapshot named as ours":     {with("s0", "+apart"), "invalid snapshot name"},
		"an instance with a slash":     {with("name: c1\nsn", "name: a/b\nsn"), "name"},
		"an instance named ..":         {with("name: c1\nsn", "name: ..\nsn"), "name"},
		"an unknown key":               {with("user.a", "no.such.key"), "no.such.key"},
		"a newline in a key":           {with("{user.a: '1'}", `{"environment.A": "x\nlxc.hook = y"}`), "environment.A"},
		"an unknown key in a snapshot": {with("{name: s0,", "{name: s0, config: {no.such.key: '1'},"), "no.such.key"},
		"a device in a snapshot":       {with("{name: s0,", "{name: s0, devices: {x: {type: teapot}},"), "teapot"},
		"an unknown profile":           {with("profiles: [default], config", "profiles: [nope], config"), "nope"},
		"another architecture":         {with("architecture: x86_64, profiles: [default], config", "architecture: s390x, profiles: [default], config"), "s390x"},
		"a virtual machine":            {with("config:\n", "type: virtual-machine\nconfig:\n"), "virtual machine"},
		"a volume":                     {with("config:\n", "type: custom\nconfig:\n"), "custom"},
		"an optimized one":             {with("config:\n", "optimized: true\nconfig:\n"), "own format"},
		"an id map of nonsense":        {with("user.a: '1'", "volatile.last_state.idmap: '{'"), "idmap"},
		"an id map that overlaps":      {with("user.a: '1'", `volatile.last_state.idmap: '[{"Isuid":true,"Maprange":10},{"Isuid":true,"Maprange":10}]'`), "overlap"},
		"an id map that is too large":  {with("user.a: '1'", `volatile.last_state.idmap: '[{"Isuid":true,"Hostid":1,"Maprange":99999999999}]'`), "idmap"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.left(t)
			_, err := w.send(t, packed(t, c.all...), backup.Overrides{})
			if err == nil || !strings.Contains(err.Error(), c.want) || errs.Is(err, errs.Internal) && name != "an unknown profile" && !strings.HasPrefix(name, "an instance ") { // clients know those by status 500
				t.Errorf("error %v (kind %d), want one about %q", err, errs.KindOf(err), c.want)
			}
			w.clean(t, before)
			if b, err := os.ReadFile(out); err != nil || string(b) != "precious" {
				t.Errorf("the file outside has %q, %v", b, err)
			}
		})
	}
}

// clean fails if anything is left of an import.
func (w *world) clean(t testing.TB, before []string) {
	t.Helper()
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left over: %q", after)
	}
	must(t, w.st.View(t.Context(), func(tx store.Tx) error {
		for e := range instance.Collection.AllRev(tx, "") {
			t.Errorf("instance %s is there", e.Key)
		}
		for e := range instance.Snapshots.AllRev(tx, "") {
			t.Errorf("snapshot %s is there", e.Key)
		}
		return nil
	}))
}

func TestWhatIsHarmlessIsLeftOut(t *testing.T) {
	w := newWorld(t)
	more := []entry{file("backup/container/backup.yaml", "container: {config: {security.privileged: 'true'}}"), file("backup/container/volume.json", "x"),
		file("backup/container/upper", "x"), file("backup/container/metadata.yaml/x", ""), file("backup/container/metadata.yaml", "y"),
		{tar.Header{Name: "backup/container/rootfs/sda", Typeflag: tar.TypeBlock, Devmajor: 8}, ""}}
	_, err := w.send(t, packed(t, whole(more...)...), backup.Overrides{})
	must(t, err)
	at, err := w.pools.Mount(t.Context(), "tank", volume("c1"))
	must(t, err)
	for _, name := range []string{"backup.yaml", "volume.json", "upper", "rootfs/sda"} {
		if _, err := os.Lstat(filepath.Join(at.Path, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was unpacked: %v", name, err)
		}
	}
	if w.config(t, "c1", "security.privileged") != "" {
		t.Error("backup.yaml was believed")
	}
}

func TestOwnersOfAShiftedBackup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners")
	}
	w := newWorld(t)
	all := with("user.a: '1'", `volatile.last_state.idmap: '[{"Isuid":true,"Isgid":true,"Hostid":1000000,"Nsid":0,"Maprange":65536}]'`)
	for n := range all[1:4] {
		all[n+1].Uid, all[n+1].Gid = 1000005, 1000006
	}
	_, err := w.send(t, packed(t, all...), backup.Overrides{})
	must(t, err)
	at, err := w.pools.Mount(t.Context(), "tank", volume("c1"))
	must(t, err)
	st, err := os.Stat(filepath.Join(at.Root, "text"))
	must(t, err)
	if id := owner(st); id != [2]uint32{5, 6} {
		t.Errorf("it belongs to %v", id)
	}
	all[3].Uid = 7
	before := w.left(t)
	if _, err := w.send(t, packed(t, all...), backup.Overrides{Name: "c2"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("an id that is not in the map: %v", err)
	}
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left over: %q", after)
	}
}

func TestCutShort(t *testing.T) {
	w := newWorld(t)
	w.make(t, "x", strings.Repeat("text ", 20_000), "s0")
	for _, compression := range []string{"none", "gzip", "zstd"} {
		b := w.export(t, "x", backup.Wish{Compression: compression})
		before := w.left(t)
		for _, n := range []int{0, 1, 100, 600, 2000, len(b) / 2, len(b) - 2000, len(b) - 600, len(b) - 5} {
			if n < 0 || n >= len(b) || compression == "none" && n == len(b)-5 { // what is missing there is padding
				continue
			}
			if _, err := w.send(t, b[:n], backup.Overrides{Name: "y"}); !errs.Is(err, errs.Invalid) {
				t.Errorf("%s: %d of %d bytes: %v", compression, n, len(b), err)
			}
		}
		broken := errors.New("the line is dead")
		in, err := backup.Read(t.Context(), io.MultiReader(bytes.NewReader(b[:len(b)*2/3]), iotest.ErrReader(broken)))
		if err == nil {
			s, e := w.Import(t.Context(), "default", in, backup.Overrides{Name: "y"})
			_, err = w.run(t, s, e)
		}
		if err == nil {
			t.Error("a sender that went away")
		}
		if after := w.left(t); !slices.Equal(before, after) {
			t.Errorf("%s left over: %q", compression, after)
		}
	}
}

// FuzzImport: no backup crashes the import, and a refused one leaves nothing.
func FuzzImport(f *testing.F) {
	f.Add(packed(f, whole()...))
	f.Add(packed(f, whole(link(tar.TypeLink, "backup/container/rootfs/h", "backup/container/rootfs/text"))...))
	f.Add(packed(f, with("s0", "..")...))
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, []byte("\xfd7zXZ")) {
			t.Skip("a child for each input would be slow")
		}
		before := w.left(t)
		o, err := w.send(t, b, backup.Overrides{Name: "fuzzed"})
		if err != nil {
			w.clean(t, before)
			return
		}
		if o != nil {
			s, err := w.instances.Delete(t.Context(), "default", "fuzzed", false)
			w.must(t, s, err)
		}
	})
}
