// Package etcd keeps the state in an etcd server that runs inside the daemon: a write-ahead log that is synced before a commit is
// acknowledged, one member when alone, and no listener of its own.
package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3/raftpb"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// readyWithin bounds the wait for a state that is already on this disk; replaying a full log takes well under a second.
const readyWithin = 30 * time.Second

// Config says where and how the state is kept.
type Config struct {
	// Dir is the data directory; it is made when missing.
	Dir string
	// Name is this member's name; "local" when empty.
	Name string
}

// Open starts the server on its directory and returns once the state in it can be used.
func Open(ctx context.Context, c Config, o store.Options) (store.Store, error) {
	e, err := start(ctx, c)
	if err != nil {
		return nil, err
	}
	return store.Open(e, o)
}

// engine is a store.Engine over an etcd server.
type engine struct {
	server  *etcdserver.EtcdServer
	fault   *fault
	room    *headroom
	closing chan struct{}
	once    sync.Once
	work    sync.WaitGroup
}

func start(ctx context.Context, c Config) (*engine, error) {
	f := newFault()
	room, err := newHeadroom(c.Dir)
	if err != nil {
		return nil, err
	}
	young := !hasSnapshot(c.Dir)
	server, err := newServer(c, f)
	if err != nil {
		return nil, errs.Newf(errs.Unavailable, "open the state database in %s: %w", c.Dir, err)
	}
	e := &engine{server: server, fault: f, room: room, closing: make(chan struct{})}
	server.Start()
	e.work.Go(func() {
		if young {
			e.settle()
		}
		e.elect()
	})
	if err := e.ready(ctx); err != nil {
		_ = e.Close()
		return nil, errs.Newf(errs.Unavailable, "open the state database in %s: %w", c.Dir, err)
	}
	room.reserve()
	release(databaseFile(c.Dir))
	e.work.Go(e.upkeep)
	return e, nil
}

func (e *engine) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-e.server.ReadyNotify():
		return nil
	case <-e.fault.happened:
		return e.fault.err
	case <-ctx.Done():
		return fmt.Errorf("it is not ready yet: %w", ctx.Err())
	}
}

// settle waits until the log was replayed, for a server that was killed just before its first snapshot: see snapshotCount.
func (e *engine) settle() {
	for {
		committed := e.server.CommittedIndex()
		if committed > 0 && e.server.AppliedIndex() >= committed {
			if committed > firstSnapshot-10 {
				time.Sleep(25 * time.Millisecond) // raft is told a moment later, which cannot be seen from here
			}
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-e.closing:
			return
		}
	}
}

// elect makes a member that is alone the leader at once. Without it the time to ready would be the election timeout, or, with a
// timeout short enough not to matter, the ticks would take one percent of a processor for ever.
func (e *engine) elect() {
	id := uint64(e.server.MemberID())
	for e.server.Leader() == 0 && len(e.server.Cluster().Members()) == 1 {
		kind := raftpb.MsgTimeoutNow
		_ = e.server.Process(context.Background(), &raftpb.Message{Type: &kind, To: &id, From: &id})
		select {
		case <-time.After(time.Millisecond):
		case <-e.closing:
			return
		}
	}
}

// Commit sends the intent as one transaction.
func (e *engine) Commit(ctx context.Context, in store.Intent) (store.Verdict, error) {
	req := request(in, e.ticketKey())
	if err := e.room.spend(req); err != nil {
		return store.Verdict{}, err
	}
	resp, err := e.server.Txn(ctx, req)
	if err != nil {
		return store.Verdict{}, e.explain(err)
	}
	return store.Verdict{Rev: uint64(resp.GetHeader().GetRevision()), Conflict: !resp.GetSucceeded()}, nil
}

// ticketKey is where this member leaves the ticket of the transaction that it commits.
func (e *engine) ticketKey() string {
	return fmt.Sprintf("%s%x", ticketPrefix, uint64(e.server.MemberID()))
}

// Close stops the server; what was committed is on the disk already.
func (e *engine) Close() error {
	e.once.Do(func() { close(e.closing) })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.server.HardStop()
	}()
	select {
	case <-stopped:
		e.work.Wait()
		return nil
	case <-time.After(e.patience()):
		return errs.Newf(errs.Unavailable, "the state database does not stop; what it acknowledged is on the disk")
	}
}

// patience is how long Close waits: a server that has failed may hold locks that nobody will release.
func (e *engine) patience() time.Duration {
	if e.fault.hit() {
		return 500 * time.Millisecond
	}
	return 10 * time.Second
}

// upkeep drops old revisions now and then, so that the files do not grow: watchers read their history from memory.
func (e *engine) upkeep() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	last := int64(0)
	for {
		select {
		case <-tick.C:
			last = e.compact(last)
			e.room.reserve()
		case <-e.closing:
			return
		}
	}
}

// compact forgets all but the newest revisions once there are enough to be worth it, and returns up to where it has.
func (e *engine) compact(last int64) int64 {
	const keep, worth = 500, 2000
	rev := e.server.KV().Rev() - keep
	if rev-last < worth {
		return last
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// A failure, such as that another member has done so already, leaves the work to the next round.
	if _, err := e.server.Compact(ctx, &pb.CompactionRequest{Revision: rev}); err != nil {
		return last
	}
	return rev
}
