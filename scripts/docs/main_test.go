package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lxd/internal/endpoint"
	"lxd/internal/schema"
)

func TestPages(t *testing.T) {
	text := schema.Type{Name: "string"}
	pages := map[string]string{}
	keys(endpoint.Tables{"thing": {"a": {
		{Name: "z.size", Type: text, Default: "a|b", Short: "How big.", Long: "It may grow."},
		{Name: "b.mode", Type: schema.OneOf("one", "two"), Short: "Which", Condition: "container"},
		{Name: "c.later", Type: text, Short: "Nothing yet", Later: true}}}}, pages)
	want := "| Key | Type | Default | What it does |\n|---|---|---|---|\n| `b.mode` | one, two |  | Which. Applies to: container |\n| `z.size` | string | `a\\|b` | How big. It may grow |\n"
	if got := pages["config/thing.md"]; !strings.HasSuffix(got, want) {
		t.Errorf("got %s", got)
	}
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "lxc"}
	things := &cobra.Command{Use: "things", Short: "Manage things"}
	things.AddCommand(&cobra.Command{Use: "list <where>", Short: "List them", Run: run})
	root.AddCommand(things, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	commands(root, pages)
	if got := pages["cli/README.md"]; !strings.Contains(got, "| [lxc things](things.md) | Manage things |\n") || strings.Contains(got, "secret") {
		t.Errorf("got %s", got)
	}
	program(root, pages)
	if got := pages["cli/lxc.md"]; !strings.Contains(got, "# The commands of lxc\n") || !strings.Contains(got, "## `lxc things list`\n") {
		t.Errorf("got %s", got)
	}
	if got := pages["cli/things.md"]; !strings.Contains(got, "- `lxc things list`\n") || !strings.Contains(got, "```text\nlxc things list <where> [flags]\n```") {
		t.Errorf("got %s", got)
	}
}

// What is written is up to date; what is changed or left over is found, and put right.
func TestFreshness(t *testing.T) {
	root := t.TempDir()
	if err := run(sources{"../.."}, root, true); err == nil {
		t.Error("nothing is there, and that is fine")
	}
	if err := run(sources{"../.."}, root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(sources{"../.."}, root, true); err != nil {
		t.Error(err)
	}
	change := func(name string) {
		if err := os.WriteFile(filepath.Join(root, folder, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change("cli/list.md")
	change("config/gone.md")
	err := run(sources{"../.."}, root, true)
	if err == nil || !strings.Contains(err.Error(), "[cli/list.md config/gone.md]") {
		t.Errorf("got %v", err)
	}
	if err := run(sources{"../.."}, root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(sources{"../.."}, root, true); err != nil {
		t.Error(err)
	}
}
