package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// runners are the folders that may start programs; everything else asks the first of them, which sets deadlines and escapes.
// netns is for tests: it runs the test program again.
var runners = []string{"internal/host/run", "internal/host/netns", "internal/host/idmap", "internal/host/mount", "internal/cli/editor", "internal/cli/sshfs", "scripts", "test"}

// NoExec keeps the starting of programs in one place.
func NoExec(t *Tree) []string {
	var out []string
	for _, f := range t.Go {
		if f.Test || slices.ContainsFunc(runners, func(r string) bool { return within(f.Dir(), r) }) {
			continue
		}
		for _, imp := range f.AST.Imports {
			if imp.Path.Value == `"os/exec"` {
				out = append(out, t.at(imp, "programs are started through internal/host/run"))
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && (sel.Sel.Name == "StartProcess" || sel.Sel.Name == "ForkExec") {
				out = append(out, t.at(n, "programs are started through internal/host/run"))
			}
			return true
		})
	}
	return out
}

// foreign matches what does not belong into the text of the repository: paths of the machine it was written on, hosts of package
// registries, and talk about how it came to be. The odd brackets keep the expression from matching itself.
var foreign = regexp.MustCompile(strings.Join([]string{
	`/wor[k]/(main|shared|wt|\.library)\b`,
	`/var/tmp/(w[s]|t-)`,
	`/home/[a]-z`,
	`(proxy|sum)\.gola[n]g\.org`,
	`(deb|security)\.debia[n]\.org`,
	`regis[t]ry\.npmjs|pyp[i]\.org|cra[t]es\.io`,
	`(?i)\b(cla[u]de|anthro[p]ic|chat[g]pt|copi[l]ot|l[l]ms?)\b`,
	`(?i)\b(sub-?agen[t]s?|coding agen[t]|ai[- ]gene[r]ated|this sessi[o]n|helper sessi[o]n|workpla[c]e)\b`,
	`(?i)\bissue #?[0-9]+\b`,
}, "|"))

// ForeignWords finds such text in any file.
func ForeignWords(t *Tree) []string {
	var out []string
	for p, text := range t.Text {
		for i, line := range strings.Split(text, "\n") {
			if found := foreign.FindString(line); found != "" {
				out = append(out, fmt.Sprintf("%s:%d: %q does not belong here", p, i+1, found))
			}
		}
	}
	return out
}

// maxHelperLines keeps the C program small enough to be read in one sitting.
const maxHelperLines = 1000

// Helper checks the length of the C code.
func Helper(t *Tree) []string {
	n := 0
	for p, text := range t.Text {
		if within(p, "helper") && (strings.HasSuffix(p, ".c") || strings.HasSuffix(p, ".h")) {
			n += strings.Count(text, "\n")
		}
	}
	if n > maxHelperLines {
		return []string{fmt.Sprintf("helper: %d lines of C, at most %d", n, maxHelperLines)}
	}
	return nil
}

// Proven checks that a script names each of the extensions that are advertised.
func Proven(t *Tree, advertised []string) []string {
	named := map[string]bool{}
	for p, text := range t.Text {
		if !within(p, "test/script") && !within(p, "test/system/script") || !strings.HasSuffix(p, ".txtar") {
			continue
		}
		for _, line := range strings.Split(text, "\n") {
			if list, ok := strings.CutPrefix(line, "# ext:"); ok {
				for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' }) {
					named[name] = true
				}
			}
		}
	}
	var out []string
	for _, name := range advertised {
		if !named[name] {
			out = append(out, fmt.Sprintf("extension %s is advertised, but no script under test names it; run `make gen`", name))
		}
	}
	return out
}
