package arch_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"lxd/api"
	"lxd/internal/arch"
)

// checks are all rules by name. Each has to pass on the repository, and to fail on the fixture of the same name.
var checks = map[string]arch.Check{
	"layers":       arch.Layers,
	"functions":    arch.Functions,
	"files":        arch.Files,
	"interfaces":   arch.Interfaces,
	"params":       arch.Params,
	"documented":   arch.Documented,
	"no init":      arch.NoInit,
	"global state": arch.NoGlobalState,
	"exec":         arch.NoExec,
	"words":        arch.ForeignWords,
	"helper":       arch.Helper,
	"proven":       func(t *arch.Tree) []string { return arch.Proven(t, []string{"instances"}) },
}

// repository is parsed once for all tests.
var repository = sync.OnceValues(func() (*arch.Tree, error) { return arch.Load(os.DirFS("../..")) })

func TestRepository(t *testing.T) {
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			if name == "proven" {
				check = func(t *arch.Tree) []string { return arch.Proven(t, api.Advertised()) }
			}
			for _, problem := range check(tree) {
				t.Error(problem)
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(arch.MeasureOf(tree))
}

func load(t *testing.T, files map[string]string) *arch.Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for p, text := range files {
		fsys[p] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := arch.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// file is a Go file of package p with a comment, so that only what a fixture is about is wrong.
func file(body string) string { return "// Package p is a fixture.\npackage p\n\n" + body + "\n" }

func repeat(line string, n int) string { return strings.Repeat(line+"\n", n) }

// fixture is a tree that breaks a rule, or does not, in a given number of ways.
type fixture struct {
	check string
	what  string
	files map[string]string
	// want are parts of the complaints, one for each that is expected.
	want []string
}

func (f fixture) run(t *testing.T) {
	got := checks[f.check](load(t, f.files))
	if len(got) != len(f.want) {
		t.Errorf("%d complaints, want %d: %q", len(got), len(f.want), got)
	}
	all := strings.Join(got, "\n")
	for _, w := range f.want {
		if !strings.Contains(all, w) {
			t.Errorf("no complaint about %q in %q", w, all)
		}
	}
}

func TestChecksCanFail(t *testing.T) {
	failing := map[string]bool{}
	for _, f := range fixtures() {
		failing[f.check] = failing[f.check] || len(f.want) > 0
		t.Run(f.check+"/"+f.what, f.run)
	}
	for name := range checks {
		if !failing[name] {
			t.Errorf("no fixture shows that %q can fail", name)
		}
	}
}

func TestLoadSkipsWhatIsNotSource(t *testing.T) {
	tree := load(t, map[string]string{
		".git/x.go": "not go", ".git": "", "bin/y.go": "not go", "a/testdata/z.go": "not go", "b.bin": "\x00", ".ci/run": "text", "a/a.go": file(""),
	})
	if len(tree.Go) != 1 || tree.Text[".ci/run"] == "" || tree.Text["b.bin"] != "" {
		t.Errorf("got %d Go files, text %v", len(tree.Go), tree.Text)
	}
}

func TestMeasureOf(t *testing.T) {
	m := arch.MeasureOf(load(t, map[string]string{
		"a/a.go":      file("func a() {\n" + repeat("_ = 1", 3) + "}"),
		"a/a_test.go": file(""), "a/b_gen.go": file(repeat("// x", 50)), "atest/a.go": "package atest\n",
	}))
	if m.MedianFunction != 5 || m.MedianFile != 8 || m.CodeLines != 8 || m.TestLines != 5 {
		t.Errorf("got %+v", m)
	}
}
