package metric

import (
	"context"
	"time"
)

// Refresh reads the instances again before what was read is too old to be shown, so that a scrape is answered from memory. It does so while
// somebody scrapes, and sleeps otherwise; it returns when ctx ends.
func (s *Service) Refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for s.watched() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			all := s.from.Targets()
			s.forget(all)
			s.read(ctx, all, 0)
		}
	}
}

// attend notes that somebody wants to see the metrics.
func (s *Service) attend() {
	s.mu.Lock()
	s.asked = time.Now()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // Refresh has not yet heard of the last time
	}
}

// watched tells whether somebody wanted to see the metrics lately.
func (s *Service) watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.asked) < attention
}
