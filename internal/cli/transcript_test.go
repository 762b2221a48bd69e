package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/internal/cli"
)

var update = flag.Bool("update", false, "write what lxc printed into the transcripts")

// A transcript is a file of command lines and what they do. "$ " starts a command, "< " lines are its standard input;
// what follows is made by the test: "> " a request and its body, "! " a line on standard error, "= " an exit code that
// is not 0, and plain lines on standard output, after a bar.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts found", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			answers := fixture()
			if strings.HasSuffix(file, "cluster.txt") {
				clusterFixture(answers)
			}
			f := startFake(t, answers)
			var got strings.Builder
			for _, block := range blocks(string(want)) {
				got.WriteString(block.head)
				play(f, block, &got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			compare(t, string(want), got.String())
		})
	}
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("line %d differs (run with -update if it should)\nwant %s\n got %s", i+1, w[i], g[i])
		}
	}
	if len(w) != len(g) {
		t.Fatalf("want %d lines, got %d", len(w), len(g))
	}
}

// block is one command with its comment and its input.
type block struct {
	head, stdin string
	args        []string
}

func blocks(text string) []block {
	var out []block
	comment := ""
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"):
			comment += line
		case strings.HasPrefix(line, "$ lxc"):
			out = append(out, block{head: comment + line, args: split(strings.TrimSpace(strings.TrimPrefix(line, "$ lxc")))})
			comment = ""
		case strings.HasPrefix(line, "< "):
			b := &out[len(out)-1]
			b.head += line
			b.stdin += line[2:]
		}
	}
	return out
}

// split separates words at blanks, except between single quotes.
func split(line string) []string {
	var out []string
	quoted, started, word := false, false, ""
	for _, r := range line + " " {
		switch {
		case r == '\'':
			quoted, started = !quoted, true
		case r == ' ' && !quoted:
			if started || word != "" {
				out = append(out, word)
			}
			started, word = false, ""
		default:
			word += string(r)
		}
	}
	return out
}

func play(f *fake, b block, got *strings.Builder) {
	var out, errs bytes.Buffer
	app := &cli.App{In: strings.NewReader(b.stdin), Out: &out, Err: &errs}
	code := app.Run(context.Background(), b.args)
	requests := f.recorded()
	if strings.Contains(b.head, "side by side") {
		slices.Sort(requests)
	}
	for _, r := range requests {
		fmt.Fprintf(got, "> %s\n", r)
	}
	for line := range strings.Lines(out.String()) {
		fmt.Fprintf(got, "|%s\n", strings.TrimSuffix(line, "\n"))
	}
	for line := range strings.Lines(errs.String()) {
		fmt.Fprintf(got, "! %s\n", strings.TrimSuffix(line, "\n"))
	}
	if code != 0 {
		fmt.Fprintf(got, "= %d\n", code)
	}
	got.WriteString("\n")
}
