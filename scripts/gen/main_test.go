package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree writes a repository with the real tables and one script.
func tree(t *testing.T, script string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "spec"), os.DirFS("../../spec")); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"api/old_gen.go": "package api\n", "test/script/image/import.txtar": script} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRunWritesAndChecks(t *testing.T) {
	root := tree(t, "# ext: instances, clustering\n\nlxc list\n# ext: network\n")
	err := run(root, true)
	if err == nil || !strings.Contains(err.Error(), "api/instance_gen.go") || !strings.Contains(err.Error(), "api/old_gen.go") {
		t.Fatalf("a stale tree passed the check: %v", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Fatalf("after writing: %v", err)
	}
	proven, err := os.ReadFile(filepath.Join(root, "api/proven_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(proven), "\"clustering\",\n\t\"instances\",\n}") {
		t.Errorf("proven extensions, in the table's order, are missing:\n%s", proven)
	}
}

func TestKeys(t *testing.T) {
	files, err := keyFiles("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		all.Write(f.text)
	}
	for _, want := range []string{"var keys2 = [...]Key{\n", `{"instance", "volatile", "volatile.*.hwaddr", "string", `, `{"project", "limits", "limits.disk.pool.*", `, `"limits.hugepages.1GB"`, `"storage.project.*.images_volume"`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestUnknownExtensionIsAnError(t *testing.T) {
	if err := run(tree(t, "# ext: no_such_thing\n"), false); err == nil || !strings.Contains(err.Error(), "no_such_thing") {
		t.Errorf("got %v", err)
	}
}

func TestSplitAndExported(t *testing.T) {
	for name, want := range map[string]string{
		"CreatedAt":            "created at",
		"CPUUsage":             "cpu usage",
		"NetworkACLs":          "network acls",
		"NetworkACLsPost":      "network acls post",
		"IPv6 networks":        "ipv6 networks",
		"instance-backup":      "instance backup",
		"ResourcesGPUCardMdev": "resources gpu card mdev",
	} {
		if got := strings.Join(split(name), " "); got != want {
			t.Errorf("split(%q) = %q, want %q", name, got, want)
		}
	}
	if got := exported("Lifecycle", "network-acl-created"); got != "LifecycleNetworkACLCreated" {
		t.Errorf("exported: %s", got)
	}
}

func TestJSONToGo(t *testing.T) {
	for in, want := range map[string]string{
		"array of object NIC":              "[]NIC",
		"map[string]map[string]string":     "map[string]map[string]string",
		"map[string]array of string":       "map[string][]string",
		"int(StatusCode)":                  "StatusCode",
		"map[string]map[string]object Key": "map[string]map[string]Key",
		"int":                              "int64",
	} {
		if got, err := jsonToGo(in); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := jsonToGo("blob"); err == nil {
		t.Error("an unknown type must be an error")
	}
}

func TestHeaderExtensions(t *testing.T) {
	got := headerExtensions([]byte("# Import an image.\n# ext: a b\n#\n# ext: c\n\nexec true\n# ext: late\n"))
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %v", got)
	}
}
