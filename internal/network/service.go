package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network/forward"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/undo"
	"lxd/internal/warning"
)

// standalone is the location of what is on a server that is in no cluster.
const standalone = "none"

// Instances is what uses networks.
type Instances interface {
	// NetworkPorts lists the NICs of all instances that are on the managed network of that project and name, running or not.
	NetworkPorts(tx store.Tx, project, network string) ([]Port, error)
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Drivers are the kinds of networks that there are; the first is that of a network whose type is not given.
	Drivers []Driver
	// Dir holds a folder for each network.
	Dir string
	// Instances is set by Use once it exists.
	Instances Instances
	// Warnings is told of what went wrong while nobody waited for an answer, besides the log; it may be nil.
	Warnings Warnings
	// Hook is called around each step of a change, for tests; nil is none.
	Hook op.Hook
}

// Warnings is where the administrator learns of problems.
type Warnings interface {
	Raise(ctx context.Context, t api.WarningType, e warning.Entity, message string) error
	Resolve(ctx context.Context, t api.WarningType, e warning.Entity) error
}

// Service is the use cases of networks.
type Service struct {
	d     Deps
	names sync.Map // name to *sync.Mutex: the networks that are being changed
	// acls is held to change an ACL, and shared to give one to a network; it is taken before the names.
	acls sync.RWMutex

	mu   sync.Mutex
	down map[string]error  // name to why the network did not come up
	told map[string]string // name to what the administrator was told last
	// prefixes is name to what was told of its IPv6 prefix.
	prefixes map[string]string
	left     map[string]*departed
}

// New makes the service; it has no effects but that drivers know whom to tell of problems.
func New(d Deps) *Service {
	s := &Service{d: d, down: map[string]error{}, told: map[string]string{}, prefixes: map[string]string{}, left: map[string]*departed{}}
	for _, driver := range d.Drivers {
		if r, ok := driver.(Reporter); ok {
			r.Report(s.trouble)
		}
	}
	return s
}

// Use tells the service who uses networks; it must be called before the first request.
func (s *Service) Use(i Instances) { s.d.Instances = i }

// Create makes a network and brings it up.
func (s *Service) Create(ctx context.Context, proj string, post api.NetworksPost) error {
	if err := CheckName(post.Name); err != nil {
		return err
	}
	defer s.hold(post.Name)()
	r := Record{Name: post.Name, Type: post.Type, Description: post.Description, Stage: Making}
	if r.Type == "" {
		r.Type = s.d.Drivers[0].Name()
	}
	driver, err := s.driver(r.Type)
	if err != nil {
		return err
	}
	if err := s.free(ctx, proj, &r); err != nil {
		return err
	}
	if r.Config, err = s.fill(ctx, driver, r, post.Config); err != nil {
		return err
	}
	return s.make(ctx, driver, r)
}

// make writes the record, then the host, then that both are complete: a crash in between leaves a record that tells.
func (s *Service) make(ctx context.Context, driver Driver, r Record) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	err = s.step("network-create", "reserve", func() error {
		if err := s.d.Store.Update(ctx, func(tx store.Tx) error { return Collection.Insert(tx, r) }); err != nil {
			return err
		}
		u.Add("forget network "+r.Name, func(ctx context.Context) error { return s.forget(ctx, r, "") })
		return nil
	})
	if err != nil {
		return err
	}
	u.Add("take down network "+r.Name, func(ctx context.Context) error { return s.erase(ctx, driver, r) })
	n, err := s.net(ctx, r)
	if err != nil {
		return err
	}
	if err := s.step("network-create", "host", func() error { return driver.Up(ctx, n) }); err != nil {
		return err
	}
	err = s.commit("network-create", func() error {
		return s.d.Store.Update(ctx, func(tx store.Tx) error {
			tx.Announce(change(api.LifecycleNetworkCreated, r))
			return Collection.Modify(tx, Key(r.Project, r.Name), func(r *Record) error { r.Stage = Made; return nil })
		})
	})
	if err != nil {
		return err
	}
	s.look(ctx, r)
	return nil
}

