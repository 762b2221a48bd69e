package file_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/instance/file"
)

// tree is a folder whose files belong to whoever runs the test, who is root inside.
func tree(t *testing.T) (*file.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := fs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	tr := &file.Tree{Root: root, IDs: idmap.Map{{Host: int64(os.Getuid()), Size: 1}}}
	if os.Getuid() == 0 {
		tr.IDs = idmap.Map{{Host: 1000000, Size: 65536}}
	}
	t.Cleanup(func() { tr.Close() })
	return tr, dir
}

func text(s string) file.Put {
	return file.Put{UID: -1, GID: -1, Mode: -1, Content: strings.NewReader(s)}
}

func read(t *testing.T, tr *file.Tree, p string) string {
	t.Helper()
	f, err := tr.Get(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Content.Close()
	b, err := io.ReadAll(f.Content)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPutAndGet(t *testing.T) {
	tr, _ := tree(t)
	if err := tr.Put("/a", text("one")); err != nil {
		t.Fatal(err)
	}
	f, err := tr.Get("/a")
	if err != nil {
		t.Fatal(err)
	}
	f.Content.Close()
	if f.Kind != file.Plain || f.Mode != 0o644 || f.UID != 0 || f.GID != 0 || f.Size != 3 || f.Modified.IsZero() {
		t.Errorf("%+v", f.Info)
	}
	add := text(" two")
	add.Append, add.Mode = true, 0o777
	if err := tr.Put("/a", add); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tr, "a"); got != "one two" {
		t.Error(got)
	}
	if i, _ := tr.Stat("a"); i.Mode != 0o644 {
		t.Errorf("the mode of an existing file became %o", i.Mode)
	}
	change := text("x")
	change.Mode, change.Change = 0o4700, []string{"mode"}
	if err := tr.Put("/a", change); err != nil {
		t.Fatal(err)
	}
	if i, _ := tr.Stat("a"); i.Mode != 0o4700 || i.Size != 1 {
		t.Errorf("%o %d", i.Mode, i.Size)
	}
	add.Content = strings.NewReader("")
	if err := tr.Put("/none", add); !errs.Is(err, errs.NotFound) {
		t.Error("append to nothing", err)
	}
	if err := tr.Delete("/a"); err != nil {
		t.Error(err)
	}
	if err := tr.Delete("/a"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestFoldersAndLinks(t *testing.T) {
	tr, dir := tree(t)
	folder := file.Put{Kind: file.Folder, UID: -1, GID: -1, Mode: -1}
	for range 2 {
		if err := tr.Put("/d", folder); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := tr.Stat("d"); i.Mode != 0o750 || i.Kind != file.Folder || err != nil {
		t.Errorf("%+v %v", i, err)
	}
	for _, target := range []string{"../x", "../x"} {
		link := text(target)
		link.Kind = file.Symlink
		if err := tr.Put("/d/l", link); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := tr.Get("/d/l"); f.Kind != file.Symlink || f.Target != "/x" || err != nil {
		t.Errorf("%+v %v", f, err)
	}
	if err := tr.Put("/d/l", text("through the link")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tr, "/x"); got != "through the link" {
		t.Error(got)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if f, err := tr.Get("/d"); err != nil || !slices.Equal(f.Names, []string{"l"}) {
		t.Error(f.Names, err)
	}
	if f, err := tr.Get("/"); err != nil || !slices.Equal(f.Names, []string{"d", "out", "x"}) {
		t.Error(f.Names, err)
	}
	for what, c := range map[string]struct {
		err  error
		kind errs.Kind
	}{
		"other link":       {tr.Put("/d/l", file.Put{Kind: file.Symlink, UID: -1, GID: -1, Mode: -1, Content: strings.NewReader("y")}), errs.Invalid},
		"empty link":       {tr.Put("/d/m", file.Put{Kind: file.Symlink, UID: -1, GID: -1, Mode: -1, Content: strings.NewReader("")}), errs.Invalid},
		"folder on a file": {tr.Put("/x", folder), errs.Invalid},
		"file on a folder": {tr.Put("/d", text("")), errs.Invalid},
		"missing folder":   {tr.Put("/no/x", text("")), errs.NotFound},
		"below a file":     {tr.Put("/x/y", text("")), errs.Invalid},
		"full folder":      {tr.Delete("/d"), errs.Invalid},
		"the root":         {tr.Delete("/"), errs.Invalid},
		"the host's":       {tr.Put("/out/x", text("")), errs.NotFound},
		"kind":             {tr.Put("/k", file.Put{Kind: "socket", UID: -1, GID: -1, Mode: -1}), errs.Invalid},
		"mode":             {tr.Put("/k", file.Put{UID: -1, GID: -1, Mode: 0o100644}), errs.Invalid},
		"owner":            {tr.Put("/k", file.Put{UID: 70000, GID: -1, Mode: -1}), errs.Invalid},
	} {
		if !errs.Is(c.err, c.kind) {
			t.Errorf("%s: kind %v: %v", what, errs.KindOf(c.err), c.err)
		}
	}
}

func TestOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving files to others needs root")
	}
	tr, dir := tree(t)
	given := text("x")
	given.UID, given.GID, given.Mode = 1000, 100, 0o6755
	if err := tr.Put("f", given); err != nil {
		t.Fatal(err)
	}
	if i, err := tr.Stat("f"); i.UID != 1000 || i.GID != 100 || i.Mode != 0o6755 || err != nil {
		t.Errorf("%+v %v", i, err)
	}
	given.UID, given.Change, given.Content = 5, []string{"uid"}, strings.NewReader("y")
	if err := tr.Put("f", given); err != nil {
		t.Fatal(err)
	}
	if i, _ := tr.Stat("f"); i.UID != 5 || i.GID != 100 || i.Mode != 0o6755 {
		t.Errorf("%+v", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "host"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if i, _ := tr.Stat("host"); i.UID != 65534 {
		t.Errorf("a file of the host belongs to %d", i.UID)
	}
}

// endless is a body of many bytes that breaks off in the end, if it is to.
type endless struct {
	left int
	err  error
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, e.err
	}
	n := min(len(b), e.left)
	e.left -= n
	for i := range n {
		b[i] = byte(i)
	}
	return n, nil
}

func TestBrokenOffUploadLeavesNoOtherFiles(t *testing.T) {
	tr, dir := tree(t)
	broken := errors.New("gone")
	if err := tr.Put("f", file.Put{UID: -1, GID: -1, Mode: -1, Content: &endless{10 << 20, broken}}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "f" {
		t.Error(left, err)
	}
}

func TestLargeFilesTakeNoMemory(t *testing.T) {
	tr, _ := tree(t)
	if n := testing.AllocsPerRun(1, func() {
		if err := tr.Put("f", file.Put{UID: -1, GID: -1, Mode: -1, Content: &endless{64 << 20, io.EOF}}); err != nil {
			t.Fatal(err)
		}
	}); n > 200 {
		t.Errorf("%v allocations", n)
	}
	f, err := tr.Get("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Content.Close()
	n, err := io.Copy(io.Discard, f.Content)
	if f.Size != 64<<20 || n != f.Size || err != nil {
		t.Error(f.Size, n, err)
	}
}
