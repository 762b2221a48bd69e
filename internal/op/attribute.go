package op

import (
	"context"

	"lxd/api"
	"lxd/internal/event"
	"lxd/internal/store"
)

// Attributed is s, but that the changes announced in its transactions say who asked for them, where they do not say so themselves.
func Attributed(s store.Store) store.Store { return attributed{s} }

type attributed struct{ store.Store }

func (s attributed) Update(ctx context.Context, fn func(store.Tx) error) error {
	who := CallerOf(ctx)
	if who == (Caller{}) {
		return s.Store.Update(ctx, fn)
	}
	by := &api.EventLifecycleRequestor{Username: who.Username, Protocol: who.Protocol, Address: who.Address}
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(attributedTx{tx, by}) })
}

type attributedTx struct {
	store.Tx
	by *api.EventLifecycleRequestor
}

func (tx attributedTx) Announce(ev any) {
	if c, ok := ev.(event.Change); ok && c.Requestor == nil {
		c.Requestor = tx.by
		ev = c
	}
	tx.Tx.Announce(ev)
}
