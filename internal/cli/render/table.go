package render

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"

	"lxd/internal/cli/term"
)

// Table prints rows in a grid with a line between each two. A cell may have several lines.
func Table(w io.Writer, header []string, rows [][]string) error {
	rows = plain(rows)
	g := measure(header, rows)
	out := bufio.NewWriter(w)
	rule := g.rule()
	out.WriteString(rule)
	g.line(out, "|", header, center)
	out.WriteString(rule)
	for _, row := range rows {
		g.cells(out, "|", row)
		out.WriteString(rule)
	}
	return out.Flush()
}

// Compact prints rows under their header without any lines.
func Compact(w io.Writer, header []string, rows [][]string) error {
	rows = plain(rows)
	g := measure(header, rows)
	out := bufio.NewWriter(w)
	g.line(out, "", header, center)
	for _, row := range rows {
		g.cells(out, "", row)
	}
	return out.Flush()
}

// plain is rows without what a terminal would take for commands.
func plain(rows [][]string) [][]string {
	out := make([][]string, len(rows))
	for i, row := range rows {
		out[i] = make([]string, len(row))
		for n, cell := range row {
			out[i][n] = term.Plain(cell)
		}
	}
	return out
}

// grid is the width of each column.
type grid []int

func measure(header []string, rows [][]string) grid {
	g := make(grid, len(header))
	widen := func(row []string) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				g[i] = max(g[i], utf8.RuneCountInString(line))
			}
		}
	}
	widen(header)
	for _, row := range rows {
		widen(row)
	}
	return g
}

func (g grid) rule() string {
	var b strings.Builder
	for _, width := range g {
		b.WriteByte('+')
		b.WriteString(strings.Repeat("-", width+2))
	}
	b.WriteString("+\n")
	return b.String()
}

// cells prints one row, on as many lines as its highest cell has.
func (g grid) cells(out *bufio.Writer, border string, row []string) {
	height := 1
	for _, cell := range row {
		height = max(height, 1+strings.Count(cell, "\n"))
	}
	if height == 1 {
		g.line(out, border, row, left)
		return
	}
	lines := make([][]string, height)
	for i, cell := range row {
		parts := strings.Split(cell, "\n")
		for n := range lines {
			text := ""
			if n < len(parts) {
				text = parts[n]
			}
			lines[n] = append(lines[n][:i:i], text)
		}
	}
	for _, line := range lines {
		g.line(out, border, line, left)
	}
}

// line prints one line. Without a border every cell stands between two blanks, and one more starts the line.
func (g grid) line(out *bufio.Writer, border string, row []string, pad func(string, int) string) {
	if border == "" {
		out.WriteByte(' ')
	}
	out.WriteString(border)
	for i, width := range g {
		out.WriteByte(' ')
		out.WriteString(pad(row[i], width))
		out.WriteByte(' ')
		out.WriteString(border)
	}
	if border == "" {
		out.WriteByte(' ')
	}
	out.WriteByte('\n')
}

func left(s string, width int) string {
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

func center(s string, width int) string {
	free := width - utf8.RuneCountInString(s)
	return strings.Repeat(" ", free/2) + s + strings.Repeat(" ", free-free/2)
}
