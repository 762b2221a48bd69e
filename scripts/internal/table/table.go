// Package table reads the fact tables in spec/.
package table

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Row is a line of a table, by column name.
type Row map[string]string

// Read returns the rows of spec/NAME.tsv under the root of the repository.
func Read(root, name string) ([]Row, error) {
	path := filepath.Join(root, "spec", name+".tsv")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	head := strings.Split(lines[0], "\t")
	rows := make([]Row, 0, len(lines)-1)
	for i, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		if len(cells) > len(head) {
			return nil, fmt.Errorf("%s:%d: %d cells under %d headings", path, i+2, len(cells), len(head))
		}
		r := Row{}
		for j, cell := range cells {
			r[head[j]] = cell
		}
		rows = append(rows, r)
	}
	return rows, nil
}
