package table_test

import (
	"os"
	"path/filepath"
	"testing"

	"lxd/scripts/internal/table"
)

func write(t *testing.T, text string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "spec"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "spec", "x.tsv"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRead(t *testing.T) {
	rows, err := table.Read(write(t, "a\tb\n1\t\n2\t3\n"), "x")
	if err != nil || len(rows) != 2 || rows[0]["a"] != "1" || rows[0]["b"] != "" || rows[1]["b"] != "3" {
		t.Errorf("got %v, %v", rows, err)
	}
}

func TestReadRefusesExtraCells(t *testing.T) {
	if _, err := table.Read(write(t, "a\n1\t2\n"), "x"); err == nil {
		t.Error("a row longer than the header must be an error")
	}
}
