package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Restarter is a daemon that a script can end and start again on the same state.
type Restarter interface {
	// Stop ends the daemon and leaves its state and instances.
	Stop() error
	// Start starts it, and returns when it serves or why it does not.
	Start() error
}

type restarterKey struct{}

// Restarting prepares a script for the command restart.
func Restarting(env *testscript.Env, d Restarter) { env.Values[restarterKey{}] = d }

// Restarts tells whether a script of that name in dir has the command restart.
func Restarts(dir, name string) bool {
	b, err := os.ReadFile(filepath.Join(dir, name+".txtar"))
	return err == nil && strings.Contains("\n"+string(b), "\nrestart")
}

// restart is the command of that name.
func restart(ts *testscript.TestScript, neg bool, args []string) {
	d, ok := ts.Value(restarterKey{}).(Restarter)
	if !ok {
		ts.Fatalf("the daemon of this script cannot be restarted")
	}
	ts.Check(d.Stop())
	for _, a := range args {
		name, from, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("usage: restart [NAME=FILE …]")
		}
		ts.Check(place(filepath.Join(ts.Getenv("LXD_DIR"), name), from, ts))
	}
	err := d.Start()
	if err == nil && neg {
		ts.Fatalf("the daemon started")
	}
	if err != nil && !neg {
		ts.Fatalf("the daemon does not start: %v", err)
	}
	if err != nil {
		_, werr := ts.Stderr().Write([]byte(err.Error() + "\n"))
		ts.Check(werr)
	}
}

// place puts a copy of a file of the script at path; without a file there is none from then on.
func place(path, from string, ts *testscript.TestScript) error {
	if from == "" {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.WriteFile(path, []byte(ts.ReadFile(from)), 0o600)
}
