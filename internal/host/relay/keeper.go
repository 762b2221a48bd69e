package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"lxd/internal/host/run"
)

// Keeper starts relay processes, and finds them again after a restart of the daemon.
type Keeper struct {
	// Program is the file whose command "relay" calls Main.
	Program string
	// Dir holds the files of the processes.
	Dir string
}

// Job is what a new process needs. It listens inside the machine, unless it connects there.
type Job struct {
	Config
	On Machine
	// RootUID and RootGID are the ids on the host of the machine's root.
	RootUID, RootGID int
	// Owner is that of the files of sockets.
	Owner Owner
}

// Machine is what the relay is about; it ends with the machine's first process.
type Machine interface {
	PID() int
	// Namespace opens a namespace of the first process; it fails when that has ended.
	Namespace(kind string) (*os.File, error)
}

// view is a machine that is held.
type view struct {
	process *os.File
	place   Place
}

// hold opens what the relay needs of a machine.
func hold(m Machine) (v view, err error) {
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	fd, err := unix.PidfdOpen(m.PID(), 0)
	if err != nil {
		return v, fmt.Errorf("hold process %d: %w", m.PID(), err)
	}
	v.process = os.NewFile(uintptr(fd), "pidfd")
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", m.PID()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return v, fmt.Errorf("root of process %d: %w", m.PID(), err)
	}
	v.place.Root = os.NewFile(uintptr(root), "/")
	// This fails if the machine has ended: what was opened before is its own if it does not.
	v.place.Netns, err = m.Namespace("net")
	return v, err
}

func (v view) close() {
	for _, f := range []*os.File{v.process, v.place.Root, v.place.Netns} {
		if f != nil {
			_ = f.Close() // of no consequence: the process has its own
		}
	}
}

// Start makes the relay of that name carry connections. One that does so already goes on; one with another configuration is replaced.
func (k Keeper) Start(ctx context.Context, name string, j Job) (err error) {
	text, err := json.Marshal(j.Config)
	if err != nil {
		return err
	}
	p, running, err := k.find(name)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(k.file(name)); running && err == nil && bytes.Equal(old, text) {
		return nil
	}
	if running {
		if err := p.Stop(ctx); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(k.file(name), text, 0o600); err != nil {
		return err
	}
	if err := k.spawn(name, j); err != nil {
		return errors.Join(err, k.Stop(context.WithoutCancel(ctx), name))
	}
	return nil
}

func (k Keeper) spawn(name string, j Job) error {
	on, err := hold(j.On)
	if err != nil {
		return err
	}
	defer on.close()
	at := on.place
	at.UID, at.GID = j.RootUID, j.RootGID
	var netns *os.File
	if j.Inside {
		at, netns = Place{}, on.place.Netns
	}
	files := []*os.File{on.process, on.place.Root}
	defer func() {
		for _, f := range files[2:] {
			_ = f.Close() // the process has its own
		}
	}()
	for _, r := range j.Rules {
		f, err := Listen(r.Listen, at, j.Owner)
		if err != nil {
			return fmt.Errorf("listen on %s %s: %w", r.Listen.Network, r.Listen.Address, err)
		}
		files = append(files, f)
	}
	p, err := run.Start(run.Program{Path: k.Program, Args: []string{Command, k.file(name)}, Dir: "/", Log: filepath.Join(k.Dir, name+".log"), Files: files, Netns: netns})
	if err != nil {
		return err
	}
	return os.WriteFile(pidFile(k.file(name)), []byte(strconv.Itoa(p.PID())), 0o600)
}

// Command is the argument that makes the program call Main with the next one.
const Command = "relay"

// Stop ends the relay of that name and removes what it has made on the host. There need be none.
func (k Keeper) Stop(ctx context.Context, name string) error {
	p, running, err := k.find(name)
	if err != nil {
		return err
	}
	if running {
		if err := p.Stop(ctx); err != nil {
			return err
		}
	}
	err = k.unlink(name)
	for _, f := range []string{k.file(name), pidFile(k.file(name)), filepath.Join(k.Dir, name+".log")} {
		if e := os.Remove(f); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// unlink removes the sockets that the relay had in the host's file system.
func (k Keeper) unlink(name string) (err error) {
	c, e := load(k.file(name))
	if e != nil || !c.Inside { // those inside the machine are its own
		return nil //nolint:nilerr // without its file there is none
	}
	for _, r := range c.Rules {
		if r.Listen.Network != Unix || r.Listen.abstract() {
			continue
		}
		if st, e := os.Lstat(r.Listen.Address); e == nil && st.Mode()&os.ModeSocket != 0 {
			err = errors.Join(err, os.Remove(r.Listen.Address))
		}
	}
	return err
}

// find looks for the process of that name.
func (k Keeper) find(name string) (*run.Process, bool, error) {
	return run.Find(pidFile(k.file(name)), func(args []string) bool {
		return len(args) == 3 && args[1] == Command && args[2] == k.file(name)
	})
}

func (k Keeper) file(name string) string { return filepath.Join(k.Dir, name+".json") }

func pidFile(config string) string { return config + ".pid" }
