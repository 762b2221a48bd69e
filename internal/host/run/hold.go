package run

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StartTime is when process pid was started, in the kernel's ticks. With the number it names a process for ever.
func StartTime(pid int) (uint64, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// Hold holds process pid if it still runs and was started at that time.
func Hold(pid int, started uint64) (p *Process, ok bool, err error) {
	if pid <= 0 {
		return nil, false, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("hold process %d: %w", pid, err)
	}
	// Only now look at it: what is held cannot become another process. One that is dead but not buried does not run either.
	f, err := stat(pid)
	if err != nil || f[19] != strconv.FormatUint(started, 10) || f[0] == "Z" || f[0] == "X" {
		_ = unix.Close(fd)
		return nil, false, nil
	}
	if p, err = hold(pid, fd); err != nil {
		return nil, false, err
	}
	return p, true, nil
}

// Duplicate is another descriptor of the process, to hand over to a child; the caller closes it.
func (p *Process) Duplicate() (*os.File, error) {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(from uintptr) { fd, failed = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// stat is /proc/PID/stat from the third field on; the name before it may hold anything.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	return f, nil
}
