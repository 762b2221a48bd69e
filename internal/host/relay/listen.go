package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"lxd/internal/host/run"
)

// Place is where sockets are.
type Place struct {
	// Netns is the network namespace, and Root what paths are looked up below; nil for those of the daemon.
	Netns, Root *os.File
	// UID and GID are whom files are made as: the root of the place.
	UID, GID int
}

// Owner is whom the file of a socket belongs to, as ids of the host.
type Owner struct {
	UID, GID int
	Mode     os.FileMode
}

// Listen opens a socket for what comes in at e.
func Listen(e Endpoint, at Place, o Owner) (f *os.File, err error) {
	if e.Network == Unix && !e.abstract() {
		return listenFile(e.Address, at, o)
	}
	err = run.In(at.Netns, func() error {
		f, err = listen(family(e), e.Address)
		return err
	})
	return f, err
}

// family keeps an IPv4 address from being served on IPv6 as well.
func family(e Endpoint) string {
	if a, err := netip.ParseAddrPort(e.Address); err == nil && a.Addr().Is4() {
		return e.Network + "4"
	}
	return e.Network
}

// listen opens the socket and returns a descriptor that others can inherit.
func listen(network, address string) (*os.File, error) {
	var c net.ListenConfig
	if network == UDP || network == UDP+"4" {
		p, err := c.ListenPacket(context.Background(), network, address)
		if err != nil {
			return nil, err
		}
		u, ok := p.(*net.UDPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("%s is no UDP socket", address), p.Close())
		}
		f, err := u.File()
		return f, errors.Join(err, p.Close())
	}
	l, err := c.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	filer, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("%s is no socket", address)
	}
	return filer.File()
}

// listenFile makes a socket in the file system. One that nobody listens at any more is replaced; other files are left alone.
func listenFile(name string, at Place, o Owner) (*os.File, error) {
	dir, err := openFolder(path.Dir(name), at.Root)
	if err != nil {
		return nil, fmt.Errorf("folder of socket %s: %w", name, err)
	}
	defer dir.Close()
	base := path.Base(name)
	if err := removeStale(dir, base); err != nil {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	var f *os.File
	err = as(at, func() error {
		f, err = listen(Unix, "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+base)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	if err := give(dir, base, o); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", name, err), f.Close(), unix.Unlinkat(int(dir.Fd()), base, 0))
	}
	return f, nil
}

// openFolder finds a folder below a root whose owner may make links as it likes.
func openFolder(name string, root *os.File) (*os.File, error) {
	at, how := unix.AT_FDCWD, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}
	if root != nil {
		at, how.Resolve = int(root.Fd()), unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS
	}
	fd, err := unix.Openat2(at, name, &how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// removeStale removes a socket that a relay has left.
func removeStale(dir *os.File, base string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return errors.New("there is a file of that name: remove it, or choose another path")
	}
	c, err := net.Dial(Unix, "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+base)
	if err == nil {
		return errors.Join(errors.New("another program listens there"), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return unix.Unlinkat(int(dir.Fd()), base, 0)
}

// as makes files as the root of the place, which may be nobody on the host.
func as(at Place, fn func() error) error {
	if at.UID == 0 && at.GID == 0 {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := errors.Join(unix.Setfsgid(at.GID), unix.Setfsuid(at.UID)); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// give sets owner and mode of the socket that was just made, and of nothing that was put into its place.
func give(dir *os.File, base string, o Owner) error {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.Join(errors.New("it was replaced while it was made"), err)
	}
	held := "/proc/self/fd/" + strconv.Itoa(fd)
	return errors.Join(unix.Fchownat(fd, "", o.UID, o.GID, unix.AT_EMPTY_PATH), os.Chmod(held, o.Mode))
}
