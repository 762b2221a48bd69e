// Command coverage tells how much of the API in spec/ exists in this repository.
//
// Usage: go run ./scripts/coverage [-have] [-manifest FILE]
//
// It prints a count for endpoints, configuration keys, commands, flags and extensions, then what is missing of each, and what
// exists but is not in the tables. What exists is asked of the program itself: the routes and keys of `bin/lxd manifest` (or of
// a file in that form), the command trees, and the advertised extensions.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"

	"lxd/api"
	"lxd/internal/admin"
	"lxd/internal/cli"
)

func main() {
	root := flag.String("root", ".", "root of the repository")
	path := flag.String("manifest", "", "read the manifest from this file instead of running bin/lxd")
	have := flag.Bool("have", false, "also list what exists")
	flag.Parse()
	if err := run(os.Stdout, *root, *path, *have); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, root, path string, have bool) error {
	m, err := load(root, path)
	if err != nil {
		return err
	}
	m.Extensions = api.Advertised()
	m.Commands = append(m.Commands, tree((&admin.Program{}).Root())...)
	m.Commands = append(m.Commands, tree(cli.New().Root())...)
	want, err := readSpec(root)
	if err != nil {
		return err
	}
	report(w, compare(want, m), have)
	return nil
}

// load gets the manifest from a file, or from the daemon program.
func load(root, path string) (manifest, error) {
	var m manifest
	var data []byte
	var err error
	if path != "" {
		data, err = os.ReadFile(path)
	} else {
		data, err = exec.Command(root+"/bin/lxd", "manifest").Output()
	}
	if err != nil {
		return m, fmt.Errorf("no manifest, run `make build` first: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("the manifest is not in the expected form: %w", err)
	}
	return m, nil
}
