package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lxd/scripts/internal/table"
)

// sample is a spec of a few rows.
func sample() spec {
	return spec{
		endpoints: map[string]string{
			"GET /1.0/instances":    "GET /1.0/instances",
			"GET /1.0/instances/{}": "GET /1.0/instances/{name}",
			"GET /":                 "GET /",
		},
		extensions: map[string]string{"instances": "instances", "network": "network"},
		keys: []table.Row{
			{"entity": "instance", "group": "boot", "key": "boot.autostart"},
			{"entity": "instance", "group": "volatile", "key": "volatile.<name>.hwaddr"},
			{"entity": "storage-dir", "group": "pool-conf", "key": "size"},
			{"entity": "storage-dir", "group": "volume-conf", "key": "size"},
		},
		commands: []table.Row{
			{"kind": "command", "command": "lxc", "hidden": "n"},
			{"kind": "command", "command": "lxc list", "aliases": "ls", "args": "[<remote>:]", "hidden": "n"},
			{"kind": "flag", "command": "lxc list", "flag": "--format", "short": "-f", "type": "string", "default": "table", "hidden": "n"},
			{"kind": "flag", "command": "lxc list", "flag": "--fast", "type": "bool", "default": "false", "hidden": "n"},
		},
	}
}

func TestCompare(t *testing.T) {
	root := &cobra.Command{Use: "lxc"}
	list := &cobra.Command{Use: "list [<remote>:]", Aliases: []string{"ls"}, Run: func(*cobra.Command, []string) {}}
	list.Flags().StringP("format", "f", "csv", "")
	root.AddCommand(list, &cobra.Command{Use: "secret", Hidden: true, Run: list.Run}, &cobra.Command{Use: "open", Run: list.Run})
	m := manifest{
		Routes:     []string{"GET /1.0/instances/{instance}", "GET /{$}", "GET /internal/ready", "GET /1.0/other"},
		Keys:       map[string][]string{"instance": {"volatile.*.hwaddr", "odd"}, "storage-dir/pool-conf": {"size"}},
		Commands:   tree(root),
		Extensions: []string{"network"},
	}
	got := map[string]result{}
	for _, r := range compare(sample(), m) {
		got[r.title] = r
	}
	for title, want := range map[string]result{
		"endpoints":  {have: []string{"GET /", "GET /1.0/instances/{name}"}, missing: []string{"GET /1.0/instances"}, unknown: []string{"GET /1.0/other"}},
		"keys":       {have: []string{"instance/volatile volatile.<name>.hwaddr", "storage-dir/pool-conf size"}, missing: []string{"instance/boot boot.autostart", "storage-dir/volume-conf size"}, unknown: []string{"instance odd"}},
		"extensions": {have: []string{"network"}, missing: []string{"instances"}},
		"flags":      {have: []string{"lxc list --format"}, missing: []string{"lxc list --fast"}, differ: []string{`lxc list --format: default is "csv", should be "table"`}},
	} {
		g := got[title]
		if title == "flags" {
			g.unknown = nil
		}
		for part, pair := range map[string][2][]string{
			"have": {g.have, want.have}, "missing": {g.missing, want.missing}, "unknown": {g.unknown, want.unknown}, "differ": {g.differ, want.differ},
		} {
			if !slices.Equal(pair[0], pair[1]) {
				t.Errorf("%s %s: %q, want %q", title, part, pair[0], pair[1])
			}
		}
	}
	c := got["commands"]
	if !slices.Equal(c.have, []string{"lxc", "lxc list"}) || len(c.differ) != 0 || !slices.Contains(c.unknown, "lxc open") || slices.Contains(c.unknown, "lxc secret") {
		t.Errorf("commands: %+v", c)
	}
}

func TestRealTables(t *testing.T) {
	s, err := readSpec("../..")
	if err != nil {
		t.Fatal(err)
	}
	results := compare(s, manifest{})
	for _, r := range results {
		if len(r.have) != 0 || len(r.missing) != r.total || r.total == 0 {
			t.Errorf("%s: an empty manifest has %d of %d", r.title, len(r.have), r.total)
		}
	}
	if results[0].total != 259 {
		t.Errorf("%d endpoints: two rows of the table look alike", results[0].total)
	}
}

func TestCanonicalKey(t *testing.T) {
	for in, want := range map[string]string{
		"tunnel.NAME.id":             "tunnel.*.id",
		"volatile.<name>.bus":        "volatile.*.bus",
		"user.*":                     "user.*",
		"limits.hugepages.1GB":       "limits.hugepages.1GB",
		"limits.disk.pool.POOL_NAME": "limits.disk.pool.*",
		"storage.project.{name}.x":   "storage.project.*.x",
	} {
		if got := canonicalKey(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestRunReadsAManifest(t *testing.T) {
	data, err := json.Marshal(manifest{Routes: []string{"GET /1.0"}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(&out, "../..", path, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"endpoints      1 of  259\n", "endpoints that exist (1):\n  GET /1.0\n", "endpoints missing (258):\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String()[:400])
		}
	}
	if err := run(&out, "../..", path+".none", false); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without a manifest: %v", err)
	}
}
