package run

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Jail is a program that reads what strangers have made, so that it might be turned against us. It sees no processes, no network and no
// files but the programs of the host (to read) and what Binds show it; its root has no rights outside, cannot gain any, and cannot make
// device nodes.
type Jail struct {
	Path string
	Args []string
	// Dir is any folder of the host: the root of the jail is mounted on it, where only the program can see that.
	Dir   string
	Binds []Bind
	// Memory is the most address space, FileSize the largest file, Time the longest that it may take.
	Memory, FileSize int64
	Time             time.Duration
}

// Bind shows a file or folder of the host at /Name of the jail.
type Bind struct {
	From, Name string
	Writable   bool
}

// Report is how a program in a jail ended.
type Report struct {
	Code   int
	Stderr string
}

// The programs that put the limits in force which the kernel does not take from us.
const (
	prlimit = "/usr/bin/prlimit"
	setpriv = "/usr/bin/setpriv"
)

// rights are the capabilities that the root of a jail keeps, over the files that are shown to it: to give them owners, modes and
// capabilities.
const rights = "-all,+chown,+dac_override,+fowner,+fsetid,+setfcap"

// Run runs the program to its end. An error says that it could not be run, or did not end in time; how it ended is in the report.
func (j Jail) Run(ctx context.Context) (r Report, err error) {
	for _, p := range []string{prlimit, setpriv, j.Path} {
		if _, err := os.Stat(p); err != nil {
			return r, fmt.Errorf("%s is not installed: install util-linux: %w", p, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, j.Time)
	defer cancel()
	onOwnThread(func() { r, err = j.run(ctx) })
	return r, err
}

// onOwnThread calls fn on a thread that is never used for anything else: it gets mounts of its own there, which the program inherits, and
// the thread ends with its goroutine. The main thread is not taken: it is what others see of this process.
func onOwnThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onOwnThread(fn) // while this one is held
			runtime.UnlockOSThread()
			return
		}
		fn()
	}()
	<-done
}

func (j Jail) run(ctx context.Context) (r Report, err error) {
	if err := j.furnish(); err != nil {
		return r, fmt.Errorf("prepare a place to run %s in: %w", filepath.Base(j.Path), err)
	}
	uids, err := identity("/proc/self/uid_map")
	if err != nil {
		return r, err
	}
	gids, err := identity("/proc/self/gid_map")
	if err != nil {
		return r, err
	}
	args := []string{"--as=" + strconv.FormatInt(j.Memory, 10), "--fsize=" + strconv.FormatInt(j.FileSize, 10), "--core=0", "--",
		setpriv, "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + rights, "--", j.Path}
	cmd := exec.CommandContext(ctx, prlimit, append(args, j.Args...)...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: syscall.SIGKILL, Chroot: j.Dir, UidMappings: uids, GidMappings: gids, GidMappingsEnableSetgroups: true,
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	text := &errorText{}
	cmd.Stderr, cmd.WaitDelay = text, drain
	err = cmd.Run()
	r.Stderr = text.String()
	if ctx.Err() != nil {
		return r, fmt.Errorf("%s was ended: %w", j.Path, ctx.Err())
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		r.Code = exitCode(cmd.ProcessState)
		return r, nil
	}
	return r, err
}

// furnish gives this thread mounts of its own, and makes the root of the jail.
func (j Jail) furnish() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// what is shown is taken hold of first: the folder of the jail may be above it
	var held []int
	defer func() {
		for _, fd := range held {
			_ = unix.Close(fd)
		}
	}()
	binds := j.Binds
	for _, dir := range []string{"usr", "lib", "lib64", "bin", "sbin"} {
		binds = append(binds[:len(binds):len(binds)], Bind{From: "/" + dir, Name: dir})
	}
	for _, b := range binds {
		fd, err := unix.Open(b.From, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			fd, err = -1, nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.From, err)
		}
		held = append(held, fd)
	}
	if err := unix.Mount("tmpfs", j.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,mode=755"); err != nil {
		return err
	}
	for i, b := range binds {
		if held[i] < 0 {
			continue
		}
		if err := b.show(held[i], filepath.Join(j.Dir, b.Name)); err != nil {
			return fmt.Errorf("%s: %w", b.From, err)
		}
	}
	return unix.Mount("", j.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "size=64k,mode=755")
}

// show mounts what fd holds at a path of the jail; a link is made again.
func (b Bind) show(fd int, at string) error {
	from := fmt.Sprintf("/proc/self/fd/%d", fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		to, err := os.Readlink(b.From)
		if err != nil {
			return err
		}
		return os.Symlink(to, at)
	case unix.S_IFDIR:
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(at, nil, 0o600); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV)
	if !b.Writable {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", at, "", flags, "")
}

// identity maps every id that there is here to itself.
func identity(path string) (all []syscall.SysProcIDMap, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var inside, outside, size int
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return all, nil
}

// errorText keeps the beginning and goes on taking.
type errorText struct{ b strings.Builder }

// maxText is how much of a program's errors is kept.
const maxText = 64 << 10

// Write takes everything.
func (w *errorText) Write(p []byte) (int, error) {
	if room := maxText - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String is what was kept.
func (w *errorText) String() string { return w.b.String() }
