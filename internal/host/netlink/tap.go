package netlink

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenTap makes an interface whose traffic is what is read from and written to the file, one Ethernet frame a call. It goes away
// with the file, so also with the process.
func OpenTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("create tap interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
