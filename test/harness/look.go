package harness

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: json PATH [WANT]")
	}
	root, err := lastJSON(ts.ReadFile("stdout"))
	ts.Check(err)
	got, found := look(root, strings.Split(args[0], "/"))
	text := show(got)
	if len(args) == 1 {
		if found == neg {
			ts.Fatalf("%s: found %t, it is %s", args[0], found, text)
		}
		return
	}
	if !found {
		ts.Fatalf("there is no %s in %s", args[0], show(root))
	}
	same, err := fits(text, args[1])
	ts.Check(err)
	if same == neg {
		ts.Fatalf("%s is %s", args[0], text)
	}
}

func fits(text, want string) (bool, error) {
	if pattern, ok := strings.CutPrefix(want, "~"); ok {
		return regexp.MatchString(pattern, text)
	}
	return text == want, nil
}

// lastJSON finds the JSON that begins at the start of a line.
func lastJSON(text string) (root any, err error) {
	for line := range strings.Lines(text) {
		if c := line[0]; c == '{' || c == '[' {
			return root, json.NewDecoder(strings.NewReader(text)).Decode(&root)
		}
		text = text[len(line):]
	}
	return nil, fmt.Errorf("the last command printed no JSON")
}

// look follows a path.
func look(v any, path []string) (any, bool) {
	for _, name := range path {
		name = strings.ReplaceAll(name, "~1", "/")
		switch at := v.(type) {
		case map[string]any:
			if name == "_count" {
				v = float64(len(at))
				continue
			}
			var ok bool
			if v, ok = at[name]; !ok {
				return nil, false
			}
		case []any:
			if name == "_count" {
				v = float64(len(at))
				continue
			}
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// show writes strings as they are and everything else as JSON.
func show(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab VARIABLE REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	m := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("%s is not in what was printed: %s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], m[1])
}
