package store

import "context"

// Options are what every engine takes.
type Options struct {
	// Guard, if set, is asked before the writes of a transaction are committed; an error ends the Update, and nothing is written.
	// Before is the state as it was, after as it would be; what Guard reads of the latter must not have changed at the commit.
	// Touched are the records that were written, each once. The rules for functions given to Update hold for it too.
	Guard func(before, after Tx, touched []Ref) error
	// OnAnnounce, if set, gets the events that committed transactions announced: after the commit is visible to View, in
	// commit order, one call at a time. It must not block, and must not call Update.
	OnAnnounce func(ev any)
	// OnFailure, if set, is called once if the engine fails and cannot go on: from then on every call fails.
	OnFailure func(err error)
}

type trial struct{}

// Trial makes an Update with the returned context a rehearsal: its function runs and Guard is asked, and nothing is written or announced.
func Trial(ctx context.Context) context.Context { return context.WithValue(ctx, trial{}, true) }

func isTrial(ctx context.Context) bool { return ctx.Value(trial{}) != nil }
