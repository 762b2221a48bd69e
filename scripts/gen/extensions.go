package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lxd/scripts/internal/table"
)

func extensionFiles(root string) ([]file, error) {
	rows, err := table.Read(root, "extensions")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	var all []string
	for i, r := range rows {
		if r["n"] != fmt.Sprint(i+1) {
			return nil, fmt.Errorf("extensions.tsv:%d: numbered %s, want %d", i+2, r["n"], i+1)
		}
		known[r["name"]] = true
		all = append(all, r["name"])
	}
	exercised := map[string]string{}
	for _, dir := range []string{"test/script", "test/system/script"} {
		if err := scriptExtensions(filepath.Join(root, dir), exercised); err != nil {
			return nil, err
		}
	}
	for name, script := range exercised {
		if !known[name] {
			return nil, fmt.Errorf("%s: %q is not in spec/extensions.tsv", script, name)
		}
	}
	var proven []string
	for _, name := range all {
		if exercised[name] != "" {
			proven = append(proven, name)
		}
	}
	return []file{
		nameList("api/extensions_gen.go", "extensions holds every extension in the order in which clients expect them.", "extensions", all),
		nameList("api/proven_gen.go", "proven holds the extensions that a script under test exercises.", "proven", proven),
	}, nil
}

func nameList(path, doc, name string, values []string) file {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\nvar %s = [...]string{\n", doc, name)
	for _, v := range values {
		fmt.Fprintf(&b, "%q,\n", v)
	}
	b.WriteString("}\n")
	return file{path: path, text: withHeader("extensions", b.String())}
}

// scriptExtensions finds the `# ext: NAME` lines at the head of the scripts below dir, and notes for each name in which script it was seen.
func scriptExtensions(dir string, found map[string]string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".txtar") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range headerExtensions(data) {
			found[name] = path
		}
		return nil
	})
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// headerExtensions reads the names from the comment lines before the first command of a script.
func headerExtensions(script []byte) []string {
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(script))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line != "" && !strings.HasPrefix(line, "#") {
			break
		}
		if list, ok := strings.CutPrefix(line, "# ext:"); ok {
			names = append(names, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })...)
		}
	}
	return names
}