// free fails when the name is taken, and finds the project that the network is to be in.
func (s *Service) free(ctx context.Context, proj string, r *Record) error {
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		if r.Project, err = project.Owner(tx, proj, project.Networks); err != nil {
			return err
		}
		if r.Project != project.Default {
			return errs.Newf(errs.Invalid, "networks of type %s can only be in the default project: project %q has networks of its own", r.Type, proj)
		}
		if Collection.Has(tx, Key(r.Project, r.Name)) {
			return errs.Newf(errs.Invalid, "network %q already exists: choose another name", r.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return vacant(r.Name)
}

// vacant fails when the host has an interface of that name.
func vacant(name string) error {
	l, taken, err := netlink.Find(name)
	if err == nil && taken {
		return errs.Newf(errs.Invalid, "network %q already exists: the host has an interface of that name (%s): choose another name", name, l.Type)
	}
	return err
}

// Delete takes a network down and forgets it.
func (s *Service) Delete(ctx context.Context, proj, name string) error {
	defer s.hold(name)()
	r, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	if err := s.step("network-delete", "mark", func() error { return s.stage(ctx, r, Removing) }); err != nil {
		return err
	}
	return s.finish(ctx, driver, r)
}

// step does a part of a change; tests make it fail, or the daemon die, before or after it.
func (s *Service) step(kind, name string, do func() error) error {
	hook := s.d.Hook
	if hook == nil {
		return do()
	}
	if err := hook(kind, name, "before"); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return hook(kind, name, "after")
}

// commit is the step that writes a change to the store, after which there is nothing to undo: whatever happens then is no failure of it.
func (s *Service) commit(kind string, do func() error) error {
	done := false
	err := s.step(kind, "record", func() error {
		err := do()
		done = err == nil
		return err
	})
	if done {
		return nil
	}
	return err
}

// finish removes a network whose removal has begun.
func (s *Service) finish(ctx context.Context, driver Driver, r Record) error {
	if err := s.step("network-delete", "host", func() error { return s.erase(ctx, driver, r) }); err != nil {
		return err
	}
	err := s.commit("network-delete", func() error { return s.forget(ctx, r, api.LifecycleNetworkDeleted) })
	if errs.Is(err, errs.Invalid) { // someone began to use it meanwhile
		n, e := s.net(ctx, r)
		if e == nil {
			e = driver.Up(ctx, n)
		}
		return errors.Join(err, e, s.stage(ctx, r, Made))
	}
	return err
}

// stage marks where a network is; to begin its removal fails while it is in use.
func (s *Service) stage(ctx context.Context, r Record, to Stage) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if to == Removing {
			if err := s.unused(tx, r); err != nil {
				return err
			}
		}
		return Collection.Modify(tx, Key(r.Project, r.Name), func(r *Record) error { r.Stage = to; return nil })
	})
}

// forget deletes the record, and announces it if there is an action.
func (s *Service) forget(ctx context.Context, r Record, action string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if action != "" {
			if err := s.unused(tx, r); err != nil {
				return err
			}
			tx.Announce(change(action, r))
		}
		if _, err := moveForwards(tx, r, ""); err != nil {
			return err
		}
		if err := s.resolved(tx, r); err != nil {
			return err
		}
		return Collection.Delete(tx, Key(r.Project, r.Name))
	})
}

// erase removes a network from the host, with its folder.
func (s *Service) erase(ctx context.Context, driver Driver, r Record) error {
	if err := driver.Down(ctx, Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)}); err != nil {
		return err
	}
	s.blame(r.Name, nil)
	return os.RemoveAll(s.dir(r.Name))
}

// Rename gives a network another name; it must not be in use.
func (s *Service) Rename(ctx context.Context, proj, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	first, second := from, to // in order, so that two renames cannot wait for each other
	if to < from {
		first, second = to, from
	}
	defer s.hold(first)()
	if second != first {
		defer s.hold(second)()
	}
	r, driver, err := s.find(ctx, proj, from)
	if err != nil {
		return err
	}
	renamed := r
	renamed.Name = to
	if err := s.renamable(ctx, r, to); err != nil {
		return err
	}
	if err := vacant(to); err != nil {
		return errs.As(errs.Conflict, err)
	}
	return s.rename(ctx, driver, r, renamed)
}

func (s *Service) renamable(ctx context.Context, r Record, to string) error {
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		if Collection.Has(tx, Key(r.Project, to)) {
			return errs.Newf(errs.Conflict, "network %q already exists: choose another name", to)
		}
		return s.unused(tx, r)
	})
}

