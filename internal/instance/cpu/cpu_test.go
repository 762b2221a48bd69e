package cpu_test

import (
	"slices"
	"testing"

	"lxd/internal/instance/cpu"
)

func TestSets(t *testing.T) {
	for in, out := range map[string]string{"0": "0", "3,1,2": "1-3", "0-1,4,6-7": "0-1,4,6-7"} {
		set, err := cpu.Parse(in)
		if err != nil || cpu.Text(set) != out {
			t.Errorf("%s: %v %v", in, set, err)
		}
	}
	if set, _ := cpu.Parse("0-2"); !slices.Equal(set, []int{0, 1, 2}) {
		t.Error(set)
	}
	for v, ok := range map[string]bool{"2": true, "0-1": true, "0": false, "-1": false, "x": false, "2-1": false, "9999999": true, "0-9999999": false} {
		if err := cpu.Check(v); (err == nil) != ok {
			t.Error(v, err)
		}
	}
}

func TestPresent(t *testing.T) {
	for want, ok := range map[string]bool{"": true, "9": true, "0-1": true, "1,3": true, "2-4": false, "9-10": false, "x-y": false} {
		if err := cpu.Present(want, []int{0, 1, 2, 3}); (err == nil) != ok {
			t.Error(want, err)
		}
	}
	if err := cpu.Present("7-8", nil); err != nil {
		t.Error(err)
	}
}

func TestAssigner(t *testing.T) {
	var a cpu.Assigner
	online := []int{0, 1, 2, 3}
	a.Restore("old", "0-1")
	for _, c := range []struct{ key, want, set string }{
		{"a", "2", "2-3"}, {"a", "2", "2-3"}, {"b", "1", "0"}, {"pinned", "0-3", "0-3"}, {"old", "2", "0-1"}, {"most", "9", "0-3"},
	} {
		if got := a.Assign(c.key, c.want, online); got != c.set {
			t.Errorf("%s asks for %s and gets %s, not %s", c.key, c.want, got, c.set)
		}
	}
	for _, key := range []string{"old", "a", "b", "most"} {
		a.Release(key)
	}
	if got := a.Assign("new", "1", online); got != "0" {
		t.Error(got)
	}
}

func TestNear(t *testing.T) {
	nodes := map[int][]int{0: {0, 2}, 1: {1, 3}}
	for list, want := range map[string][]int{"0": {0, 2}, "0-1": {0, 1, 2, 3}, "1,1": {1, 3}, "7": nil, "x": nil} {
		if got := cpu.Near(list, nodes); !slices.Equal(got, want) {
			t.Errorf("%s: %v", list, got)
		}
	}
}
