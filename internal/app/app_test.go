package app_test

import (
	"context"
	"path/filepath"
	"testing"

	"lxd/internal/app"
	"lxd/internal/driver/all"
	links "lxd/internal/driver/device/nic/fake"
	machine "lxd/internal/driver/machine/fake"
	bridge "lxd/internal/driver/network/fake"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/network"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// fakes are backends that need neither root nor the kernel's help.
func fakes(string) (all.Set, error) {
	return all.Set{
		Links:   &links.Links{},
		Machine: (&machine.Host{}).Driver(), Storage: []storage.Driver{mem.New("dir")}, Networks: []network.Driver{bridge.New()},
		Firewall: "nftables", Close: func() error { return nil },
	}, nil
}

// TestStartsWithWhatCannotBeRecovered: the daemon serves although an operation was cut short that nobody can deal with, and keeps
// its journal.
func TestStartsWithWhatCannotBeRecovered(t *testing.T) {
	journals := store.Collection[op.Journal]{Name: "operation", Key: func(j op.Journal) string { return j.ID }}
	var st store.Store
	a, err := app.Open(t.Context(), app.Options{
		Dir: filepath.Join(t.TempDir(), "lxd"), Socket: filepath.Join(t.TempDir(), "socket"), Backends: fakes,
		Store: func(_ string, o store.Options) (store.Store, error) {
			st = store.NewMem(o)
			return st, st.Update(t.Context(), func(tx store.Tx) error {
				return journals.Insert(tx, op.Journal{ID: "1", Kind: "unheard of", Location: "none"})
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-a.Failed():
		t.Error(err)
	default:
	}
	kept := false
	err = st.View(t.Context(), func(tx store.Tx) error { kept = journals.Has(tx, "1"); return nil })
	if err != nil || !kept {
		t.Error("the journal is gone", err)
	}
	if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
