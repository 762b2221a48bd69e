// Package server holds what concerns the server as a whole: its configuration, its description of itself, its warnings.
package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// uuidKey is the key that every PUT must send back as it was.
const uuidKey = "volatile.uuid"

// Record is one part of the configuration: the one of the whole cluster, or what differs on a member.
type Record struct {
	// Member is "" for the part of the whole cluster.
	Member string            `json:"member,omitempty"`
	Config map[string]string `json:"config"`
}

// Records is where the configuration is kept.
var Records = store.Collection[Record]{Name: "config", Key: func(r Record) string { return recordKey(r.Member) }}

func recordKey(member string) string {
	if member == "" {
		return "server"
	}
	return "member/" + member
}

// Service reads and changes the configuration.
type Service struct {
	Store store.Store
	// Location is the name of this member; "" keeps local keys with the others.
	Location string
	// Project tells whether a project exists; some keys are about one. Nil knows none.
	Project func(ctx context.Context, name string) error
	// Listen has a function for each key that says where to serve, or whether: it does so from now on and not at all for "", or fails and
	// changes nothing. Those of a server without a network are missing.
	Listen map[string]func(address string) error
	// Apply brings about what a new configuration wants before it is kept, and tells u how to bring back what was; or it fails. Nil does
	// nothing.
	Apply func(ctx context.Context, u *undo.Stack, old, next map[string]string) error
	// Changed is told of the whole configuration once it has changed; nil is no one.
	Changed func(config map[string]string)

	// changing is held while the configuration changes: effects of two changes must not mix.
	changing sync.Mutex
}

// Init makes the server's identity at its first start.
func (s *Service) Init(ctx context.Context) error {
	id := op.NewUUID()
	return s.Store.Update(ctx, func(tx store.Tx) error {
		r, err := load(tx, "")
		if err != nil || r.Config[uuidKey] != "" {
			return err
		}
		r.Config = maps.Clone(r.Config)
		if r.Config == nil {
			r.Config = map[string]string{}
		}
		r.Config[uuidKey] = id
		return Records.Put(tx, r)
	})
}

// Config is the configuration of this member as clients see it: without the keys that are at their default.
func (s *Service) Config(ctx context.Context) (map[string]string, error) {
	var all map[string]string
	err := s.Store.View(ctx, func(tx store.Tx) (err error) {
		all, err = s.merged(tx)
		return err
	})
	return all, err
}

// Get is the value of one key, or its default.
func (s *Service) Get(ctx context.Context, key string) (string, error) {
	all, err := s.Config(ctx)
	return keys.Get(all, key), err
}

// Replace makes config the whole configuration, and acts on it. Every bad key is found before anything changes.
func (s *Service) Replace(ctx context.Context, config map[string]any) (err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	old, err := s.Config(ctx)
	if err != nil {
		return err
	}
	next, err := s.check(ctx, unhidden(config, old))
	if err != nil {
		return err
	}
	if err := admit(old, next); err != nil {
		return err
	}
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	for key := range s.Listen {
		if err := s.listen(&u, key, old[key], next[key]); err != nil {
			return err
		}
	}
	if s.Apply != nil {
		if err := s.Apply(ctx, &u, old, next); err != nil {
			return err
		}
	}
	if err := s.Store.Update(ctx, func(tx store.Tx) error { return s.write(ctx, tx, next) }); err != nil {
		return err
	}
	if s.Changed != nil {
		s.Changed(next)
	}
	return nil
}

func admit(old, next map[string]string) error {
	if old[uuidKey] != next[uuidKey] {
		return errs.Newf(errs.Invalid, "%s cannot be changed: send it back as %q", uuidKey, old[uuidKey])
	}
	return nil
}

// listen moves a network listener before the address is kept: one that cannot be used is refused.
func (s *Service) listen(u *undo.Stack, key, old, next string) error {
	if old == next {
		return nil
	}
	if err := s.Listen[key](next); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	u.Add(key, func(context.Context) error { return s.Listen[key](old) })
	return nil
}

func (s *Service) write(ctx context.Context, tx store.Tx, next map[string]string) error {
	old, err := s.merged(tx)
	if err != nil {
		return err
	}
	if err := admit(old, next); err != nil || maps.Equal(old, next) {
		return err
	}
	global, local := split(next)
	if s.Location == "" {
		maps.Copy(global, local)
	} else if err := Records.Put(tx, Record{s.Location, local}); err != nil {
		return err
	}
	tx.Announce(event.Change{Action: api.LifecycleConfigUpdated, Source: "/1.0", Requestor: requestor(ctx)})
	return Records.Put(tx, Record{"", global})
}

