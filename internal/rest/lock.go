package rest

import (
	"hash/maphash"
	"sync"
)

// stripes is a fixed number of locks that share all keys.
type stripes struct {
	once sync.Once
	seed maphash.Seed
	mu   [64]sync.Mutex
}

// lock waits for the lock of a key and returns how to release it.
func (s *stripes) lock(key string) (unlock func()) {
	s.once.Do(func() { s.seed = maphash.MakeSeed() })
	m := &s.mu[maphash.String(s.seed, key)%uint64(len(s.mu))]
	m.Lock()
	return m.Unlock
}
