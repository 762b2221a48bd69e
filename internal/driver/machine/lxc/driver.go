// Package lxc runs system containers with liblxc, which a small C program loads so that the daemon stays free of it.
//
// For each container one process of that program stays as its monitor. It outlives the daemon and ends with the container; the
// daemon holds both by pidfd. A container that reboots ends, and says so: to start it again is for the rules of instances.
package lxc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/cgroup"
	"lxd/internal/host/mount"
	"lxd/internal/host/run"
	"lxd/internal/machine"
	"lxd/internal/undo"
)

const (
	// startTime is how long a start may take, killTime the end of what was killed.
	startTime = 60 * time.Second
	killTime  = 20 * time.Second
	// patience is how long a container usually has to end when its first process is killed, before the others are as well.
	patience = 300 * time.Millisecond
	// tidyTime is how long a monitor has to tidy up after its container before it is ended too.
	tidyTime = 5 * time.Second
	fuse     = 0x65735546
)

// Driver starts containers. Make it with New.
type Driver struct {
	// helper is a sealed copy of the C program in memory: what runs of it cannot be changed by what it runs.
	helper *os.File
	tree   *cgroup.Tree
	lxcfs  string
	locks  string
	// usual is the default policy.
	usual policy
	// files are the optional files of control groups that are there.
	files  map[string]bool
	locker mount.Locker
}

// New makes a driver of the helper program at that path.
func New(helper string) (*Driver, error) {
	tree, err := cgroup.Open("/sys/fs/cgroup")
	if err != nil {
		return nil, errs.As(errs.Unavailable, err)
	}
	image, err := sealed(helper)
	if err != nil {
		return nil, errs.Newf(errs.Unavailable, "cannot load the container helper: %w; build it with `make build`", err)
	}
	d := &Driver{helper: image, tree: tree, lxcfs: "/var/lib/lxcfs", locks: "/run/lxc/lock", files: offered(tree)}
	if d.usual, err = d.compile(context.Background(), defaultPolicy); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	return d, nil
}

// Close lets the helper go. Machines run on.
func (d *Driver) Close() error { return errors.Join(d.helper.Close(), d.locker.Close()) }

// Name is the wire name.
func (d *Driver) Name() string { return "lxc" }

// Probe says what containers can do here.
func (d *Driver) Probe(ctx context.Context) (machine.Info, error) {
	out, err := run.Output(ctx, run.Call{Path: d.program(), Args: append([]string{"version"}, extensions...)})
	if err != nil {
		return machine.Info{}, errs.Newf(errs.Unavailable, "ask liblxc for its version: %w", err)
	}
	lines := strings.Fields(string(out))
	info := machine.Info{Features: map[string]bool{}}
	for _, name := range extensions {
		info.Features[name] = slices.Contains(lines, name)
	}
	if len(lines) > 0 {
		info.Version = lines[0]
	}
	return info, nil
}

// extensions are the abilities of liblxc that servers tell their clients of (wire names).
var extensions = []string{
	"cgroup2", "core_scheduling", "devpts_fd", "idmapped_mounts_v2", "mount_injection_file", "network_gateway_device_route", "network_ipvlan",
	"network_l2proxy", "network_phys_macvlan_mtu", "network_veth_router", "pidfd", "seccomp_allow_deny_syntax", "seccomp_notify",
	"seccomp_proxy_send_notify_fd",
}

