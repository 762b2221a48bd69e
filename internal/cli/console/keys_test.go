package console

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestKeys(t *testing.T) {
	for typed, want := range map[string]string{
		"abc": "abc EOF", "a\x01qb": "a detached", "\x01\x01": "\x01 EOF", "\x01x": "\x01x EOF", "\x01\x01\x01q": "\x01 detached", "": " EOF", "\x01": " EOF",
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(typed), "one by one": iotest.OneByteReader(strings.NewReader(typed)),
		} {
			got, err := io.ReadAll(iotest.OneByteReader(&keys{from: r}))
			end := " EOF"
			if err != nil {
				end = " " + err.Error()
			}
			if string(got)+end != want {
				t.Errorf("%q %s: %q, want %q", typed, name, string(got)+end, want)
			}
		}
	}
	if _, err := (&keys{}).Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}
