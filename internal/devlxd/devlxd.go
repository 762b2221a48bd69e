// Package devlxd serves instances: at a socket of its own in each, an instance learns what it is configured with, and says that it is ready.
//
// A socket belongs to one instance, and whoever connects must be the instance's root, in its process namespace or one below that: the kernel
// says so of the process that connected, not the process. What a guest may use up is bounded: connections, their time, requests a second.
package devlxd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/image"
	"lxd/internal/instance"
)

// Instances is what is needed of instances.
type Instances interface {
	Guest(ctx context.Context, project, name string) (instance.Guest, error)
	SetReady(ctx context.Context, project, name string, ready bool) error
	Namespace(project, name, kind string) (*os.File, error)
}

// Images is what is needed of images.
type Images interface {
	Get(ctx context.Context, project, prefix string) (api.Image, any, error)
	Export(ctx context.Context, project, prefix string) ([]image.Part, error)
}

// Bearers is what is needed of identities that show tokens.
type Bearers interface {
	Guest(ctx context.Context, token, address string) (auth.Identity, error)
}

// Bounds of what guests may use up.
const (
	// perGuest is how many connections an instance may have, allGuests how many there may be at all.
	perGuest, allGuests = 64, 4096
	// headTime is how long the head of a request may take, bodyTime the whole of it, writeTime an answer to be taken, and idleTime is
	// how long a connection may do nothing.
	headTime, bodyTime, writeTime, idleTime = 5 * time.Second, 20 * time.Second, 20 * time.Second, time.Minute
	headMax, bodyMax                        = 16 << 10, 64 << 10
	// pace is the time between two requests of an instance that goes on sending them, burst is how many may come at once.
	pace, burst = 5 * time.Millisecond, 200
)

// Deps is what the service needs.
type Deps struct {
	// Instances may be given later, by Use.
	Instances Instances
	Images    Images
	// Bearers knows the tokens that guests show; nil knows none.
	Bearers Bearers
	// Drivers lists the storage drivers that the server has.
	Drivers []api.ServerStorageDriverInfo
	// Verify finds out who has connected; nil asks the kernel.
	Verify func(c *net.UnixConn, at instance.Socket) error
}

// Service listens at the sockets of instances. Make it with New.
type Service struct {
	d    Deps
	http *http.Server
	open chan struct{}

	mu     sync.Mutex
	guests map[string]*guest // by the folder of its socket
}

// New makes the service; it has no effects.
func New(d Deps) *Service {
	s := &Service{d: d, open: make(chan struct{}, allGuests), guests: map[string]*guest{}}
	if s.d.Verify == nil {
		s.d.Verify = s.verify
	}
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headTime, ReadTimeout: bodyTime, IdleTimeout: idleTime, MaxHeaderBytes: headMax,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		// What is wrong with a guest's requests is the guest's business, and must not fill the server's log.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s
}

// Use says which instances are served; it is called before any socket is opened.
func (s *Service) Use(i Instances) { s.d.Instances = i }

// guest is one instance that is listened to.
type guest struct {
	at       instance.Socket
	listener net.Listener
	open     chan struct{}
	turns    turns
	hub      hub
}

// Open makes the folder of a socket and listens there; it replaces a socket that an earlier daemon has left.
func (s *Service) Open(at instance.Socket) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guests[at.Dir]; g != nil {
		return nil
	}
	if err := os.Mkdir(at.Dir, 0o751); err == nil {
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(at.Dir))
			}
		}()
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	// Its group lets the guest's root look into it, who is nobody to the host otherwise.
	if err := errors.Join(os.Chown(at.Dir, -1, at.Owner), os.Chmod(at.Dir, 0o751)); err != nil {
		return err
	}
	l, err := listen(at)
	if err != nil {
		return err
	}
	g := &guest{at: at, listener: l, open: make(chan struct{}, perGuest)}
	if v, err := s.d.Instances.Guest(context.Background(), at.Project, at.Name); err == nil {
		g.hub.seen = v
	}
	s.guests[at.Dir] = g
	go func() {
		if err := s.http.Serve(&listener{Listener: l, guest: g, all: s.open, verifying: s.verifying}); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			slog.Error("A socket of an instance failed", "instance", at.Name, "err", err)
		}
	}()
	return nil
}

// socketName is the socket's name in its folder.
const socketName = "sock"

// listen makes the socket. The folder is named by its number, since the path of a socket may not be long.
func listen(at instance.Socket) (net.Listener, error) {
	dir, err := os.Open(at.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
	if err := os.Remove(filepath.Join(at.Dir, socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it is left to the next daemon, and the name is no more
	if err := errors.Join(os.Chmod(short, 0o600), os.Chown(short, at.Owner, at.Owner)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends listening for an instance and removes the folder.
func (s *Service) Close(dir string) error {
	s.mu.Lock()
	g := s.guests[dir]
	delete(s.guests, dir)
	s.mu.Unlock()
	if g != nil {
		_ = g.listener.Close() // it is closed once, and holds nothing back
		g.hub.close()
	}
	return os.RemoveAll(dir)
}

// Shutdown ends listening for all instances; their folders stay for the next daemon.
func (s *Service) Shutdown(context.Context) error {
	s.mu.Lock()
	for _, g := range s.guests {
		_ = g.listener.Close() // it is closed once, and holds nothing back
		g.hub.close()
	}
	clear(s.guests)
	s.mu.Unlock()
	if err := s.http.Close(); !errors.Is(err, net.ErrClosed) { // it closes the listeners once more
		return err
	}
	return nil
}

// find finds the guest that an instance is; nil when it is gone.
func (s *Service) find(project, name string) *guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.guests {
		if g.at.Project == project && g.at.Name == name {
			return g
		}
	}
	return nil
}

// Changed tells those that listen in an instance what is different from before.
func (s *Service) Changed(ctx context.Context, project, name string) {
	g := s.find(project, name)
	if g == nil {
		return
	}
	now, err := s.d.Instances.Guest(ctx, project, name)
	if err != nil {
		slog.Debug("An instance is not told of a change", "project", project, "instance", name, "err", err)
		return
	}
	g.hub.changed(now)
}
