//go:build system

package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

// TestUpAndDownLeaveOthersFiles points the scripts at a folder that somebody else has files in.
func TestUpAndDownLeaveOthersFiles(t *testing.T) {
	harness.Bin(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"up", "down"} {
		c := exec.Command("../../scripts/" + script)
		c.Env = append(os.Environ(), "LXD_DIR="+dir)
		out, err := c.CombinedOutput()
		if script == "up" && (err == nil || !strings.Contains(string(out), "not of make up")) {
			t.Errorf("up: %v %s", err, out)
		}
		if list, _ := os.ReadDir(dir); len(list) != 1 {
			t.Fatalf("%s: %v %s", script, list, out)
		}
	}
}
