package tree

import "sync"

// Locks are one lock for each volume, by path, that exist while somebody holds or wants them. The zero value is ready.
type Locks struct {
	mu  sync.Mutex
	all map[string]*lock
}

type lock struct {
	sync.RWMutex
	users int
}

// Write waits for the volume to be free and takes it; the result gives it back.
func (l *Locks) Write(path string) func() {
	k := l.get(path)
	k.Lock()
	return func() { k.Unlock(); l.put(path, k) }
}

// Read takes the volume together with other readers.
func (l *Locks) Read(path string) func() {
	k := l.get(path)
	k.RLock()
	return func() { k.RUnlock(); l.put(path, k) }
}

func (l *Locks) get(path string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*lock{}
	}
	k := l.all[path]
	if k == nil {
		k = &lock{}
		l.all[path] = k
	}
	k.users++
	return k
}

func (l *Locks) put(path string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.all, path)
	}
}
