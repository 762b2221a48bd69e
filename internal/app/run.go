package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"lxd/internal/driver/all"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/server"
	"lxd/internal/store"
	"lxd/internal/store/etcd"
)

// Version is the version of LXD's API that the daemon serves.
const Version = server.Version

// Command is how the daemon is run from a command line.
type Command struct {
	Group, LogFile string
	// Trace names the packages whose debug messages are logged.
	Trace                  []string
	Syslog, Debug, Verbose bool
}

// Run runs the daemon on this host until a signal or "lxd shutdown" ends it.
func Run(ctx context.Context, c Command) error {
	if os.Geteuid() != 0 {
		return errs.Newf(errs.Forbidden, "the daemon needs root: run it with sudo")
	}
	// Modes are given where files are made; what the daemon inherits must neither open nor close them.
	syscall.Umask(0o022)
	closeLog, err := openLog(c)
	if err != nil {
		return err
	}
	defer closeLog()
	// The heap is small and grows in bursts; collecting it earlier costs little and halves what the daemon holds.
	debug.SetGCPercent(50)
	helper, err := helperPath()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPWR)
	defer signal.Stop(signals)

	// What the log says while the daemon starts is told too, to those who are told of it elsewhere.
	hub := event.NewHub(standalone)
	slog.SetDefault(slog.New(event.NewLogHandler(slog.Default().Handler(), hub)))
	a, err := Open(ctx, Options{
		Hub: hub, Dir: stateDir(), Socket: os.Getenv("LXD_SOCKET"), Group: c.Group, Program: self, Failpoint: os.Getenv("LXD_FAILPOINT"),
		Store:    opener(ctx),
		Backends: func(dir string) (all.Set, error) { return all.Open(all.Host{Dir: dir, Helper: helper}) },
	})
	if err != nil {
		return err
	}
	return a.wait(ctx, signals)
}

// stateDir is where this host's daemon keeps its state.
func stateDir() string { return cmp.Or(os.Getenv("LXD_DIR"), "/var/lib/lxd") }

// opener opens the state of a real daemon.
func opener(ctx context.Context) func(dir string, o store.Options) (store.Store, error) {
	return func(dir string, o store.Options) (store.Store, error) {
		return etcd.Open(ctx, etcd.Config{Dir: dir}, o)
	}
}

// wait returns when the daemon has ended: SIGPWR stops instances too, as an uninterruptible power supply wants it.
func (a *App) wait(ctx context.Context, signals <-chan os.Signal) (err error) {
	select {
	case s := <-signals:
		slog.Info("Ending on a signal", "signal", s)
		if s == syscall.SIGPWR {
			_, err = a.Shutdown(ctx, false)
		}
	case err = <-a.Failed():
		slog.Error("The daemon cannot go on and ends; instances go on running", "err", err)
	case <-a.Done():
		slog.Info("Ending after a shutdown")
	case <-ctx.Done():
	}
	return errors.Join(err, a.Close(ctx))
}

// helperPath finds the C helper beside the daemon's own program.
func helperPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "lxd-lxc")
	if _, err := os.Stat(path); err != nil {
		return "", errs.Newf(errs.Invalid, "the helper %s is missing: build it with \"make build\", or install it beside lxd", path)
	}
	return path, nil
}
