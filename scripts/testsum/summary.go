package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// event is a line of `go test -json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// test is one test or subtest, or, without a name, its package.
type test struct {
	pkg, name string
	output    []string
	// parent has subtests; childFailed tells that one of them failed.
	parent, childFailed bool
}

// summary collects the results.
type summary struct {
	w                       io.Writer
	tests                   map[[2]string]*test
	builds                  map[string][]string
	passed, failed, skipped int
	skips, failures         []string
	// badPackages have a failed test, so that the failure of the package itself says nothing new.
	badPackages map[string]bool
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, tests: map[[2]string]*test{}, builds: map[string][]string{}, badPackages: map[string]bool{}}
}

// read takes in a stream of events. Lines that are no events are passed on.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(s.w, lines.Text())
			continue
		}
		s.take(e)
	}
	return lines.Err()
}

func (s *summary) take(e event) {
	if e.Action == "build-output" {
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
		return
	}
	t := s.lookup(e.Package, e.Test)
	switch e.Action {
	case "run":
		if i := strings.LastIndex(e.Test, "/"); i > 0 {
			s.lookup(e.Package, e.Test[:i]).parent = true
		}
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		s.end(t, e)
		delete(s.tests, [2]string{e.Package, e.Test})
	}
}

func (s *summary) lookup(pkg, name string) *test {
	key := [2]string{pkg, name}
	if s.tests[key] == nil {
		s.tests[key] = &test{pkg: pkg, name: name}
	}
	return s.tests[key]
}

// end counts a finished test. A test with subtests counts only if it fails by itself.
func (s *summary) end(t *test, e event) {
	if t.name == "" {
		s.endPackage(t, e)
		return
	}
	switch {
	case e.Action == "fail":
		s.badPackages[t.pkg] = true
		s.failures = append(s.failures, t.pkg+" "+t.name+"\n"+strings.Join(t.output, ""))
		if i := strings.LastIndex(t.name, "/"); i > 0 {
			s.lookup(t.pkg, t.name[:i]).childFailed = true
		}
		if !t.childFailed {
			s.failed++
		}
	case t.parent:
	case e.Action == "skip":
		s.skipped++
		s.skips = append(s.skips, fmt.Sprintf("%s %s: %s", t.pkg, t.name, reason(t.output)))
	default:
		s.passed++
	}
}

func (s *summary) endPackage(t *test, e event) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(s.w, "ok   %s (%.1fs)\n", t.pkg, e.Elapsed)
	case "fail":
		fmt.Fprintf(s.w, "FAIL %s (%.1fs)\n", t.pkg, e.Elapsed)
		if !s.badPackages[t.pkg] {
			s.failed++
			s.failures = append(s.failures, t.pkg+"\n"+strings.Join(append(s.builds[e.FailedBuild], t.output...), ""))
		}
	}
}

var location = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reason is the text that a test gave to Skip.
func reason(output []string) string {
	var lines []string
	for _, l := range output {
		if l = strings.TrimRight(l, "\n"); l != "" && !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(strings.TrimSpace(l), "--- ") {
			lines = append(lines, strings.TrimSpace(location.ReplaceAllString(l, "")))
		}
	}
	if len(lines) == 0 {
		return "no reason given"
	}
	return strings.Join(lines, " ")
}

// finish prints failures, skips and totals, and tells whether all is well. A test that never ended counts as failed.
func (s *summary) finish() bool {
	for key, t := range s.tests {
		if key[1] != "" && !t.parent {
			s.failed++
			s.failures = append(s.failures, t.pkg+" "+t.name+" did not end\n"+strings.Join(t.output, ""))
		}
	}
	for _, f := range s.failures {
		fmt.Fprintf(s.w, "\nfailed: %s", f)
	}
	if len(s.skips) > 0 {
		fmt.Fprintf(s.w, "\nskipped:\n  %s\n", strings.Join(s.skips, "\n  "))
	}
	if s.passed+s.failed+s.skipped == 0 {
		fmt.Fprintln(s.w, "no test ran")
		s.failed++
	}
	fmt.Fprintf(s.w, "\n%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return s.failed == 0
}
