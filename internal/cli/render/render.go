// Package render prints lists and objects in the formats that lxc offers: csv, json, table, yaml and compact.
package render

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"

	"lxd/internal/cli/term"
)

// Formats names the formats of lists, for help texts.
const Formats = "csv|json|table|yaml|compact"

// Rows says whether format shows rows and columns rather than the raw objects; an unknown format is an error.
func Rows(format string) (bool, error) {
	switch format {
	case "table", "compact", "csv":
		return true, nil
	case "json", "yaml":
		return false, nil
	}
	return false, fmt.Errorf("Invalid format %q", format)
}

// Grid is a list as rows of cells under a header.
type Grid struct {
	// Header has the title of each column.
	Header []string
	// Rows are as wide as the header.
	Rows [][]string
}

// List prints a list: g in the formats made of rows, raw in the others.
func List(w io.Writer, format string, g Grid, raw any) error {
	switch format {
	case "table":
		return Table(w, g.Header, g.Rows)
	case "compact":
		return Compact(w, g.Header, g.Rows)
	case "csv":
		rows := g.Rows
		if term.Is(w) {
			rows = plain(rows)
		}
		out := csv.NewWriter(w)
		if err := out.WriteAll(rows); err != nil {
			return err
		}
		out.Flush()
		return out.Error()
	case "json":
		return JSON(w, raw)
	case "yaml":
		return YAML(w, raw)
	}
	return fmt.Errorf("Invalid format %q", format)
}

// JSON prints v in one line.
func JSON(w io.Writer, v any) error {
	return json.NewEncoder(w).Encode(v)
}

// YAML prints v with lists at the indentation of their key, as LXD's clients always did.
func YAML(w io.Writer, v any) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(v); err != nil {
		return err
	}
	return enc.Close()
}

// Sort puts rows into natural order: by the first column that differs, numbers inside of texts counting as numbers.
func Sort(rows [][]string) {
	slices.SortStableFunc(rows, func(a, b []string) int {
		for i := range min(len(a), len(b)) {
			if c := Compare(a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	})
}
