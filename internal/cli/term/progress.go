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
