package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Debian is the path of the Debian image; the test is skipped, with the reason, where there is none.
func Debian(t testing.TB) string {
	t.Helper()
	path := os.Getenv("LXD_TEST_DEBIAN_IMAGE")
	if path == "" {
		t.Skip(`LXD_TEST_DEBIAN_IMAGE does not name a Debian image: run "make test", or make one with scripts/debian-image`)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("the Debian image is missing: ", err)
	}
	return path
}

// Package is a Debian package under construction.
type Package struct {
	Name, Version string
	// Fields are further lines of the control file.
	Fields string
	// Files are by path, as are Scripts (postinst, prerm …) and conffiles by name.
	Files, Control map[string]string
}

// Build packs it with dpkg-deb and returns the file's path.
func (p Package) Build(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs dpkg-deb to build a package: ", err)
	}
	top := t.TempDir()
	write := func(path, body string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(top, "tree", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("DEBIAN/control", "Package: "+p.Name+"\nVersion: "+p.Version+"\nArchitecture: all\nMaintainer: root <root@localhost>\n"+
		p.Fields+"Description: made for a test\n", 0o644)
	for name, body := range p.Control {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(body, "#!") {
			mode = 0o755
		}
		write("DEBIAN/"+name, body, mode)
	}
	for path, body := range p.Files {
		write(path, body, 0o644)
	}
	file := filepath.Join(top, p.Name+".deb")
	run(t, "dpkg-deb", "--root-owner-group", "--build", filepath.Join(top, "tree"), file)
	return file
}
