package module_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/host/module"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "br_netfilter"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, note := filepath.Join(dir, "modprobe"), filepath.Join(dir, "asked")
	text := "#!/bin/sh\necho \"$@\" >> " + note + "\n[ \"$3\" != missing ]\n"
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	l := module.Loader{Loaded: dir, Modprobe: program}
	for name, kind := range map[string]errs.Kind{"missing": errs.Unavailable, "-r": errs.Invalid, "../x": errs.Invalid, "": errs.Invalid, "a b": errs.Invalid} {
		if err := l.Load(context.Background(), name); !errs.Is(err, kind) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"br-netfilter", "overlay"} {
		if err := l.Load(context.Background(), name); err != nil {
			t.Error(err)
		}
	}
	asked, err := os.ReadFile(note)
	if err != nil || strings.Contains(string(asked), "netfilter") || !strings.Contains(string(asked), "-b -- overlay\n") {
		t.Errorf("asked for %q, %v", asked, err)
	}
	if err := (module.Loader{Loaded: dir, Modprobe: dir + "/none"}).Load(context.Background(), "x"); !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}
