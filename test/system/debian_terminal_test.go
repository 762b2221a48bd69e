//go:build system

package system

import (
	"os"
	"testing"

	"lxd/test/harness"
)

// TestDebianTerminal types into a shell of the guest.
func TestDebianTerminal(t *testing.T) {
	d := guests(t)
	d.LXC("launch", "debian", "c1")
	up(t, d, "c1")
	x := harness.OnTerminal(t, d.Command(os.Getenv("LXD_TEST_BIN")+"/lxc", "exec", "c1", "--", "bash", "--norc", "-i"), 91, 33)
	x.Type("PS1='ready> '\r")
	x.Expect("\nready> ")
	x.Type("stty size\r")
	x.Expect("33 91")
	x.Resize(120, 50)
	x.Type("until [ \"$(stty size)\" = '50 120' ]; do sleep 0.1; done; echo re''sized\r")
	x.Expect("resized")
	x.Type("tty; test -t 0 && test -t 1 && test -t 2 && echo all-ter''minals\r")
	x.Expect("/dev/pts/")
	x.Expect("all-terminals")

	x.Type("sleep 1000\r")
	x.Expect("sleep 1000")
	x.Type("\x03") // ctrl-c
	x.Expect("ready> ")
	x.Type("echo code=$?\r")
	x.Expect("code=130")

	x.Type("sleep 1001\r")
	x.Expect("sleep 1001")
	x.Type("\x1a") // ctrl-z
	x.Expect("Stopped")
	x.Type("jobs\r")
	x.Expect("sleep 1001")
	x.Type("bg\r")
	x.Expect("sleep 1001 &")
	x.Type("kill %1; wait; echo wai''ted\r")
	x.Expect("waited")

	x.Type("echo be''gin; cat\r")
	x.Expect("begin")
	x.Type("hello\r")
	x.Expect("hello")
	x.Expect("hello") // echoed by the terminal, then by cat
	x.Type("\x04")    // ctrl-d
	x.Expect("ready> ")
	x.Type("ps -o tty= -p $$; exit 37\r")
	x.Expect("exit")
	if code := x.Wait(); code != 37 {
		t.Errorf("exit code %d", code)
	}

	// a terminal that is gone takes its programs with it
	y := harness.OnTerminal(t, d.Command(os.Getenv("LXD_TEST_BIN")+"/lxc", "exec", "c1", "--", "sleep", "54321"), 80, 24)
	const find = "grep -sl '5432[1]' /proc/[0-9]*/cmdline"
	eventually(t, "sleep runs", func() bool { _, err := d.TryLXC("exec", "c1", "--", "sh", "-c", find); return err == nil })
	y.Close()
	eventually(t, "sleep is gone", func() bool { _, err := d.TryLXC("exec", "c1", "--", "sh", "-c", find); return err != nil })
}
