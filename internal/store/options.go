package store

// Options are what every engine takes.
type Options struct {
	// OnAnnounce, if set, gets the events that committed transactions announced: after the commit is visible to View, in
	// commit order, one call at a time. It must not block, and must not call Update.
	OnAnnounce func(ev any)
	// OnFailure, if set, is called once if the engine fails and cannot go on: from then on every call fails.
	OnFailure func(err error)
}
