package identity

import (
	"context"
	"encoding/json"
	"slices"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// SessionCollection is the name of the collection in which sessions of browsers are kept, by their identifiers.
const SessionCollection = "oidc_session"

// Match picks some of those who call.
type Match func(caller auth.Identity) bool

// Revocations calls end with those who lose rights, each time that somebody does, until ctx ends: their identity or certificate went or was
// replaced, or groups of theirs give less. A new request is judged by itself; this is for what was let in before and goes on.
func (s *Service) Revocations(ctx context.Context, end func(Match)) error {
	for ctx.Err() == nil {
		var now uint64
		if err := s.d.Store.View(ctx, func(tx store.Tx) error { now = tx.Rev(); return nil }); err != nil {
			return err
		}
		for c, err := range s.d.Store.Watch(ctx, now, "") {
			if err != nil {
				break
			}
			if m := lost(c); m != nil {
				end(m)
			}
		}
		if ctx.Err() == nil { // it fell behind: whoever lost rights meanwhile is not known
			end(func(auth.Identity) bool { return true })
		}
	}
	return nil
}

// lost is who has fewer rights after a change; nil is nobody.
func lost(c store.Change) Match {
	if c.Old == nil {
		return nil
	}
	switch c.Collection {
	case Collection.Name:
		return lostIdentity(c)
	case trust.Collection.Name:
		return lostCertificate(c)
	case SessionCollection:
		if c.New == nil {
			return func(i auth.Identity) bool { return i.SessionID == c.Key }
		}
	case GroupCollection.Name:
		return lostGroup(c)
	case ProviderGroupCollection.Name:
		old, now := records[ProviderGroup](c)
		if gone := without(old.Groups, now.Groups); len(gone) > 0 {
			return func(i auth.Identity) bool { return i.Kind == auth.OIDC && slices.ContainsFunc(gone, among(i.Groups)) }
		}
	}
	return nil
}

// records reads what a record was and is; a missing one is empty.
func records[T any](c store.Change) (old, now T) {
	_ = json.Unmarshal(c.Old, &old) // what cannot be read is empty, so that it counts as lost
	if c.New != nil {
		_ = json.Unmarshal(c.New, &now)
	}
	return old, now
}

func lostIdentity(c store.Change) Match {
	old, now := records[Record](c)
	if c.New != nil && old.Type == now.Type && old.Secret == now.Secret && len(without(old.Groups, now.Groups)) == 0 {
		return nil
	}
	return func(i auth.Identity) bool { return i.ID != "" && Key(string(i.Kind), i.ID) == c.Key }
}

func lostCertificate(c store.Change) Match {
	old, now := records[trust.Record](c)
	if c.New != nil && old.Type == now.Type && (old.Restricted == now.Restricted || old.Restricted) && len(without(old.Projects, now.Projects)) == 0 {
		return nil
	}
	return func(i auth.Identity) bool { return i.Kind == auth.TLS && i.Name == c.Key }
}

func lostGroup(c store.Change) Match {
	old, now := records[Group](c)
	kept := map[model.Permission]bool{}
	for _, p := range now.Permissions {
		kept[p] = true
	}
	if c.New != nil && !slices.ContainsFunc(old.Permissions, func(p model.Permission) bool { return !kept[p] }) {
		return nil
	}
	return func(i auth.Identity) bool { return slices.Contains(i.Groups, c.Key) }
}

func among(names []string) func(string) bool {
	return func(n string) bool { return slices.Contains(names, n) }
}

// without is those of a that b does not have.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), among(b))
}
