package alias_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/internal/cli/alias"
	"lxd/internal/cli/command"
)

// run is a run of lxc with these aliases.
func run(t *testing.T, aliases string) *command.App {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("LXD_CONF", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.yml"), []byte("aliases:\n"+aliases), 0o600); err != nil {
		t.Fatal(err)
	}
	return &command.App{}
}

func TestExpand(t *testing.T) {
	a := run(t, "  li: list -c ns\n  li all: list --all-projects\n  at: config device add @ARG2@ @ARG1@ disk\n  say: exec c1 -- sh -c \"echo 'it  works'\"\n"+
		"  bad: exec c1 -- 'x\n  in: exec @ARGS@ -- sh\n  odd: exec @ARG9@ @ARGx@\n")
	for typed, want := range map[string]string{
		"list c1":                     "list|c1",
		"li":                          "list|-c|ns",
		"li all c1":                   "list|--all-projects|c1",
		"li c1 all":                   "list|-c|ns|c1|all",
		"at data c1 path=/":           "config|device|add|c1|data|disk|path=/",
		"say":                         "exec|c1|--|sh|-c|echo 'it  works'",
		"bad":                         "exec|c1|--|'x",
		"in c1 -T":                    "exec|c1|-T|--|sh",
		"odd a":                       "exec|@ARG9@|@ARGx@|a",
		"shell c1 --user 5":           "exec|c1|--user|5|--|su|-l",
		"__complete in c":             "__complete|exec|c",
		"__complete li all c":         "__complete|list|--all-projects|c",
		"__complete li":               "__complete|li",
		"__completeNoDesc shell c1 -": "__completeNoDesc|exec|c1|-",
		"":                            "",
	} {
		got, err := alias.Expand(a, strings.Fields(typed))
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: got %q, %v, want %q", typed, strings.Join(got, "|"), err, want)
		}
	}
}

func TestNames(t *testing.T) {
	got := alias.Names(map[string]string{"li": "list", "li all": "list", "b": "x"})
	if want := []string{"b", "li", "shell"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnreadableConfiguration(t *testing.T) {
	a := run(t, "\t- broken\n")
	if _, err := alias.Expand(a, []string{"list"}); err == nil || !strings.Contains(err.Error(), "config.yml") {
		t.Errorf("got %v", err)
	}
}
