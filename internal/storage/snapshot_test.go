package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

// text sets or reads what a volume holds.
func (w *world) text(t *testing.T, v storage.Volume, set string) string {
	t.Helper()
	m, err := w.svc.Mount(t.Context(), "tank", v)
	must(t, err)
	file := filepath.Join(m.Root, "text")
	if set != "" {
		must(t, os.WriteFile(file, []byte(set), 0o600))
	}
	b, err := os.ReadFile(file)
	must(t, err)
	return string(b)
}

func (w *world) names(t *testing.T) (names []string) {
	t.Helper()
	all, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "tank", Project: "default"})
	must(t, err)
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names
}

func TestSnapshots(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "tank")
	v := instance("c1")
	must(t, w.svc.CreateEmpty(t.Context(), "tank", v))
	w.text(t, v, "one")
	must(t, w.svc.Snapshot(t.Context(), "tank", v.At("s0")))
	w.text(t, v, "two")
	must(t, errors.Join(
		w.svc.Copy(t.Context(), "tank", v.At("s0"), instance("c2")), w.svc.Copy(t.Context(), "tank", v.At("s0"), instance("c2").At("s1")),
		w.svc.Restore(t.Context(), "tank", v.At("s0"))))
	for _, one := range []storage.Volume{v, v.At("s0"), instance("c2"), instance("c2").At("s1")} {
		if got := w.text(t, one, ""); got != "one" {
			t.Errorf("%+v holds %q", one, got)
		}
	}
	must(t, w.svc.Delete(t.Context(), "tank", v.At("s0")))
	wants(t, w.svc.Restore(t.Context(), "tank", v.At("s0")), errs.NotFound, "c1")
	if n := w.names(t); len(n) != 2 {
		t.Error("volumes", n)
	}
	wants(t, w.svc.Snapshot(t.Context(), "none", v.At("s0")), errs.NotFound, "none")
}

func TestRenameAndReplace(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "tank")
	for _, name := range []string{"c1", "c2"} {
		must(t, w.svc.CreateEmpty(t.Context(), "tank", instance(name)))
		w.text(t, instance(name), name)
	}
	for range 2 { // what is done already is no error
		must(t, w.svc.Rename(t.Context(), "tank", instance("c1"), instance("c3")))
	}
	if n := w.names(t); len(n) != 2 || n[1] != "c3" {
		t.Error("volumes", n)
	}
	wants(t, w.svc.Rename(t.Context(), "tank", instance("c2"), instance("c3")), errs.Conflict, "c3")
	for range 2 {
		must(t, w.svc.Replace(t.Context(), "tank", instance("c2"), instance("c3")))
	}
	if n := w.names(t); len(n) != 1 || w.text(t, instance("c3"), "") != "c2" {
		t.Error("volumes", n)
	}
}
