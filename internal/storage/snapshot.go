package storage

import (
	"cmp"
	"context"
	"errors"

	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Snapshot keeps the content of a volume as v.Snapshot; it fails with Unsupported on a pool that cannot.
func (s *Service) Snapshot(ctx context.Context, pool string, v Volume) error {
	p, err := s.keeper(ctx, pool)
	if err != nil {
		return err
	}
	return p.Snapshot(ctx, v)
}

// Restore gives a volume that is not in use the content of v.Snapshot.
func (s *Service) Restore(ctx context.Context, pool string, v Volume) error {
	p, err := s.keeper(ctx, pool)
	if err != nil {
		return err
	}
	return p.Restore(ctx, v)
}

func (s *Service) keeper(ctx context.Context, pool string) (Snapshotter, error) {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return nil, err
	}
	k, ok := p.(Snapshotter)
	if !ok {
		return nil, errs.Newf(errs.Unsupported, "storage pool %q keeps no snapshots: use a pool with another driver", pool)
	}
	return k, nil
}

// Rename calls a volume with its snapshots, or one snapshot, by another name. A rename that was cut short can be done again, or back.
func (s *Service) Rename(ctx context.Context, pool string, from, to Volume) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	r, ok := p.(Renamer)
	if !ok {
		return errs.Newf(errs.Unsupported, "storage pool %q cannot rename volumes", pool)
	}
	if err := r.Rename(ctx, from, to); err != nil || from.Snapshot != "" {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error { return renameRecord(tx, pool, from, to) })
}

// renameRecord moves a volume's record; one that was moved already stays.
func renameRecord(tx store.Tx, pool string, from, to Volume) error {
	old := volumeKey(pool, from.Type, cmp.Or(from.Project, project.Default), from.Name)
	r, err := Volumes.Get(tx, old)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Project, r.Name = cmp.Or(to.Project, project.Default), to.Name
	return errors.Join(Volumes.Delete(tx, old), Volumes.Put(tx, r))
}

// Replace puts the volume from into the place of to, which goes with its snapshots. One that was cut short can be done again: if from is
// gone it was finished.
func (s *Service) Replace(ctx context.Context, pool string, from, to Volume) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	all, err := p.Volumes(ctx)
	if err != nil {
		return err
	}
	there := false
	for _, v := range all {
		there = there || v.Type == from.Type && cmp.Or(v.Project, project.Default) == cmp.Or(from.Project, project.Default) && v.Name == from.Name
	}
	if !there {
		return nil
	}
	if err := s.Delete(ctx, pool, to); err != nil {
		return err
	}
	return s.Rename(ctx, pool, from, to)
}
