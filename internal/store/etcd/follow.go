package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"lxd/internal/store"
)

// Follow reads the whole state, then watches the server's commits from there.
func (e *engine) Follow(deliver func(store.Commit)) error {
	for {
		rev, err := e.load(deliver)
		if err != nil {
			return err
		}
		again, err := e.watch(rev, deliver)
		if err != nil || !again {
			return err
		}
	}
}

// load delivers all records there are and returns their revision.
func (e *engine) load(deliver func(store.Commit)) (uint64, error) {
	r, err := e.server.KV().Range(context.Background(), []byte(recordsFrom), []byte(recordsTo), mvcc.RangeOptions{})
	if err != nil {
		return 0, err
	}
	c := store.Commit{Rev: uint64(r.Rev), Reset: true, Writes: make([]store.Write, 0, len(r.KVs))}
	for _, kv := range r.KVs {
		c.Writes = append(c.Writes, store.Write{Path: string(kv.GetKey()), Value: value(kv), Rev: uint64(kv.GetModRevision())})
	}
	deliver(c)
	return c.Rev, nil
}

// watch delivers the commits behind rev. It asks for another load when the server has forgotten what comes next.
func (e *engine) watch(rev uint64, deliver func(store.Commit)) (again bool, err error) {
	ws := e.server.KV().NewWatchStream()
	defer ws.Close()
	if _, err := ws.Watch(context.Background(), 0, []byte(recordsFrom), []byte(watchTo), int64(rev)+1); err != nil {
		return false, err
	}
	for {
		select {
		case r, open := <-ws.Chan():
			if !open {
				return false, nil
			}
			if r.CompactRevision != 0 {
				return true, nil
			}
			e.deliver(r.Events, deliver)
		case <-e.closing:
			return false, nil
		case <-e.server.StopNotify():
			return false, nil
		case <-e.fault.happened:
			return false, e.fault.failed()
		}
	}
}

// deliver splits events into revisions.
func (e *engine) deliver(events []*mvccpb.Event, deliver func(store.Commit)) {
	for len(events) > 0 {
		rev, n := events[0].GetKv().GetModRevision(), 1
		for n < len(events) && events[n].GetKv().GetModRevision() == rev {
			n++
		}
		deliver(commitOf(events[:n], e.ticketKey()))
		events = events[n:]
	}
}
