package arch

import (
	"fmt"
	"go/ast"
	"slices"
)

// Measure are the numbers that are watched but do not fail a build by themselves.
type Measure struct {
	MedianFunction, MedianFile int
	CodeLines, TestLines       int
}

// MeasureOf takes the numbers over all code that is written by hand.
func MeasureOf(t *Tree) Measure {
	var m Measure
	var functions, files []int
	t.functions(func(_ *File, fn *ast.FuncDecl) { functions = append(functions, t.span(fn.Body)) })
	for _, f := range t.Go {
		switch {
		case f.Generated:
		case f.Test || isSuite(f):
			m.TestLines += f.Lines
		default:
			m.CodeLines += f.Lines
			files = append(files, f.Lines)
		}
	}
	m.MedianFunction, m.MedianFile = median(functions), median(files)
	return m
}

func median(values []int) int {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (m Measure) String() string {
	return fmt.Sprintf("median function %d lines (wanted: 10 at most), median file %d (120 at most), test lines %.2f of code (0.80 at least)",
		m.MedianFunction, m.MedianFile, float64(m.TestLines)/float64(max(1, m.CodeLines)))
}
