package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/store"
)

// TestSettle: complete backups follow their project to a folder of its own and back; one that is being made stays where it is written.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	w.make(t, "c1", "now")
	s, err := w.Create(t.Context(), "default", "c1", api.InstanceBackupsPost{Name: "b"})
	w.must(t, s, err)
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return backup.Collection.Insert(tx, backup.Record{Project: "default", Instance: "c1", Name: "half", File: "half", Making: true})
	}))
	must(t, os.WriteFile(filepath.Join(w.dir, "half"), nil, 0o600))
	away := filepath.Join(t.TempDir(), "backups")
	count := func(dir string) int {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return len(files)
	}
	for _, c := range []struct {
		homes      map[string]string
		here, away int
	}{{map[string]string{"default": away}, 1, 1}, {map[string]string{"other": away}, 2, 0}, {map[string]string{"": away}, 1, 1}, {nil, 2, 0}} {
		w.Files().Set(c.homes, away)
		must(t, w.Settle(t.Context()))
		if count(w.dir) != c.here || count(away) != c.away {
			t.Errorf("%v: %d here, %d away", c.homes, count(w.dir), count(away))
		}
		f, err := w.Open(t.Context(), "default", "c1", "b")
		must(t, err)
		must(t, f.Close())
	}
	w.Files().Set(map[string]string{"default": away})
	s, err = w.Create(t.Context(), "default", "c1", api.InstanceBackupsPost{Name: "new"})
	w.must(t, s, err)
	if count(away) != 1 {
		t.Error("the new one is elsewhere")
	}
}
