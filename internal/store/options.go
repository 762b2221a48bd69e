package store

// Options are what every engine takes.
type Options struct {
	// OnAnnounce, if set, gets the events that committed transactions announced: after the commit is visible to View, in
	// commit order, one call at a time. It must not block, and must not call Update.
	OnAnnounce func(ev any)
}
