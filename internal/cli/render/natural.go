package render

import "strings"

// Compare orders a and b naturally: runs of digits compare as numbers, so that c2 comes before c10. An empty text comes last.
func Compare(a, b string) int {
	if a == "" || b == "" {
		return len(b) - len(a)
	}
	whole := strings.Compare(a, b)
	for a != "" && b != "" {
		if digit(a[0]) && digit(b[0]) {
			na, nb := number(a), number(b)
			if c := compareNumbers(a[:na], b[:nb]); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return whole
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// number is the length of the run of digits that s starts with.
func number(s string) int {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return n
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
