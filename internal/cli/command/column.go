package command

import (
	"fmt"
	"slices"
)

// Column is one column of a list of T, with the letter that picks it.
type Column[T any] struct {
	letter rune
	title  string
	cell   func(*T) string
}

// Col is a column of a list.
func Col[T any](letter rune, title string, cell func(*T) string) Column[T] {
	return Column[T]{letter, title, cell}
}

// Pick finds the columns that letters name.
func Pick[T any](letters string, known []Column[T]) ([]Column[T], error) {
	var out []Column[T]
	for _, letter := range letters {
		if letter == ',' {
			continue
		}
		i := slices.IndexFunc(known, func(c Column[T]) bool { return c.letter == letter })
		if i < 0 {
			return nil, unknownColumn(letter, letters)
		}
		out = append(out, known[i])
	}
	return out, nil
}

func unknownColumn(letter rune, columns string) error {
	return fmt.Errorf("Unknown column shorthand char '%c' in '%s'", letter, columns)
}

// LayOut renders the cells of items.
func LayOut[T any](columns []Column[T], items []T) (header []string, rows [][]string) {
	for _, c := range columns {
		header = append(header, c.title)
	}
	rows = make([][]string, len(items))
	for i := range items {
		rows[i] = make([]string, len(columns))
		for n, c := range columns {
			rows[i][n] = c.cell(&items[i])
		}
	}
	return header, rows
}

// YesNo is the word for b in lists.
func YesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
