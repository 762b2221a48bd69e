package lxc

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// Whoever comes too late, when the process has ended, is told so.
func TestEnterWhatHasEnded(t *testing.T) {
	p := exec.Command("true")
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	in, err := (&Driver{}).enter(t.TempDir(), p.Process.Pid)
	if in != nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v %v", in, err)
	}
}
