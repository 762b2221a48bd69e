// Package watch tells when files of the host come and go, such as the nodes of devices that are plugged in.
package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// changes are what makes the names in a folder come and go.
const changes = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVE | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// Watcher calls its subscribers. Its zero value is ready; Close it when it is not needed any more.
type Watcher struct {
	mu     sync.Mutex
	events *os.File
	subs   map[string]*subscriber
	ended  sync.WaitGroup
	closed bool
}

// subscriber is called by one at a time.
type subscriber struct {
	mu   sync.Mutex
	path string
	call func()
	gone bool
}

// Subscribe calls call now, and whenever something at path, or on the way to it, may have come or gone, until Unsubscribe. A second
// subscription of that name replaces the first.
func (w *Watcher) Subscribe(name, path string, call func()) error {
	w.Unsubscribe(name)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errors.New("the server is about to end")
	}
	err := w.open()
	s := &subscriber{path: path, call: call}
	if err == nil {
		err = w.arm(path)
	}
	if err == nil {
		w.subs[name] = s
	}
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	s.tell()
	return nil
}

// Unsubscribe ends a subscription; once it returns nothing is called any more.
func (w *Watcher) Unsubscribe(name string) {
	w.mu.Lock()
	s := w.subs[name]
	delete(w.subs, name)
	w.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone = true
	}
}

func (s *subscriber) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.call()
	}
}

// Close ends all subscriptions.
func (w *Watcher) Close() error {
	w.mu.Lock()
	w.closed = true
	clear(w.subs)
	events := w.events
	w.events = nil
	w.mu.Unlock()
	if events == nil {
		return nil
	}
	err := events.Close()
	w.ended.Wait()
	return err
}

// open begins to listen to the kernel.
func (w *Watcher) open() error {
	if w.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	w.events, w.subs = os.NewFile(uintptr(fd), "inotify"), map[string]*subscriber{}
	w.ended.Add(1)
	go w.listen(w.events)
	return nil
}

// arm listens to the folder that path is in, or the nearest one above it that there is.
func (w *Watcher) arm(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		_, err := unix.InotifyAddWatch(int(w.events.Fd()), dir, changes)
		if err == nil || dir == filepath.Dir(dir) || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return os.NewSyscallError("inotify_add_watch", err)
		}
	}
}

// listen has everybody look after each change: those are rare, and a look costs little.
func (w *Watcher) listen(events *os.File) {
	defer w.ended.Done()
	buf := make([]byte, 64<<10)
	for {
		if _, err := events.Read(buf); err != nil {
			return
		}
		w.mu.Lock()
		var all []*subscriber
		for _, s := range w.subs {
			if w.events != nil {
				_ = w.arm(s.path) // a folder that vanishes meanwhile is told of by the one above it
			}
			all = append(all, s)
		}
		w.mu.Unlock()
		for _, s := range all {
			s.tell()
		}
	}
}
