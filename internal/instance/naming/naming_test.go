package naming_test

import (
	"regexp"
	"strings"
	"testing"

	"lxd/internal/instance/naming"
)

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"c1": true, "A-b": true, "1a": true, strings.Repeat("x", 63): true,
		"": false, "-a": false, "a-": false, "12": false, "a_b": false, "a.b": false, "a/b": false, "ä": false, strings.Repeat("x", 64): false, "a\n": false,
	} {
		if err := naming.Check(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	two := regexp.MustCompile(`^[a-z]+-[a-z]+$`)
	seen := map[string]bool{}
	for range 200 {
		n := naming.New()
		if !two.MatchString(n) || naming.Check(n) != nil {
			t.Error(n)
		}
		seen[n] = true
	}
	if len(seen) < 150 {
		t.Error("only", len(seen), "names")
	}
}
