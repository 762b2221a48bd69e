package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Overlay is a file system of two layers: Lower is only read, changes go to Upper. Work is an empty folder beside Upper on the same file
// system. Its layers are handed over as open folders, so that no character of a path has a meaning.
type Overlay struct {
	// Lower may be a tree that is attached nowhere, such as an id-mapped one.
	Lower *Tree
	// Stage is a folder in which Lower may be attached for a moment, for kernels that want every layer attached (before 6.15).
	Stage string
	// Upper and Work are paths.
	Upper, Work string
	// Options are "key=value", such as "redirect_dir=on".
	Options []string
}

// Make builds the file system, attached nowhere yet.
func (o Overlay) Make() (*Tree, error) {
	t, err := o.byDescriptor(o.Lower.fd)
	if err == nil || !errors.Is(err, unix.EINVAL) {
		return t, err
	}
	return o.Staged()
}

// Staged builds the same with Lower attached in Stage for a moment; the file system keeps a copy of its own.
func (o Overlay) Staged() (t *Tree, err error) {
	at, err := os.MkdirTemp(o.Stage, "lower-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(at)) }()
	if err := o.Lower.Attach(at); err != nil {
		return nil, err
	}
	defer unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	fd, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open layer", Path: at, Err: err}
	}
	defer unix.Close(fd)
	return o.byPath(fd)
}

// byDescriptor hands the layers over as descriptors (kernel 6.13).
func (o Overlay) byDescriptor(lower int) (*Tree, error) {
	return o.make(func(fs, upper, work int) error {
		return errors.Join(
			unix.FsconfigSetFd(fs, "lowerdir+", lower),
			unix.FsconfigSetFd(fs, "upperdir", upper),
			unix.FsconfigSetFd(fs, "workdir", work))
	})
}

// byPath names the layers by the kernel's own links to the open folders.
func (o Overlay) byPath(lower int) (*Tree, error) {
	return o.make(func(fs, upper, work int) error {
		link := func(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
		return errors.Join(
			unix.FsconfigSetString(fs, "lowerdir", link(lower)),
			unix.FsconfigSetString(fs, "upperdir", link(upper)),
			unix.FsconfigSetString(fs, "workdir", link(work)))
	})
}

func (o Overlay) make(layers func(fs, upper, work int) error) (*Tree, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("the kernel has no overlay file system: load it with \"modprobe overlay\": %w", err)
	}
	defer unix.Close(fs)
	var dirs [2]int
	for i, path := range []string{o.Upper, o.Work} {
		if dirs[i], err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
			return nil, &os.PathError{Op: "open layer", Path: path, Err: err}
		}
		defer unix.Close(dirs[i])
	}
	if err := o.configure(fs, func() error { return layers(fs, dirs[0], dirs[1]) }); err != nil {
		return nil, fmt.Errorf("overlay: %w%s", err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w%s", err, complaint(fs))
	}
	return &Tree{fd}, nil
}

func (o Overlay) configure(fs int, layers func() error) error {
	if err := unix.FsconfigSetString(fs, "source", "overlay"); err != nil {
		return err
	}
	if err := layers(); err != nil {
		return err
	}
	for _, opt := range o.Options {
		k, v, _ := strings.Cut(opt, "=")
		if err := unix.FsconfigSetString(fs, k, v); err != nil {
			return fmt.Errorf("option %s: %w", opt, err)
		}
	}
	return unix.FsconfigCreate(fs)
}

// complaint is what the kernel says about a failed call on a file system context.
func complaint(fs int) string {
	var all strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(fs, buf)
		if err != nil || n <= 0 {
			return all.String()
		}
		fmt.Fprintf(&all, " (%s)", strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
	}
}
