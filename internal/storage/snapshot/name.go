// Package snapshot says how snapshots of instances and volumes are called, and when they are due.
package snapshot

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lxd/internal/errs"
)

// CheckName fails with Invalid on a name that a snapshot may not have.
func CheckName(name string) error {
	const most = 255
	bad := func(why string) error { return errs.Newf(errs.Invalid, "invalid snapshot name %q: %s", name, why) }
	switch {
	case name == "":
		return bad("it is empty")
	case len(name) > most:
		return bad("it is longer than " + strconv.Itoa(most) + " characters")
	case name[0] == '.':
		return bad("it may not start with a dot")
	case strings.ContainsAny(name, "/?&+"):
		return bad("/ ? & and + are not allowed")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }):
		return bad("control characters are not allowed")
	}
	return nil
}

// variable is the one thing that a pattern can have between braces: when the snapshot is made, in a layout of the user's if need be.
var variable = regexp.MustCompile(`\{\{\s*creation_date\s*(?:\|\s*date\s*:\s*(?:"([^"{}]*)"|'([^'{}]*)')\s*)?\}\}`)

// CheckPattern accepts a template for the names of snapshots.
func CheckPattern(pattern string) error {
	rest := variable.ReplaceAllString(pattern, "")
	switch {
	case strings.Contains(rest, "{{") || strings.Contains(rest, "}}") || strings.Contains(rest, "{%") || strings.Contains(rest, "{#"):
		return errors.New("only {{ creation_date }} and {{ creation_date|date:'2006-01-02_15-04-05' }} may be between braces")
	case strings.Count(rest, "%d") > 1:
		return errors.New("%d may be there once only")
	}
	return CheckName(fill(pattern, time.Unix(0, 0), "0"))
}

// fill puts the time and the number into a pattern.
func fill(pattern string, now time.Time, number string) string {
	return strings.Replace(dated(pattern, now), "%d", number, 1)
}

func dated(pattern string, now time.Time) string {
	return variable.ReplaceAllStringFunc(pattern, func(v string) string {
		m := variable.FindStringSubmatch(v)
		layout := m[1] + m[2]
		if layout == "" {
			return now.Format("2006-01-02_15-04-05")
		}
		return now.Format(layout)
	})
}

// Name makes up the next name that a pattern asks for: %d becomes one more than the highest number that any of taken has in its
// place. Without %d a name that is taken gets a number at its end.
func Name(pattern string, taken []string, now time.Time) (string, error) {
	text := dated(pattern, now)
	if !strings.Contains(text, "%d") {
		if !slices.Contains(taken, text) {
			return text, CheckName(text)
		}
		text += "-%d"
	}
	before, after, _ := strings.Cut(text, "%d")
	next := 0
	for _, t := range taken {
		digits, ok1 := strings.CutPrefix(t, before)
		digits, ok2 := strings.CutSuffix(digits, after)
		if n, err := strconv.Atoi(digits); ok1 && ok2 && err == nil && n >= next {
			next = n + 1
		}
	}
	name := fmt.Sprint(before, next, after)
	return name, CheckName(name)
}