func load(tx store.Tx, member string) (Record, error) {
	r, err := Records.Get(tx, recordKey(member))
	if errs.Is(err, errs.NotFound) {
		return Record{Member: member}, nil
	}
	return r, err
}

func (s *Service) merged(tx store.Tx) (map[string]string, error) {
	global, err := load(tx, "")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	maps.Copy(all, global.Config)
	if s.Location != "" {
		local, err := load(tx, s.Location)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, local.Config)
	}
	return all, nil
}

func split(config map[string]string) (global, local map[string]string) {
	global, local = map[string]string{}, map[string]string{}
	for name, v := range config {
		if k, _ := keys.Lookup(name); k.Local {
			local[name] = v
			continue
		}
		global[name] = v
	}
	return global, local
}

// check returns the values that are not at their default, or says what is wrong with the configuration: the first bad key, how
// many there are besides, and their names.
func (s *Service) check(ctx context.Context, config map[string]any) (map[string]string, error) {
	next := map[string]string{}
	var first string
	var others []string
	for _, name := range slices.Sorted(maps.Keys(config)) {
		v, why := s.checkOne(ctx, name, config[name])
		switch {
		case why == "" && v != "":
			next[name] = v
		case why == "":
		case first == "":
			first = fmt.Sprintf("Cannot set %q to %q: %s", name, shown(name, config[name]), why)
		default:
			others = append(others, fmt.Sprintf("%q", name))
		}
	}
	switch {
	case first == "":
		return next, nil
	case len(others) > 0:
		first += fmt.Sprintf(" (and %d more errors: %s)", len(others), strings.Join(others, ", "))
	}
	return nil, errs.Newf(errs.Invalid, "%s", first)
}

// checkOne returns the value to keep ("" for none), or why it is refused.
func (s *Service) checkOne(ctx context.Context, name string, value any) (v, why string) {
	v, ok := value.(string)
	if value != nil && !ok {
		return "", "The value must be a string"
	}
	k, known := keys.Lookup(name)
	if project, about := projectOf(name); about && (s.Project == nil || s.Project(ctx, project) != nil) {
		known = false
	}
	if !known {
		return "", "Unknown key"
	}
	if v == "" || v == k.Default {
		return "", ""
	}
	if err := k.Accepts(v); err != nil {
		return "", err.Error()
	}
	return v, ""
}

// Shown is the configuration as clients get to see it: of a secret only that there is one.
func Shown(config map[string]string) map[string]any {
	all := make(map[string]any, len(config))
	for name, v := range config {
		all[name] = v
		if k, _ := keys.Lookup(name); k.Secret {
			all[name] = true
		}
	}
	return all
}

// unhidden puts the present secrets in the place of those that were only shown to be there. Some clients know nothing but texts.
func unhidden(config map[string]any, old map[string]string) map[string]any {
	next := maps.Clone(config)
	for name, v := range config {
		if k, _ := keys.Lookup(name); k.Secret && (v == true || v == "true") && old[name] != "" {
			next[name] = old[name]
		}
	}
	return next
}

// shown keeps secrets out of answers and logs.
func shown(name string, value any) string {
	if k, ok := keys.Lookup(name); ok && k.Secret {
		return "(secret)"
	}
	return fmt.Sprint(value)
}

// projectOf is the project that a key is about.
func projectOf(key string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(key, "storage.project.")
	if !ok {
		return "", false
	}
	i := strings.LastIndexByte(rest, '.')
	return rest[:max(i, 0)], true
}

func requestor(ctx context.Context) *api.EventLifecycleRequestor {
	c := op.CallerOf(ctx)
	if c == (op.Caller{}) {
		return nil
	}
	return &api.EventLifecycleRequestor{Username: c.Username, Protocol: c.Protocol, Address: c.Address}
}

// Table is the schema under its group names, as the published tables have them.
func Table() map[string][]schema.Key {
	groups := map[string][]schema.Key{}
	for _, k := range keys.Keys() {
		if k.Name == "user.*" {
			continue
		}
		group, _, _ := strings.Cut(k.Name, ".")
		if !slices.Contains([]string{"acme", "cluster", "core", "images", "loki", "oidc"}, group) {
			group = "miscellaneous"
		}
		groups[group] = append(groups[group], k)
	}
	return groups
}
