package lxc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair makes the connection over which the helper reports and hands over descriptors.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "helper")
	file := os.NewFile(uintptr(fds[0]), "daemon")
	conn, err := net.FileConn(file)
	_ = file.Close() // conn has its own
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	ours, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("a socket pair is no unix socket"), conn.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

// receive reads one message and the descriptors with it.
func receive(sock *net.UnixConn) (string, []*os.File, error) {
	buf, oob := make([]byte, 1024), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := sock.ReadMsgUnix(buf, oob)
	if err != nil {
		return "", nil, err
	}
	list, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return "", nil, fmt.Errorf("the container helper's message: %w", err)
	}
	var files []*os.File
	for _, m := range list {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return "", nil, errors.Join(err, closeAll(files))
		}
		for _, fd := range fds {
			// not blocking, so that a read waits without a thread of its own
			if err := unix.SetNonblock(fd, true); err != nil {
				return "", nil, errors.Join(err, unix.Close(fd), closeAll(files))
			}
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return string(buf[:n]), files, nil
}

func closeAll(files []*os.File) error {
	var failed error
	for _, f := range files {
		failed = errors.Join(failed, f.Close())
	}
	return failed
}
