package endpoint_test

import (
	"testing"

	"lxd/api"
	"lxd/internal/warning"
)

func TestWarnings(t *testing.T) {
	w := newWorld(t)
	if a := w.do(t, "GET", "/1.0/warnings", ""); string(a.Metadata) != "null" {
		t.Errorf("an empty list is %s", a.Metadata)
	}
	for _, project := range []string{"default", "p"} {
		if err := w.warn.Raise(t.Context(), api.WarningStoragePoolUnavailable, warning.Entity{Project: project}, "full"); err != nil {
			t.Fatal(err)
		}
	}
	for query, n := range map[string]int{"?recursion=1": 2, "?recursion=1&project=p": 1, "?recursion=1&filter=project+eq+default": 1,
		"?recursion=1&filter=status+eq+resolved": 0} {
		var list []api.Warning
		w.do(t, "GET", "/1.0/warnings"+query, "").into(t, &list)
		if len(list) != n {
			t.Error(query, list)
		}
	}
	if a := w.do(t, "GET", "/1.0/warnings?filter=x", ""); a.HTTP != 500 {
		t.Error(a)
	}
	var urls []string
	w.do(t, "GET", "/1.0/warnings", "").into(t, &urls)
	if a := w.do(t, "PUT", urls[0], `{"status":"acknowledged"}`); a.HTTP != 200 {
		t.Error(a)
	}
	var one api.Warning
	w.do(t, "GET", urls[0], "").into(t, &one)
	if one.Status != "acknowledged" {
		t.Error(one)
	}
	if a := w.do(t, "PATCH", urls[0], `{"status":"lost"}`); a.HTTP != 400 {
		t.Error(a)
	}
	for _, code := range []int{200, 404} {
		if a := w.do(t, "DELETE", urls[0], ""); a.HTTP != code {
			t.Error(a)
		}
	}
}
