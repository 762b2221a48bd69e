// Package netns gives tests a machine of their own to do network things in: a fresh network, process and mount namespace in which
// nothing can disturb the host, and of which nothing is left when the test program ends.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"lxd/internal/host/netlink"
)

// inside is set in the environment of the re-run program.
const inside = "LXD_TEST_NETNS"

// Runner is a *testing.M.
type Runner interface{ Run() int }

// Main is what TestMain of a package calls: as root it runs the test program again, inside; else the tests run where they are and
// those that need root skip (see Skip).
func Main(m Runner) {
	if os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	if os.Getpid() != 1 { // a worker of a fuzz test, started by the program inside
		os.Exit(m.Run())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the test's namespaces:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Skip skips a test that is not inside.
func Skip(t interface {
	Helper()
	Skip(...any)
}) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root, for network namespaces of its own")
	}
}

// again runs the program a second time; its thread must live on, since the kernel kills the child with it.
func again() int {
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "run the tests in namespaces of their own:", err)
	return 1
}

// prepare mounts what must match the new namespaces, and brings the loopback interface up.
func prepare() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, m := range []struct{ fs, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}} {
		if err := syscall.Mount(m.fs, m.at, m.fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	lo, _, err := netlink.Find("lo")
	if err != nil {
		return err
	}
	return netlink.SetUp(lo.Index)
}
