// Package app puts the daemon together: what is built from what, in which order it starts, and in which it stops.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"lxd/internal/app/https"
	"lxd/internal/app/https/acme"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/devlxd"
	"lxd/internal/driver/all"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/identity"
	"lxd/internal/loki"
	"lxd/internal/op"
	"lxd/internal/policy"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/syslog"
	"lxd/internal/trust"
)

// Options is how a daemon is run.
type Options struct {
	// Dir holds all state.
	Dir string
	// Socket is the local socket; "" means unix.socket in Dir.
	Socket string
	// Group may use the socket besides root; "" is root alone.
	Group string
	// Hub is what events go through; nil makes one.
	Hub *event.Hub
	// Program is the daemon's own program, for what it runs in processes of its own; "" has it done in this one.
	Program string
	// Failpoint is for tests: see op.ParseHook.
	Failpoint string
	// Store opens the state below a folder.
	Store func(dir string, o store.Options) (store.Store, error)
	// Backends makes what drives the host, for the state directory dir.
	Backends func(dir string) (all.Set, error)
	// Around is for tests: it sees what is asked and answered; nil is nobody.
	Around func(http.Handler) http.Handler
}

// App is one daemon.
type App struct {
	o      Options
	dir    *directory
	store  store.Store
	hub    *event.Hub
	ops    *op.Manager
	hook   op.Hook
	rest   *rest.Server
	domain *domain
	guests *devlxd.Service
	http   *http.Server
	// identity and network are how the API is served to the network.
	identity https.Certificate
	// limit holds back those who send wrong credentials, of whatever sort.
	limit limit.Limiter
	// authority vouches for clients; nil is none.
	authority *trust.Authority
	network   *https.Server
	// meters serves the metrics alone.
	meters *https.Server
	// acme gets certificates that everybody trusts.
	acme *acme.Service
	// debug shows profiles of the daemon.
	debug *https.Server
	// loki passes events on; syslog makes events of log messages of others.
	loki   *loki.Forwarder
	syslog *syslog.Socket
	// issuer is whose word was taken by the last configuration.
	issuer [3]string

	// closers undo what Open did, to be run newest first.
	closers []closer

	ready, stopping, ended chan struct{}
	stopOnce, endOnce      sync.Once
	// failed gets why the daemon cannot go on.
	failed chan error
}

type closer struct {
	what string
	fn   func(context.Context) error
}

// Open starts a daemon and returns when it is ready. When it fails nothing is left running but what ran before.
func Open(ctx context.Context, o Options) (_ *App, err error) {
	a := &App{o: o, ready: make(chan struct{}), stopping: make(chan struct{}), ended: make(chan struct{}),
		failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(ctx))
		}
	}()
	for _, step := range []struct {
		what string
		fn   func(context.Context) error
	}{
		{"state directory", a.openDir}, {"state database", a.openStore}, {"operations", a.openOps}, {"telling", a.openTelling},
		{"server certificate", a.openIdentity}, {"resources", a.openDomain}, {"socket", a.serve}, {"start", a.bringUp}, {"network", a.serveNetwork},
	} {
		begun := time.Now()
		if err := step.fn(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
		slog.Debug("Opened", "what", step.what, "took", time.Since(begun))
	}
	a.rest.SetPhase(rest.Serving)
	close(a.ready)
	slog.Info("Daemon ready", "dir", a.dir.path, "socket", a.Socket())
	return a, nil
}

// onClose records how to undo what was just done.
func (a *App) onClose(what string, fn func(context.Context) error) {
	a.closers = append(a.closers, closer{what, fn})
}

// tend runs fn until the daemon ends, which waits for it.
func (a *App) tend(ctx context.Context, what string, fn func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { fn(ctx) })
	a.onClose(what, func(context.Context) error { cancel(); wait.Wait(); return nil })
}

func (a *App) openDir(context.Context) (err error) {
	if a.dir, err = openDirectory(a.o.Dir); err != nil {
		return err
	}
	a.onClose("state directory", func(context.Context) error { return a.dir.close() })
	return nil
}

func (a *App) openStore(context.Context) (err error) {
	if a.hub = a.o.Hub; a.hub == nil {
		a.hub = event.NewHub(standalone)
	}
	s, err := a.o.Store(a.dir.join("database"), store.Options{Guard: policy.Guard, OnAnnounce: a.hub.Announce, OnFailure: func(err error) { a.failed <- err }})
	if err != nil {
		return err
	}
	a.store = identity.Following(op.Attributed(s))
	a.onClose("state database", func(context.Context) error { return a.store.Close() })
	return nil
}

