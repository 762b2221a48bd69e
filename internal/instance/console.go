package instance

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/session"
	"lxd/internal/machine"
	"lxd/internal/op"
)

// Console returns the work that connects a client to the console of a running instance.
func (s *Service) Console(ctx context.Context, proj, name string, post api.InstanceConsolePost) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Type != "" && post.Type != "console" {
		return op.Spec{}, errs.Newf(errs.Invalid, "console type %q: containers have only the type console", post.Type)
	}
	if !runs(s.status(v.key())) {
		return op.Spec{}, errs.Newf(errs.Invalid, "the instance is not running: start it first")
	}
	ses := session.New(true, op.CallerOf(ctx))
	o := spec("instance-console", api.OperationShowingConsole, v.Record)
	o.Locks, o.Args, o.Class = nil, nil, op.WebsocketClass
	o.Metadata = map[string]any{"fds": ses.Secrets()}
	o.Connect = func(w http.ResponseWriter, r *http.Request) error { return ses.Connect(w, r) }
	o.Run = func(ctx context.Context, _ *op.Task) error { return s.attachConsole(ctx, v, ses) }
	return o, nil
}

func (s *Service) attachConsole(ctx context.Context, v view, ses *session.Session) error {
	defer ses.Close()
	if err := ses.Await(ctx); err != nil {
		return err
	}
	r := s.live.get(v.key())
	if r == nil || r.over() {
		return errs.Newf(errs.Invalid, "the instance is not running: start it first")
	}
	c, ok := r.m.(machine.Console)
	if !ok {
		return errs.Newf(errs.Unsupported, "instances of this type have no console on this server")
	}
	screen, err := c.Console(ctx)
	if err != nil {
		return err
	}
	s.announce(change(ctx, api.LifecycleInstanceConsole, v.Record))
	return ses.Join(ctx, screen)
}

// ConsoleLog is what the console of an instance has shown.
func (s *Service) ConsoleLog(ctx context.Context, proj, name string) ([]byte, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return nil, err
	}
	defer s.announce(change(ctx, api.LifecycleInstanceConsoleRetrieved, v.Record))
	if r := s.live.get(v.key()); r != nil && !r.over() {
		if c, ok := r.m.(machine.Console); ok {
			return c.ConsoleLog(ctx)
		}
	}
	b, err := os.ReadFile(s.consoleFile(v.Record))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it never ran
	}
	return b, err
}

// ClearConsoleLog forgets what the console of an instance has shown.
func (s *Service) ClearConsoleLog(ctx context.Context, proj, name string) error {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return err
	}
	err = os.Truncate(s.consoleFile(v.Record), 0)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		s.announce(change(ctx, api.LifecycleInstanceConsoleReset, v.Record))
		return nil
	}
	return err
}

func (s *Service) consoleFile(r Record) string { return filepath.Join(s.logDir(r), "console.log") }
