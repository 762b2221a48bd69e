package rest

import (
	"net/http"
	"sync"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
)

const (
	// shareOfKnown is how many requests of one identity may be under way at a time, waiting ones and streams among them.
	shareOfKnown = 1024
	// shareOfStrangers is the same for everybody at one address who has not proved anything.
	shareOfStrangers = 64
)

// shares counts the requests under way of each caller on a network, so that none can have all the memory. Its zero value is ready.
type shares struct {
	mu sync.Mutex
	by map[string]int
}

// enter takes a place, or fails with TooMany. leave gives it back.
func (s *shares) enter(r *http.Request, id auth.Identity) (leave func(), err error) {
	from, remote := limit.Network(r.RemoteAddr)
	if id.Kind == auth.Unix || !remote {
		return func() {}, nil
	}
	key, most := from.String(), shareOfStrangers
	if id.Trusted() {
		key, most = string(id.Kind)+" "+id.Name, shareOfKnown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[key] >= most {
		return nil, errs.Newf(errs.TooMany, "%d requests of this client are under way: wait until some of them have ended", most)
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.by[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.by[key]--; s.by[key] == 0 {
			delete(s.by, key)
		}
	}, nil
}
