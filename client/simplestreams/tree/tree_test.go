package tree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/client/simplestreams/tree"
)

func TestWriteRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("just bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := tree.Image{OS: "Debian", Arch: "amd64", Serial: "20250101", Meta: file}
	for want, change := range map[string]func(*tree.Image){
		"part of a path": func(i *tree.Image) { i.Release = "../../etc" },
		"needs an OS":    func(i *tree.Image) { i.OS = "" },
		"not of the form": func(i *tree.Image) {
			i.Serial = "2025"
		},
		"is neither squashfs": func(i *tree.Image) { i.Root = file },
		"no such file":        func(i *tree.Image) { i.Meta = file + "x" },
	} {
		i := good
		change(&i)
		if err := tree.Write(t.TempDir(), []tree.Image{i}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	dir := t.TempDir()
	for range 2 { // the second time nothing is left to copy
		if err := tree.Write(dir, []tree.Image{good}); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "images/Debian/amd64/20250101/lxd_combined.tar.gz")); err != nil || string(b) != "just bytes" {
		t.Errorf("%q %v", b, err)
	}
}
