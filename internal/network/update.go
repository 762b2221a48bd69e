package network

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// fillTries is how often a driver is asked for another automatic subnet when the one it chose is that of a network that is down.
const fillTries = 50

// Update replaces what clients may write of a network, on the host first. On failure the host is as before.
func (s *Service) Update(ctx context.Context, proj, name string, put api.NetworkPut) (err error) {
	s.acls.RLock()
	defer s.acls.RUnlock()
	defer s.hold(name)()
	old, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	if err := old.complete(); err != nil {
		return err
	}
	r := old
	r.Description = put.Description
	if r.Config, err = s.refill(ctx, driver, old, put.Config); err != nil {
		return err
	}
	if err := s.keepsForwards(ctx, r); err != nil {
		return err
	}
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	if err := s.write(store.Trial(ctx), r); err != nil {
		return err // what the project does not allow must not reach the host
	}
	if !maps.Equal(r.Config, old.Config) {
		before, err := s.net(ctx, old)
		if err != nil {
			return err
		}
		after, err := s.net(ctx, r)
		if err != nil {
			return err
		}
		u.Add("bring back the old configuration", func(ctx context.Context) error { return driver.Up(ctx, before) })
		if err := s.step("network-update", "host", func() error { return driver.Up(ctx, after) }); err != nil {
			return err
		}
		s.blame(name, nil)
	}
	if err := s.commit("network-update", func() error { return s.write(ctx, r) }); err != nil {
		return err
	}
	s.look(ctx, r)
	return nil
}

// write stores what clients may write of a network.
func (s *Service) write(ctx context.Context, r Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(change(api.LifecycleNetworkUpdated, r))
		return Collection.Modify(tx, Key(r.Project, r.Name), func(p *Record) error {
			p.Description, p.Config = r.Description, r.Config
			return nil
		})
	})
}

// complete fails on a network that is being made or removed.
func (r Record) complete() error {
	if r.Stage != Made {
		return errs.Newf(errs.Unavailable, "network %q is being made or removed: try again later", r.Name)
	}
	return nil
}

// refill completes a new configuration of an existing network. What the server keeps stays, also when a client leaves it out.
func (s *Service) refill(ctx context.Context, driver Driver, old Record, cfg map[string]string) (map[string]string, error) {
	next := maps.Clone(cfg)
	if next == nil {
		next = map[string]string{}
	}
	for k, v := range old.Config {
		if _, given := next[k]; !given && strings.HasPrefix(k, "volatile.") {
			next[k] = v
		}
	}
	r := old
	r.Stage = Made
	return s.fill(ctx, driver, r, next)
}

// fill lets the driver complete a configuration, and keeps its subnets apart from those of other networks, up or down.
func (s *Service) fill(ctx context.Context, driver Driver, r Record, cfg map[string]string) (map[string]string, error) {
	var clash error
	for range fillTries {
		out, err := driver.Fill(ctx, r.Name, cfg, r.Stage == Making)
		if err != nil {
			return nil, err
		}
		if clash, err = s.overlap(ctx, r, out); err != nil {
			return nil, err
		}
		if clash == nil {
			return out, s.restrictable(ctx, r, out)
		}
	}
	return nil, clash
}

// restrictable fails when a configuration names ACLs that are not there, or that the network cannot obey.
func (s *Service) restrictable(ctx context.Context, r Record, cfg map[string]string) error {
	r.Config = cfg
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		_, err := policy(tx, r, nil)
		return err
	})
}

// overlap says which other network has a subnet of cfg, nil for none.
func (s *Service) overlap(ctx context.Context, r Record, cfg map[string]string) (clash, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for other, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			if other.Project == r.Project && other.Name == r.Name {
				continue
			}
			for _, key := range []string{"ipv4.address", "ipv6.address"} {
				a, e1 := netip.ParsePrefix(cfg[key])
				b, e2 := netip.ParsePrefix(other.Config[key])
				if e1 == nil && e2 == nil && a.Overlaps(b) {
					clash = errs.Newf(errs.Invalid, "%s %s overlaps with %s of network %q: choose another subnet", key, a, b, other.Name)
				}
			}
		}
		return nil
	})
	return clash, err
}

// StartAll brings up every network, and first finishes what a crash cut short. A network that does not come up keeps neither the
// others nor the server down: a warning says so, its status is Unavailable, and Connect tries again.
func (s *Service) StartAll(ctx context.Context) error {
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	if err := s.sweep(ctx); err != nil {
		slog.Error("What is left of networks that are gone could not be removed", "err", err)
	}
	for _, r := range records {
		if err := s.start(ctx, r); err != nil && r.Stage != Made {
			slog.Error("A network could not be removed: delete it again", "network", r.Name, "err", err)
		}
	}
	return s.Inspect(ctx)
}

func (s *Service) start(ctx context.Context, r Record) error {
	defer s.hold(r.Name)()
	driver, err := s.driver(r.Type)
	if err != nil {
		return err
	}
	switch r.Stage {
	case Making:
		return errors.Join(s.erase(ctx, driver, r), s.forget(ctx, r, ""))
	case Removing:
		return s.finish(ctx, driver, r)
	}
	n, err := s.net(ctx, r)
	if err == nil {
		err = driver.Up(ctx, n)
	}
	s.blame(r.Name, err)
	return err
}

// StopAll takes every network down; what is stored stays.
func (s *Service) StopAll(ctx context.Context) error {
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	var fails []error
	for _, r := range records {
		driver, err := s.driver(r.Type)
		if err == nil {
			err = driver.Down(ctx, Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)})
		}
		fails = append(fails, err)
	}
	return errors.Join(fails...)
}

func (s *Service) records(ctx context.Context) (all []Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}
