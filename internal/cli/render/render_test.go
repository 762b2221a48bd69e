package render_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"lxd/internal/cli/render"
)

func TestCompare(t *testing.T) {
	want := []string{"3c8d", "4da5", "05af", "8c0e", "39d3", "c1", "c02", "c2", "c2-1", "c10", "ca", "d", ""}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, render.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range want {
		if render.Compare(s, s) != 0 {
			t.Errorf("%q differs from itself", s)
		}
	}
}

func TestSort(t *testing.T) {
	rows := [][]string{{"b", "2"}, {"a", "10"}, {"a", "9"}}
	render.Sort(rows)
	if rows[0][1] != "9" || rows[1][1] != "10" || rows[2][0] != "b" {
		t.Errorf("got %v", rows)
	}
}

func TestList(t *testing.T) {
	header := []string{"NAME", "STATE"}
	rows := [][]string{{"cöntainer", "UP"}, {"b", "x\ny"}}
	for format, want := range map[string]string{
		"table": `+-----------+-------+
|   NAME    | STATE |
+-----------+-------+
| cöntainer | UP    |
+-----------+-------+
| b         | x     |
|           | y     |
+-----------+-------+
`,
		"compact": "    NAME     STATE  \n  cöntainer  UP     \n  b          x      \n             y      \n",
		"csv":     "cöntainer,UP\nb,\"x\ny\"\n",
		"json":    "{\"a\":[1]}\n",
		"yaml":    "a:\n- 1\n",
	} {
		var out bytes.Buffer
		if err := render.List(&out, format, render.Grid{Header: header, Rows: rows}, map[string][]int{"a": {1}}); err != nil || out.String() != want {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", format, err, out.String(), want)
		}
	}
	if err := render.List(&bytes.Buffer{}, "xml", render.Grid{}, nil); err == nil {
		t.Error("an unknown format was printed")
	}
}

func TestTablesHoldNoCommandsForTheTerminal(t *testing.T) {
	rows := [][]string{{"c1", "10.0.0.1 (\x1b]0;mine\x07)\n\u009b31m"}}
	for _, format := range []string{"table", "compact"} {
		var out bytes.Buffer
		if err := render.List(&out, format, render.Grid{Header: []string{"NAME", "IPV4"}, Rows: rows}, nil); err != nil || bytes.ContainsAny(out.Bytes(), "\x1b\x07\u009b") {
			t.Errorf("%s: %v, %q", format, err, out.String())
		}
	}
	if rows[0][1] != "10.0.0.1 (\x1b]0;mine\x07)\n\u009b31m" {
		t.Error("the caller's rows were changed")
	}
}

func TestRows(t *testing.T) {
	for format, want := range map[string]bool{"table": true, "compact": true, "csv": true, "json": false, "yaml": false} {
		if got, err := render.Rows(format); got != want || err != nil {
			t.Errorf("%s: got %v, %v", format, got, err)
		}
	}
	if _, err := render.Rows("x"); err == nil || err.Error() != `Invalid format "x"` {
		t.Errorf("got %v", err)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64][2]string{
		0: {"0B", "0B"}, 999: {"999B", "999B"}, 1000: {"1000B", "1.00kB"}, 1024: {"1.00KiB", "1.02kB"}, 3360: {"3.28KiB", "3.36kB"},
		1 << 20: {"1.00MiB", "1.05MB"}, 5 << 30: {"5.00GiB", "5.37GB"}, 1 << 40: {"1.00TiB", "1.10TB"}, 1<<63 - 1: {"8.00EiB", "9.22EB"}, -1: {"-1B", "-1B"},
	} {
		if got := [2]string{render.Size(n, 2), render.SizeDecimal(n, 2)}; got != want {
			t.Errorf("%d: got %v, want %v", n, got, want)
		}
	}
	if got := render.Size(49152, 0); got != "48KiB" {
		t.Errorf("got %s", got)
	}
}

func TestTime(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	for want, at := range map[string]time.Time{
		"2026/03/04 04:06 UTC": time.Date(2026, 3, 4, 5, 6, 7, 0, zone),
		"":                     time.Unix(0, 0),
	} {
		if got := render.Time(at); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if render.Set(time.Time{}) || render.Time(time.Time{}) != "" {
		t.Error("the zero time counts as set")
	}
}