// Start runs p.
func (d *Driver) Start(ctx context.Context, p machine.Plan) (m machine.Machine, err error) {
	if err := check(p); err != nil {
		return nil, err
	}
	text, err := Render(p, Host{Cgroups: d.tree, LXCFS: d.lxcfsDir(), Files: d.files})
	if err != nil {
		return nil, err
	}
	calls, err := d.policy(ctx, p.Syscalls)
	if err != nil {
		return nil, err
	}
	lock, err := d.lock(ctx, p.RunDir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if running, err := d.group(payloadGroup(p.ID, p.RunDir)).PIDs(); len(running) > 0 || err != nil {
		return nil, errors.Join(err, errs.Newf(errs.Conflict, "machine %s already runs (process %v)", p.ID, running))
	}
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	u.Add("files of "+p.ID, func(context.Context) error { return d.clean(p.ID, p.RunDir) })
	if err := d.prepare(p, text, calls); err != nil {
		return nil, err
	}
	h, err := d.launch(ctx, p, lock, calls.native)
	if err != nil {
		u.Add("processes of "+p.ID, func(ctx context.Context) error { return d.end(ctx, p.ID, p.RunDir) })
		return nil, err
	}
	if m, err = d.hold(h); errs.Is(err, errs.NotFound) {
		return nil, errs.Newf(errs.Internal, "container %s ended as soon as it had been started: see %s", p.Name, filepath.Join(p.LogDir, "console.log"))
	}
	if c, ok := m.(*container); ok && err == nil {
		u.Add("processes of "+p.ID, func(ctx context.Context) error { return d.end(ctx, p.ID, p.RunDir) })
		err = c.hybrid(p.Limits)
	}
	return m, err
}

// Reattach holds a container that was started by an earlier daemon. One that has ended asking for a restart is returned as ended, so
// that its Exit can be read.
func (d *Driver) Reattach(ctx context.Context, h machine.Handle) (machine.Machine, error) {
	if h.Driver != d.Name() {
		return nil, errs.Newf(errs.NotFound, "machine %s is not one of the %s driver", h.ID, d.Name())
	}
	lock, err := d.lock(ctx, h.RunDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Newf(errs.NotFound, "machine %s does not run", h.ID)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return d.hold(h)
}

// Reap ends and removes what is left of a container.
func (d *Driver) Reap(ctx context.Context, id, runDir string) error {
	lock, err := d.lock(ctx, runDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		defer lock.Close()
	}
	if err := d.end(ctx, id, runDir); err != nil {
		return err
	}
	return errors.Join(d.clean(id, runDir), gone(os.Remove(filepath.Join(runDir, exitFile))))
}

// lock waits for a start under way to be over, also one whose daemon has died meanwhile: its helper holds the lock on.
func (d *Driver) lock(ctx context.Context, runDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(runDir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errs.Newf(errs.Unavailable, "a start in %s is still under way", runDir), f.Close())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// prepare writes what liblxc reads. Others may pass through the run folder, since the container's root, who is nobody on the host,
// must reach the mount point in it; they cannot list it, and the files in it are root's.
func (d *Driver) prepare(p machine.Plan, text string, calls policy) error {
	if err := os.Chmod(p.RunDir, 0o711); err != nil {
		return err
	}
	if err := reachable(p); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(p.RunDir, placeFolder)); err != nil { // of a machine that ended badly
		return err
	}
	if err := os.MkdirAll(filepath.Join(p.RunDir, mountFolder), 0o711); err != nil {
		return err
	}
	files := map[string][]byte{configFile: []byte(text), policyFile: []byte(calls.text), filterFile: calls.filter}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(p.RunDir, name), b, 0o600); err != nil {
			return err
		}
	}
	log := filepath.Join(p.LogDir, "lxc.log")
	if err := gone(os.Rename(log, log+".old")); err != nil {
		return err
	}
	link := filepath.Join(p.RunDir, logLink)
	if err := gone(os.Remove(link)); err != nil {
		return err
	}
	return os.Symlink(p.LogDir, link)
}

// launch runs the helper, which ends when the container is up.
func (d *Driver) launch(ctx context.Context, p machine.Plan, lock *os.File, native bool) (machine.Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	h := machine.Handle{Driver: d.Name(), ID: p.ID, RunDir: p.RunDir}
	ours, theirs, err := socketPair()
	if err != nil {
		return h, err
	}
	defer ours.Close()
	connected := make(chan error, 1)
	go func() { connected <- d.connect(ctx, ours, p) }()
	args := []string{"start", p.ID, p.RunDir, filepath.Join(p.RunDir, configFile)}
	if native {
		args = append(args, "native")
	}
	out, err := run.Output(ctx, run.Call{Path: d.program(), Args: args, Files: []*os.File{lock, theirs}})
	_ = theirs.Close() // so that one who waits for a message sees the end
	asked := <-connected
	if asked != nil && asked != errNotAsked {
		return h, asked
	}
	if err == nil && asked != nil && furnished(p) {
		return h, errs.Newf(errs.Invalid, "container %s came up without its devices: raw.lxc must leave lxc.hook.start-host alone", p.Name)
	}
	if err != nil {
		return h, errs.Newf(errs.Internal, "start container %s: %w%s", p.Name, err, reasons(filepath.Join(p.LogDir, "lxc.log")))
	}
	if _, err := fmt.Sscan(string(out), &h.PID, &h.StartTime, &h.MonitorPID, &h.MonitorStartTime); err != nil {
		return h, fmt.Errorf("start container %s: the helper says %q: %w", p.Name, out, err)
	}
	return h, nil
}

