//go:build system

package system

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/test/harness"
)

// TestInterruptCancels presses ctrl+c while a stop waits for a guest that does not heed it: the operation ends too.
func TestInterruptCancels(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "x")
	c := exec.Command(harness.Bin(t)+"/lxc", "stop", "x")
	c.Env = append(os.Environ(), "LXD_DIR="+d.Dir)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the operation runs", func() bool {
		_, body := d.HTTP("GET", "/1.0/operations", "")
		return strings.Contains(body, "/1.0/operations/")
	})
	time.Sleep(100 * time.Millisecond) // lxc has begun to wait
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("lxc reports a success")
	}
	eventually(t, "the operation is gone", func() bool {
		_, body := d.HTTP("GET", "/1.0/operations?recursion=1", "")
		return !strings.Contains(body, `"status":"Running"`)
	})
	if s := state(t, d, "x"); s.Status != "Running" {
		t.Errorf("the guest is %s", s.Status)
	}
}
