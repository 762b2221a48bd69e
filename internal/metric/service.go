// Package metric is what monitoring systems are told: counters of the running instances and of the daemon itself, as text.
package metric

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/internal/machine"
)

const (
	// fresh is how long samples of an instance are shown again before they are read anew.
	fresh = 8 * time.Second
	// patience is how long one instance may take; after that its last samples are shown.
	patience = 2 * time.Second
	// atOnce is how many instances are read at the same time.
	atOnce = 8
	// pause is the time between two readings in the background, so that samples are never too old even if one takes all the time that
	// it may; attention is how long after the last scrape that goes on.
	pause     = fresh - patience - time.Second
	attention = 5 * time.Minute
)

// Target is an instance that runs on this member.
type Target struct {
	Project, Name, Type string
	Meter               machine.Meter
}

// Request is how often a kind of request has been made.
type Request struct {
	Entity  string
	Ongoing int64
	// Completed is by result.
	Completed map[string]int64
}

// Population is the instances of one type in one project.
type Population struct{ Project, Type string }

// Sources is where the numbers come from.
type Sources struct {
	// Targets are the instances that run.
	Targets func() []Target
	// Instances counts those that exist, by project and type.
	Instances func(ctx context.Context) (map[Population]int, error)
	// Operations and Warnings count those that are running and not resolved.
	Operations func() int
	Warnings   func(ctx context.Context) (int, error)
	Requests   func() []Request
	// Began is when the daemon started.
	Began time.Time
}

// Service reads and writes metrics. Its methods may be called at the same time.
type Service struct {
	from Sources

	mu   sync.Mutex
	kept map[machine.Meter]*reading
	// asked is when somebody last wanted to see the metrics; wake ends the sleep of Refresh when somebody does.
	asked time.Time
	wake  chan struct{}
}

// reading is the samples of one running machine.
type reading struct {
	target Target
	// at is when they were read; busy is closed when a reading that is under way since began has ended.
	at, began time.Time
	busy      chan struct{}
	set       set
}

// New makes the service; it has no effects.
func New(from Sources) *Service {
	return &Service{from: from, kept: map[machine.Meter]*reading{}, wake: make(chan struct{}, 1)}
}

// Filter says what is to be shown to a caller.
type Filter struct {
	// Server shows the numbers of the daemon itself.
	Server bool
	// Project tells whether those of a project are shown, and Instance whether those of one of its instances.
	Project  func(project string) bool
	Instance func(project, name string) bool
}

// Write writes the metrics that the filter lets pass.
func (s *Service) Write(ctx context.Context, w io.Writer, f Filter) error {
	out := set{}
	if f.Server {
		if err := s.server(ctx, out); err != nil {
			return err
		}
	}
	counts, err := s.from.Instances(ctx)
	if err != nil {
		return err
	}
	for _, of := range slices.SortedFunc(maps.Keys(counts), func(a, b Population) int {
		return cmp.Or(strings.Compare(a.Project, b.Project), strings.Compare(a.Type, b.Type))
	}) {
		if f.Project(of.Project) {
			out.add("lxd_instances", float64(counts[of]), label{"project", of.Project}, label{"type", of.Type})
		}
	}
	s.attend()
	all := s.from.Targets()
	s.forget(all)
	var shown []Target
	for _, t := range all {
		if f.Project(t.Project) && f.Instance(t.Project, t.Name) {
			shown = append(shown, t)
		}
	}
	for _, one := range s.read(ctx, shown, fresh) {
		out.merge(one)
	}
	return out.write(w)
}

// server adds what is about the daemon itself.
func (s *Service) server(ctx context.Context, out set) error {
	out.merge(process())
	for _, r := range s.from.Requests() {
		on := label{"entity_type", r.Entity}
		out.add("lxd_api_requests_ongoing", float64(r.Ongoing), on)
		for _, result := range slices.Sorted(maps.Keys(r.Completed)) {
			out.add("lxd_api_requests_completed_total", float64(r.Completed[result]), on, label{"result", result})
		}
	}
	warnings, err := s.from.Warnings(ctx)
	if err != nil {
		return err
	}
	out.add("lxd_operations_total", float64(s.from.Operations()))
	out.add("lxd_warnings_total", float64(warnings))
	out.add("lxd_uptime_seconds", time.Since(s.from.Began).Seconds())
	return nil
}

// read returns the samples of the targets, in their order; those older than age are read anew. One that hangs holds up nobody for longer
// than patience, once, and is not asked again before it has answered.
func (s *Service) read(ctx context.Context, targets []Target, age time.Duration) []set {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	slots := make(chan struct{}, atOnce)
	readings := make([]*reading, len(targets))
	var pending []<-chan struct{}
	for i, t := range targets {
		r, busy := s.begin(t, age, slots)
		readings[i] = r
		if busy != nil {
			pending = append(pending, busy)
		}
	}
	for _, busy := range pending {
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
	out := make([]set, len(targets))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range readings {
		out[i] = r.set
	}
	return out
}

// begin starts to read one instance unless that was done lately; busy is closed when its samples can be shown, and nil when they can be
// shown now. That is so too for one that hangs: its last samples, however old, are all that there is.
func (s *Service) begin(t Target, age time.Duration, slots chan struct{}) (r *reading, busy <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.kept[t.Meter]
	if r == nil {
		r = &reading{}
		s.kept[t.Meter] = r
	}
	switch {
	case time.Since(r.at) < age && r.target.Name == t.Name, r.busy != nil && time.Since(r.began) >= patience:
		return r, nil
	case r.busy != nil:
		return r, r.busy
	}
	r.target, r.busy, r.began = t, make(chan struct{}), time.Now()
	go s.measure(r, t, r.busy, slots)
	return r, r.busy
}

// measure reads one instance, however long it takes.
func (s *Service) measure(r *reading, t Target, busy chan struct{}, slots chan struct{}) {
	slots <- struct{}{}
	release := sync.OnceFunc(func() { <-slots })
	late := time.AfterFunc(patience, release) // those that hang must not keep the others out
	m, err := t.Meter.Metrics(context.Background())
	late.Stop()
	release()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(busy)
	r.busy, r.at = nil, time.Now()
	if err != nil {
		slog.Debug("Could not measure an instance", "project", t.Project, "instance", t.Name, "err", err)
		r.set = nil
		return
	}
	r.set = sampled(t, m)
}

// forget drops what is known of machines that have ended.
func (s *Service) forget(all []Target) {
	running := map[machine.Meter]bool{}
	for _, t := range all {
		running[t.Meter] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for m, r := range s.kept {
		if !running[m] && r.busy == nil {
			delete(s.kept, m)
		}
	}
}
