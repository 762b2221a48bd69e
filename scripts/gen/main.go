// Command gen writes the generated Go files of the repository from the tables in spec/.
//
// Usage: go run ./scripts/gen [-check]
//
// With -check nothing is written; the command lists the files that are out of date and fails.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"sort"
)

// file is one generated file: its path from the root of the repository, and its text.
type file struct {
	path string
	text []byte
}

func main() {
	check := flag.Bool("check", false, "write nothing, fail if a file is out of date")
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	stale, err := outdated(root, files)
	if err != nil {
		return err
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("out of date, run `make gen`: %v", stale)
		}
		return nil
	}
	for _, f := range files {
		path := filepath.Join(root, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.text, 0o644); err != nil {
			return err
		}
	}
	return removeLeftovers(root, files)
}

// generate makes every file in memory.
func generate(root string) ([]file, error) {
	var all []file
	for _, make := range []func(string) ([]file, error){typeFiles, codeFiles, extensionFiles, keyFiles} {
		files, err := make(root)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	for i, f := range all {
		text, err := format.Source(f.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		all[i].text = text
	}
	return all, nil
}

// outdated names the files that differ from what is on disk, and generated files that nothing makes any more.
func outdated(root string, files []file) ([]string, error) {
	var stale []string
	for _, f := range files {
		old, err := os.ReadFile(filepath.Join(root, f.path))
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		if !bytes.Equal(old, f.text) {
			stale = append(stale, f.path)
		}
	}
	gone, err := leftovers(root, files)
	return append(stale, gone...), err
}

// leftovers lists generated files in the folders written to that are not among files.
func leftovers(root string, files []file) ([]string, error) {
	made, dirs := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		made[f.path], dirs[filepath.Dir(f.path)] = true, true
	}
	var gone []string
	for dir := range dirs {
		found, err := filepath.Glob(filepath.Join(root, dir, "*_gen.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			rel := filepath.Join(dir, filepath.Base(path))
			if !made[rel] {
				gone = append(gone, rel)
			}
		}
	}
	sort.Strings(gone)
	return gone, nil
}

func removeLeftovers(root string, files []file) error {
	gone, err := leftovers(root, files)
	if err != nil {
		return err
	}
	for _, path := range gone {
		if err := os.Remove(filepath.Join(root, path)); err != nil {
			return err
		}
	}
	return nil
}
