package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
)

// holding fills a volume with one file.
func holding(text string) func(context.Context, string) error {
	return func(_ context.Context, root string) error {
		return errors.Join(os.Mkdir(filepath.Join(root, "rootfs"), 0o755), os.WriteFile(filepath.Join(root, "rootfs", "text"), []byte(text), 0o600))
	}
}

func TestFill(t *testing.T) {
	for name, without := range map[string]bool{"by the pool itself": false, "by cloning": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.driver.modest = without
			w.pool(t, "tank")
			v := instance("c1")
			must(t, w.svc.CreateEmpty(t.Context(), "tank", v))
			for _, s := range []string{"s0", "s1"} {
				must(t, w.svc.Fill(t.Context(), "tank", v.At(s), holding(s)))
			}
			must(t, w.svc.Fill(t.Context(), "tank", v, holding("now")))
			for snapshot, text := range map[string]string{"": "now", "s0": "s0", "s1": "s1"} {
				if got := w.text(t, v.At(snapshot), ""); got != text {
					t.Errorf("%q holds %q", snapshot, got)
				}
			}
			broken := errors.New("broken")
			for _, at := range []string{"", "s2"} {
				if err := w.svc.Fill(t.Context(), "tank", v.At(at), func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
					t.Errorf("error %v", err)
				}
			}
			wants(t, w.svc.Fill(t.Context(), "tank", v.At("s1"), holding("x")), errs.Conflict, "")
			must(t, w.svc.Restore(t.Context(), "tank", v.At("s1")))
			if got := w.text(t, v, ""); got != "s1" {
				t.Errorf("restored %q", got)
			}
			if n := w.names(t); len(n) != 1 {
				t.Error("volumes", n)
			}
			must(t, w.svc.Delete(t.Context(), "tank", v))
			left, err := os.ReadDir(filepath.Join(w.dir, "tank", "container"))
			if err != nil || len(left) != 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
	w := newWorld(t)
	wants(t, w.svc.Fill(t.Context(), "none", instance("c1"), nil), errs.NotFound, "none")
}
