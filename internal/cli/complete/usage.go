package complete

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// spot is one argument in the usage line of a command.
type spot struct {
	// what is the word between angle brackets, such as "instance"; sub is the one that follows it after a slash.
	what, sub string
	// remote says that a remote may stand in front of it.
	remote bool
	// repeats says that any number of them may follow.
	repeats bool
	// pair says that it is a key, an equals sign and a value.
	pair bool
}

// Most runs complete nothing, and must not wait for these.
var (
	words  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:<[^>]*>|[^\s<])+`) })
	placed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<([^>]*)>`) })
)

// spots reads a usage line such as "attach [<remote>:]<network> <instance> [<device name>]".
func spots(use string) []spot {
	var out []spot
	_, rest, _ := strings.Cut(use, " ")
	for _, word := range words().FindAllString(rest, -1) {
		switch {
		case strings.HasPrefix(strings.TrimLeft(word, "["), "--"), word == "[flags]":
		case repeatsLast(word, out):
			out[len(out)-1].repeats = true
		default:
			out = append(out, newSpot(word))
		}
	}
	return out
}

func newSpot(word string) spot {
	s := spot{remote: strings.Contains(word, "<remote>:") || strings.Contains(word, "<remote:>"), repeats: strings.Contains(word, "..."), pair: strings.Contains(word, "=")}
	var names []string
	for _, m := range placed().FindAllStringSubmatch(word, -1) {
		if !strings.HasPrefix(m[1], "remote") {
			names = append(names, m[1])
		}
	}
	if strings.Contains(word, "<type>/") && len(names) > 1 {
		names = names[1:]
	}
	if strings.HasPrefix(word, "[key=") {
		names = []string{"key"}
	}
	if len(names) > 0 {
		s.what = names[0]
	}
	if len(names) > 1 && !s.pair && strings.Contains(word, "/") {
		s.sub = names[1]
	}
	return s
}

// repeatsLast tells a word like "[[<remote>:]<instance>...]", which says that the argument before it may come again.
func repeatsLast(word string, before []spot) bool {
	if len(before) == 0 || !strings.Contains(word, "...") || strings.Contains(word, "=") {
		return false
	}
	m := placed().FindAllStringSubmatch(word, -1)
	return slices.ContainsFunc(m, func(m []string) bool { return m[1] == before[len(before)-1].what })
}

// at is the spot of the n-th argument, if there is one.
func at(all []spot, n int) (spot, bool) {
	switch {
	case n < len(all):
		return all[n], true
	case slices.ContainsFunc(all, func(s spot) bool { return s.repeats }):
		return all[len(all)-1], true
	}
	return spot{}, false
}
