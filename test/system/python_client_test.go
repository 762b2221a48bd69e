//go:build system

package system

import (
	"strings"
	"testing"

	"lxd/test/harness"
)

// TestPythonClient has a session with a client that others have written: Debian's pylxd.
func TestPythonClient(t *testing.T) {
	d := harness.New(t)
	if out, err := d.Command("/usr/bin/python3", "-c", "import pylxd").CombinedOutput(); err != nil {
		t.Skipf("python3-pylxd is not installed: run \"scripts/deps --test\": %s", out)
	}
	d.Start()
	d.Init()
	out, err := d.Command("/usr/bin/python3", "-B", "testdata/python_client.py", harness.WriteImage(t, harness.Busybox(t))).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Errorf("%v: %s", err, out)
	}
}