func (a *App) openOps(ctx context.Context) error {
	hook, err := op.ParseHook(a.o.Failpoint)
	a.hook = hook
	if err != nil {
		return err
	}
	a.ops = op.NewManager(context.WithoutCancel(ctx), op.Options{Store: a.store, Publish: a.hub, Hook: hook, Location: standalone})
	return nil
}

// standalone is the location of everything on a server that is not clustered (wire name).
const standalone = "none"

// Socket is the path of the local socket.
func (a *App) Socket() string {
	if a.o.Socket != "" {
		return a.o.Socket
	}
	return filepath.Join(a.dir.path, "unix.socket")
}

func (a *App) serve(context.Context) error {
	l, err := listenUnix(a.Socket(), a.o.Group)
	if err != nil {
		return err
	}
	a.rest = &rest.Server{Ops: a.ops, Limit: &a.limit, Project: a.domain.projects.Check, Auth: chain(a.domain.trust.Identify, a.methods()...),
		Owner: a.domain.projects.OwnerOf, Named: a.named, Invite: a.domain.issuer.Announce}
	handler := a.rest.Handler(a.routes(a.facts())...)
	if a.o.Around != nil {
		handler = a.o.Around(handler)
	}
	a.openNetwork(handler)
	a.http = &http.Server{Handler: handler, ConnContext: auth.ConnContext, ReadHeaderTimeout: 30 * time.Second,
		BaseContext: func(net.Listener) context.Context { return context.Background() }}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("The socket failed", "err", err)
		}
	}()
	a.onClose("socket", func(ctx context.Context) error {
		err := a.http.Shutdown(ctx)
		if err != nil { // open event streams do not end by themselves
			err = a.http.Close()
		}
		<-served
		return err
	})
	return nil
}

// Await returns when the daemon is ready, or fails with Unavailable.
func (a *App) Await(ctx context.Context) error {
	select {
	case <-a.stopping:
		return errs.Newf(errs.Unavailable, "the daemon is shutting down")
	default:
	}
	select {
	case <-a.ready:
		return nil
	default:
	}
	select {
	case <-a.ready:
		return nil
	case <-a.stopping:
		return errs.Newf(errs.Unavailable, "the daemon is shutting down")
	case <-ctx.Done():
		return errs.Newf(errs.Unavailable, "the daemon is still starting: try again in a moment")
	}
}

// Shutdown stops all instances and networks. exit, called once the caller has its answer, lets Done end.
func (a *App) Shutdown(ctx context.Context, force bool) (exit func(), err error) {
	first := false
	a.stopOnce.Do(func() { first = true; close(a.stopping) })
	if !first {
		return nil, errs.Newf(errs.Conflict, "a shutdown is already under way: wait for it")
	}
	a.rest.SetPhase(rest.Stopping)
	if force {
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		a.ops.Close(canceled)
	} else {
		a.drain(ctx)
	}
	err = a.domain.bringDown(ctx)
	return func() { a.endOnce.Do(func() { close(a.ended) }) }, err
}

// drain lets operations end by themselves for as long as core.shutdown_timeout says, and then cancels them.
func (a *App) drain(ctx context.Context) {
	minutes := 0
	text, err := a.domain.server.Get(ctx, "core.shutdown_timeout")
	if err == nil {
		minutes, err = strconv.Atoi(text)
	}
	if err != nil {
		slog.Error("Running operations are cancelled: core.shutdown_timeout cannot be read", "err", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(minutes)*time.Minute)
	defer cancel()
	a.ops.Close(ctx)
}

// Done is closed once Shutdown has stopped everything and was answered.
func (a *App) Done() <-chan struct{} { return a.ended }

// Failed gets an error once the daemon cannot go on, and is to be closed.
func (a *App) Failed() <-chan error { return a.failed }

// Close ends the daemon and leaves instances running.
func (a *App) Close(ctx context.Context) error {
	a.stopOnce.Do(func() { close(a.stopping) })
	a.rest.SetPhase(rest.Stopping)
	return a.close(ctx)
}

// grace is how long what is under way may take when the daemon ends.
const grace = 10 * time.Second

func (a *App) close(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for i := len(a.closers) - 1; i >= 0; i-- {
		begun := time.Now()
		if e := a.closers[i].fn(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", a.closers[i].what, e))
		}
		slog.Debug("Closed", "what", a.closers[i].what, "took", time.Since(begun))
	}
	a.closers = nil
	return err
}
