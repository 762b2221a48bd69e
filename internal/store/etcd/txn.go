package etcd

import (
	"errors"
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// Keys of the engine itself sort behind all records ("/…").
const (
	recordsFrom, recordsTo = "/", "0"
	// deletedPrefix + COLLECTION is written by every transaction that deletes from the collection: a range compare does not see
	// a key that is gone.
	deletedPrefix = "~deleted/"
	// ticketPrefix + MEMBER carries the ticket of the member's transaction.
	ticketPrefix = "~ticket/"
	watchTo      = "\x7f"
)

// request makes one transaction of an intent: its compares fail if anything that was seen has changed.
func request(in store.Intent, ticketKey string) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for path, rev := range in.Seen {
		r.Compare = append(r.Compare, modified(path, "", pb.Compare_EQUAL, rev))
	}
	for _, g := range in.Ranges {
		r.Compare = append(r.Compare, modified(g.From, g.To, pb.Compare_LESS, in.Rev+1))
		if g.Large {
			r.Compare = append(r.Compare, modified(deletedPrefix+g.Collection, "", pb.Compare_LESS, in.Rev+1))
		}
	}
	deleted := map[string]bool{}
	for _, w := range in.Writes {
		if w.Value != nil {
			r.Success = append(r.Success, put(w.Path, w.Value))
			continue
		}
		r.Success = append(r.Success, remove(w.Path))
		if c := store.CollectionOf(w.Path); !deleted[c] {
			deleted[c] = true
			r.Success = append(r.Success, put(deletedPrefix+c, nil))
		}
	}
	if in.Ticket != 0 {
		r.Success = append(r.Success, put(ticketKey, strconv.AppendUint(nil, in.Ticket, 10)))
	}
	return r
}

// modified compares the revision of the last write to a key, or to each key of a range, with rev; a missing key has 0.
func modified(key, end string, how pb.Compare_CompareResult, rev uint64) *pb.Compare {
	return &pb.Compare{
		Key: []byte(key), RangeEnd: []byte(end), Result: how, Target: pb.Compare_MOD,
		TargetUnion: &pb.Compare_ModRevision{ModRevision: int64(rev)},
	}
}

func put(key string, value []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: value}}}
}

func remove(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)}}}
}

// commitOf makes a commit of the events of one revision. All events have the same revision.
func commitOf(events []*mvccpb.Event, ticketKey string) store.Commit {
	c := store.Commit{Rev: uint64(events[0].GetKv().GetModRevision())}
	for _, ev := range events {
		key := string(ev.GetKv().GetKey())
		switch {
		case key == ticketKey:
			c.Ticket, _ = strconv.ParseUint(string(ev.GetKv().GetValue()), 10, 64)
		case key >= recordsTo:
		case ev.GetType() == mvccpb.Event_DELETE:
			c.Writes = append(c.Writes, store.Write{Path: key})
		default:
			c.Writes = append(c.Writes, store.Write{Path: key, Value: value(ev.GetKv())})
		}
	}
	return c
}

// value is never nil, which would mean a delete.
func value(kv *mvccpb.KeyValue) []byte {
	if v := kv.GetValue(); v != nil {
		return v
	}
	return []byte{}
}

// explain classifies what the server answers to a commit.
func (e *engine) explain(err error) error {
	switch {
	case e.fault.hit():
		return e.fault.failed()
	case errors.Is(err, etcderrors.ErrRequestTooLarge):
		return errs.Newf(errs.Invalid, "the record is too large: all that one request writes must stay below %d MiB", maxRequest>>20)
	case errors.Is(err, etcderrors.ErrStopped):
		return errs.Newf(errs.Unavailable, "the state database is closed: the server is stopping")
	case errors.Is(err, etcderrors.ErrNoSpace):
		return errs.Newf(errs.Unavailable, "the state database has reached its size limit: delete what is not needed")
	case errors.Is(err, etcderrors.ErrTooManyRequests):
		return errs.Newf(errs.Unavailable, "the state database has too many requests waiting: try again")
	}
	return errs.Newf(errs.Unavailable, "the state database did not answer, and the change may or may not have been made: %w", err)
}
