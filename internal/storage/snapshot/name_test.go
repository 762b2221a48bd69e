package snapshot_test

import (
	"strings"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/storage/snapshot"
)

func TestSnapshotNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"snap0": true, "before update": true, "2024-01-01_10:00": true, "ä": true,
		"": false, "a/b": false, "a?b": false, "a&b": false, "a+b": false, ".": false, "..": false, ".x": false, "a\nb": false, "a\x00": false, strings.Repeat("x", 256): false,
	} {
		if err := snapshot.CheckName(name); (err == nil) != ok || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPattern(t *testing.T) {
	now := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		pattern, taken, want string
	}{
		{"snap%d", "", "snap0"}, {"snap%d", "snap0 snap7 snapx other9 snap", "snap8"}, {"%d-x", "3-x 4", "4-x"},
		{"daily", "", "daily"}, {"daily", "daily", "daily-0"}, {"daily", "daily daily-0", "daily-1"},
		{"{{ creation_date|date:'2006-01-02_15-04-05' }}", "", "2024-01-02_03-04-05"},
		{`a-{{creation_date|date:"2006"}}-%d`, "a-2024-0", "a-2024-1"},
		{"{{ creation_date }}", "", "2024-01-02_03-04-05"}, {"{{ creation_date|date:'Z07:00+' }}", "", ""},
	} {
		got, err := snapshot.Name(c.pattern, strings.Fields(c.taken), now)
		if got != c.want && c.want != "" || (err == nil) != (c.want != "") {
			t.Errorf("%q beside %q: %q, %v; want %q", c.pattern, c.taken, got, err, c.want)
		}
	}
	for _, p := range []string{"%d%d", "{{ x }}", "{% include '/etc/passwd' %}", "{{ creation_date|upper }}", "{# x #}", "a/b", "", "{{ creation_date|date:'/' }}", "{{ creation_date|date:'{{' }}"} {
		if err := snapshot.CheckPattern(p); err == nil {
			t.Errorf("%q is accepted", p)
		}
	}
}
