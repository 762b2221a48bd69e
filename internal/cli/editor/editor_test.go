package editor_test

import (
	"bytes"
	"strings"
	"testing"

	"lxd/internal/cli/editor"
)

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct{ visual, editor, want, fails string }{
		"editor":        {"", "sed -i s/a/b/", "b\n", ""},
		"visual first":  {"sed -i s/a/c/", "sed -i s/a/b/", "c\n", ""},
		"left alone":    {"", "true", "a\n", ""},
		"failing":       {"", "false", "", "running the editor \"false\""},
		"not installed": {"", "no-such-editor", "", "set EDITOR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("VISUAL", c.visual)
			t.Setenv("EDITOR", c.editor)
			var out bytes.Buffer
			got, err := editor.Open(t.Context(), editor.Streams{In: strings.NewReader(""), Out: &out, Err: &out}, []byte("a\n"))
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, want %s", err, c.fails)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
