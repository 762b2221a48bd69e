package mount

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Into shows the tree in another mount namespace, at a file or folder there that is held (O_PATH). What the name of that place leads to
// meanwhile does not matter.
func (t *Tree) Into(ns, at *os.File) error {
	err := within(ns, func() error {
		return unix.MoveMount(t.fd, "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	})
	if err != nil {
		return &os.PathError{Op: "mount", Path: at.Name(), Err: err}
	}
	return nil
}

// Drop takes away the mount in another mount namespace whose top folder or file is held, with what is mounted below it. What still
// uses it keeps it until it ends.
func Drop(ns, at *os.File) error {
	// A held thing has no other name than this one, which is of the host's /proc and not of the namespace's.
	links, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/self/fd", Err: err}
	}
	defer unix.Close(links)
	err = within(ns, func() error {
		if err := unix.Fchdir(links); err != nil {
			return err
		}
		return unix.Unmount(strconv.Itoa(int(at.Fd())), unix.MNT_DETACH)
	})
	if err != nil {
		return &os.PathError{Op: "unmount", Path: at.Name(), Err: err}
	}
	return nil
}

// ID is the number of the mount that a held file or folder is in, which no other mount ever gets. top tells whether it is the mount's
// own top.
func ID(f *os.File) (id uint64, top bool, err error) { return identify(int(f.Fd()), "") }

// ID is the number that the tree's mount has, and keeps when it is attached.
func (t *Tree) ID() (uint64, error) {
	id, _, err := identify(t.fd, "")
	return id, err
}

func identify(dir int, path string) (id uint64, top bool, err error) {
	var st unix.Statx_t
	err = unix.Statx(dir, path, unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE|unix.STATX_MNT_ID_UNIQUE, &st)
	if err == nil && st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 { // before Linux 6.8: a number that may be used again
		err = unix.Statx(dir, path, unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE|unix.STATX_MNT_ID, &st)
	}
	if err != nil {
		return 0, false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// within runs fn on a thread of its own that has entered a mount namespace. The thread ends with it.
func within(ns *os.File, fn func() error) error {
	return apart(func() error {
		if err := enter(int(ns.Fd())); err != nil {
			return err
		}
		return fn()
	})
}

// enter is for a thread apart.
func enter(ns int) error { return unix.Setns(ns, unix.CLONE_NEWNS) }

// apart runs fn on a thread that shares root and working folder with no other, and that ends with it. So nothing may depend on the life of
// a thread, such as a child that asks to be killed when the thread that made it ends.
func apart(fn func() error) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the first thread stays for good, and /proc/self shows what it sees
			failed <- apart(fn)
			runtime.UnlockOSThread()
			return
		}
		err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_FS))
		if err == nil {
			err = fn()
		}
		failed <- err
	}()
	return <-failed
}
