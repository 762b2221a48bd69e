package network

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/network/acl"
	"lxd/internal/schema"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// aclsKey is the key of a network that names its ACLs.
const aclsKey = "security.acls"

// policy is what the ACLs of a network let pass, nil without any; instead stands for the stored ACL of its name.
func policy(tx store.Tx, r Record, instead *acl.Record) (*acl.Policy, error) {
	names := acl.Names(r.Config[aclsKey])
	if len(names) == 0 {
		return nil, nil
	}
	var list []acl.Record
	for _, name := range names {
		one, err := acl.Collection.Get(tx, acl.Key(r.Project, name))
		if errs.Is(err, errs.NotFound) {
			return nil, errs.Newf(errs.Invalid, "%s of network %q: there is no network ACL %q: create it first", aclsKey, r.Name, name)
		}
		if err != nil {
			return nil, err
		}
		if instead != nil && instead.Name == name {
			one = *instead
		}
		list = append(list, one)
	}
	p, err := acl.Compile(list)
	for side, to := range map[string]*acl.Side{"ingress": &p.Ingress, "egress": &p.Egress} {
		key := aclsKey + ".default." + side
		to.Default, to.Log = cmp.Or(r.Config[key+".action"], to.Default), schema.IsTrue(r.Config[key+".logged"])
	}
	return &p, err
}

// aclRefs are the references of a network to its ACLs.
func aclRefs(r Record) (refs []store.Ref) {
	for _, name := range acl.Names(r.Config[aclsKey]) {
		refs = append(refs, acl.Ref(r.Project, name))
	}
	return refs
}

// Enforce implements acl.Networks.
func (s *Service) Enforce(ctx context.Context, changed acl.Record, write func(store.Tx) error) (err error) {
	s.acls.Lock()
	defer s.acls.Unlock()
	users, err := s.restricted(ctx, changed)
	if err != nil {
		return err
	}
	for _, name := range users {
		defer s.hold(name)()
	}
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	for _, name := range users {
		before, driver, err := s.wanted(ctx, changed.Project, name, nil)
		if err != nil {
			return err
		}
		after, _, err := s.wanted(ctx, changed.Project, name, &changed)
		if err != nil {
			return err
		}
		u.Add("bring back the rules of network "+name, func(ctx context.Context) error { return driver.Guard(ctx, before) })
		if err := s.step("network-acl", "host", func() error { return driver.Guard(ctx, after) }); err != nil {
			return err
		}
	}
	return s.commit("network-acl", func() error { return s.d.Store.Update(ctx, write) })
}

// restricted are the networks that an ACL is on, in order, so that no two callers wait for each other.
func (s *Service) restricted(ctx context.Context, a acl.Record) (names []string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, ref := range acl.Collection.UsedBy(tx, acl.Key(a.Project, a.Name)) {
			if name, ours := strings.CutPrefix(ref.Key, a.Project+"/"); ours && ref.Collection == Collection.Name {
				names = append(names, name)
			}
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// wanted is a complete network whose driver has a firewall, with instead in the place of the stored ACL of its name.
func (s *Service) wanted(ctx context.Context, proj, name string, instead *acl.Record) (n Net, g Guarder, err error) {
	r, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return n, nil, err
	}
	if n, err = s.net(ctx, r); err != nil {
		return n, nil, err
	}
	g, ok := driver.(Guarder)
	if !ok {
		return n, nil, errs.Newf(errs.Invalid, "networks of type %s have no firewall", r.Type)
	}
	if instead == nil {
		return n, g, nil
	}
	return n, g, s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		n.Policy, err = policy(tx, r, instead)
		return err
	})
}

// Logged calls to for each packet that the ACLs of networks log, until ctx ends or listening fails.
func (s *Service) Logged(ctx context.Context, to func(label string, packet []byte)) error {
	for _, d := range s.d.Drivers {
		if l, ok := d.(Logger); ok {
			return l.Logged(ctx, to) // all networks are behind one firewall
		}
	}
	<-ctx.Done()
	return nil
}
