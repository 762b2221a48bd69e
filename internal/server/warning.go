package server

import (
	"context"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Warnings is where what the administrator should know of is kept.
var Warnings = store.Collection[api.Warning]{Name: "warning", Key: func(w api.Warning) string { return w.UUID }}

// Warn notes a warning, or counts it again if the same one is there already and not resolved.
func (s *Service) Warn(ctx context.Context, w api.Warning) error {
	w.UUID, w.Location, w.Status, w.Count = op.NewUUID(), s.Location, "new", 1
	w.FirstSeenAt = time.Now()
	w.LastSeenAt = w.FirstSeenAt
	return s.Store.Update(ctx, func(tx store.Tx) error {
		for old, err := range Warnings.All(tx, "") {
			if err != nil {
				return err
			}
			if old.Type == w.Type && old.Location == w.Location && old.Project == w.Project && old.EntityURL == w.EntityURL {
				return Warnings.Modify(tx, old.UUID, func(p *api.Warning) error {
					p.Count, p.LastSeenAt, p.LastMessage = p.Count+1, w.LastSeenAt, w.LastMessage
					if p.Status == "resolved" {
						p.Status = "new"
					}
					return nil
				})
			}
		}
		return Warnings.Insert(tx, w)
	})
}

// SetWarning acknowledges a warning or makes it new again; clients can set no other status.
func (s *Service) SetWarning(ctx context.Context, id, status string) error {
	action := map[string]string{"acknowledged": api.LifecycleWarningAcknowledged, "new": api.LifecycleWarningReset}[status]
	if action == "" {
		return errs.Newf(errs.Invalid, "warning status %q: must be new or acknowledged", status)
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(event.Change{Action: action, Source: "/1.0/warnings/" + id, Requestor: requestor(ctx)})
		return Warnings.Modify(tx, id, func(w *api.Warning) error {
			w.Status = status
			return nil
		})
	})
}

// DeleteWarning removes a warning.
func (s *Service) DeleteWarning(ctx context.Context, id string) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := Warnings.Get(tx, id); err != nil {
			return err
		}
		tx.Announce(event.Change{Action: api.LifecycleWarningDeleted, Source: "/1.0/warnings/" + id, Requestor: requestor(ctx)})
		return Warnings.Delete(tx, id)
	})
}
