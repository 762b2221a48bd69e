package auth

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"sync"
	"syscall"
)

type peerKey struct{}

// ConnContext remembers who is at the other end of a unix socket. It is the ConnContext of the http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	// The name is looked up once a connection, and only when a request comes.
	return context.WithValue(ctx, peerKey{}, sync.OnceValues(func() (string, error) { return peerName(u) }))
}

// Identify tells who sent the request. Whoever can open the unix socket is a trusted administrator: the socket's owner, group
// and mode guard it.
func Identify(r *http.Request) (Identity, error) {
	peer, ok := r.Context().Value(peerKey{}).(func() (string, error))
	if !ok {
		return Identity{Address: r.RemoteAddr}, nil
	}
	name, err := peer()
	if err != nil {
		return Identity{}, err
	}
	return Identity{Kind: Unix, Name: name, Address: r.RemoteAddr, Admin: true}, nil
}

// peerName is the user at the other end, or uid=N for one without a name.
func peerName(c *net.UnixConn) (string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("find out who calls: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return "", fmt.Errorf("find out who calls: %w", err)
	}
	uid := strconv.Itoa(int(cred.Uid))
	if u, err := user.LookupId(uid); err == nil {
		return u.Username, nil
	}
	return "uid=" + uid, nil
}
