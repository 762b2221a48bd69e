package identity

import (
	"context"
	"slices"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/store"
)

// Following is s, but that permissions follow their objects: in the transaction that gives an object a new name or project, those on it
// get that too, and in the one that removes it they go. So an object of a later time that has its name is open to nobody who was given
// rights on it.
//
// It looks at the records alone, so that no way of removing an object can forget about it: a transaction in which one record of a sort
// goes and one comes has moved that object; in any other, what goes is gone.
func Following(s store.Store) store.Store { return following{s} }

type following struct{ store.Store }

func (s following) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		f := &followingTx{Tx: tx, before: map[store.Ref]bool{}}
		if err := fn(f); err != nil {
			return err
		}
		return f.settle()
	})
}

// followingTx notes what records of objects it writes, and whether they were there before.
type followingTx struct {
	store.Tx
	before map[store.Ref]bool
}

func (tx *followingTx) Write(collection, key string, val []byte) {
	if slices.ContainsFunc(sorts, func(s sort) bool { return s.collection == collection }) {
		ref := store.Ref{Collection: collection, Key: key}
		if _, ok := tx.before[ref]; !ok {
			tx.before[ref] = store.Exists(tx.Tx, ref)
		}
	}
	tx.Tx.Write(collection, key, val)
}

// moves is the keys of a collection that go and come.
type moves struct{ gone, came []string }

// settle amends the permissions on what went.
func (tx *followingTx) settle() error {
	by := map[string]*moves{}
	for ref, was := range tx.before {
		if is := store.Exists(tx.Tx, ref); is == was {
			continue
		}
		m := by[ref.Collection]
		if m == nil {
			m = &moves{}
			by[ref.Collection] = m
		}
		if was {
			m.gone = append(m.gone, ref.Key)
		} else {
			m.came = append(m.came, ref.Key)
		}
	}
	next := map[auth.Object]string{}
	for _, s := range sorts {
		if m := by[s.collection]; m != nil {
			s.follow(next, *m)
		}
	}
	if len(next) == 0 {
		return nil
	}
	return amend(tx.Tx, next)
}

// follow adds to next what becomes of the addresses of the objects that went; "" is that they are gone.
func (s sort) follow(next map[auth.Object]string, m moves) {
	to := ""
	if len(m.gone) == 1 && len(m.came) == 1 && s.collection != "image" { // an image of other content is another image
		if o, ok := s.object(m.came[0]); ok {
			to = address(o)
		}
	}
	for _, key := range m.gone {
		if o, ok := s.object(key); ok {
			next[o] = to
		}
	}
}

// amend changes the permissions of all groups on some objects: next tells their addresses, "" takes the permissions away.
func amend(tx store.Tx, next map[auth.Object]string) error {
	changed := map[string][]model.Permission{}
	for g, err := range GroupCollection.All(tx, "") {
		if err != nil {
			return err
		}
		if ps := amended(g.Permissions, next); !slices.Equal(ps, g.Permissions) {
			changed[g.Name] = ps
		}
	}
	for name, ps := range changed {
		if err := GroupCollection.Modify(tx, name, func(g *Group) error { g.Permissions = ps; return nil }); err != nil {
			return err
		}
	}
	return nil
}

func amended(ps []model.Permission, next map[auth.Object]string) []model.Permission {
	out := make([]model.Permission, 0, len(ps))
	for _, p := range ps {
		o, err := p.Object()
		if err != nil {
			continue
		}
		if to, ok := next[o]; ok {
			p.URL = to
		}
		if p.URL != "" {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}
