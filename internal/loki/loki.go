// Package loki sends events to a Loki server: what happens on this server, and what its log says, beside the logs of all others.
package loki

import (
	"context"
	"log/slog"
	"net/url"
	"reflect"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/event"
)

// Limits of what is kept and sent.
const (
	// gather is how long a batch waits for more entries.
	gather = time.Second
	// batchEntries and batchBytes end a batch early.
	batchEntries, batchBytes = 1000, 512 << 10
	// queueEntries and queueBytes are what waits for a server that does not answer; what comes after that is dropped and counted.
	queueEntries, queueBytes = 20000, 8 << 20
	// firstPause is the pause after the first failure; each is twice the one before, up to longestPause.
	firstPause, longestPause = 500 * time.Millisecond, 30 * time.Second
	// answerWithin is how long the server may take to answer.
	answerWithin = 10 * time.Second
	// farewell is how long what waits may take when the forwarding ends.
	farewell = 3 * time.Second
)

// Config says where events go, and which.
type Config struct {
	// URL is the server's address, without the path of the push API; "" sends nothing.
	URL string
	// Authority is the PEM of whom to trust besides the host's own authorities.
	Authority          string
	Username, Password string
	// Instance is the label of that name.
	Instance string
	// Location is the label of that name on events that do not tell theirs.
	Location string
	// Labels are the fields of events that become labels.
	Labels []string
	// Level is the least level of log messages.
	Level string
	// Types are the types of events.
	Types []string
}

// Forwarder sends events for as long as it is configured to. Its methods may be called at the same time.
type Forwarder struct {
	source event.Source
	proxy  Proxy

	mu     sync.Mutex
	config Config
	run    *run
}

// Proxy finds the proxy of an address; nil is none.
type Proxy = func(*url.URL) (*url.URL, error)

// New makes a forwarder of the events of source; it sends nothing yet.
func New(source event.Source, proxy Proxy) *Forwarder {
	return &Forwarder{source: source, proxy: proxy}
}

// Configure makes the forwarder do what c says from now on. What waits to be sent by the old configuration is sent in the background.
func (f *Forwarder) Configure(c Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reflect.DeepEqual(c, f.config) {
		return nil
	}
	var next *run
	if c.URL != "" {
		p, err := newPusher(c, f.proxy)
		if err != nil {
			return err
		}
		next = start(f.source, c, p)
	}
	old := f.run
	f.config, f.run = c, next
	if old != nil {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), farewell)
			defer cancel()
			old.end(ctx)
		}()
	}
	return nil
}

// Close ends the forwarding. What waits is sent, unless the server does not take it before ctx ends or within a few seconds.
func (f *Forwarder) Close(ctx context.Context) error {
	f.mu.Lock()
	old := f.run
	f.config, f.run = Config{}, nil
	f.mu.Unlock()
	if old != nil {
		ctx, cancel := context.WithTimeout(ctx, farewell)
		defer cancel()
		old.end(ctx)
	}
	return nil
}

// run is the forwarding by one configuration.
type run struct {
	config Config
	push   *pusher
	queue  *queue
	// listening ends the taking in of events, and sending the sending.
	listening, sending context.CancelFunc
	collected, sent    chan struct{}
	// refused counts the events that the server did not want since the last that it took; only send knows it.
	refused int
}

func start(source event.Source, c Config, p *pusher) *run {
	in, endIn := context.WithCancel(context.Background())
	out, endOut := context.WithCancel(context.Background())
	r := &run{config: c, push: p, queue: newQueue(), listening: endIn, sending: endOut, collected: make(chan struct{}), sent: make(chan struct{})}
	first := source.Listen(in, r.filter()) // from now on, not from when the goroutine has its turn
	go r.collect(in, source, first)
	go r.send(out)
	return r
}

func (r *run) filter() event.Filter { return event.Filter{Types: r.config.Types, AllProjects: true} }

// collect puts events into the queue, which never blocks, so that the listener is not ended as too slow; if it is, it listens anew.
func (r *run) collect(ctx context.Context, source event.Source, from <-chan api.Event) {
	defer close(r.collected)
	for {
		for ev := range from {
			if e, ok := r.config.entry(ev); ok {
				r.queue.put(e)
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.queue.lose(1) // how many it were nobody knows
		from = source.Listen(ctx, r.filter())
	}
}

// send sends batches until ctx ends, or until the queue is closed and empty.
func (r *run) send(ctx context.Context) {
	defer close(r.sent)
	for {
		batch, closing := r.queue.take(ctx)
		if len(batch) == 0 {
			return
		}
		r.deliver(ctx, batch, closing)
		if n := r.queue.lost(); n > 0 {
			slog.Warn("Events were not sent to Loki: the server takes them too slowly, or did not for some time", "url", r.config.URL, "dropped", n)
		}
	}
}

// deliver sends a batch, again and again if the server cannot take it now, but only once if everything is about to end.
func (r *run) deliver(ctx context.Context, batch []entry, closing bool) {
	body, began := encode(batch), time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		again, err := r.push.send(ctx, body)
		switch {
		case err == nil:
			if pause > firstPause || r.refused > 0 {
				slog.Info("Loki takes events again", "url", r.config.URL, "after", time.Since(began), "dropped", r.refused)
				r.refused = 0
			}
			return
		case ctx.Err() != nil:
			return
		case !again:
			if r.refused == 0 { // what is logged is an event too: told of each time, it would go on for ever
				slog.Error("Loki refuses events, which are dropped: check the keys loki.*", "url", r.config.URL, "dropped", len(batch), "err", err)
			}
			r.refused += len(batch)
			return
		case closing || r.queue.isClosed():
			slog.Warn("Events were not sent to Loki before the forwarding ended", "url", r.config.URL, "dropped", len(batch), "err", err)
			return
		case pause == firstPause:
			slog.Warn("Loki does not take events: they are kept for a while and sent again", "url", r.config.URL, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-r.queue.closed: // one last attempt
		case <-time.After(pause):
		}
	}
}

// end stops listening, and sends what is left until ctx ends.
func (r *run) end(ctx context.Context) {
	r.listening()
	<-r.collected
	r.queue.close()
	select {
	case <-r.sent:
	case <-ctx.Done():
	}
	r.sending()
	<-r.sent
	r.push.close()
}
