package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// guestDir is where guestTool puts the program, one folder for each run of the tests of a package.
func guestDir() string { return filepath.Join(os.TempDir(), "lxd-guest-"+strconv.Itoa(os.Getpid())) }

// Clean removes what the tests of a package share; call it when all of them have ended.
func Clean() error { return os.RemoveAll(guestDir()) }

// guestTool builds the program of test/guest once.
var guestTool = sync.OnceValues(func() (string, error) {
	if err := os.Mkdir(guestDir(), 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(guestDir(), "guest")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "lxd/test/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = &buildError{string(out), err}
	}
	return path, err
})

type buildError struct {
	out string
	err error
}

func (e *buildError) Error() string { return e.err.Error() + ": " + e.out }

// GuestTool is the program, without needs of its own, that asks the server from inside an instance.
func GuestTool(t testing.TB) string {
	t.Helper()
	path, err := guestTool()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
