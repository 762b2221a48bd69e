package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lxd/internal/errs"
	"lxd/internal/host/run"
	"lxd/internal/network"
)

const (
	// readyWithin is how long dnsmasq may take to have its sockets.
	readyWithin = 10 * time.Second
	// pause and longest are the first and the longest wait before a dnsmasq that ended is started again.
	pause   = 50 * time.Millisecond
	longest = 30 * time.Second
)

// server is the dnsmasq of one network.
type server struct {
	driver *Driver
	mu     sync.Mutex // held while the network changes

	live sync.Mutex // held while proc is read or set
	proc *run.Process

	roster roster
}

// up makes dnsmasq run with the configuration of n, restarting it only for what it cannot take while it runs.
func (s *server) up(ctx context.Context, n network.Net) error {
	if !subnetOf(n.Config, "ipv4").IsValid() && !subnetOf(n.Config, "ipv6").IsValid() {
		return s.down(ctx, n)
	}
	if err := confine(n); err != nil {
		return err
	}
	s.roster.doubt()
	stale, err := s.hosts(n)
	if err != nil {
		return err
	}
	changed, err := s.configure(n)
	if err != nil {
		return err
	}
	if err := s.find(n); err != nil {
		return err
	}
	if p := s.process(); p != nil && p.Running() && !changed {
		if stale {
			return p.Signal(syscall.SIGHUP)
		}
		return nil
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	return s.start(ctx, n)
}

// configure writes dnsmasq's configuration, and tells whether it changed.
func (s *server) configure(n network.Net) (changed bool, err error) {
	raw := n.Config["raw.dnsmasq"]
	if raw != "" && !strings.HasSuffix(raw, "\n") {
		raw += "\n"
	}
	for file, text := range map[string]string{confFile(n): config(s.driver.keys, n), rawFile(n): raw} {
		wrote, err := replaceFile(file, text)
		if err != nil {
			return false, err
		}
		changed = changed || wrote
	}
	return changed, nil
}

// down ends dnsmasq. The leases stay: a network that comes up again hands out the same addresses.
func (s *server) down(ctx context.Context, n network.Net) error {
	if n.Dir == "" {
		return nil
	}
	if err := s.find(n); err != nil {
		return err
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	for _, f := range []string{pidFile(n), confFile(n), rawFile(n), logFile(n)} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	s.roster.doubt()
	return os.RemoveAll(hostsDir(n))
}

func (s *server) process() *run.Process {
	s.live.Lock()
	defer s.live.Unlock()
	return s.proc
}

// find takes over a dnsmasq that an earlier daemon started for the same network.
func (s *server) find(n network.Net) error {
	if p := s.process(); p != nil && p.Running() {
		return nil
	}
	p, ok, err := run.Find(pidFile(n), func(args []string) bool {
		return filepath.Base(args[0]) == "dnsmasq" && slices.Contains(args, "--conf-file="+confFile(n))
	})
	if err != nil || !ok {
		return err
	}
	s.keep(n, p)
	return nil
}

// start runs dnsmasq and returns once it serves.
func (s *server) start(ctx context.Context, n network.Net) error {
	program, err := s.driver.program()
	if err != nil {
		return err
	}
	if err := os.Remove(pidFile(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, err := run.Start(run.Program{Path: program, Args: []string{"--conf-file=" + confFile(n)}, Dir: "/", Log: logFile(n)})
	if err != nil {
		return err
	}
	if err := ready(ctx, n, p); err != nil {
		return errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	s.keep(n, p)
	return nil
}

// ready waits for dnsmasq's pid file, which it writes when it has its sockets.
func ready(ctx context.Context, n network.Net, p *run.Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); ; {
		select {
		case <-p.Done():
			b, _ := os.ReadFile(logFile(n))
			why := strings.TrimSpace(strings.ReplaceAll(string(b), "\n", "; "))
			return errs.Newf(errs.Internal, "dnsmasq ended at once: %s (its configuration is %s)", why, confFile(n))
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("dnsmasq is not ready: %w", context.Cause(ctx))
		case <-tick.C:
			if b, err := os.ReadFile(pidFile(n)); err == nil && len(b) > 0 {
				tick.Stop()
				return nil
			}
		}
	}
}

// keep remembers p and starts it again whenever it ends by another's doing.
func (s *server) keep(n network.Net, p *run.Process) {
	s.live.Lock()
	s.proc = p
	s.live.Unlock()
	go func() {
		select {
		case <-s.driver.base.Done():
		case <-p.Done():
			s.revive(n, p)
		}
	}()
}

func (s *server) revive(n network.Net, p *run.Process) {
	for wait := pause; ; wait = min(wait*2, longest) {
		select {
		case <-s.driver.base.Done():
			return
		case <-time.After(wait):
		}
		done, revived, err := s.again(n, p)
		switch {
		case revived:
			s.driver.tell(network.Trouble{Network: n.Name, Mended: true, Err: fmt.Errorf("dnsmasq of network %s ended by another's doing, and was started again", n.Name)})
		case err != nil:
			s.driver.tell(network.Trouble{Network: n.Name, Err: fmt.Errorf("dnsmasq of network %s ended and cannot be started: %w", n.Name, err)})
		}
		if done {
			return
		}
	}
}

// again starts dnsmasq unless someone else stopped or replaced it.
func (s *server) again(n network.Net, p *run.Process) (done, revived bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process() != p || s.driver.base.Err() != nil {
		return true, false, nil
	}
	err = s.start(s.driver.base, n)
	return err == nil, err == nil, err
}

func (s *server) stop(ctx context.Context) error {
	s.live.Lock()
	p := s.proc
	s.proc = nil
	s.live.Unlock()
	if p == nil {
		return nil
	}
	return p.Stop(ctx)
}

// hosts makes the files of the hosts those of n.Ports, and tells whether dnsmasq must be told to read them again.
func (s *server) hosts(n network.Net) (stale bool, err error) {
	want := map[string]string{}
	for _, p := range n.Ports {
		line, err := hostLine(s.driver.keys, n, p)
		if err != nil {
			return false, err
		}
		if line != "" {
			want[hostFile(n, p)] = line
		}
	}
	return s.roster.set(hostsDir(n), want)
}

// addHost tells a running dnsmasq of one more port.
func (s *server) addHost(n network.Net, p network.Port) error {
	line, err := hostLine(s.driver.keys, n, p)
	if err != nil || line == "" {
		return err
	}
	proc := s.process()
	if proc == nil {
		return nil // a network without addresses
	}
	stale, err := s.roster.add(hostFile(n, p), line, static(p))
	if err != nil || !stale {
		return err
	}
	return proc.Signal(syscall.SIGHUP)
}

// static are the parts of a host's line that no other may have.
func static(p network.Port) (parts []string) {
	if p.IPv4.IsValid() {
		parts = append(parts, p.IPv4.String())
	}
	if p.IPv6.IsValid() {
		parts = append(parts, "["+p.IPv6.String()+"]")
	}
	return parts
}

// register makes dnsmasq know the ports of n and no others.
func (s *server) register(n network.Net) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.process()
	if p == nil {
		return nil
	}
	if stale, err := s.hosts(n); err != nil || !stale {
		return err
	}
	return p.Signal(syscall.SIGHUP)
}

// confine makes the network's folder one that only root and dnsmasq can enter: who is lent which address, and what the network is made
// of, is nobody else's business.
func confine(n network.Net) error {
	_, group := identity()
	mode, gid := os.FileMode(0o711), 0
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
		mode = 0o710
	}
	if err := os.MkdirAll(hostsDir(n), 0o750); err != nil {
		return err
	}
	for dir, m := range map[string]os.FileMode{n.Dir: mode, hostsDir(n): mode | 0o040} {
		if err := errors.Join(os.Chown(dir, 0, gid), os.Chmod(dir, m)); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes text unless the file holds it; readers see the old text or the new one.
func replaceFile(file, text string) (wrote bool, err error) {
	if b, err := os.ReadFile(file); err == nil && bytes.Equal(b, []byte(text)) {
		return false, nil
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"~") // dnsmasq skips such names
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return false, err
	}
	return true, os.Rename(tmp, file)
}
