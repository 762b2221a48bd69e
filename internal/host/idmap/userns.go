package idmap

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespaces keeps one open user namespace for each map, for id-mapped mounts. Its zero value is ready.
type Namespaces struct {
	mu   sync.Mutex
	open map[string]*os.File
}

// Get opens the user namespace of m, made once and kept until Close. The file belongs to n.
func (n *Namespaces) Get(m Map) (*os.File, error) {
	key := fmt.Sprint(m)
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.open[key]; f != nil {
		return f, nil
	}
	f, err := newNamespace(m)
	if err != nil {
		return nil, fmt.Errorf("user namespace for %v: %w", m, err)
	}
	if n.open == nil {
		n.open = map[string]*os.File{}
	}
	n.open[key] = f
	return f, nil
}

// Close lets go of all namespaces; mounts that were made with them stay.
func (n *Namespaces) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.open {
		f.Close()
	}
	clear(n.open)
	return nil
}

// newNamespace makes a user namespace that outlives the process it is made with: that is stopped before its first instruction,
// the namespace is opened, and it is killed.
func newNamespace(m Map) (*os.File, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	ids := make([]syscall.SysProcIDMap, len(m))
	for i, r := range m {
		ids[i] = syscall.SysProcIDMap{ContainerID: int(r.Inside), HostID: int(r.Host), Size: int(r.Size)}
	}
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	self := "/proc/self/exe"
	pid, err := syscall.ForkExec(self, []string{self}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}})
	if err != nil {
		return nil, err
	}
	defer func() {
		unix.Kill(pid, unix.SIGKILL)
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR && (err != nil || !ws.Stopped()) {
				return
			}
		}
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
}
