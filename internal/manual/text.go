package manual

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Markdown writes a page whose title is a heading of a level.
func Markdown(w io.Writer, p Page, level int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s `%s`\n\n%s\n", strings.Repeat("#", level), p.Name, code(p.Short))
	if rest := strings.TrimSpace(strings.TrimPrefix(p.Text, p.Short)); strings.Contains("\n"+rest, "\n  ") { // a list or a command, which would not survive filling
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", rest)
	} else if rest != "" {
		fmt.Fprintf(&b, "\n%s\n", code(rest))
	}
	if p.Usage != "" && len(p.Below) == 0 {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", p.Usage)
	}
	for _, name := range p.Below {
		fmt.Fprintf(&b, "%s- `%s`\n", map[bool]string{true: "\n"}[name == p.Below[0]], name)
	}
	if len(p.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso called: `%s`\n", strings.Join(p.Aliases, "`, `"))
	}
	if len(p.Flags) > 0 {
		b.WriteString("\n| Flag | Default | What it does |\n|---|---|---|\n")
		for _, f := range p.Flags {
			def := ""
			if f.Default != "" {
				def = "`" + cell(f.Default) + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.spelling(), def, cell(code(f.Text)))
		}
	}
	if p.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n\n```text\n%s\n```\n", p.Example)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// code keeps what looks like markup from being it.
func code(s string) string { return strings.NewReplacer("<", "\\<", "*", "\\*").Replace(s) }

// cell is s within a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// REST writes a page in reStructuredText.
func REST(w io.Writer, p Page) error {
	var b strings.Builder
	title := func(text, line string) {
		fmt.Fprintf(&b, "%s\n%s\n\n", text, strings.Repeat(line, len(text)))
	}
	literal := func(text string) {
		b.WriteString("::\n\n")
		for line := range strings.Lines(text) {
			b.WriteString(strings.TrimRight("  "+strings.TrimRight(line, "\n"), " ") + "\n")
		}
		b.WriteString("\n")
	}
	title(p.Name, "-")
	b.WriteString(p.Short + "\n\n")
	if rest := strings.TrimSpace(strings.TrimPrefix(p.Text, p.Short)); rest != "" {
		literal(rest)
	}
	if p.Usage != "" {
		title("Usage", "~")
		literal(p.Usage)
	}
	for _, group := range []struct {
		title string
		flags []Flag
	}{{"Options", p.Flags}, {"Global options", p.Global}} {
		if len(group.flags) == 0 {
			continue
		}
		title(group.title, "~")
		text := ""
		for _, f := range group.flags {
			text += fmt.Sprintf("%-28s %s\n", f.spelling(), f.describe())
		}
		literal(text)
	}
	if p.Example != "" {
		title("Examples", "~")
		literal(p.Example)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// YAML writes a page for other programs to read.
func YAML(w io.Writer, p Page) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(p); err != nil {
		return err
	}
	return e.Close()
}
