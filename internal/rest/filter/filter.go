// Package filter is the language in which clients ask for a part of a list: "status eq running and config.limits.cpu ne 2".
package filter

import (
	"regexp"
	"strings"

	"lxd/internal/errs"
)

// Limits keep a hostile filter cheap.
const (
	textMax  = 8 << 10
	valueMax = 1 << 10
)

// Filter is a parsed text. It is used by one goroutine at a time.
type Filter struct{ clauses []clause }

// clause is one comparison; and tells how it is joined to what stands left of it.
type clause struct {
	and, not, ne bool
	field, value string

	re    *regexp.Regexp
	reErr error
}

// Parse reads a filter; an empty text is no filter, nil. It fails with Invalid.
func Parse(text string) (*Filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > textMax {
		return nil, errs.Newf(errs.Invalid, "filter is longer than %d characters", textMax)
	}
	words, err := split(text)
	if err != nil {
		return nil, err
	}
	f := &Filter{}
	for first := true; first || len(words) > 0; first = false {
		c := clause{and: true}
		if !first {
			if words[0] != "and" && words[0] != "or" {
				return nil, errs.Newf(errs.Invalid, "filter: %q found where \"and\" or \"or\" must stand", words[0])
			}
			c.and, words = words[0] == "and", words[1:]
		}
		if words, err = c.read(words); err != nil {
			return nil, err
		}
		f.clauses = append(f.clauses, c)
	}
	return f, nil
}

// read takes one comparison off the words.
func (c *clause) read(words []string) ([]string, error) {
	if len(words) > 0 && words[0] == "not" {
		c.not, words = true, words[1:]
	}
	if len(words) < 3 {
		return nil, errs.Newf(errs.Invalid, "filter ends early: a comparison is FIELD eq VALUE or FIELD ne VALUE")
	}
	c.field, c.value = words[0], words[2]
	switch words[1] {
	case "eq":
	case "ne":
		c.ne = true
	default:
		return nil, errs.Newf(errs.Invalid, "filter: %q is no operator: use eq or ne", words[1])
	}
	if len(c.value) > valueMax {
		return nil, errs.Newf(errs.Invalid, "filter: the value for %s is longer than %d characters", c.field, valueMax)
	}
	c.re, c.reErr = pattern(c.value)
	return words[3:], nil
}

// split cuts the text at spaces; a part in double quotes stays one word and must hold a space.
func split(text string) ([]string, error) {
	var words []string
	fields := strings.Fields(text)
	for len(fields) > 0 {
		word := fields[0]
		if !strings.HasPrefix(word, `"`) {
			words, fields = append(words, word), fields[1:]
			continue
		}
		quoted, left, err := unquote(fields)
		if err != nil {
			return nil, err
		}
		words, fields = append(words, quoted), left
	}
	return words, nil
}

// unquote joins the fields up to the one that closes the quote.
func unquote(fields []string) (text string, left []string, err error) {
	if len(fields[0]) > 1 && strings.HasSuffix(fields[0], `"`) {
		return "", nil, errs.Newf(errs.Invalid, "filter: %s needs no quotes: leave them out", fields[0])
	}
	for i, part := range fields[1:] {
		if strings.HasSuffix(part, `"`) {
			whole := strings.Join(fields[:i+2], " ")
			return whole[1 : len(whole)-1], fields[i+2:], nil
		}
	}
	return "", nil, errs.Newf(errs.Invalid, "filter: the quote before %q is never closed", fields[0][1:])
}

// pattern makes the case-insensitive expression that a text must match as a whole.
func pattern(value string) (*regexp.Regexp, error) {
	if strings.ContainsAny(value, "^$") {
		return regexp.Compile("(?i)" + value)
	}
	return regexp.Compile("(?i)^(?:" + value + ")$")
}

// Match tells whether v, a struct with yaml names or a pointer to one, is asked for. A field that v does not have, or a value
// that cannot be compared with the field, is an error.
func (f *Filter) Match(v any) (bool, error) {
	all := true
	for i := range f.clauses {
		c := &f.clauses[i]
		ok, err := c.match(v)
		switch {
		case err != nil:
			return false, err
		case c.and:
			all = all && ok
		default:
			all = all || ok
		}
	}
	return all, nil
}

func (c *clause) match(v any) (bool, error) {
	field, err := lookup(v, c.field)
	if err != nil {
		return false, err
	}
	eq, err := c.equal(field)
	return eq != (c.ne != c.not), err
}
