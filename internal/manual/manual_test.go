package manual_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lxd/internal/manual"
)

func tree() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "A tool", CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.PersistentFlags().BoolP("quiet", "q", false, "Say nothing")
	sub := &cobra.Command{Use: "list <what>", Aliases: []string{"ls"}, Short: "List things", Long: "List things\n\nColumns:\n.a - first\\last", Example: "tool list x", Run: run}
	sub.Flags().StringP("format", "f", "table", "Format (csv|table)``")
	sub.Flags().StringArray("env", nil, "A <variable>``")
	root.AddCommand(sub, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	return root
}

func TestFormats(t *testing.T) {
	pages := manual.Pages(tree())
	if len(pages) != 2 || pages[1].Name != "tool list" {
		t.Fatalf("got %+v", pages)
	}
	for format, want := range map[string][]string{
		"man": {"tool-list.1", ".TH TOOL\\-LIST 1", ".B tool list <what> [flags]", "\\&.a \\- first\\elast", "\\fB\\-f, \\-\\-format VALUE\\fP\nFormat (csv|table) (default table)",
			".SH GLOBAL OPTIONS\n.TP\n\\fB\\-q, \\-\\-quiet\\fP", ".BR tool (1)\n"},
		"md":   {"tool_list.md", "## `tool list`", "Also called: `ls`", "| `-f, --format VALUE` | `table` | Format (csv\\|table) |", "A \\<variable>"},
		"rest": {"tool_list.rst", "tool list\n---------\n", "  -f, --format VALUE           Format (csv|table) (default table)\n", "  tool list x\n"},
		"yaml": {"tool_list.yaml", "name: tool list\n", "  - name: format\n    shorthand: f\n    takes_value: true\n    default_value: table\n", "parent: tool\n"},
	} {
		dir := filepath.Join(t.TempDir(), "made")
		if err := manual.Save(dir, format, pages); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, want[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want[1:] {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s lacks %q in\n%s", format, w, text)
			}
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) != 2 {
			t.Errorf("%s: files %v", format, found)
		}
	}
	if err := manual.Save(t.TempDir(), "docx", pages); err == nil || !strings.Contains(err.Error(), "docx") {
		t.Errorf("an unknown format: %v", err)
	}
}

// What reads manual pages finds nothing to complain about.
func TestManIsRoff(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed")
	}
	var b strings.Builder
	if err := manual.Man(&b, manual.Pages(tree())[1]); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(groff, "-man", "-Tascii", "-ww")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "warning") || !strings.Contains(string(out), ".a - first\\last") {
		t.Errorf("%v: %s", err, out)
	}
}
