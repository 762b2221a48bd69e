// Package policy holds what is in projects to their limits and restrictions. It looks at every transaction before it is committed,
// with the records as they would be: so there is no way past it, whichever request, operation or start of the server writes them.
package policy

import (
	"context"
	"maps"
	"slices"

	"lxd/internal/project"
	"lxd/internal/project/limit"
	"lxd/internal/store"
)

// Guard fails with Forbidden if a transaction would bring into a project what the project's limits or restrictions forbid. It is for
// store.Options. What was there already is not held against a change of something else. It fails with Invalid on what would share a
// volume with the server.
func Guard(before, after store.Tx, touched []store.Ref) error {
	if err := depots(after, touched); err != nil {
		return err
	}
	found := concern{before: before, after: after, byProject: map[string]*scope{}}
	for _, ref := range touched {
		if err := found.add(ref); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found.byProject)) {
		if err := judge(before, after, name, found.byProject[name]); err != nil {
			return err
		}
	}
	return nil
}

// judge decides on one project.
func judge(before, after store.Tx, name string, s *scope) error {
	p, found, err := load(after, name)
	if err != nil || !found || !limit.Applies(p.Config) {
		return err
	}
	s.fresh(before, after)
	o, err := gather(after, name, p.Config, s)
	if err != nil {
		return err
	}
	all := limit.Judge(p.Config, o)
	if len(all) == 0 {
		return nil
	}
	if s.whole { // its rules change: all has to be as they say
		return limit.Refuse(name, all)
	}
	if o, err = gather(before, name, p.Config, s.old()); err != nil {
		return err
	}
	return limit.Refuse(name, limit.New(all, limit.Judge(p.Config, o)))
}

func load(tx store.Tx, name string) (p project.Record, found bool, err error) {
	if !project.Collection.Has(tx, name) {
		return p, false, nil
	}
	p, err = project.Collection.Get(tx, name)
	return p, err == nil, err
}

// Usage is what a project uses of each resource that can be limited.
func Usage(ctx context.Context, st store.Store, name string) (all map[string]limit.Resource, err error) {
	err = st.View(ctx, func(tx store.Tx) error {
		p, err := project.Collection.Get(tx, name)
		if err != nil {
			return err
		}
		o, err := gather(tx, name, p.Config, &scope{count: true})
		all = limit.Usage(p.Config, o)
		return err
	})
	return all, err
}

// Target fails with Forbidden if the instances of a project may not be put on a member or group that a client names.
func Target(ctx context.Context, st store.Store, name, target string) error {
	return st.View(ctx, func(tx store.Tx) error {
		p, err := project.Collection.Get(tx, name)
		if err != nil {
			return err
		}
		return limit.Refuse(name, limit.Target(p.Config, target))
	})
}
