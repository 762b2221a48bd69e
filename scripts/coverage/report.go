package main

import (
	"fmt"
	"io"
)

// report prints the counts of all sections, then their lists.
func report(w io.Writer, results []result, have bool) {
	for _, r := range results {
		fmt.Fprintf(w, "%-11s %4d of %4d", r.title, len(r.have), r.total)
		if len(r.unknown)+len(r.differ) > 0 {
			fmt.Fprintf(w, " (%d not in the tables, %d different)", len(r.unknown), len(r.differ))
		}
		fmt.Fprintln(w)
	}
	for _, r := range results {
		if have {
			list(w, r.title+" that exist", r.have)
		}
		list(w, r.title+" missing", r.missing)
		list(w, r.title+" not in the tables", r.unknown)
		list(w, r.title+" that differ from the tables", r.differ)
	}
}

func list(w io.Writer, title string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s (%d):\n", title, len(items))
	for _, item := range items {
		fmt.Fprintf(w, "  %s\n", item)
	}
}
