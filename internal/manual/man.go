package manual

import (
	"fmt"
	"io"
	"strings"
)

// Man writes a page for man(1).
func Man(w io.Writer, p Page) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"LXD\" \"LXD commands\"\n", roff(strings.ToUpper(strings.ReplaceAll(p.Name, " ", "-"))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(strings.ReplaceAll(p.Name, " ", "-")), roff(p.Short))
	if p.Usage != "" {
		fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(p.Usage))
	}
	b.WriteString(".SH DESCRIPTION\n")
	block(&b, p.Text)
	if len(p.Aliases) > 0 {
		fmt.Fprintf(&b, ".SH ALIASES\n%s\n", roff(strings.Join(p.Aliases, ", ")))
	}
	manFlags(&b, "OPTIONS", p.Flags)
	manFlags(&b, "GLOBAL OPTIONS", p.Global)
	if p.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		block(&b, p.Example)
	}
	also := p.Below
	if p.Parent != "" {
		also = append([]string{p.Parent}, also...)
	}
	if len(also) > 0 {
		b.WriteString(".SH SEE ALSO\n")
		for i, name := range also {
			end := ","
			if i == len(also)-1 {
				end = ""
			}
			fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(strings.ReplaceAll(name, " ", "-")), end)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// block writes text as it stands, since lists and commands in it would not survive filling.
func block(b *strings.Builder, text string) {
	b.WriteString(".nf\n")
	for line := range strings.Lines(text) {
		b.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
	}
	b.WriteString(".fi\n")
}

func manFlags(b *strings.Builder, title string, flags []Flag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	for _, f := range flags {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fP\n%s\n", roff(f.spelling()), roff(f.describe()))
	}
}

// spelling is how the flag is typed.
func (f Flag) spelling() string {
	out := "--" + f.Name
	if f.Short != "" {
		out = "-" + f.Short + ", " + out
	}
	if f.Takes {
		out += " VALUE"
	}
	return out
}

// describe is what the flag does and what it is when left out.
func (f Flag) describe() string {
	if f.Default == "" {
		return f.Text
	}
	return f.Text + " (default " + f.Default + ")"
}

// roff protects what means something to the formatter.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}
