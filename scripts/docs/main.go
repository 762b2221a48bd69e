// Command docs writes doc/reference: the commands of lxc from its command tree, the configuration keys from their tables, and the
// description of the API from the routes.
//
// Usage: go run ./scripts/docs [-check]
//
// With -check nothing is written; the command lists the pages that are out of date and fails.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"lxd/internal/admin"
	"lxd/internal/app"
	"lxd/internal/cli"
)

// folder is what belongs to this command alone: whatever it does not write goes.
const folder = "doc/reference"

func main() {
	check := flag.Bool("check", false, "write nothing, fail if a page is out of date")
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(sources{*root}, *root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(from sources, root string, check bool) error {
	pages := map[string]string{}
	commands(cli.New().Root(), pages)
	program((&admin.Program{}).Root(), pages)
	keys(app.Tables(), pages)
	if err := from.describe(pages); err != nil {
		return err
	}
	base := filepath.Join(root, folder)
	stale, err := outdated(base, pages)
	if err != nil {
		return err
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("out of date, run `make gen`: %v", stale)
		}
		return nil
	}
	return write(base, pages, stale)
}

// outdated names the pages that differ from what is on disk, and files that are no pages any more.
func outdated(base string, pages map[string]string) ([]string, error) {
	var stale []string
	for name, text := range pages {
		old, err := os.ReadFile(filepath.Join(base, name))
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		if string(old) != text {
			stale = append(stale, name)
		}
	}
	found, err := filepath.Glob(filepath.Join(base, "*", "*"))
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		name, err := filepath.Rel(base, path)
		if err != nil {
			return nil, err
		}
		if _, ok := pages[name]; !ok && filepath.Ext(name) != ".go" {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

func write(base string, pages map[string]string, stale []string) error {
	for _, name := range stale {
		path := filepath.Join(base, name)
		text, ok := pages[name]
		if !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
