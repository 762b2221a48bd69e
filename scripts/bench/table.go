package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// bench holds the two servers and what was measured.
type bench struct {
	ours, theirs *server
	rounds, many int
	made         map[*server]int
	// tokens are those of identities of ours, by their names.
	tokens map[string]string
	lines  []line
}

type line struct {
	row
	ours, theirs, got float64
}

// measure takes turns between the two servers, so that a noisy moment hits both.
func (b *bench) measure(ctx context.Context, r row) error {
	servers := []*server{b.ours, b.theirs}
	if r.alone != "" {
		servers = servers[:1]
	}
	for _, s := range servers {
		if r.prepare != nil {
			if err := r.prepare(ctx, b, s); err != nil {
				return err
			}
		}
	}
	rounds := b.rounds
	if r.rounds != 0 {
		rounds = r.rounds
	}
	got := map[*server][]float64{}
	for i := range rounds {
		for _, s := range servers {
			v, err := r.measure(ctx, b, s, i)
			if err != nil {
				return err
			}
			got[s] = append(got[s], v)
		}
	}
	for _, s := range servers {
		if r.finish != nil {
			if err := r.finish(ctx, b, s); err != nil {
				return err
			}
		}
	}
	b.record(r, got)
	return nil
}

func (b *bench) record(r row, got map[*server][]float64) {
	l := line{row: r, ours: median(got[b.ours]), theirs: median(got[b.theirs])}
	if r.base != "" {
		for _, o := range b.lines {
			if o.name == r.base {
				l.theirs = o.ours
			}
		}
	}
	if l.theirs > 0 {
		l.got = l.ours / l.theirs
	}
	b.lines = append(b.lines, l)
	fmt.Printf("%-58s %10.2f %10.2f %s  ratio %.3f of %.2f\n", l.name, l.ours, l.theirs, l.unit, l.got, l.ratio)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (b *bench) table() string {
	var t strings.Builder
	t.WriteString("| what | ours | 5.0.2 | ratio | at most | |\n|---|---|---|---|---|---|\n")
	for _, l := range b.lines {
		verdict := "reached"
		if l.got > l.ratio || l.got == 0 {
			verdict = "**missed**"
		}
		fmt.Fprintf(&t, "| %s | %.1f %s | %.1f %s | %.3f | %.2f | %s |\n", l.name, l.ours, l.unit, l.theirs, l.unit, l.got, l.ratio, verdict)
	}
	return t.String()
}

func page(table string) string {
	return "# Performance\n\nMeasured by `make bench`: this program and Debian's lxd 5.0.2 side by side in one run, taking turns, medians,\n" +
		"each with its own client, on a dir pool unless it says otherwise. Absolute times depend on the machine; the ratios hold.\n\n" + table
}
