package main

import (
	"strings"
	"testing"
)

// stream is what go test prints for the results of one package.
func stream(events ...string) string { return strings.Join(events, "\n") + "\n" }

func TestSummary(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		ok   bool
		want []string
	}{
		"pass and skip": {stream(
			`{"Action":"run","Package":"p","Test":"A"}`, `{"Action":"pass","Package":"p","Test":"A"}`,
			`{"Action":"run","Package":"p","Test":"B"}`, `{"Action":"output","Package":"p","Test":"B","Output":"=== RUN   B\n"}`,
			`{"Action":"output","Package":"p","Test":"B","Output":"    b_test.go:7: no /dev/kvm here\n"}`,
			`{"Action":"output","Package":"p","Test":"B","Output":"--- SKIP: B (0.00s)\n"}`,
			`{"Action":"skip","Package":"p","Test":"B"}`, `{"Action":"pass","Package":"p","Elapsed":1.25}`,
		), true, []string{"ok   p (1.2s)", "  p B: no /dev/kvm here\n", "\n1 passed, 0 failed, 1 skipped\n"}},
		"a failed subtest counts once": {stream(
			`{"Action":"run","Package":"p","Test":"A"}`, `{"Action":"run","Package":"p","Test":"A/x"}`, `{"Action":"run","Package":"p","Test":"A/y"}`,
			`{"Action":"output","Package":"p","Test":"A/x","Output":"got 1\n"}`, `{"Action":"fail","Package":"p","Test":"A/x"}`,
			`{"Action":"pass","Package":"p","Test":"A/y"}`, `{"Action":"fail","Package":"p","Test":"A"}`, `{"Action":"fail","Package":"p"}`,
		), false, []string{"failed: p A/x\ngot 1\n", "FAIL p", "1 passed, 1 failed, 0 skipped"}},
		"a parent fails by itself": {stream(
			`{"Action":"run","Package":"p","Test":"A"}`, `{"Action":"run","Package":"p","Test":"A/x"}`, `{"Action":"pass","Package":"p","Test":"A/x"}`,
			`{"Action":"fail","Package":"p","Test":"A"}`, `{"Action":"fail","Package":"p"}`,
		), false, []string{"1 passed, 1 failed, 0 skipped"}},
		"build failure": {stream(
			`{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:1: broken\n"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
		), false, []string{"x.go:1: broken", "0 passed, 1 failed, 0 skipped"}},
		"never ended":  {stream(`{"Action":"run","Package":"p","Test":"A"}`), false, []string{"did not end", "0 passed, 1 failed"}},
		"no test":      {stream(`{"Action":"pass","Package":"p"}`), false, []string{"no test ran"}},
		"foreign text": {stream(`go: downloading x`, `{"Action":"run","Package":"p","Test":"A"}`, `{"Action":"pass","Package":"p","Test":"A"}`), true, []string{"go: downloading x\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(); ok != c.ok {
				t.Errorf("finish() = %v", ok)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q is missing in:\n%s", w, out.String())
				}
			}
		})
	}
}
