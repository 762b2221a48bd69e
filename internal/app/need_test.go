package app_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lxd/internal/app"
	"lxd/internal/instance"
	"lxd/internal/project"
	"lxd/internal/server"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// TestNeeded: a daemon that does not run is needed if it has something to look after.
func TestNeeded(t *testing.T) {
	for want, put := range map[string]func(tx store.Tx) error{
		"": func(store.Tx) error { return nil },
		"network": func(tx store.Tx) error {
			return server.Records.Put(tx, server.Record{Member: "none", Config: map[string]string{"core.https_address": ":1"}})
		},
		"instances": func(tx store.Tx) error {
			if err := project.Collection.Put(tx, project.Record{Name: "default"}); err != nil {
				return err
			}
			return instance.Collection.Put(tx, instance.Record{Name: "c1", Project: "default"})
		},
		"volumes": func(tx store.Tx) error {
			return firstOf(project.Collection.Put(tx, project.Record{Name: "default"}), storage.Pools.Put(tx, storage.PoolRecord{Name: "p"}),
				storage.Volumes.Put(tx, storage.VolumeRecord{Pool: "p", Type: storage.CustomVolume, Project: "default", Name: "v"}))
		},
	} {
		dir := t.TempDir()
		st := store.NewMem(store.Options{})
		if err := st.Update(t.Context(), put); err != nil {
			t.Fatal(want, err)
		}
		open := func(string, store.Options) (store.Store, error) { return st, nil }
		if why, err := app.NeededIn(t.Context(), dir, open); err != nil || why != "" {
			t.Error("no daemon has run there", why, err)
		}
		lock := filepath.Join(dir, "lxd.lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		running, err := os.OpenFile(lock, os.O_RDWR, 0)
		if err != nil || syscall.Flock(int(running.Fd()), syscall.LOCK_EX) != nil {
			t.Fatal(err)
		}
		if why, err := app.NeededIn(t.Context(), dir, open); err != nil || why != "" {
			t.Error("it runs", why, err)
		}
		running.Close()
		why, err := app.NeededIn(context.WithoutCancel(t.Context()), dir, open)
		if err != nil || (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("want %q, got %q %v", want, why, err)
		}
	}
}

func firstOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}
