package lxc

import (
	"strings"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// config collects the lines of a liblxc configuration. It is the only way into that file: whatever a user can choose passes through
// line, which lets nothing through that could begin a line of its own.
type config struct {
	text strings.Builder
	err  error
}

// set adds one line.
func (c *config) set(key, value string) { c.line(key, quoted(value)) }

// line adds one line as it is. The first value that cannot be written is kept as the error of the whole.
func (c *config) line(key, value string) {
	if c.err != nil {
		return
	}
	if i := strings.IndexFunc(value, control); i >= 0 {
		c.err = errs.Newf(errs.Invalid, "%s has the control character %q in its value: it must be one line of plain text", key, value[i])
		return
	}
	c.text.WriteString(key)
	c.text.WriteString(" = ")
	c.text.WriteString(value)
	c.text.WriteByte('\n')
}

// fields adds one line of blank-separated fields as in fstab, where blanks and backslashes are written in octal.
func (c *config) fields(key string, fields ...string) {
	for i, f := range fields {
		if f == "" && c.err == nil {
			c.err = errs.Newf(errs.Invalid, "%s has an empty field %d", key, i+1)
		}
		fields[i] = octal.Replace(f)
	}
	c.set(key, strings.Join(fields, " "))
}

// raw adds lines that the administrator wrote in liblxc's own language.
func (c *config) raw(text string) {
	lines, err := machine.ParseRaw(text)
	if err != nil && c.err == nil {
		c.err = err
	}
	for _, l := range lines {
		c.line(l.Key, l.Value)
	}
}

func (c *config) fail(format string, a ...any) {
	if c.err == nil {
		c.err = errs.Newf(errs.Invalid, format, a...)
	}
}

// String is the whole text.
func (c *config) String() string { return c.text.String() }

// octal writes what separates fields in the manner of fstab(5).
var octal = strings.NewReplacer(`\`, `\134`, " ", `\040`)

func control(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }

func notKey(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
}

// quoted protects a value from losing its outer blanks or quotes: liblxc strips one pair of quotes.
func quoted(v string) string {
	if v == "" {
		return v
	}
	first, last := v[0], v[len(v)-1]
	if strings.TrimSpace(v) != v || first == last && (first == '"' || first == '\'') {
		return `"` + v + `"`
	}
	return v
}