// end kills what runs of a container and removes its control groups.
func (d *Driver) end(ctx context.Context, id, runDir string) error {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	// In this order: the monitor moves on from the second group to the third to remove it.
	for _, name := range []string{payloadGroup(id, runDir), monitorGroup(id, runDir), pivotGroup(id, runDir)} {
		if err := d.group(name).Kill(ctx); err != nil {
			return fmt.Errorf("end machine %s: %w", id, err)
		}
	}
	return d.removeGroups(ctx, id, runDir)
}

// removeGroups tries for a while: the kernel lets go of a process a moment after it is gone.
func (d *Driver) removeGroups(ctx context.Context, id, runDir string) error {
	for {
		var err error
		for _, name := range []string{payloadGroup(id, runDir), monitorGroup(id, runDir), pivotGroup(id, runDir)} {
			err = errors.Join(err, d.group(name).Remove())
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// clean removes the driver's files of a machine that has ended, but for its logs and the note of how it ended.
func (d *Driver) clean(id, runDir string) error {
	var failed error
	for _, name := range []string{configFile, policyFile, filterFile, logLink, mountFolder} {
		failed = errors.Join(failed, gone(os.Remove(filepath.Join(runDir, name))))
	}
	for _, name := range []string{nodeFolder, placeFolder} {
		failed = errors.Join(failed, os.RemoveAll(filepath.Join(runDir, name)))
	}
	lock := filepath.Join(d.locks, runDir, "."+id)
	failed = errors.Join(failed, gone(os.Remove(lock)))
	for dir := filepath.Dir(lock); len(dir) > len(d.locks); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil { // another machine's, or gone
			break
		}
	}
	return failed
}

func (d *Driver) group(path string) *cgroup.Group { return d.tree.Group(path) }

func (d *Driver) program() string { return fmt.Sprintf("/proc/self/fd/%d", d.helper.Fd()) }

// lxcfsDir is where lxcfs is mounted, "" when it is not.
func (d *Driver) lxcfsDir() string {
	var st unix.Statfs_t
	if unix.Statfs(d.lxcfs, &st) != nil || st.Type != fuse {
		return ""
	}
	return d.lxcfs
}

// policy is what a machine is started with.
func (d *Driver) policy(ctx context.Context, want machine.Syscalls) (policy, error) {
	text, err := Policy(want)
	if err != nil || text == d.usual.text {
		return d.usual, err
	}
	p, err := d.compile(ctx, text)
	return p, errs.As(errs.Invalid, err)
}

// compile makes the kernel's program of a policy.
func (d *Driver) compile(ctx context.Context, text string) (p policy, err error) {
	rules, native, err := digest(text)
	if err != nil {
		return p, err
	}
	dir, err := os.MkdirTemp("", "lxd-seccomp-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	from, to := filepath.Join(dir, policyFile), filepath.Join(dir, filterFile)
	if err := os.WriteFile(from, []byte(rules), 0o600); err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if _, err := run.Output(ctx, run.Call{Path: d.program(), Args: []string{"seccomp", from, to}}); err != nil {
		return p, errs.Newf(errs.Unavailable, "compile the system call policy: %w", err)
	}
	filter, err := os.ReadFile(to)
	return policy{text, filter, native}, err
}

// payloadGroup and monitorGroup are a container's control groups. Daemons side by side have machines of the same id, but not in the
// same folder.
func payloadGroup(id, runDir string) string { return "lxc.payload." + id + "-" + short(runDir) }

func monitorGroup(id, runDir string) string { return "lxc.monitor." + id + "-" + short(runDir) }

// pivotGroup is where a monitor goes to remove the group that it is in.
func pivotGroup(id, runDir string) string { return "lxc.pivot." + id + "-" + short(runDir) }

func short(s string) string {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s) // never fails
	return fmt.Sprintf("%016x", h.Sum64())
}

// sealed copies a program to memory, where nobody can change it any more.
func sealed(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("lxd-lxc", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "lxd-lxc")
	if _, err := io.Copy(f, from); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reasons are the errors of a liblxc log: its first lines say why, those after it only what failed in turn.
func reasons(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		_, rest, ok := strings.Cut(line, " ERROR ")
		if !ok {
			continue
		}
		if _, why, ok := strings.Cut(rest, " - "); ok {
			if _, after, ok := strings.Cut(why, " - "); ok {
				why = after
			}
			return ": " + why + " (see " + path + ")"
		}
	}
	return ""
}

// gone makes an error about something that is gone no error; of an open file of a control group the kernel says ENODEV.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
