package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialTime is how long the other end may take to answer.
	dialTime = 10 * time.Second
	// pause is the time between attempts while there are no descriptors left.
	pause = 50 * time.Millisecond
)

// stream is what can be closed in one direction.
type stream interface {
	net.Conn
	CloseWrite() error
}

func (s *server) accept(ctx context.Context, l net.Listener, r Rule) {
	for ctx.Err() == nil {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(pause) // out of descriptors: the clients wait meanwhile
			continue
		}
		go s.carry(ctx, conn, r)
	}
}

// carry connects to the other end and copies in both directions until both are closed.
func (s *server) carry(ctx context.Context, in net.Conn, r Rule) {
	defer in.Close()
	out, err := s.dial(ctx, r.Connect)
	if err != nil {
		return // the client sees that nobody is there
	}
	defer out.Close()
	if s.config.Header {
		if _, err := io.WriteString(out, header(in)); err != nil {
			return
		}
	}
	a, okA := in.(stream)
	b, okB := out.(stream)
	if !okA || !okB {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pipe(b, a) })
	both.Go(func() { pipe(a, b) })
	both.Wait()
}

// pipe copies one direction and passes its end on. Descriptors go along between sockets that can carry them.
func pipe(to, from stream) {
	fromUnix, okFrom := from.(*net.UnixConn)
	toUnix, okTo := to.(*net.UnixConn)
	var err error
	if okFrom && okTo {
		err = pipeMessages(toUnix, fromUnix)
	} else {
		_, err = io.Copy(to, from) // moves pages in the kernel where it can
	}
	if err != nil { // the connection is broken: let neither side wait for the other
		_ = errors.Join(to.Close(), from.Close())
		return
	}
	_ = to.CloseWrite() // it may be closed already
}

// buffers for messages between unix sockets.
const (
	messageSize = 64 << 10
	controlSize = 8 << 10
)

func pipeMessages(to, from *net.UnixConn) error {
	data, control := make([]byte, messageSize), make([]byte, controlSize)
	for {
		n, c, _, _, err := from.ReadMsgUnix(data, control)
		if err != nil {
			return unlessEOF(err)
		}
		if n == 0 && c == 0 {
			return nil
		}
		files, err := descriptors(control[:c])
		if err == nil {
			err = send(to, data[:n], files)
		}
		for _, fd := range files {
			_ = unix.Close(fd) // the receiver has its own
		}
		if err != nil {
			return err
		}
	}
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// send sends data, with the descriptors beside its first byte.
func send(to *net.UnixConn, data []byte, files []int) error {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	n, _, err := to.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) {
		_, err = to.Write(data[n:])
	}
	return err
}

// descriptors are those that came with a message.
func descriptors(control []byte) (files []int, err error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		list, err := unix.ParseUnixRights(&m)
		files = append(files, list...)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// dial reaches the other end.
func (s *server) dial(ctx context.Context, e Endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var d net.Dialer
	if e.Network != Unix || e.abstract() || !s.config.Inside {
		return d.DialContext(ctx, e.Network, e.Address)
	}
	// The path is the machine's: it is looked up below its root, wherever its links lead.
	fd, err := unix.Openat2(int(s.root.Fd()), e.Address, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", e.Address, err)
	}
	held := os.NewFile(uintptr(fd), e.Address)
	defer held.Close()
	return d.DialContext(ctx, Unix, "/proc/self/fd/"+strconv.Itoa(fd))
}

// header is the first line of the PROXY protocol, version 1: who the client is.
func header(c net.Conn) string {
	from, err1 := netip.ParseAddrPort(c.RemoteAddr().String())
	to, err2 := netip.ParseAddrPort(c.LocalAddr().String())
	if err1 != nil || err2 != nil {
		return "PROXY UNKNOWN\r\n"
	}
	a, b, family := from.Addr().Unmap().WithZone(""), to.Addr().Unmap().WithZone(""), "TCP6"
	if a.Is4() {
		family = "TCP4"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, a, b, from.Port(), to.Port())
}
