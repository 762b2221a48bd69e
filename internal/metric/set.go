package metric

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// set collects samples by the name of their metric.
type set map[string][]sample

// sample is one value; labels are written out already: `name="c1",project="default"`, sorted by name.
type sample struct {
	labels string
	value  float64
}

// label is one pair of a sample.
type label struct{ name, value string }

func (s set) add(name string, value float64, labels ...label) {
	s[name] = append(s[name], sample{join(labels), value})
}

// join sorts labels by name and escapes their values.
func join(labels []label) string {
	slices.SortFunc(labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for i, l := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l.name)
		b.WriteString(`="`)
		b.WriteString(escape.Replace(l.value))
		b.WriteByte('"')
	}
	return b.String()
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// merge takes over the samples of other.
func (s set) merge(other set) {
	for name, samples := range other {
		s[name] = append(s[name], samples...)
	}
}

// write writes the text format of metrics: families in the order of the table, the end marked.
func (s set) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, f := range families {
		samples := s[f.name]
		if len(samples) == 0 {
			continue
		}
		out.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " " + string(f.kind) + "\n")
		for _, x := range samples {
			out.WriteString(f.name)
			if x.labels != "" {
				out.WriteString("{" + x.labels + "}")
			}
			out.WriteString(" " + strconv.FormatFloat(x.value, 'g', -1, 64) + "\n")
		}
	}
	out.WriteString("# EOF\n")
	return out.Flush() // the first failure stays
}
