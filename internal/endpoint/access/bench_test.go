package access_test

import (
	"fmt"
	"testing"

	"lxd/internal/store"
)

func BenchmarkPermissionsOfManyInstances(b *testing.B) {
	w := newWorld(b)
	type thing struct{ Key string }
	col := store.Collection[thing]{Name: "instance", Key: func(t thing) string { return t.Key }}
	err := w.store.Update(b.Context(), func(tx store.Tx) error {
		for i := range 10000 {
			if err := col.Insert(tx, thing{fmt.Sprintf("default/c%d", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w.want(b, 200, "GET", "/1.0/auth/permissions?recursion=1", "")
	}
}
