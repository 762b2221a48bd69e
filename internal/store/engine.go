package store

import "context"

// Engine makes write sets durable and reports every commit. Open makes a Store of it.
type Engine interface {
	// Commit applies the writes of an intent at once if nothing that it saw has changed, else reports a conflict. An error
	// means that the writes were not made, or (kind Unavailable, and the text says so) that this is not known.
	Commit(ctx context.Context, in Intent) (Verdict, error)
	// Follow delivers the whole key space first (Reset), then every later commit, each once and in revision order, until the
	// engine is closed (nil) or fails. It is called once, and deliver is never called twice at a time.
	Follow(deliver func(Commit)) error
	// Close stops the engine and ends Follow. It may be called again.
	Close() error
}

// Verdict is what became of an intent.
type Verdict struct {
	// Rev is the revision of the commit, or for a conflict one that shows what it was with.
	Rev uint64
	// Conflict says that something which the transaction saw has changed, and that nothing was written.
	Conflict bool
}

// Write is one write; Value is nil for a delete.
type Write struct {
	Path  string
	Value []byte
	// Rev is the revision of the write where that is not the Commit's, as in a Reset.
	Rev uint64
}

// Commit is the writes of one revision.
type Commit struct {
	Rev uint64
	// Reset says that Writes is the whole key space, and what is not in it is gone.
	Reset  bool
	Writes []Write
	// Ticket is the Intent's when this process committed it, else 0.
	Ticket uint64
}

// Intent is what a transaction saw and what it wants written.
type Intent struct {
	// Rev is the revision of the snapshot that the transaction ran on.
	Rev uint64
	// Seen maps each path that was read to the revision of its last write, 0 when there was none.
	Seen map[string]uint64
	// Ranges are the parts of the key space that were scanned.
	Ranges []Range
	// Writes has each path at most once.
	Writes []Write
	// Ticket, if not 0, must come back with the commit: events wait for it.
	Ticket uint64
}

// Range is a scanned part of the key space: From ≤ path < To, within one collection.
type Range struct {
	Collection, From, To string
	// Count is how many entries there were. Those of a small range are in Intent.Seen too; for a Large one the engine has to
	// find out by other means that none was removed.
	Count int
	Large bool
}
