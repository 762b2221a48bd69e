package term

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Progress is a line on a terminal that is written again and again.
// Its zero value shows nothing, which is what callers use when there is no terminal.
type Progress struct {
	// Out is the terminal.
	Out  io.Writer
	last int
}

// Show replaces the line by text.
func (p *Progress) Show(text string) {
	if p.Out == nil {
		return
	}
	width := utf8.RuneCountInString(text)
	fmt.Fprintf(p.Out, "\r%s%s", text, strings.Repeat(" ", max(0, p.last-width)))
	p.last = width
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p.last > 0 {
		p.Show("")
		fmt.Fprint(p.Out, "\r")
		p.last = 0
	}
}

// Through shows below label how much was read of r.
func (p *Progress) Through(r io.Reader, label string) io.Reader {
	return &counting{r: r, line: p, label: label}
}

// counting shows how much was read.
type counting struct {
	r     io.Reader
	line  *Progress
	label string
	n     int64
	shown int64
}

// Read reads from the wrapped reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.n-c.shown > 1<<20 || err == io.EOF {
		c.shown = c.n
		c.line.Show(fmt.Sprintf("%s: %.2fMiB", c.label, float64(c.n)/(1<<20)))
	}
	return n, err
}
