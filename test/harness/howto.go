package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Howto turns the guides in from (Markdown) into scripts in to, so that every command in them is run:
//
//	```sh             the block is run by a shell and has to succeed
//	```console        lines after "$ " are run; what they print has to contain the lines that follow, where … stands for anything
//	<!-- test         lines of a script that readers do not see; "let A=B" replaces A by B in all commands after it,
//	                  "next [real]" runs the next block only on that condition
//
// Files of other kinds of blocks are only read.
func Howto(from, to string) error {
	guides, err := filepath.Glob(filepath.Join(from, "*.md"))
	if err != nil || len(guides) == 0 {
		return fmt.Errorf("no guides in %s: %w", from, err)
	}
	for _, path := range guides {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		script, err := howto(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".md") + ".txtar"
		if err := os.WriteFile(filepath.Join(to, name), []byte(script), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// guide is one that is being read.
type guide struct {
	script, files strings.Builder
	blocks        int
	lets          []string
	next          string
}

var fence = regexp.MustCompile("^ *(```+)([a-z]*)$")

func howto(text string) (string, error) {
	g := &guide{}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		var end string
		switch m := fence.FindStringSubmatch(lines[i]); {
		case m != nil:
			end = m[1]
		case lines[i] == "<!-- test":
			end = "-->"
		case strings.HasPrefix(lines[i], "#"):
			fmt.Fprintf(&g.script, "\n%s\n", lines[i])
			continue
		default:
			continue
		}
		var block []string
		start := i
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != end; i++ {
			block = append(block, lines[i])
		}
		if i == len(lines) {
			return "", fmt.Errorf("line %d: the block does not end", start+1)
		}
		g.add(strings.TrimLeft(lines[start], " `"), block)
	}
	if g.blocks == 0 {
		return "", fmt.Errorf("there is no command in it")
	}
	return g.script.String() + g.files.String(), nil
}

func (g *guide) add(kind string, block []string) {
	switch kind {
	case "sh":
		g.run(strings.Join(block, "\n"))
	case "console":
		for _, line := range block {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				g.run(command)
				continue
			}
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", ".*")
			fmt.Fprintf(&g.script, "stdout '^%s *$'\n", strings.ReplaceAll(pattern, "'", "''"))
		}
	case "<!-- test":
		for _, line := range block {
			if let, ok := strings.CutPrefix(line, "let "); ok {
				from, to, _ := strings.Cut(let, "=")
				g.lets = append(g.lets, from, to)
				continue
			}
			if condition, ok := strings.CutPrefix(line, "next "); ok {
				g.next = condition + " "
				continue
			}
			g.script.WriteString(line + "\n")
		}
	}
}

// run has a shell run a command, in the network of the daemon.
func (g *guide) run(command string) {
	g.blocks++
	name := fmt.Sprintf("block%d.sh", g.blocks)
	fmt.Fprintf(&g.script, "%snet sh -eu %s\n", g.next, name)
	g.next = ""
	fmt.Fprintf(&g.files, "-- %s --\n%s\n", name, strings.NewReplacer(g.lets...).Replace(command))
}
