package tree_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/idmap"
	"lxd/internal/storage"
)

// TestOwnersMoveOnAfterACrash: whatever was kept last, the next move ends where it should.
func TestOwnersMoveOnAfterACrash(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: gives files away")
	}
	one, two := idmap.Map{{Host: 100000, Size: 65536}}, idmap.Map{{Host: 130000, Size: 65536}} // they overlap
	for fails := range 8 {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		var kept tree.Owners
		saves := 0
		o := tree.Owners{}
		save := func() error {
			if saves++; saves > fails {
				return broken
			}
			kept = o
			return nil
		}
		err := o.Move(t.Context(), file, one, save)
		if err == nil {
			err = o.Move(t.Context(), file, two, save)
		}
		if err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
		again := kept
		if err := again.Move(t.Context(), file, two, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil || st.Uid != 130000 || !again.Shifted || !again.Map.Equal(two) || len(again.Next) != 0 {
			t.Errorf("kept %d times: owner %d, %+v, %v", fails, st.Uid, again, err)
		}
	}
}

func TestNames(t *testing.T) {
	for want, v := range map[string]storage.Volume{
		"containers/c1":       {Type: storage.ContainerVolume, Name: "c1", Project: "default"},
		"containers/p_c1":     {Type: storage.ContainerVolume, Name: "c1", Project: "p"},
		"virtual-machines/v":  {Type: storage.VMVolume, Name: "v"},
		"images/abc":          {Type: storage.ImageVolume, Name: "abc", Project: "p"},
		"custom/default_data": {Type: storage.CustomVolume, Name: "data"},
	} {
		if got, err := tree.Name(v); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	for _, v := range []storage.Volume{{Name: "x"}, {Type: storage.ContainerVolume}, {Type: storage.ContainerVolume, Name: "a/b"}, {Type: storage.ImageVolume, Name: ".x"}} {
		if _, err := tree.Name(v); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", v, err)
		}
	}
}

func TestSort(t *testing.T) {
	all := []storage.Volume{{Type: storage.CustomVolume, Name: "a"}, {Type: storage.ContainerVolume, Name: "b"}, {Type: storage.ContainerVolume, Name: "a"}}
	tree.Sort(all)
	if got := []string{all[0].Name, all[1].Name, string(all[2].Type)}; !slices.Equal(got, []string{"a", "b", "custom"}) {
		t.Error(got)
	}
}

func TestSettle(t *testing.T) {
	at := t.TempDir()
	if err := tree.Settle(at, "mine"); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(at, tree.Root)); err != nil || !st.IsDir() {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(at, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.Settle(at, "mine"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
