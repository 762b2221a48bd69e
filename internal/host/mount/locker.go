package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Locker settles what may be done through mounts that are handed to containers. Whoever has all rights in the user namespace that a mount
// namespace belongs to may change the mounts in it, such as make those writable that are read-only; the kernel keeps them from it for
// mounts that came from a namespace with more rights by propagation, and for copies of such. So there are two namespaces of this
// process's own, one of them with fewer rights, and nothing in either but one shared folder: a mount is shown in the first, and taken from
// the second.
//
// Its zero value is ready. The namespaces are made at the first use.
type Locker struct {
	mu sync.Mutex
	// outer and inner are the two namespaces.
	outer, inner *os.File
	// shared is the folder in the first, and copy what is seen of it in the second.
	shared, copy int
	count        int
}

// Lock returns a tree like t in which read-only and similar properties are final, and closes t.
func (l *Locker) Lock(t *Tree) (locked *Tree, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { err = errors.Join(err, t.Close()) }()
	if l.outer == nil {
		if err := l.prepare(); err != nil {
			return nil, fmt.Errorf("prepare the hand-over of mounts: %w", err)
		}
	}
	l.count++
	name := strconv.Itoa(l.count)
	if err := l.place(t, name); err != nil {
		return nil, fmt.Errorf("hand over a mount: %w", err)
	}
	var fd int
	err = within(l.outer, func() (err error) {
		if err := moveTo(t.fd, l.shared, name); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.clear(name)) }()
		if err := enter(int(l.inner.Fd())); err != nil {
			return err
		}
		fd, err = unix.OpenTree(l.copy, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hand over a mount: %w", err)
	}
	return &Tree{fd}, nil
}

// place makes what the tree is shown at for a moment: a folder, or a file.
func (l *Locker) place(t *Tree, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(t.fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.Mkdirat(l.shared, name, 0o700)
	}
	return unix.Mknodat(l.shared, name, unix.S_IFREG|0o600, 0)
}

// clear takes away what was shown, in both namespaces. It is for a thread within either.
func (l *Locker) clear(name string) error {
	err := enter(int(l.outer.Fd())) // the shared folder is the root there
	if err == nil {
		err = unix.Unmount("/"+name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err != nil {
		return err
	}
	err = unix.Unlinkat(l.shared, name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(l.shared, name, unix.AT_REMOVEDIR)
	}
	return err
}

func moveTo(tree, dir int, name string) error {
	return unix.MoveMount(tree, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// Close lets the namespaces go.
func (l *Locker) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.outer == nil {
		return nil
	}
	err := errors.Join(l.outer.Close(), l.inner.Close(), unix.Close(l.shared), unix.Close(l.copy))
	l.outer = nil
	return err
}

// prepare makes the namespaces.
func (l *Locker) prepare() error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	made := Locker{shared: -1, copy: -1}
	err = apart(func() error { return made.unshare(proc) })
	if err == nil {
		err = within(made.inner, func() (err error) {
			made.copy, err = openRoot()
			return err
		})
	}
	if err != nil {
		made.discard()
		return err
	}
	l.outer, l.inner, l.shared, l.copy = made.outer, made.inner, made.shared, made.copy
	return nil
}

// discard lets go of what was made so far.
func (l *Locker) discard() {
	for _, f := range []*os.File{l.outer, l.inner} {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}
	for _, fd := range []int{l.shared, l.copy} {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing was written
		}
	}
}

// unshare makes the first namespace out of this thread's, leaves nothing in it but an empty shared folder, and has a child make the
// second out of it. proc is the folder of processes, which is not seen from inside.
func (l *Locker) unshare(proc *os.File) error {
	host, err := openRoot()
	if err != nil {
		return err
	}
	defer unix.Close(host)
	if err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNS)); err != nil {
		return err
	}
	if l.outer, err = openFile(int(proc.Fd()), "thread-self/ns/mnt", unix.O_RDONLY); err != nil {
		return err
	}
	if err := l.empty(); err != nil {
		return err
	}
	if l.shared, err = openRoot(); err != nil {
		return err
	}
	if err := unix.Fchdir(host); err != nil {
		return err
	}
	return child(func(pid int) (err error) {
		l.inner, err = openFile(int(proc.Fd()), strconv.Itoa(pid)+"/ns/mnt", unix.O_RDONLY)
		return err
	})
}

// empty leaves one shared folder in the namespace of this thread, as its root. What else is mounted would be kept from being unmounted on
// the host.
func (l *Locker) empty() error {
	if err := os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	t, err := Filesystem("tmpfs", "tmpfs", []string{"mode=700"})
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Attach("/"); err != nil {
		return err
	}
	if err := unix.Fchdir(t.fd); err != nil {
		return err
	}
	if err := os.NewSyscallError("pivot_root", unix.PivotRoot(".", ".")); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // the old root is on top of the new one
		return os.NewSyscallError("umount", err)
	}
	return t.set(unix.MountAttr{Propagation: unix.MS_SHARED}, "share")
}

func openRoot() (int, error) {
	return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func openFile(dir int, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// child calls look with a process that has a mount and a user namespace of its own, and has not begun to run its program, which it finds
// from the working folder on.
func child(look func(pid int) error) error {
	const program = "/proc/self/exe"
	pid, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Chroot: ".", Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}}) // it is killed by this thread, before that ends
	if err != nil {
		return os.NewSyscallError("fork", err)
	}
	defer func() {
		_ = unix.Kill(pid, unix.SIGKILL) // it is stopped
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR && (err != nil || !ws.Stopped()) {
				return
			}
		}
	}()
	return look(pid)
}
