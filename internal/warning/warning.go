// Package warning keeps what the administrator should know of and nobody was told as an answer: raised by what finds a problem,
// resolved by what finds it gone.
package warning

import (
	"context"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/store"
)

// keep is how long a resolved warning can still be read.
const keep = 24 * time.Hour

// Collection is where warnings are kept.
var Collection = store.Collection[api.Warning]{Name: "warning", Key: func(w api.Warning) string { return w.UUID }}

// Entity is what a warning is about; the zero Entity is the server.
type Entity struct {
	Project string
	// URL is the entity's address, such as "/1.0/networks/lxdbr0".
	URL string
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Location is the name of this member.
	Location string
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Service raises, resolves and shows warnings.
type Service struct{ d Deps }

// New makes the service; it has no effects.
func New(d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Service{d}
}

// is tells whether w is the warning of that type about e, on this member.
func (s *Service) is(w api.Warning, t api.WarningType, e Entity) bool {
	return w.Type == t.String() && w.Location == s.d.Location && w.Project == e.Project && w.EntityURL == e.URL
}

// Raise notes a warning, or counts it again if the same one is there already: one that was acknowledged stays so, one that was
// resolved is new again.
func (s *Service) Raise(ctx context.Context, t api.WarningType, e Entity, message string) error {
	id, now := op.NewUUID(), s.d.Now().UTC()
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		for old, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			if !s.is(old, t, e) {
				continue
			}
			return Collection.Modify(tx, old.UUID, func(w *api.Warning) error {
				w.Count, w.LastSeenAt, w.LastMessage = w.Count+1, now, message
				if w.Status == api.WarningStatusResolved {
					w.Status = api.WarningStatusNew
				}
				return nil
			})
		}
		return Collection.Insert(tx, api.Warning{
			UUID: id, Location: s.d.Location, Project: e.Project, Type: t.String(), Count: 1, FirstSeenAt: now, LastSeenAt: now,
			LastMessage: message, Severity: t.Severity(), Status: api.WarningStatusNew, EntityURL: e.URL,
		})
	})
}

// Resolve notes that the cause of a warning is gone; without such a warning it does nothing, and writes nothing.
func (s *Service) Resolve(ctx context.Context, t api.WarningType, e Entity) error {
	return s.resolve(ctx, func(w api.Warning) bool { return s.is(w, t, e) })
}

// ResolveStale resolves all warnings of a type on this member that were last seen before a time: a daemon that starts looks for
// everything anew, and what it does not find again is gone.
func (s *Service) ResolveStale(ctx context.Context, t api.WarningType, before time.Time) error {
	return s.resolve(ctx, func(w api.Warning) bool {
		return w.Type == t.String() && w.Location == s.d.Location && w.LastSeenAt.Before(before)
	})
}

func (s *Service) resolve(ctx context.Context, which func(api.Warning) bool) error {
	now := s.d.Now().UTC()
	match := func(w api.Warning) bool { return w.Status != api.WarningStatusResolved && which(w) }
	return s.each(ctx, match, func(tx store.Tx, w api.Warning) error {
		return Collection.Modify(tx, w.UUID, func(w *api.Warning) error {
			w.Status, w.LastSeenAt = api.WarningStatusResolved, now
			return nil
		})
	})
}

// Forget removes, within tx, all warnings about an entity that is being deleted.
func Forget(tx store.Tx, e Entity) error {
	for w, err := range Collection.All(tx, "") {
		if err != nil {
			return err
		}
		if w.EntityURL == e.URL && w.Project == e.Project {
			if err := Collection.Delete(tx, w.UUID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune removes the warnings that were resolved a day ago or earlier.
func (s *Service) Prune(ctx context.Context) error {
	before := s.d.Now().Add(-keep)
	match := func(w api.Warning) bool { return w.Status == api.WarningStatusResolved && !w.LastSeenAt.After(before) }
	return s.each(ctx, match, func(tx store.Tx, w api.Warning) error { return Collection.Delete(tx, w.UUID) })
}

// Tend prunes once an hour until ctx ends.
func (s *Service) Tend(ctx context.Context, ops *op.Manager) {
	for tick := time.NewTicker(time.Hour); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			// One that cannot start now has its turn in an hour.
			_, _ = ops.Start(ctx, op.Spec{
				Kind: "warning-prune", Description: api.OperationPruningResolvedWarnings.String(), Locks: []string{"warnings"},
				Run: func(ctx context.Context, _ *op.Task) error { return s.Prune(ctx) },
			})
		}
	}
}

// each writes what do does to the warnings that match; where none does there is no write at all.
func (s *Service) each(ctx context.Context, match func(api.Warning) bool, do func(store.Tx, api.Warning) error) error {
	found := func(tx store.Tx) (list []api.Warning, err error) {
		for w, err := range Collection.All(tx, "") {
			if err != nil {
				return nil, err
			}
			if match(w) {
				list = append(list, w)
			}
		}
		return list, nil
	}
	any := false
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		list, err := found(tx)
		any = len(list) > 0
		return err
	})
	if err != nil || !any {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		list, err := found(tx)
		if err != nil {
			return err
		}
		for _, w := range list {
			if err := do(tx, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// List loads all warnings.
func (s *Service) List(ctx context.Context) (list []api.Warning, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for w, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			list = append(list, w)
		}
		return nil
	})
	return list, err
}

// Get loads one warning.
func (s *Service) Get(ctx context.Context, id string) (w api.Warning, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		w, err = Collection.Get(tx, id)
		return err
	})
	return w, err
}

// Set acknowledges a warning or makes it new again; clients can set no other status.
func (s *Service) Set(ctx context.Context, id, status string) error {
	action := map[string]string{
		api.WarningStatusAcknowledged: api.LifecycleWarningAcknowledged, api.WarningStatusNew: api.LifecycleWarningReset,
	}[status]
	if action == "" {
		return errs.Newf(errs.Invalid, "warning status %q: must be new or acknowledged", status)
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(event.Change{Action: action, Source: "/1.0/warnings/" + id})
		return Collection.Modify(tx, id, func(w *api.Warning) error {
			w.Status = status
			return nil
		})
	})
}

// Delete removes a warning.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := Collection.Get(tx, id); err != nil {
			return err
		}
		tx.Announce(event.Change{Action: api.LifecycleWarningDeleted, Source: "/1.0/warnings/" + id})
		return Collection.Delete(tx, id)
	})
}