// rename takes the old name down, writes the new one and brings it up. Whatever is cut short, StartAll brings up what is stored.
func (s *Service) rename(ctx context.Context, driver Driver, old, renamed Record) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	before, err := s.net(ctx, old)
	if err != nil {
		return err
	}
	u.Add("bring up network "+old.Name, func(ctx context.Context) error { return driver.Up(ctx, before) })
	if err := s.step("network-rename", "down", func() error { return driver.Down(ctx, before) }); err != nil {
		return err
	}
	after := before
	after.Name, after.Dir = renamed.Name, s.dir(renamed.Name)
	u.Add("take down network "+renamed.Name, func(ctx context.Context) error { return s.erase(ctx, driver, renamed) })
	if err := os.MkdirAll(after.Dir, dirMode); err != nil {
		return err
	}
	if err := s.step("network-rename", "up", func() error { return driver.Up(ctx, after) }); err != nil {
		return err
	}
	if err := s.commit("network-rename", func() error { return s.renamed(ctx, old, renamed) }); err != nil {
		return err
	}
	if err := os.RemoveAll(before.Dir); err != nil { // the next start removes it
		slog.Warn("The folder of a network that was renamed is left", "folder", before.Dir, "err", err)
	}
	return nil
}

// renamed writes that a network has another name, and its forwards with it.
func (s *Service) renamed(ctx context.Context, old, renamed Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.unused(tx, old); err != nil {
			return err
		}
		c := change(api.LifecycleNetworkRenamed, renamed)
		c.Context = map[string]any{"old_name": old.Name}
		tx.Announce(c)
		moved, err := moveForwards(tx, old, renamed.Name)
		if err != nil {
			return err
		}
		if err := errors.Join(s.resolved(tx, old), Collection.Delete(tx, Key(old.Project, old.Name)), Collection.Insert(tx, renamed)); err != nil {
			return err
		}
		for _, f := range moved {
			if err := forward.Collection.Insert(tx, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// find loads a complete network that the project sees.
func (s *Service) find(ctx context.Context, proj, name string) (r Record, d Driver, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = lookup(tx, proj, name)
		return err
	})
	if err != nil {
		return r, nil, err
	}
	d, err = s.driver(r.Type)
	return r, d, err
}

func lookup(tx store.Tx, proj, name string) (Record, error) {
	owner, err := project.Owner(tx, proj, project.Networks)
	if err != nil {
		return Record{}, err
	}
	return Collection.Get(tx, Key(owner, name))
}

func (s *Service) driver(kind string) (Driver, error) {
	var known []string
	for _, d := range s.d.Drivers {
		if d.Name() == kind {
			return d, nil
		}
		known = append(known, d.Name())
	}
	return nil, errs.Newf(errs.Invalid, "network type %q is not supported by this server: it has %s", kind, strings.Join(known, ", "))
}

// net is the complete network of a record, with its ports.
func (s *Service) net(ctx context.Context, r Record) (Net, error) {
	n := Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)}
	if err := os.MkdirAll(n.Dir, dirMode); err != nil {
		return n, fmt.Errorf("folder of network %s: %w", r.Name, err)
	}
	return n, s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		if n.Ports, err = s.ports(tx, r); err != nil {
			return err
		}
		list, err := forwards(tx, r)
		if err != nil {
			return err
		}
		if n.Forwards, err = rules(r, list); err != nil {
			return err
		}
		n.Policy, err = policy(tx, r, nil)
		return err
	})
}

func (s *Service) ports(tx store.Tx, r Record) ([]Port, error) {
	if s.d.Instances == nil {
		return nil, nil
	}
	all, err := s.d.Instances.NetworkPorts(tx, r.Project, r.Name)
	slices.SortFunc(all, func(a, b Port) int { return strings.Compare(a.id(), b.id()) })
	return all, err
}

// dirMode lets dnsmasq, which gives up root, reach its files.
const dirMode = 0o711

func (s *Service) dir(name string) string { return filepath.Join(s.d.Dir, name) }

// hold lets one use case change a network at a time.
func (s *Service) hold(name string) (release func()) {
	v, _ := s.names.LoadOrStore(name, new(sync.Mutex))
	m := v.(*sync.Mutex)
	m.Lock()
	return m.Unlock
}

// blame remembers why a network is down; nil is none.
func (s *Service) blame(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.down, name); err != nil {
		s.down[name] = err
	}
}

func (s *Service) blamed(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down[name]
}
