// Package store keeps typed collections in one replicated, watchable key space.
//
// Every member holds the whole state in memory as an immutable, ordered snapshot that follows the engine's commits; View reads
// that snapshot and does no I/O. Update runs its function on a snapshot, notes what it read, and commits its writes only if none
// of that changed meanwhile; otherwise it runs the function again on a newer one.
package store

import (
	"context"
	"iter"
)

// Store is the whole state of a server or cluster.
type Store interface {
	// View runs fn on a consistent snapshot. fn must not write.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn and commits all its writes, or none of them. fn may run more than once: no I/O, no clock, no randomness
	// in it. When Update returns nil the caller's own View sees the writes and the announced events have been published.
	Update(ctx context.Context, fn func(Tx) error) error
	// Watch yields committed changes of one collection ("" = all) after revision since, oldest first, until ctx ends or
	// the consumer falls too far behind; the last pair carries the error.
	Watch(ctx context.Context, since uint64, collection string) iter.Seq2[Change, error]
	// Close stops the engine; later calls fail with Unavailable.
	Close() error
}

// Change is one committed write; New is nil for a delete, Old for an insert.
type Change struct {
	Rev        uint64
	Collection string
	Key        string
	Old, New   []byte
}

// Entry is one stored record.
type Entry struct {
	Key   string
	Value []byte
	// Rev is the revision of the last write to the entry; it never repeats, so it can key a cache.
	Rev uint64
	// decoded holds the value once parsed, shared by all readers of this revision.
	decoded *memo
}

// Tx is one transaction. Only Collection and this package's engines call Read, Write and Scan.
type Tx interface {
	// Rev is the revision of the snapshot.
	Rev() uint64
	// Read finds one entry, own writes included.
	Read(collection, key string) (Entry, bool)
	// Write stores val, or deletes the entry when val is nil.
	Write(collection, key string, val []byte)
	// Scan yields the entries whose key starts with prefix in key order, own writes included.
	Scan(collection, prefix string) iter.Seq[Entry]
	// Announce queues an event that is published only if the transaction commits, after it.
	Announce(ev any)
}
