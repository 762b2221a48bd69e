package harness_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

func TestHowto(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(from, "g.md"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# Title\n\nWords.\n\n<!-- test\nimage i.tar.gz\nlet 8443=$PORT\nnext [real]\n-->\n\n```sh\nlxc list\nlxc set :8443\n```\n\n```text\nno command\n```\n\n```console\n$ lxc list -f csv\nc1,… it's (on)\n```\n")
	if err := harness.Howto(from, to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "g.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	want := "\n# Title\nimage i.tar.gz\n[real] net sh -eu block1.sh\nnet sh -eu block2.sh\nstdout '^c1,.* it''s \\(on\\) *$'\n-- block1.sh --\nlxc list\nlxc set :$PORT\n-- block2.sh --\nlxc list -f csv\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for text, want := range map[string]string{"```sh\nlxc list\n": "line 1: the block does not end", "Words.\n": "no command"} {
		write(text)
		if err := harness.Howto(from, to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
