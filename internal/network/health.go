package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// entity is what warnings about the network are about.
func (r Record) entity() warning.Entity { return warning.Entity{Project: r.Project, URL: URL(r.Name)} }

// Tend looks at the networks once a minute until ctx ends: other programs change the host's firewall when they like.
func (s *Service) Tend(ctx context.Context) {
	op.EachMinute(ctx.Done(), func(time.Time) {
		if err := s.Inspect(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("Could not look at the networks", "err", err)
		}
	})
}

// Inspect looks at every network, and raises or resolves a warning about it.
func (s *Service) Inspect(ctx context.Context) error {
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Stage == Made {
			err = errors.Join(err, s.judge(ctx, r))
		}
	}
	return err
}

// judge tells of all that is wrong with a network, or that nothing is any more; what was told already is not told again.
func (s *Service) judge(ctx context.Context, r Record) error {
	driver, err := s.driver(r.Type)
	if err != nil {
		return err
	}
	var wrong []string
	if err := s.blamed(r.Name); err != nil {
		wrong = append(wrong, err.Error())
	} else if i, ok := driver.(Inspector); ok {
		found, err := i.Inspect(ctx, Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)})
		if err != nil {
			return err
		}
		wrong = append(wrong, found...)
	}
	return errors.Join(s.tell(ctx, r, strings.Join(wrong, "; ")), s.measure(ctx, r))
}

// measure warns of an IPv6 network in which addresses cannot be given by the usual rules.
func (s *Service) measure(ctx context.Context, r Record) error {
	p, err := netip.ParsePrefix(r.Config["ipv6.address"])
	switch {
	case s.d.Warnings == nil:
		return nil
	case err == nil && p.Bits() > 64:
		message := fmt.Sprintf("%s is larger than 64 bits: machines cannot choose addresses by themselves, and dnsmasq serves such networks poorly", p)
		return s.once(ctx, r, message)
	}
	return s.once(ctx, r, "")
}

// once raises or resolves the warning about a prefix when that changes.
func (s *Service) once(ctx context.Context, r Record, message string) error {
	const t = api.WarningIPV6NetworksWithAPrefixLargerThan64ArentProperlySupportedByDnsmasq
	s.mu.Lock()
	told, known := s.prefixes[r.Name]
	s.prefixes[r.Name] = message
	s.mu.Unlock()
	switch {
	case known && told == message:
		return nil
	case message == "":
		return s.d.Warnings.Resolve(ctx, t, r.entity())
	}
	return s.d.Warnings.Raise(ctx, t, r.entity(), message)
}

// look is judge after a change: that succeeded whatever there is to tell.
func (s *Service) look(ctx context.Context, r Record) {
	if err := s.judge(ctx, r); err != nil && ctx.Err() == nil {
		slog.Warn("Could not look at a network", "network", r.Name, "err", err)
	}
}

func (s *Service) tell(ctx context.Context, r Record, message string) error {
	s.mu.Lock()
	same := s.told[r.Name] == message
	s.told[r.Name] = message
	s.mu.Unlock()
	if message != "" && !same {
		slog.Warn("Network is not as it should be", "network", r.Name, "err", message)
	}
	switch {
	case s.d.Warnings == nil:
		return nil
	case message == "": // also without having told: an earlier daemon may have
		return s.d.Warnings.Resolve(ctx, api.WarningNetworkUnavailable, r.entity())
	case same:
		return nil
	}
	return s.d.Warnings.Raise(ctx, api.WarningNetworkUnavailable, r.entity(), message)
}

// trouble is told by drivers what they find while nobody asks.
func (s *Service) trouble(t Trouble) {
	ctx := context.Background()
	records, err := s.records(ctx)
	for _, r := range records {
		if r.Name != t.Network {
			continue
		}
		if err = s.tell(ctx, r, t.Err.Error()); err == nil && t.Mended {
			err = s.judge(ctx, r)
		}
	}
	if err != nil && !errs.Is(err, errs.Unavailable) { // a server that ends
		slog.Warn("Could not note a problem of a network", "network", t.Network, "problem", t.Err, "err", err)
	}
}

// resolved notes within tx that a network that goes away needs no warnings.
func (s *Service) resolved(tx store.Tx, r Record) error {
	s.mu.Lock()
	delete(s.told, r.Name)
	delete(s.prefixes, r.Name)
	s.mu.Unlock()
	return warning.Forget(tx, r.entity())
}
